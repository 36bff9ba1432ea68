"""The fields of a request by name: their spellings, their nearest names, their parameters.

Owns how a field of a ``SimulationRequest`` is spelled (``cost_model.taker_fee_bps`` in Python,
``costModel.takerFeeBps`` in JSON) and which parameter of an experiment it is
(``costs.taker_fee_bps``). Pure; what the models mean is theirs.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from research.errors import BadInput, UnknownParameter
from research.simulation.costs import CostModel
from research.simulation.errors import SimulationError
from research.simulation.execution import ExecutionModel
from research.simulation.parameters import camel_case, read_parameters, write_parameters
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.sizing import Sizing

M = TypeVar("M")
Steps = tuple[str | int, ...]

MODELS: Final[Mapping[str, tuple[type[Any], str]]] = {
    "execution_model": (ExecutionModel, "execution"),
    "cost_model": (CostModel, "costs"),
    "risk_model": (RiskModel, "risk"),
    "sizing": (Sizing, "size"),
    "run_config": (RunConfig, "run_config"),
}
"""Fields that are models: the class, and the parameter that an experiment calls it by."""

STRATEGY_PARAMETERS: Final = "strategy.parameters"

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[\d{1,6}\])*(?:\.[^.\[\]]+(?:\[\d{1,6}\])*)*")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")


def snake_case(name: str) -> str:
    """Spell a name as Python does: `takerFeeBps` is `taker_fee_bps`, and so is itself."""
    return _HUMP.sub(lambda hump: f"_{hump[0].lower()}", name)


def spell_alike(example: str, path: str) -> str:
    """Spell a path as somebody spelled another one."""
    if not _HUMP.search(example):
        return path
    return ".".join(camel_case(part) for part in path.split("."))


def take_names(owner: str, known: Sequence[str], given: object) -> dict[str, Any]:
    """Return a mapping's values by the known names; each key may be spelled in either way.

    Raises: BadInput if it is no mapping or a name stands twice, UnknownParameter with the nearest.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"{owner} is a mapping of its fields, not {given!r}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = snake_case(str(key))
        if name not in known:
            raise unknown(owner, str(key), known)
        if name in values:
            raise BadInput(f"{owner}: {name} is given twice")
        values[name] = value
    return values


def unknown(owner: str, path: str, known: Sequence[str]) -> UnknownParameter:
    """Make the error of a name that is not there, with the nearest ones, spelled as it was."""
    near = difflib.get_close_matches(snake_case(path), known, n=3, cutoff=0.5)
    leaf = snake_case(path).rsplit(".", 1)[-1]
    near += [each for each in known if each.rsplit(".", 1)[-1] == leaf and each not in near]
    return UnknownParameter(owner, path, [spell_alike(path, each) for each in near or known[:8]])


def plain(value: Any) -> Any:
    """Copy nested values as parameters are: maps, lists, and Python's own numbers for numpy's."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def take_model(owner: str, model: type[M], given: object) -> M:
    """Return a model that was given as itself or as a mapping of its fields, in either spelling.

    A field that is not named has the model's own default.

    Raises: UnknownParameter with the nearest names, BadInput if a value is outside its bound.
    """
    if isinstance(given, model):
        return given
    try:
        return read_parameters(model, _named(owner, model, given))
    except SimulationError as error:
        raise BadInput(f"{owner}: {error}") from None


def model_parameters(model: Any) -> dict[str, Any]:
    """Return a model's fields as plain maps and lists, as parameters are."""
    written: dict[str, Any] = plain(write_parameters(model))
    return written


def neutral(name: str) -> dict[str, Any]:
    """Return the fields of the model of that name that does nothing; a size is always given."""
    model, _ = MODELS[name]
    return {"kind": "units"} if model is Sizing else model_parameters(model())


def split_path(path: object) -> Steps:
    """Split a dotted path into names and places.

    Raises: BadInput if it is none.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise BadInput(f"{path!r} is no path: write it as execution_model.slippage.base")
    return tuple(name or int(place) for name, place in _STEP.findall(path))


def join_path(steps: Sequence[str | int]) -> str:
    """Join names and places to a dotted path."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def field_path(path: str) -> str:
    """Spell the path of a request's field as Python does; it has to be one that can be varied.

    Raises: BadInput, UnknownParameter with the nearest names.
    """
    steps = split_path(path)
    head = snake_case(str(steps[0]))
    if head in MODELS:
        spelled, _ = _walk(path, head, steps[1:])
        if spelled == ("run_config", "seed") or spelled == ("run_config",):
            raise BadInput(f"{path}: a point has its seed from its own values; it is no axis")
        return join_path(spelled)
    if head == "strategy" and steps[1:2] == ("parameters",) and len(steps) > 2:
        return join_path(("strategy", *steps[1:]))
    if head in ("data_snapshot", "strategy"):
        raise BadInput(f"{path}: a sweep varies the models and {STRATEGY_PARAMETERS}.NAME")
    raise unknown("SimulationRequest", path, [*_leaves(), STRATEGY_PARAMETERS])


def parameter_path(field: str) -> str:
    """Return the experiment's parameter that a field is, its path spelled as Python does."""
    if field.startswith(f"{STRATEGY_PARAMETERS}."):
        return field.removeprefix(f"{STRATEGY_PARAMETERS}.")
    head, *rest = split_path(field)
    return join_path((MODELS[str(head)][1], *rest))


def field_value(field: str, value: Any) -> Any:
    """Return a value of a field as a parameter has it: parts of a model are filled in.

    Raises: UnknownParameter with the nearest names, BadInput.
    """
    head, *rest = split_path(field)
    if head not in MODELS:
        return plain(value)
    _, end = _walk(field, str(head), rest)
    if isinstance(end, type):
        return model_parameters(take_model(field, end, value))
    if end is not None:
        if not isinstance(value, list | tuple):
            raise BadInput(f"{field} is a list, not {value!r}")
        legs = [take_model(f"{field}[{n}]", end[0], each) for n, each in enumerate(value)]
        return [model_parameters(leg) for leg in legs]
    return plain(value)


def fit(declared: Any, value: Any, idle: Any) -> Any:
    """Leave out of a model's fields those that an experiment does not declare and that do nothing.

    ``idle`` holds the fields of the model that does nothing. What is not declared and does
    something stays, so that the experiment refuses it by name.
    """
    if not isinstance(value, dict) or not isinstance(declared, Mapping):
        return value
    kept = {}
    for name, each in value.items():
        still = idle.get(name) if isinstance(idle, Mapping) else None
        if name in declared:
            kept[name] = fit(declared[name], each, still)
        elif each != still:
            kept[name] = each
    return kept


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what stands in nested maps, by dotted paths; a list is one value."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, each in value.items():
        yield from leaves(f"{path}.{name}", each)


def _named(owner: str, model: type[Any], given: object) -> dict[str, Any]:
    """Spell the names of a model's mapping as its fields, at every depth."""
    fields = {field.name: field for field in dataclasses.fields(model)}
    values = take_names(owner, list(fields), given)
    for name, value in values.items():
        inner = fields[name].metadata.get("part")
        if inner is not None and not isinstance(value, inner):
            values[name] = _named(f"{owner}.{name}", inner, value)
        inner = fields[name].metadata.get("parts")
        if inner is not None and isinstance(value, list | tuple):
            values[name] = [
                each if isinstance(each, inner) else _named(f"{owner}.{name}[{place}]", inner, each)
                for place, each in enumerate(value)
            ]
    return values


def _walk(path: str, head: str, steps: Sequence[str | int]) -> tuple[Steps, Any]:
    """Follow a path into a model: how it is spelled, and what stands at its end.

    That is a class for a model or a part, a list of one class for a list of parts, else None.

    Raises: UnknownParameter with the nearest names.
    """
    spelled: list[str | int] = [head]
    here: Any = MODELS[head][0]
    for step in steps:
        if isinstance(step, int):
            if isinstance(here, type) or here is None:
                raise unknown("SimulationRequest", path, _leaves())
            spelled.append(step)
            here = None if here == [None] else here[0]
            continue
        fields = (
            {field.name: field for field in dataclasses.fields(here)}
            if isinstance(here, type)
            else {}
        )
        name = snake_case(step)
        if name not in fields:
            raise unknown("SimulationRequest", path, _leaves())
        spelled.append(name)
        here = _end(fields[name])
    return tuple(spelled), None if here == [None] else here


def _end(field: "dataclasses.Field[Any]") -> Any:
    """Tell what a field holds: a part, a list of parts, a list of numbers ([None]), a value."""
    if "part" in field.metadata:
        return field.metadata["part"]
    if "parts" in field.metadata:
        return [field.metadata["parts"]]
    return [None] if isinstance(field.default, tuple) else None


def _leaves() -> list[str]:
    """List the paths of all fields of all models."""
    return [path for head, (model, _) in MODELS.items() for path in _below(head, model)]


def _below(path: str, model: type[Any]) -> Iterator[str]:
    for field in dataclasses.fields(model):
        end = _end(field)
        name = f"{path}.{field.name}"
        if isinstance(end, type):
            yield from _below(name, end)
        elif end is not None and end != [None]:
            yield from _below(f"{name}[0]", end[0])
        else:
            yield name
