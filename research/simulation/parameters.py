"""A model as plain values: reading, checking and writing its fields.

As parameters of an experiment the names are the fields' own, in JSON they are camelCase. A name
that a model does not have is refused in both: a setting that is silently dropped is an answer to
another question.

    parameters  {"taker_fee_bps": 10.0}
    JSON        {"takerFeeBps": 10.0}
"""

import dataclasses
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from research.simulation.errors import InvalidField, UnknownField


def camel_case(name: str) -> str:
    """Spell a field's name as JSON does: `taker_fee_bps` is `takerFeeBps`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def read_parameters(model: type[Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given fields of a model, from their own names.

    Raises: UnknownField; InvalidField if it is not a mapping.
    """
    return _read(model, parameters, {name: name for name in _field_names(model)})


def read_json(model: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given fields of a model, from their names in camelCase.

    Raises: UnknownField; InvalidField if it is not a mapping.
    """
    return _read(model, document, {camel_case(name): name for name in _field_names(model)})


def write_parameters(model: Any) -> dict[str, Any]:
    """Return every field of a model, by its own name."""
    return {name: getattr(model, name) for name in _field_names(type(model))}


def write_json(model: Any) -> dict[str, Any]:
    """Return every field of a model, by its name in camelCase."""
    return {camel_case(name): getattr(model, name) for name in _field_names(type(model))}


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


def _read(model: type[Any], given: object, known: Mapping[str, str]) -> dict[str, Any]:
    """Return the given fields, each under the name that `known` gives it."""
    if not isinstance(given, Mapping):
        raise InvalidField(model.__name__, "it", repr(given), "a mapping of its fields")
    for name in given:
        if name not in known:
            raise UnknownField(model.__name__, str(name), tuple(known))
    return {known[name]: value for name, value in given.items()}


def _as_float(value: object) -> float:
    """Return a number as a float; what is none, or is too large for one, as NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _field_names(model: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(model))
