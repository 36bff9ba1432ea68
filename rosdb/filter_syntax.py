"""Filters as trees: ``metrics.sharpe > 1.5 and not tag in (draft, old)``.

Owns the grammar, and the limits of what is read::

    either     = both {"or" both}
    both       = negation {"and" negation}
    negation   = "not" negation | "(" either ")" | comparison
    comparison = field (compare value | ["not"] "in" "(" value {"," value} ")"
                 | ["not"] "like" value | "is" ["not"] "null")

Knows nothing of which fields there are, nor of SQL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from rosdb.errors import BadExpression
from rosdb.filter_tokens import Token, cut

# SQLite's parser has a stack of a hundred, and a bracket takes up to five of them. Its expressions
# are a thousand deep at most; a row of comparisons is as deep as it is long.
_DEPTH_MAX: Final = 12
_COMPARISONS_MAX: Final = 200
_LISTED_MAX: Final = 10_000

_SIGNS: Final = {"==": "=", "<>": "!="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field and what it is held against.

    ``sign`` is ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, ``like``,
    ``not like``, ``is null`` or ``is not null``.
    """

    field: Token
    sign: str
    values: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """What holds where the inner one does not."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class Group:
    """A filter in brackets."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class Joined:
    """Two filters or more, joined by ``and`` or ``or``."""

    word: str
    parts: tuple["Filter", ...]


Filter = Comparison | Not | Group | Joined


def parse_filter(text: str) -> Filter:
    """Read a filter.

    Raises: BadExpression with the column at which the text stops making sense.
    """
    return _Parser(text).parse()


class _Parser:
    """Recursive descent, one function for each line of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = cut(text)
        self._next = 0
        self._depth = 0
        self._comparisons = 0
        self._listed = 0

    def parse(self) -> Filter:
        found = self._either()
        if self._next < len(self._tokens):
            self._fail("nothing more is expected here; filters are joined by: and or")
        return found

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _fail(self, reason: str, token: Token | None = None) -> NoReturn:
        token = token or self._peek()
        raise BadExpression(self._text, token.column if token else len(self._text) + 1, reason)

    def _take(self, kind: str, text: str = "") -> Token | None:
        token = self._peek()
        if token is None or token.kind != kind or text not in ("", token.text):
            return None
        self._next += 1
        return token

    def _take_keyword(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.keyword != word:
            return False
        self._next += 1
        return True

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self._take_keyword(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _either(self) -> Filter:
        return self._joined("or", self._both)

    def _both(self) -> Filter:
        return self._joined("and", self._negation)

    def _negation(self) -> Filter:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            self._fail(f"nested deeper than {_DEPTH_MAX}")
        found: Filter
        if self._take_keyword("not"):
            found = Not(self._negation())
        elif self._take("mark", "("):
            found = Group(self._either())
            if not self._take("mark", ")"):
                self._fail("a closing bracket is missing")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Comparison:
        field = self._peek()
        if field is None or field.kind != "word" or field.keyword:
            self._fail("a field is expected: metrics.K, params.K, status, experiment, dataset, …")
        self._next += 1
        self._comparisons += 1
        if self._comparisons > _COMPARISONS_MAX:
            self._fail(f"more than {_COMPARISONS_MAX} comparisons", field)
        operator = self._take("compare")
        if operator is not None:
            sign = _SIGNS.get(operator.text, operator.text)
            return Comparison(field, sign, (self._value(),))
        if self._take_keyword("is"):
            sign = "is not null" if self._take_keyword("not") else "is null"
            if not self._take_keyword("null"):
                self._fail("null is expected: 'is null' or 'is not null'")
            return Comparison(field, sign, ())
        negation = "not " if self._take_keyword("not") else ""
        if self._take_keyword("in"):
            return Comparison(field, f"{negation}in", self._list())
        if self._take_keyword("like"):
            return Comparison(field, f"{negation}like", (self._value(),))
        if negation:
            self._fail("in or like is expected after not")
        self._fail("a comparison is expected: = != < <= > >= in like is")

    def _list(self) -> tuple[Token, ...]:
        if not self._take("mark", "("):
            self._fail("a list is expected: in (1, 2)")
        values = [self._value()]
        while self._take("mark", ","):
            values.append(self._value())
            self._listed += 1
            if self._listed > _LISTED_MAX:
                self._fail(f"more than {_LISTED_MAX} values in lists")
        if not self._take("mark", ")"):
            self._fail("a comma or a closing bracket is expected")
        return tuple(values)

    def _value(self) -> Token:
        token = self._peek()
        if token is not None and token.keyword == "null":
            self._fail("nothing equals null: say 'is null' or 'is not null'")
        if token is None or token.kind in ("compare", "mark") or token.keyword:
            self._fail("a number or a text is expected")
        self._next += 1
        return token
