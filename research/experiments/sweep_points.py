"""The points of a sweep: which questions a grid asks, and with which seeds.

Owns the product of the axes and its order. The order is that of the points' own values, so it does
not depend on how a grid was written down; and a point's seed follows from what the point is, never
from its place, so that a longer grid asks the shorter one's questions again, and no others.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research.errors import BadInput
from rosdb import encode_value

POINTS_MAX: Final = 1_000_000
_DRAWS_FOR_EACH: Final = 64

Point = tuple[tuple[str, Any], ...]
"""Overrides by their dotted paths, in the order of the paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A parameter by its dotted path, and the values that it takes."""

    path: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """Read ``K=V1,V2,…``; each value is parsed as JSON, else taken as text.

    Raises: BadInput.
    """
    path, equals, rest = text.partition("=")
    if not equals or not path.strip():
        raise BadInput(f"--grid {text}: write it as K=V1,V2")
    values = tuple(_parse_value(part) for part in _split(rest))
    if not values:
        raise BadInput(f"--grid {text}: no value")
    return Axis(path=path.strip(), values=values)


def check_axes(axes: Sequence[Axis]) -> None:
    """Refuse two axes of one parameter, and an axis of nothing.

    Raises: BadInput.
    """
    if not axes:
        raise BadInput("name at least one axis: --grid K=V1,V2")
    paths = [axis.path for axis in axes]
    for path in paths:
        if paths.count(path) > 1:
            raise BadInput(f"--grid {path} is given twice")
    for one, other in itertools.permutations(paths, 2):
        if other.startswith((f"{one}.", f"{one}[")):
            raise BadInput(f"--grid {one} and --grid {other}: one lies within the other")
    for axis in axes:
        if not axis.values:
            raise BadInput(f"--grid {axis.path}: no value")


def grid(axes: Sequence[Axis]) -> list[Point]:
    """Return the product of the axes, sorted by the values, the first path first.

    Raises: BadInput.
    """
    check_axes(axes)
    ordered = sorted(axes, key=lambda axis: axis.path)
    count = math.prod(len(axis.values) for axis in ordered)
    if count > POINTS_MAX:
        raise BadInput(f"{count} points are more than {POINTS_MAX}; draw some: --random N")
    return [
        tuple(zip((axis.path for axis in ordered), values, strict=True))
        for values in itertools.product(*(_distinct(axis.values) for axis in ordered))
    ]


def draws(axes: Sequence[Axis], count: int, seed: int) -> list[Point]:
    """Return so many different points of the grid, drawn by the seed, in the order of the grid.

    All of them where the grid has no more.
    Raises: BadInput.
    """
    check_axes(axes)
    if count < 1:
        raise BadInput(f"--random {count}: at least 1")
    ordered = sorted(axes, key=lambda axis: axis.path)
    values = [_distinct(axis.values) for axis in ordered]
    if math.prod(map(len, values)) <= count:
        return grid(axes)
    chosen: set[tuple[int, ...]] = set()
    for number in itertools.count():
        if len(chosen) == count or number > count * _DRAWS_FOR_EACH:
            break
        word = number_of(seed, "draw", number)
        place = []
        for each in values:
            word, rest = divmod(word, len(each))
            place.append(rest)
        chosen.add(tuple(place))
    return [
        tuple((axis.path, each[n]) for axis, each, n in zip(ordered, values, at, strict=True))
        for at in sorted(chosen)
    ]


def seed_of(base_seed: int, parameters: Mapping[str, Any]) -> int:
    """Return a point's seed: it follows from the base seed and all parameters of the point.

    After defaults and coercion: so neither the spelling of a value decides, nor which of the
    parameters were an axis.
    """
    return number_of(base_seed, "point", encode_value(parameters).hex()) >> 193


def number_of(*words: int | str) -> int:
    """Return 256 bits that follow from some words and from nothing else."""
    text = json.dumps(["research-os sweep 1", *words])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=32).digest(), "big")


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Sort values by type and size, each once; equal ones of two types are two."""
    by_key = {(type(value).__name__, encode_value(value)): value for value in values}
    numbers = [value for value in by_key.values() if _is_number(value)]
    others = sorted((key for key, value in by_key.items() if not _is_number(value)))
    numbers.sort(key=lambda value: (value, repr(value)))
    return [*numbers, *(by_key[key] for key in others)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _split(text: str) -> Iterator[str]:
    """Split at the commas that stand in no bracket and no quotes."""
    depth, start, is_quoted, is_escaped = 0, 0, False, False
    for place, char in enumerate(text):
        if is_quoted:
            is_quoted = char != '"' or is_escaped
            is_escaped = char == "\\" and not is_escaped
        elif char == '"':
            is_quoted = True
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    if text[start:].strip():
        yield text[start:]


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text.strip()


def _refuse_constant(name: str) -> Any:
    raise BadInput(f"{name} is no value of a parameter")
