"""What differs between two runs: in the question, and in the answer.

Owns the comparison of two runs' inputs (parameters, code, dataset, environment, seed) and outputs
(metrics, artifacts). Both come from the store, verified.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.context import Context
from research.experiments import environment, runs
from research.experiments.divergence import Divergence, compare_entries, same_value
from research.experiments.runs import RunManifest
from rosdb import Entry, ObjectId, Store, flatten


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value here and there; None where it is absent."""

    a: Any
    b: Any

    @property
    def difference(self) -> float | None:
        """B minus A, of numbers."""
        if _is_number(self.a) and _is_number(self.b):
            return float(self.b - self.a)
        return None

    @property
    def relative(self) -> float | None:
        """The difference as a fraction of A."""
        difference = self.difference
        return None if difference is None or not self.a else difference / abs(self.a)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file of a tree that differs; ``diff`` is empty where it is not text."""

    path: str
    state: str
    diff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactChange:
    """One artifact: ``identical``, ``changed``, ``only in a`` or ``only in b``."""

    name: str
    state: str
    a: Entry | None
    b: Entry | None
    first: Divergence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything that differs between two runs."""

    a: RunManifest
    b: RunManifest
    experiment: Change | None
    parameters: Mapping[str, Change]
    seed: Change | None
    dataset: Change | None
    dataset_files: tuple[FileChange, ...]
    environment: tuple[str, ...]
    code: tuple[FileChange, ...]
    metrics: Mapping[str, Change]
    artifacts: tuple[ArtifactChange, ...]

    @property
    def same_inputs(self) -> bool:
        """Whether they ask one question."""
        return self.a.recipe_id == self.b.recipe_id

    @property
    def identical(self) -> bool:
        """Whether they ask one question and give one answer."""
        return self.same_inputs and self.a.outcome_id == self.b.outcome_id


def diff(context: Context, a_id: ObjectId, b_id: ObjectId) -> Difference:
    """Compare two runs.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    store = context.store
    a, b = runs.read_run(store, a_id), runs.read_run(store, b_id)
    a_environment, b_environment = (m.recipe.fields["environment"] for m in (a, b))
    return Difference(
        a=a,
        b=b,
        experiment=_change(a.experiment, b.experiment),
        parameters=_changes(dict(flatten(a.parameters)), dict(flatten(b.parameters))),
        seed=_change(a.seed, b.seed),
        dataset=_dataset_change(a, b),
        dataset_files=_tree_changes(store, _dataset_files(store, a), _dataset_files(store, b)),
        environment=tuple(environment.differences(a_environment, b_environment)),
        code=_tree_changes(store, _code(store, a), _code(store, b)),
        metrics=_metric_changes(a.metrics, b.metrics),
        artifacts=_artifact_changes(store, a, b),
    )


def _change(a: Any, b: Any) -> Change | None:
    return None if same_value(a, b) else Change(a=a, b=b)


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Change]:
    changes = {}
    for key in sorted(a.keys() | b.keys()):
        if (key in a) != (key in b) or not same_value(a.get(key), b.get(key)):
            changes[key] = Change(a=a.get(key), b=b.get(key))
    return changes


def _metric_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Change]:
    """Return every metric in its declared order, changed or not: what stayed is an answer too."""
    return {k: Change(a=a.get(k), b=b.get(k)) for k in dict.fromkeys([*a, *b])}


def _dataset_change(a: RunManifest, b: RunManifest) -> Change | None:
    given = [{k: v for k, v in m.recipe.links.items() if k != "code"} for m in (a, b)]
    return None if given[0] == given[1] else Change(a=a.dataset, b=b.dataset)


def _dataset_files(store: Store, manifest: RunManifest) -> dict[str, Entry]:
    snapshot = manifest.run.links.get("snapshot")
    return {} if snapshot is None else _files(store, store.get_record(snapshot).links["files"])


def _code(store: Store, manifest: RunManifest) -> dict[str, Entry]:
    return _files(store, manifest.recipe.links["code"])


def _files(store: Store, tree_id: ObjectId, prefix: str = "") -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for name, entry in store.get_tree(tree_id).items():
        if entry.kind == "tree":
            found |= _files(store, entry.link, f"{prefix}{name}/")
        else:
            found[prefix + name] = entry
    return found


def _tree_changes(
    store: Store, a: Mapping[str, Entry], b: Mapping[str, Entry]
) -> tuple[FileChange, ...]:
    changes = []
    for path in sorted(a.keys() | b.keys()):
        ours, theirs = a.get(path), b.get(path)
        if ours is not None and theirs is not None and ours.link == theirs.link:
            continue
        state = "removed" if theirs is None else "added" if ours is None else "changed"
        text = _unified(path, _text(store, ours), _text(store, theirs))
        changes.append(FileChange(path=path, state=state, diff=text))
    return tuple(changes)


def _text(store: Store, entry: Entry | None) -> str | None:
    """Return a file's text; None if it is not text, or too long to be read line by line."""
    if entry is None:
        return ""
    if entry.size > 1024 * 1024:
        return None
    try:
        return store.get_blob(entry.link).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _unified(path: str, a: str | None, b: str | None) -> str:
    if a is None or b is None:
        return ""
    lines = difflib.unified_diff(
        a.splitlines(), b.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
    return "\n".join(lines)


def _artifact_changes(store: Store, a: RunManifest, b: RunManifest) -> tuple[ArtifactChange, ...]:
    ours, theirs = runs.artifacts(store, a), runs.artifacts(store, b)
    changes = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        first = None
        if mine is None:
            state = "only in b"
        elif other is None:
            state = "only in a"
        else:
            first = compare_entries(store, name, mine, other)
            state = "identical" if first is None else "changed"
        changes.append(ArtifactChange(name=name, state=state, a=mine, b=other, first=first))
    return tuple(changes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
