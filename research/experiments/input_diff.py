"""What differs between the questions of two runs.

Owns the comparison of parameters, code, dataset, environment and seed. Everything comes from the
store, verified.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from research.datasets.diff import SnapshotDiff, diff_snapshots, files_below
from research.datasets.snapshot import read_snapshot
from research.experiments import environment
from research.experiments.divergence import same_value
from research.experiments.environment import PartChange
from research.experiments.runs import RunManifest
from research.table_diff import SAMPLES, TableDiff
from rosdb import Entry, Store, flatten

MODELS: Final = ("execution", "costs", "risk")
"""The parameters below these are models of the simulation."""

TEXT_BYTES_MAX: Final = 1024 * 1024
"""A file that is longer is not compared line by line."""


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
    """``added``, ``removed`` or ``changed``."""

    diff: str

    @property
    def lines_added(self) -> int:
        """How many lines B has that A has not."""
        return _count_lines(self.diff, "+")

    @property
    def lines_removed(self) -> int:
        """How many lines A has that B has not."""
        return _count_lines(self.diff, "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that differs between two questions."""

    experiment: Change | None
    parameters: Mapping[str, Change]
    seed: Change | None
    dataset: Change | None
    snapshots: SnapshotDiff | None
    dataset_files: tuple[FileChange, ...]
    environment: tuple[PartChange, ...]
    code: tuple[FileChange, ...]

    @property
    def differ_by_data_alone(self) -> bool:
        """Whether nothing but the dataset differs."""
        others = (self.experiment, self.parameters, self.seed, self.environment, self.code)
        return self.dataset is not None and not any(others)

    @property
    def restated(self) -> TableDiff | None:
        """The rows that the vendor restated, where nothing else at all differs between two runs."""
        if not self.differ_by_data_alone or self.snapshots is None:
            return None
        rows = given_rows(self.snapshots)
        return rows if rows is not None and rows.is_restated else None


def diff_inputs(store: Store, a: RunManifest, b: RunManifest, *, samples: int = SAMPLES) -> Inputs:
    """Compare the questions of two runs; of the data every restatement counts, however small.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    snapshots = _snapshot_diff(store, a, b, samples)
    recorded = [manifest.recipe.fields["environment"] for manifest in (a, b)]
    return Inputs(
        experiment=_change(a.experiment, b.experiment),
        parameters=_changes(dict(flatten(a.parameters)), dict(flatten(b.parameters))),
        seed=_change(a.seed, b.seed),
        dataset=_dataset_change(a, b),
        snapshots=snapshots,
        dataset_files=_dataset_files(store, a, b),
        environment=tuple(environment.changes(*recorded)),
        code=tree_changes(store, _code(store, a), _code(store, b)),
    )


def is_model(path: str) -> bool:
    """Tell whether a parameter is one of a model of execution, cost or risk."""
    return path.partition(".")[0] in MODELS


def given_rows(snapshots: SnapshotDiff) -> TableDiff | None:
    """Return the difference of the rows, where it stands in one table alone."""
    if snapshots.bars is not None:
        return snapshots.bars
    tables = [file.rows for file in snapshots.files]
    return tables[0] if len(tables) == 1 else None


def unified(path: str, a: str | None, b: str | None) -> str:
    """Return a unified diff; empty where either is no text."""
    if a is None or b is None:
        return ""
    lines = difflib.unified_diff(
        a.splitlines(), b.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
    return "\n".join(lines)


def text_of(store: Store, entry: Entry | None) -> str | None:
    """Return a file's text; None if it is not text, or too long to be read line by line."""
    if entry is None:
        return ""
    if entry.size > TEXT_BYTES_MAX:
        return None
    try:
        text = store.get_blob(entry.link).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def tree_changes(
    store: Store, a: Mapping[str, Entry], b: Mapping[str, Entry], *, reads_lines: bool = True
) -> tuple[FileChange, ...]:
    """Compare the files of two trees."""
    changes = []
    for path in sorted(a.keys() | b.keys()):
        ours, theirs = a.get(path), b.get(path)
        if ours is not None and theirs is not None and ours.link == theirs.link:
            continue
        state = "removed" if theirs is None else "added" if ours is None else "changed"
        lines = ""
        if reads_lines:
            lines = unified(path, text_of(store, ours), text_of(store, theirs))
        changes.append(FileChange(path=path, state=state, diff=lines))
    return tuple(changes)


def _code(store: Store, manifest: RunManifest) -> dict[str, Entry]:
    return files_below(store, manifest.recipe.links["code"])


def _dataset_change(a: RunManifest, b: RunManifest) -> Change | None:
    given = [{k: v for k, v in m.recipe.links.items() if k != "code"} for m in (a, b)]
    return None if given[0] == given[1] else Change(a=a.dataset, b=b.dataset)


def _snapshot_diff(
    store: Store, a: RunManifest, b: RunManifest, samples: int
) -> SnapshotDiff | None:
    """Compare the snapshots of two runs that were not given the same data."""
    links = [manifest.run.links.get("snapshot") for manifest in (a, b)]
    if links[0] is None or links[1] is None or _dataset_change(a, b) is None:
        return None
    ours, theirs = (read_snapshot(store, link) for link in links if link is not None)
    # A run that is given bars is not moved by what stands beside them in the files.
    has_files = any("files" in manifest.recipe.links for manifest in (a, b))
    return diff_snapshots(store, ours, theirs, samples=samples, reads_files=has_files)


def _dataset_files(store: Store, a: RunManifest, b: RunManifest) -> tuple[FileChange, ...]:
    links = [manifest.run.links.get("snapshot") for manifest in (a, b)]
    if links[0] == links[1]:
        return ()
    trees = [
        {} if link is None else files_below(store, read_snapshot(store, link).files)
        for link in links
    ]
    return tree_changes(store, trees[0], trees[1], reads_lines=False)


def _change(a: Any, b: Any) -> Change | None:
    return None if same_value(a, b) else Change(a=a, b=b)


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Change]:
    changes = {}
    for key in sorted(a.keys() | b.keys()):
        if (key in a) != (key in b) or not same_value(a.get(key), b.get(key)):
            changes[key] = Change(a=a.get(key), b=b.get(key))
    return changes


def _count_lines(diff: str, sign: str) -> int:
    # The first two lines name the files.
    return sum(line.startswith(sign) for line in diff.splitlines()[2:])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
