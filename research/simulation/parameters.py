"""A model as plain values: reading, checking and writing its fields.

As parameters of an experiment the names are the fields' own, in JSON they are camelCase. A name
that a model does not have is refused in both: a setting that is silently dropped is an answer to
another question. A field that is a part of its own, or a list of parts, is read and written with
its model: `part` and `parts` say which.

    parameters  {"taker_fee_bps": 10.0}
    JSON        {"takerFeeBps": 10.0}
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeVar

from research.simulation.errors import InvalidField, UnknownField

M = TypeVar("M")
Spelling = Callable[[str], str]


def part(model: type[M]) -> Any:
    """Declare a field that is a model itself; its default is the model's own."""
    return dataclasses.field(default_factory=model, metadata={"part": model})


def parts(model: type[M]) -> Any:
    """Declare a field that is a list of models; its default is none."""
    return dataclasses.field(default=(), metadata={"parts": model})


def camel_case(name: str) -> str:
    """Spell a field's name as JSON does: `taker_fee_bps` is `takerFeeBps`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def read_parameters(model: type[M], parameters: Mapping[str, Any]) -> M:
    """Make a model of the given fields, by their own names; one not given has its default.

    Raises: UnknownField; InvalidField if it is not a mapping, or a value is outside its bound.
    """
    return _read(model, parameters, str)


def read_json(model: type[M], document: Mapping[str, Any]) -> M:
    """Make a model of the given fields, by their names in camelCase.

    Raises: UnknownField; InvalidField if it is not a mapping, or a value is outside its bound.
    """
    return _read(model, document, camel_case)


def write_parameters(model: Any) -> dict[str, Any]:
    """Return every field of a model, by its own name."""
    return _written(model, str)


def write_json(model: Any) -> dict[str, Any]:
    """Return every field of a model, by its name in camelCase."""
    return _written(model, camel_case)


def take_parts(model: Any) -> None:
    """Make models of a model's parts that were given as mappings; for its `__post_init__`.

    Raises: UnknownField, InvalidField.
    """
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if (inner := field.metadata.get("part")) is not None and not isinstance(value, inner):
            object.__setattr__(model, field.name, read_parameters(inner, value))
        if (inner := field.metadata.get("parts")) is not None:
            owner = type(model).__name__
            made = tuple(
                each if isinstance(each, inner) else read_parameters(inner, each)
                for each in _listed(owner, field.name, value)
            )
            object.__setattr__(model, field.name, made)


def check_numbers(model: Any, **bounds: Mapping[str, float]) -> None:
    """Hold fields against their bounds, and keep each as a float; None stays where it is a default.

    Raises: InvalidField.
    """
    for name, bound in bounds.items():
        value = getattr(model, name)
        if value is not None or not _may_be_none(model, name):
            number = checked_number(type(model).__name__, name, value, **bound)
            object.__setattr__(model, name, number)


def check_counts(model: Any, **least: int) -> None:
    """Hold fields against the least whole number that each may be; None likewise.

    Raises: InvalidField.
    """
    for name, bound in least.items():
        value = getattr(model, name)
        if value is not None or not _may_be_none(model, name):
            number = checked_number(type(model).__name__, name, value, least=bound)
            if number != int(number):
                raise InvalidField(
                    type(model).__name__, name, repr(value), f"a whole number >= {bound}"
                )
            object.__setattr__(model, name, int(number))


def check_word(model: str, field: str, value: object, words: tuple[str, ...]) -> None:
    """Refuse a word that is not one of those that a field may be.

    Raises: InvalidField.
    """
    if not isinstance(value, str) or value not in words:
        raise InvalidField(model, field, repr(value), "one of " + ", ".join(words))


def checked_number(
    model: str,
    field: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """Return a value as a finite float within its bounds; a bool is not a number here.

    Raises: InvalidField.
    """
    number = _as_float(value)
    inside = above < number < below and least <= number <= most
    if not inside or not math.isfinite(number):
        limits = ((">", above), (">=", least), ("<", below), ("<=", most))
        stated = [f"{sign} {limit:g}" for sign, limit in limits if math.isfinite(limit)]
        bound = " ".join(["a finite number", " and ".join(stated)]).rstrip()
        raise InvalidField(model, field, repr(value), bound)
    return number + 0.0  # -0.0 becomes 0.0: one value, one answer


def _may_be_none(model: Any, name: str) -> bool:
    fields = {field.name: field for field in dataclasses.fields(model)}
    return fields[name].default is None


def _read(model: type[M], given: object, spelled: Spelling) -> M:
    if not isinstance(given, Mapping):
        raise InvalidField(model.__name__, "it", repr(given), "a mapping of its fields")
    known = {spelled(field.name): field for field in dataclasses.fields(model)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = known.get(name)
        if field is None:
            raise UnknownField(model.__name__, str(name), tuple(known))
        inner, inners = field.metadata.get("part"), field.metadata.get("parts")
        if inner is not None and not isinstance(value, inner):
            value = _read(inner, value, spelled)
        elif inners is not None:
            listed = _listed(model.__name__, name, value)
            value = tuple(
                each if isinstance(each, inners) else _read(inners, each, spelled)
                for each in listed
            )
        values[field.name] = value
    return model(**values)


def _written(model: Any, spelled: Spelling) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if "part" in field.metadata:
            value = _written(value, spelled)
        elif "parts" in field.metadata:
            value = [_written(each, spelled) for each in value]
        written[spelled(field.name)] = value
    return written


def _listed(model: str, field: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidField(model, field, repr(value), "a list")
    return list(value)


def _as_float(value: object) -> float:
    """Return a number as a float; what is none, or is too large for one, as NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
