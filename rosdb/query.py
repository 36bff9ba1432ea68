"""Filters over runs: ``metrics.sharpe > 1.5 and not params.fast < 20``.

Owns the expression language of ``ros log --where`` and its translation to SQL, and how a fact, a
metric or a parameter, is laid out for it: a dotted key, a number, a text. Values are bound, never
pasted. A comparison with something that a run does not have is false, so that its ``not`` is
true: two-valued logic, as a reader expects, not SQL's three.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from rosdb.errors import BadExpression
from rosdb.objects import ObjectId

Value = str | int | float | bytes | None

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<moment>\d{4}-\d\d-\d\d[\dTZ:.+-]*|\d{1,9}[smhdw](?![\w.\[]))
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.\[]))
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<word>[A-Za-z_][\w.\-\[\]@]*)
      | (?P<compare>==|!=|<>|<=|>=|=|<|>)
      | (?P<bracket>[()])
    )""",
    re.VERBOSE,
)
_COMPARE: Final = {"==": "=", "=": "=", "!=": "<>", "<>": "<>"}
_COLUMNS: Final = {
    "status": "r.status",
    "experiment": "r.experiment",
    "name": "r.name",
    "kind": "r.kind",
}
_EXACT: Final = frozenset(
    "run experiment name status kind recipe outcome dataset version replay_of".split()
)
_KEYWORDS: Final = ("and", "or", "not")
_AGE_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**63 - 1

# SQLite's parser has a stack of a hundred, and a bracket takes up to five of them. Its expressions
# are a thousand deep at most; a row of comparisons is as deep as it is long.
_DEPTH_MAX: Final = 12
_COMPARISONS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values bound to it. The runs table is ``r``."""

    text: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int

    @property
    def value(self) -> str:
        """The text that is meant: without quotes."""
        return re.sub(r"\\(.)", r"\1", self.text[1:-1]) if self.kind == "string" else self.text


def compile_where(text: str, now_ns: int) -> Sql:
    """Translate a filter.

    Raises: BadExpression with the column at which the text stops making sense.
    """
    return _Parser(text, now_ns).parse()


def compile_question(
    where: str, conditions: Mapping[str, Any], since_ns: int | None, now_ns: int
) -> Sql:
    """Compile all that is asked of runs: a filter, columns that are equal, an earliest time.

    Units:  nanoseconds since 1970 UTC.
    Raises: BadExpression.
    """
    parts = [compile_equal(name, value) for name, value in conditions.items()]
    if where.strip():
        parts.append(compile_where(where, now_ns))
    if since_ns is not None:
        parts.append(Sql("r.created_at_ns >= ?", (since_ns,)))
    return joined_and(parts)


def compile_equal(column: str, value: Value | ObjectId) -> Sql:
    """Compare a column of the runs with a value, None with none."""
    assert column in _EXACT, f"{column} is no column to compare"
    return Sql(f"r.{column} IS ?", (value.digest if isinstance(value, ObjectId) else value,))


def compile_sort(key: str) -> Sql:
    """Translate a sort key; runs that do not have it come last.

    Raises: BadExpression if it is no key.
    """
    descending = key.startswith("-")
    name = key[1:] if descending else key
    if not re.fullmatch(r"[A-Za-z_][\w.\-\[\]]*", name):
        raise BadExpression(key, 1, "a sort key is a name, '-' before it for descending")
    direction = "DESC" if descending else "ASC"
    if name in _COLUMNS or name in ("created", "seconds", "dataset"):
        column = {"created": "r.created_at_ns", "seconds": "r.seconds", "dataset": "r.dataset"}.get(
            name, f"r.{name}"
        )
        return Sql(f"{column} IS NULL, {column} {direction}")
    number, words = _fact(name, "num"), _fact(name, "txt")
    return Sql(
        f"({number.text}) IS NULL AND ({words.text}) IS NULL,"
        f" ({number.text}) {direction}, ({words.text}) {direction}",
        (number.values + words.values) * 2,
    )


@dataclass(frozen=True, slots=True)
class FactOrder:
    """A sort key that is a metric or a parameter: where its numbers stand in the index."""

    space: str
    key: str
    descending: bool
    is_bare: bool
    """Not said which of the two: a metric, unless a parameter has the name too."""


def fact_order(key: str) -> FactOrder | None:
    """Return what a sort key stands for, if that is a metric or a parameter."""
    descending, name = key.startswith("-"), key.removeprefix("-")
    for prefix, space in (("metrics.", "m"), ("params.", "p")):
        if name.startswith(prefix):
            return FactOrder(space, name.removeprefix(prefix), descending, False)
    is_column = name in _COLUMNS or name in ("created", "seconds", "dataset")
    return None if is_column else FactOrder("m", name, descending, True)


def parse_instant(text: str, now_ns: int) -> int | None:
    """Read a date, a time (UTC unless it says otherwise) or an age such as ``7d``.

    Units: returns nanoseconds since 1970 UTC, within 64 bits; None if it is none of these.
    """
    age = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if age:
        return _bounded(now_ns - int(age[1]) * _AGE_SECONDS[age[2]] * 1_000_000_000)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86_400 + since.seconds
    return _bounded(seconds * 1_000_000_000 + since.microseconds * 1000)


def _bounded(integer: int) -> int:
    return max(_INTEGER_MIN, min(integer, _INTEGER_MAX))


class _Parser:
    """Recursive descent: or, and, not, brackets, comparison."""

    def __init__(self, text: str, now_ns: int) -> None:
        self._text = text
        self._now_ns = now_ns
        self._tokens = self._cut()
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Sql:
        sql = self._either()
        if self._next < len(self._tokens):
            self._fail("nothing more is expected here")
        return sql

    def _cut(self) -> list[_Token]:
        tokens: list[_Token] = []
        end = len(self._text.rstrip())
        at = 0
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise BadExpression(self._text, at + 1, f"{self._text[at]!r} means nothing here")
            tokens.append(
                _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1)
            )
            at = match.end()
        return tokens

    def _fail(self, reason: str) -> NoReturn:
        at_end = self._next >= len(self._tokens)
        column = len(self._text) + 1 if at_end else self._tokens[self._next].column
        raise BadExpression(self._text, column, reason)

    def _take(self, kind: str, *texts: str) -> _Token | None:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind == kind and (not texts or token.text in texts):
                self._next += 1
                return token
        return None

    def _joined(self, word: str, part: Callable[[], Sql]) -> Sql:
        parts = [part()]
        while self._take("word", word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        # SQL binds as this language does, so brackets are kept where the reader wrote them.
        text = f" {word.upper()} ".join(p.text for p in parts)
        return Sql(text, tuple(v for p in parts for v in p.values))

    def _either(self) -> Sql:
        return self._joined("or", self._both)

    def _both(self) -> Sql:
        return self._joined("and", self._negation)

    def _negation(self) -> Sql:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            self._fail(f"nested deeper than {_DEPTH_MAX}")
        if self._take("word", "not"):
            inner = self._negation()
            sql = Sql(f"NOT {inner.text}", inner.values)
        elif self._take("bracket", "("):
            inner = self._either()
            if not self._take("bracket", ")"):
                self._fail("a closing bracket is missing")
            sql = Sql(f"({inner.text})", inner.values)
        else:
            sql = self._comparison()
        self._depth -= 1
        return sql

    def _comparison(self) -> Sql:
        field = self._take("word")
        if field is None or field.text in _KEYWORDS:
            self._next -= 0 if field is None else 1
            self._fail("a field is expected: metrics.K, params.K, status, experiment, dataset, …")
        operator = self._take("compare")
        if operator is None:
            self._fail("a comparison is expected: = != < <= > >=")
        sign = _COMPARE.get(operator.text, operator.text)
        value = self._take("number") or self._take("moment")
        value = value or self._take("string") or self._take("word")
        if value is None or (value.kind == "word" and value.text in _KEYWORDS):
            self._next -= 0 if value is None else 1
            self._fail("a number or a text is expected")
        self._comparisons += 1
        if self._comparisons > _COMPARISONS_MAX:
            raise BadExpression(
                self._text, field.column, f"more than {_COMPARISONS_MAX} comparisons"
            )
        return self._compared(field, sign, value)

    def _compared(self, field: _Token, sign: str, value: _Token) -> Sql:
        if field.text == "created":
            instant = parse_instant(value.value, self._now_ns)
            if instant is None:
                raise BadExpression(
                    self._text, value.column, f"{value.text} is no time: 2026-01-31, or 7d"
                )
            return Sql(f"IFNULL(r.created_at_ns {sign} ?, 0)", (instant,))
        if field.text == "dataset":
            column = "r.dataset" if "@" not in value.value else "r.dataset || '@' || r.version"
            return Sql(f"IFNULL({column} {sign} ?, 0)", (value.value,))
        if field.text in _COLUMNS:
            return Sql(f"IFNULL({_COLUMNS[field.text]} {sign} ?, 0)", (value.value,))
        if field.text == "seconds":
            if value.kind != "number":
                raise BadExpression(self._text, value.column, f"{value.text} is no number")
            return Sql(f"IFNULL(r.seconds {sign} ?, 0)", (_number(value.text),))
        if value.kind == "number":
            fact = _fact(field.text, "num")
            return Sql(f"IFNULL(({fact.text}) {sign} ?, 0)", (*fact.values, _number(value.text)))
        fact = _fact(field.text, "txt")
        return Sql(f"IFNULL(({fact.text}) {sign} ?, 0)", (*fact.values, value.value))


def _fact(name: str, column: str) -> Sql:
    """Look up a metric or a parameter; a bare name in metrics, then in parameters."""
    select = f"SELECT {column} FROM facts WHERE run = r.seq AND space = ? AND key = ?"
    for prefix, space in (("metrics.", "m"), ("params.", "p")):
        if name.startswith(prefix):
            return Sql(select, (space, name.removeprefix(prefix)))
    return Sql(f"SELECT COALESCE(({select}), ({select}))", ("m", name, "p", name))


def _number(text: str) -> int | float:
    try:
        number = int(text)
    except ValueError:
        return float(text)
    # SQLite's integers have 64 bits; beyond them a float compares as well as anything can.
    return number if number == _bounded(number) else float(text)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested maps and lists to dotted paths: ``take_profit[0].multiple``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from flatten(item, f"{path}[{i}]")
    else:
        yield path, value


def fact_rows(run: int | None, space: str, facts: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Lay out the metrics or the parameters of a run as filters see them."""
    return [(run, space, key, *_number_and_text(value)) for key, value in facts.items()]


def _number_and_text(value: Any) -> tuple[float | None, str | None]:
    if isinstance(value, bool):
        return float(value), "true" if value else "false"
    if isinstance(value, int | float):
        return float(value), None
    return None, None if value is None else str(value)


def joined_and(parts: Sequence[Sql]) -> Sql:
    """Join conditions; no condition is true."""
    if not parts:
        return Sql("1")
    text = " AND ".join(f"({p.text})" for p in parts)
    return Sql(text, tuple(v for p in parts for v in p.values))
