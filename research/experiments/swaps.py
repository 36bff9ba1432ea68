"""The inputs in which two runs differ, and the recipe with some of them swapped.

Owns what counts as one input: each parameter by its path, the code, the dataset, the seed. The code
takes along what belongs to it: the experiment, its environment, and parameters and a dataset that
only one of the two runs has. Recipes are made of what the store holds; the environment of each is
today's, for no other can be run in.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from research.datasets.snapshot import Snapshot, read_snapshot
from research.experiments import environment
from research.experiments.divergence import same_value
from research.experiments.runs import RunManifest
from research.experiments.shapley import Swapped
from rosdb import Link, Store

CODE: Final = "code"
DATASET: Final = "dataset"
SEED: Final = "seed"

# What of a recipe's fields goes with the code.
_OF_THE_CODE: Final = ("capsule", "experiment", "entry")
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input in which two runs differ; a value is None where it is absent."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedRecipe:
    """A recipe with some inputs of B in A, and what its run is recorded with."""

    schema: str
    fields: Mapping[str, Any]
    links: Mapping[str, Link]
    snapshot: Snapshot | None
    metric_names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A parameter's value on both sides, by the keys that lead to it."""

    path: tuple[str, ...]
    a: Any
    b: Any


class Swaps:
    """The inputs in which two runs differ, to be swapped one by one or together."""

    def __init__(self, store: Store, a: RunManifest, b: RunManifest) -> None:
        self._store = store
        self._a, self._b = a, b
        ours, theirs = a.recipe, b.recipe
        self._has_other_code = ours.links["code"] != theirs.links["code"] or any(
            ours.fields[name] != theirs.fields[name] for name in _OF_THE_CODE
        )
        values = _differing(ours.fields["parameters"], theirs.fields["parameters"], ())
        self._values = {
            _name(value.path): value
            for value in values
            # What only one of them knows goes with its code.
            if not (self._has_other_code and (value.a is _ABSENT or value.b is _ABSENT))
        }
        given = [_data_links(manifest) for manifest in (a, b)]
        self._has_other_data = given[0] != given[1] and (
            not self._has_other_code or bool(given[0] and given[1])
        )
        self.inputs = tuple(self._listed())

    @property
    def names(self) -> list[str]:
        """What the inputs are called."""
        return [each.name for each in self.inputs]

    def drift(self) -> list[str]:
        """Say in what today's environment is not the one that the runs were made in."""
        told = {}
        for manifest in (self._a, self._b):
            recorded = manifest.recipe.fields["environment"]
            today = environment.describe_again(recorded)
            told.update(dict.fromkeys(environment.differences(recorded, today)))
        return list(told)

    def recipe(self, swapped: Swapped) -> SwappedRecipe:
        """Return the recipe of A with these inputs of B."""
        code = self._b if CODE in swapped else self._a
        fields = {name: code.recipe.fields[name] for name in _OF_THE_CODE}
        parameters = copy.deepcopy(dict(code.recipe.fields["parameters"]))
        for name, value in self._values.items():
            _set(parameters, value.path, value.b if name in swapped else value.a)
        seed = self._b if SEED in swapped else self._a
        recorded = code.recipe.fields["environment"]
        data = self._b if DATASET in swapped else self._a
        if not self._has_other_data:
            data = code
        link = data.run.links.get("snapshot")
        return SwappedRecipe(
            schema=code.recipe.schema,
            fields={
                **fields,
                "parameters": parameters,
                "seed": seed.seed,
                "environment": environment.describe_again(recorded),
            },
            links={"code": code.recipe.links["code"], **self._data_for(code, data)},
            snapshot=None if link is None else read_snapshot(self._store, link),
            metric_names=list(code.run.fields["metric_names"]),
        )

    def _listed(self) -> Iterator[Input]:
        a, b = self._a, self._b
        for name, value in self._values.items():
            shown = [None if each is _ABSENT else each for each in (value.a, value.b)]
            yield Input(name=name, a=shown[0], b=shown[1])
        if self._has_other_code:
            codes = [str(manifest.recipe.links["code"]) for manifest in (a, b)]
            yield Input(name=CODE, a=codes[0], b=codes[1])
        if self._has_other_data:
            yield Input(name=DATASET, a=a.dataset, b=b.dataset)
        if a.seed != b.seed:
            yield Input(name=SEED, a=a.seed, b=b.seed)

    def _data_for(self, code: RunManifest, data: RunManifest) -> dict[str, Link]:
        """Return a run's data in the form that the code asks for, bars or files."""
        links, wanted = _data_links(data), _data_links(code).keys()
        snapshot = data.run.links.get("snapshot")
        if links.keys() == wanted or not self._has_other_code or snapshot is None:
            return links
        held = self._store.get_record(snapshot).links
        return {name: held[name] for name in wanted} if wanted <= held.keys() else links


def _data_links(manifest: RunManifest) -> dict[str, Link]:
    return {name: link for name, link in manifest.recipe.links.items() if name != "code"}


def _differing(a: Any, b: Any, path: tuple[str, ...]) -> Iterator[_Value]:
    """Give the parameters that differ; a list is one value."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _differing(a.get(key, _ABSENT), b.get(key, _ABSENT), (*path, key))
    elif not _same(a, b):
        yield _Value(path=path, a=a, b=b)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return same_value(a, b)


def _name(path: tuple[str, ...]) -> str:
    """Write a parameter's path; one that is called as another input is told from it."""
    name = ".".join(path)
    return f"parameters.{name}" if name in (CODE, DATASET, SEED) else name


def _set(parameters: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        parameters = parameters[key]
    if value is _ABSENT:
        parameters.pop(path[-1], None)
    else:
        parameters[path[-1]] = copy.deepcopy(value)
