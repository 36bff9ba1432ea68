"""Hit or miss, and why: a question beside the nearest one that was asked before.

Owns the comparison of a recipe that nobody has run with those of earlier runs. Nothing is executed
and nothing is stored. What differs is named down to the parameter's path, the dataset's file, the
function, the distribution.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.experiments import recipe, runs, source_units
from research.experiments.divergence import same_value
from research.experiments.recipe import Question, Request
from research.experiments.run import find_answer
from research.experiments.runs import RunManifest
from rosdb import Entry, Kind, ObjectId, Record, RunRow, Store, errors, id_of

CANDIDATES_MAX: Final = 200
"""How many of an experiment's runs are looked at, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs: what it was in the earlier run, and is now; None where absent."""

    part: str
    name: str
    then: Any
    now: Any

    def to_fields(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"part": self.part, "name": self.name, "then": self.then, "now": self.now}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether the store has the answer; if not, the nearest earlier run and what differs."""

    is_hit: bool
    fingerprint: ObjectId
    nearest: RunManifest | None
    differences: tuple[Difference, ...] = ()


def explain(context: Context, request: Request) -> Explanation:
    """Say whether a request would be answered from the store, and why not.

    Of two runs equally near the newer is taken.

    Raises: BadInput and NotThere in their kinds, as the run would.
    """
    store = context.store
    with store.transaction(f"explain {request.experiment_id}") as tx:
        question = recipe.build(context, tx, request)
        tx.abandon()
    hit = find_answer(context, question.recipe)
    if hit is not None:
        return Explanation(is_hit=True, fingerprint=question.recipe, nearest=hit)
    unfit = runs.find_completed(store, question.recipe)
    if unfit is not None:
        asked_for = ", ".join(dict.fromkeys(each["what"] for each in unfit.nondeterminism))
        differs = Difference(part="options", name="strict", then=f"it read {asked_for}", now="true")
        return Explanation(
            is_hit=False, fingerprint=question.recipe, nearest=unfit, differences=(differs,)
        )
    near = _Neighbourhood(store, question)
    best = min(_candidates(store, request.experiment_id), key=near.distance, default=None)
    if best is None:
        return Explanation(is_hit=False, fingerprint=question.recipe, nearest=None)
    manifest = runs.read_run(store, best.run_id)
    return Explanation(
        is_hit=False,
        fingerprint=question.recipe,
        nearest=manifest,
        differences=tuple(near.differences(manifest)),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    run_id: ObjectId
    recipe_id: ObjectId
    recipe: Record


def _candidates(store: Store, experiment_id: str) -> Iterator[_Candidate]:
    """Give the newest runs of an experiment, of each recipe the newest; damaged ones are left."""
    seen = set()
    conditions = {"experiment": experiment_id, "kind": "run"}
    rows: list[RunRow] = list(store.runs(conditions=conditions, limit=CANDIDATES_MAX))
    for row in rows:
        if row.recipe not in seen:
            seen.add(row.recipe)
            try:
                yield _Candidate(row.run_id, row.recipe, store.get_record(row.recipe))
            except (errors.ObjectMissing, errors.ObjectCorrupt):
                continue


class _Neighbourhood:
    """One question, and how far from it others lie."""

    def __init__(self, store: Store, question: Question) -> None:
        self._store = store
        self._question = question
        self._contents = {
            path: file if isinstance(file, bytes) else Path(file).read_bytes()
            for path, file in question.code.files.items()
        }
        self._code = {path: id_of(Kind.BLOB, data) for path, data in self._contents.items()}
        self._trees: dict[ObjectId, dict[str, ObjectId]] = {}

    def distance(self, candidate: _Candidate) -> int:
        """Count what differs; a file of code is one, whatever changed in it."""
        then, now = candidate.recipe, self._question
        if candidate.recipe_id == now.recipe:
            return 0
        try:
            files = self._changed_files(self._files(then.links["code"]), self._code)
        except (errors.ObjectMissing, errors.ObjectCorrupt):
            return 2**31
        fields = sum(1 for _ in self._fields(then))
        return fields + len(files) + (_inputs(then.links) != _inputs(now.links))

    def differences(self, manifest: RunManifest) -> Iterator[Difference]:
        """Name what differs from a run: parameters, seed, dataset, code, environment."""
        if manifest.recipe_id == self._question.recipe:
            yield Difference(part="status", name="status", then=manifest.status, now=None)
            return
        fields = list(self._fields(manifest.recipe))
        asked = ("parameter", "seed")
        yield from (each for each in fields if each.part in asked)
        yield from self._dataset(manifest)
        yield from self._code_changes(manifest.recipe.links["code"])
        yield from (each for each in fields if each.part not in asked)

    def _fields(self, then: Record) -> Iterator[Difference]:
        """Compare everything but code and dataset."""
        ours, theirs = then.fields, self._question.fields
        yield from _values("parameter", ours["parameters"], theirs["parameters"])
        for name in ("seed", "entry", "capsule"):
            if not same_value(ours[name], theirs[name]):
                yield Difference(part=name, name=name, then=ours[name], now=theirs[name])
        before, after = (_flat_environment(each["environment"]) for each in (ours, theirs))
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                a, b = _shown(before.get(name), after.get(name))
                yield Difference(part="environment", name=name, then=a, now=b)

    def _dataset(self, manifest: RunManifest) -> Iterator[Difference]:
        """Compare the inputs: the dataset by its name, its files by their content."""
        then, now = _inputs(manifest.recipe.links), _inputs(self._question.links)
        if then == now:
            return
        snapshot = self._question.snapshot
        label = None if snapshot is None else snapshot.label
        if manifest.dataset != label:
            yield Difference(part="dataset", name="dataset", then=manifest.dataset, now=label)
        if then.keys() != now.keys():
            kinds = [" and ".join(sorted(each)) or None for each in (then, now)]
            yield Difference(part="dataset", name="input", then=kinds[0], now=kinds[1])
        link = manifest.run.links.get("snapshot")
        before = {} if link is None else self._files(self._store.get_record(link).links["files"])
        after = {} if snapshot is None else self._files(snapshot.files)
        for path in self._changed_files(before, after):
            yield Difference(
                part="dataset", name=path, then=_text(before.get(path)), now=_text(after.get(path))
            )

    def _code_changes(self, code: ObjectId) -> Iterator[Difference]:
        """Compare the code file by file; within a file, by its functions and classes."""
        before = self._files(code)
        for path in self._changed_files(before, self._code):
            then, now = before.get(path), self._code.get(path)
            changed = None
            if path.endswith(".py") and then is not None and now is not None:
                changed = source_units.changed_units(
                    self._store.get_blob(then), self._contents[path]
                )
            if changed is None:
                yield Difference(part="code", name=path, then=_text(then), now=_text(now))
                continue
            for name in source_units.names_of(changed):
                a, b = changed[name]
                yield Difference(part="code", name=f"{path}: {name}", then=a, now=b)

    @staticmethod
    def _changed_files(then: Mapping[str, ObjectId], now: Mapping[str, ObjectId]) -> list[str]:
        return sorted(path for path in then.keys() | now.keys() if then.get(path) != now.get(path))

    def _files(self, tree_id: ObjectId) -> dict[str, ObjectId]:
        """Return the files of a tree by their path; a folder that was seen is not read again."""
        if tree_id not in self._trees:
            found: dict[str, ObjectId] = {}
            for name, entry in self._store.get_tree(tree_id).items():
                found |= self._below(name, entry)
            self._trees[tree_id] = found
        return self._trees[tree_id]

    def _below(self, name: str, entry: Entry) -> dict[str, ObjectId]:
        if entry.kind != "tree":
            return {name: entry.link}
        return {f"{name}/{path}": each for path, each in self._files(entry.link).items()}


def _values(part: str, then: Any, now: Any) -> Iterator[Difference]:
    before, after = dict(_flat(then, "")), dict(_flat(now, ""))
    for name in sorted(before.keys() | after.keys()):
        is_there = (name in before, name in after)
        if is_there != (True, True) or not same_value(before[name], after[name]):
            yield Difference(part=part, name=name, then=before.get(name), now=after.get(name))


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Flatten to dotted paths; an empty map or list stands for itself."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and value:
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}[{number}]")
    elif path:
        yield path, value


def _flat_environment(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the interpreter's fields, the variables and the distributions by their names."""
    plain = {k: v for k, v in described.items() if k not in ("variables", "distributions")}
    return {**plain, **described["variables"], **described["distributions"]}


def _shown(then: Any, now: Any) -> tuple[Any, Any]:
    """Return versions of distributions; with their content where the version is the same."""
    versions = [each["version"] if isinstance(each, Mapping) else each for each in (then, now)]
    if isinstance(then, Mapping) and isinstance(now, Mapping) and versions[0] == versions[1]:
        contents = [f"{each['version']} ({each['record_hash'][:12]})" for each in (then, now)]
        return contents[0], contents[1]
    return versions[0], versions[1]


def _inputs(links: Mapping[str, ObjectId]) -> dict[str, ObjectId]:
    return {name: link for name, link in links.items() if name != "code"}


def _text(link: ObjectId | None) -> str | None:
    return None if link is None else str(link)
