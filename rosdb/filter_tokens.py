"""The words of a filter: where it is cut, and what each piece is.

Owns the alphabet of the expression language. A piece knows its column, so that whoever finds
fault with it can point there.
"""

import re
from dataclasses import dataclass
from typing import Final

from rosdb.errors import BadExpression

KEYWORDS: Final = frozenset("and or not in like is null".split())
"""In small letters or in capitals; as a value they stand in quotes."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<moment>\d{4}-\d\d-\d\d[\dTZ:.+-]*|\d{1,9}[smhdw](?![\w.\[]))
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.\[]))
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<digits>[0-9][0-9a-f]{3,63}(?![\w.\[]))
      | (?P<word>[A-Za-z_][\w.\-\[\]@]*)
      | (?P<compare>==|!=|<>|<=|>=|=|<|>)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter; its kind is the name of the group that it matched."""

    kind: str
    text: str
    column: int

    @property
    def value(self) -> str:
        """The text that is meant: without quotes."""
        return re.sub(r"\\(.)", r"\1", self.text[1:-1]) if self.kind == "string" else self.text

    @property
    def keyword(self) -> str:
        """The keyword that it is, in small letters; empty if it is none."""
        word = self.text.lower() if self.kind == "word" else ""
        return word if word in KEYWORDS else ""


def cut(text: str) -> list[Token]:
    """Cut a filter into its pieces.

    Raises: BadExpression.
    """
    tokens: list[Token] = []
    end = len(text.rstrip())
    at = 0
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise BadExpression(text, at + 1, f"{text[at]!r} means nothing here")
        token = Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1)
        if not token.text.isascii():
            _check_text(text, token)
        tokens.append(token)
        at = match.end()
    return tokens


def _check_text(text: str, token: Token) -> None:
    """Refuse what no store holds and no database takes: half a character."""
    try:
        token.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadExpression(text, token.column + error.start, "half a character") from None
