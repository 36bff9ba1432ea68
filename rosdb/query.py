"""Filters and sort keys as SQL over the index.

Owns the translation. Values are bound, never pasted, and a field is one of a fixed list or a fact
whose name is bound too: no word of a filter becomes a word of the SQL. A comparison with something
that a run does not have is false, so that its ``not`` is true: two-valued logic, as a reader
expects, not SQL's three.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NoReturn

from rosdb.errors import BadExpression
from rosdb.facts import METRICS, PARAMETERS, PREFIXES
from rosdb.fields import FIELDS, Field
from rosdb.filter_syntax import Comparison, Filter, Group, Joined, Not, parse_filter
from rosdb.filter_tokens import Token
from rosdb.instants import bounded, parse_instant
from rosdb.objects import ObjectId

Value = str | int | float | bytes | None

_EXACT: Final = frozenset(
    "run experiment name status kind recipe outcome dataset version replay_of".split()
)
_SQL_SIGNS: Final = {"!=": "<>", "not in": "NOT IN", "in": "IN", "like": "LIKE"}
_PATTERN_MAX: Final = 1000  # SQLite refuses patterns of fifty thousand, and the time is in both


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values bound to it. The runs table is ``r``."""

    text: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """All that is asked of runs."""

    where: Sql
    narrower: tuple[Sql, ...] = ()
    """Of parts that must all hold: what lists the runs, and perhaps some more, for which it does.
    Where these are few, no other run has to be looked at."""


def compile_where(text: str, now_ns: int) -> Sql:
    """Translate a filter.

    Raises: BadExpression with the column at which the text stops making sense.
    """
    return _Translation(text, now_ns).filter(parse_filter(text))


def compile_question(
    where: str, conditions: Mapping[str, Any], since_ns: int | None, now_ns: int
) -> Question:
    """Compile all that is asked of runs: a filter, columns that are equal, an earliest time.

    Units:  nanoseconds since 1970 UTC.
    Raises: BadExpression.
    """
    parts = [compile_equal(name, value) for name, value in conditions.items()]
    narrower: tuple[Sql, ...] = ()
    if where.strip():
        found = parse_filter(where)
        parts.append(_Translation(where, now_ns).filter(found))
        narrower = tuple(_narrower(found))
    if since_ns is not None:
        parts.append(Sql("r.created_at_ns >= ?", (since_ns,)))
    return Question(joined_and(parts), narrower)


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
    field = FIELDS.get(name)
    if field is not None:
        if field.type == "set":
            raise BadExpression(key, 1, f"a run may have several of {name}: they have no order")
        return Sql(f"{field.sql} IS NULL, {field.sql} {direction}")
    number, words = _fact(name, "num"), _fact(name, "txt")
    return Sql(
        f"({number.text}) IS NULL AND ({words.text}) IS NULL,"
        # A truth value has a text too: among numbers it is one.
        f" ({number.text}) {direction},"
        f" IIF(({number.text}) IS NULL, ({words.text}), NULL) {direction}",
        number.values + words.values + number.values * 2 + words.values,
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
    if name in FIELDS:
        return None
    space, rest = _space(name)
    return FactOrder(space or METRICS, rest, descending, space is None)


def joined_and(parts: Sequence[Sql]) -> Sql:
    """Join conditions; no condition is true."""
    if not parts:
        return Sql("1")
    text = " AND ".join(f"({p.text})" for p in parts)
    return Sql(text, tuple(v for p in parts for v in p.values))


class _Translation:
    """The translation of one filter, whose text stands in its errors."""

    def __init__(self, text: str, now_ns: int) -> None:
        self._text = text
        self._now_ns = now_ns

    def filter(self, found: Filter) -> Sql:
        if isinstance(found, Comparison):
            return self._comparison(found)
        if isinstance(found, Not):
            inner = self.filter(found.inner)
            return Sql(f"NOT {inner.text}", inner.values)
        if isinstance(found, Group):
            inner = self.filter(found.inner)
            return Sql(f"({inner.text})", inner.values)
        # SQL binds as this language does, so brackets are kept where the reader wrote them.
        parts = [self.filter(part) for part in found.parts]
        text = f" {found.word.upper()} ".join(part.text for part in parts)
        return Sql(text, tuple(value for part in parts for value in part.values))

    def _comparison(self, found: Comparison) -> Sql:
        if found.sign.endswith("like") and len(found.values[0].value) > _PATTERN_MAX:
            self._fail(found.values[0], f"a pattern is longer than {_PATTERN_MAX}")
        field = FIELDS.get(found.field.text)
        if field is None:
            return self._fact(found)
        if found.sign == "is null" or found.sign == "is not null":
            negation = "NOT " if found.sign == "is not null" else ""
            if field.type == "set":
                # Brackets around the whole: a NOT that the reader wrote may stand before it.
                is_there = "" if negation else "NOT "
                return Sql(f"({is_there}EXISTS ({field.sql}))")
            return Sql(f"({field.sql} IS {negation}NULL)")
        if field.type in ("number", "time") and found.sign.endswith("like"):
            self._fail(found.field, f"{found.field.text} is no text")
        values = tuple(self._value(found, field, token) for token in found.values)
        if field.type == "set":
            return self._set(found.sign, field, values)
        if field.type == "dataset":
            return self._dataset(found.sign, values)
        return _compared(field.sql, found.sign, values, has_ids=field.has_ids)

    def _value(self, found: Comparison, field: Field, token: Token) -> Value:
        """Return a value as the field's type has it."""
        if field.type == "time":
            instant = parse_instant(token.value, self._now_ns)
            if instant is None:
                self._fail(token, f"{token.text} is no time: 2026-01-31, or 7d")
            return instant
        if field.type == "number":
            if token.kind != "number":
                self._fail(token, f"{token.text} is no number")
            return _number(token.text)
        if field.has_ids and not found.sign.endswith("like"):
            if found.sign not in ("=", "!=", "in", "not in"):
                self._fail(found.field, f"{found.field.text} is a hash: compare by = != in like")
            if not re.fullmatch(r"[0-9a-f]{4,64}", token.value):
                self._fail(token, f"{token.text} is no hash: 4 to 64 of the digits 0-9 a-f")
        return token.value

    def _set(self, sign: str, field: Field, values: tuple[Value, ...]) -> Sql:
        """Ask of a set: one of it is so; or, of ``!=``, ``not in``, ``not like``: none of it."""
        positive = {"!=": "=", "not in": "in", "not like": "like"}.get(sign)
        one = _compared("value", positive or sign, values, has_ids=field.has_ids)
        negation = "" if positive is None else "NOT "
        return Sql(f"({negation}EXISTS ({field.sql} AND {one.text}))", one.values)

    def _dataset(self, sign: str, values: tuple[Value, ...]) -> Sql:
        """Compare with names, and with names at their version."""
        bare = tuple(value for value in values if "@" not in str(value))
        full = tuple(value for value in values if "@" in str(value))
        parts = [
            _compared(sql, sign, each)
            for sql, each in (("r.dataset", bare), ("r.dataset || '@' || r.version", full))
            if each
        ]
        return _joined(parts, sign)

    def _fact(self, found: Comparison) -> Sql:
        """Compare a metric or a parameter: numbers with numbers, texts with texts."""
        name, sign = found.field.text, found.sign
        number, words = _fact(name, "num"), _fact(name, "txt")
        if not found.values:
            is_null = f"(({number.text}) IS NULL AND ({words.text}) IS NULL)"
            negation = "NOT " if sign == "is not null" else ""
            return Sql(f"({negation}{is_null})", number.values + words.values)
        is_like = sign.endswith("like")
        numbers = [t for t in found.values if t.kind == "number" and not is_like]
        texts = [t for t in found.values if t.kind != "number" or is_like]
        parts = []
        if numbers:
            compared = _compared(f"({number.text})", sign, tuple(_number(t.text) for t in numbers))
            parts.append(Sql(compared.text, number.values + compared.values))
        if texts:
            compared = _compared(f"({words.text})", sign, tuple(t.value for t in texts))
            parts.append(Sql(compared.text, words.values + compared.values))
        return _joined(parts, sign)

    def _fail(self, token: Token, reason: str) -> NoReturn:
        raise BadExpression(self._text, token.column, reason)


def _compared(sql: str, sign: str, values: tuple[Value, ...], *, has_ids: bool = False) -> Sql:
    """Compare what SQL reads with values; false where it reads nothing."""
    if has_ids and not sign.endswith("like"):
        # By the digits that were given: of each value as many as it has.
        ordered = sorted(values, key=lambda value: len(str(value)))
        starts = " OR ".join(
            f"substr({sql}, 1, {length}) IN ({', '.join('?' * len(list(group)))})"
            for length, group in groupby(ordered, key=lambda value: len(str(value)))
        )
        negation = "NOT " if sign in ("!=", "not in") else ""
        return Sql(f"IFNULL({negation}({starts}), 0)", tuple(ordered))
    if sign in ("in", "not in"):
        marks = ", ".join("?" * len(values))
        return Sql(f"IFNULL({sql} {_SQL_SIGNS[sign]} ({marks}), 0)", values)
    if sign == "not like":
        return Sql(f"IFNULL({sql} NOT LIKE ?, 0)", values)
    return Sql(f"IFNULL({sql} {_SQL_SIGNS.get(sign, sign)} ?, 0)", values)


def _joined(parts: Sequence[Sql], sign: str) -> Sql:
    """Join the parts of one comparison: values of two types, of which any, or none, is equal."""
    if len(parts) == 1:
        return parts[0]
    word = " AND " if sign == "not in" else " OR "
    text = word.join(part.text for part in parts)
    return Sql(f"({text})", tuple(value for part in parts for value in part.values))


def _space(name: str) -> tuple[str | None, str]:
    """Cut ``metrics.`` or ``params.`` from a name; None if it says neither."""
    for prefix, space in PREFIXES.items():
        if name.startswith(prefix):
            return space, name.removeprefix(prefix)
    return None, name


def _fact(name: str, column: str) -> Sql:
    """Look up a metric or a parameter; a bare name in metrics, then in parameters."""
    select = (
        f"SELECT {column} FROM facts WHERE run = r.seq AND key ="
        " (SELECT id FROM keys WHERE space = ? AND name = ?)"
    )
    space, key = _space(name)
    if space is not None:
        return Sql(select, (space, key))
    return Sql(f"SELECT COALESCE(({select}), ({select}))", (METRICS, name, PARAMETERS, name))


def _narrower(found: Filter) -> Iterator[Sql]:
    """List the runs for which a part of a filter holds that must: by the order of the numbers."""
    if isinstance(found, Group):
        yield from _narrower(found.inner)
    elif isinstance(found, Joined) and found.word == "and":
        for part in found.parts:
            yield from _narrower(part)
    elif (
        isinstance(found, Comparison)
        and found.field.text not in FIELDS
        and found.sign in ("=", "<", "<=", ">", ">=", "in")
        and all(value.kind == "number" for value in found.values)
    ):
        space, key = _space(found.field.text)
        compared = _compared("num", found.sign, tuple(_number(v.text) for v in found.values))
        text = compared.text.removeprefix("IFNULL(").removesuffix(", 0)")
        yield Sql(
            "SELECT run FROM facts WHERE key IN"
            f" (SELECT id FROM keys WHERE name = ? AND space = IFNULL(?, space)) AND {text}",
            (key, space, *compared.values),
        )


def _number(text: str) -> int | float:
    try:
        number = int(text)
    except ValueError:
        return float(text)
    # SQLite's integers have 64 bits; beyond them a float compares as well as anything can.
    return number if number == bounded(number) else float(text)
