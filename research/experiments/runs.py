"""Runs as people see them: the three records read back as one manifest.

Owns ``RunManifest`` and the reading of it. What it shows comes from the objects, verified; the
index is asked only which runs there are.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from research.errors import ArtifactMissing
from rosdb import (
    NAMES,
    RUNS,
    Entry,
    Link,
    ObjectId,
    Record,
    RunRow,
    Store,
    errors,
)

RUN_SCHEMA: Final = "run/v1"
STATUS_SCHEMA: Final = "status/v1"
OUTCOME_SCHEMA: Final = "outcome/v1"

Status = Literal["pending", "running", "completed", "failed"]
UNFINISHED: Final = ("pending", "running")
INTERRUPTED: Final = {
    "kind": "interrupted",
    "message": "its process ended before it did",
    "where": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """A run with its recipe, its status and its outcome."""

    run_id: Link
    name: str | None
    run: Record
    recipe_id: Link
    recipe: Record
    status: Status
    seconds: float | None
    error: Mapping[str, str] | None
    log: Link | None
    log_bytes_cut: int
    outcome_id: Link | None
    outcome: Record | None
    sandbox: Mapping[str, Any] | None = None
    """Which walls stood around its child; None before it ended, and for runs of old."""

    nondeterminism: tuple[Mapping[str, str], ...] = ()
    """Where it asked for what no recipe holds."""

    @property
    def experiment(self) -> str:
        """The experiment's id."""
        return str(self.recipe.fields["experiment"])

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters, nested."""
        parameters: dict[str, Any] = self.recipe.fields["parameters"]
        return parameters

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.recipe.fields["seed"])

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics, in the order in which they were declared; none if it did not complete."""
        if self.outcome is None:
            return {}
        found = self.outcome.fields["metrics"]
        declared = [name for name in self.run.fields["metric_names"] if name in found]
        return {name: found[name] for name in [*declared, *sorted(found.keys() - set(declared))]}

    @property
    def dataset(self) -> str | None:
        """The dataset as ``NAME@VERSION``."""
        asked = self.run.fields["dataset"]
        return None if asked is None else f"{asked['name']}@{asked['version']}"

    @property
    def created_at_ns(self) -> int:
        """When it was asked for."""
        return int(self.run.fields["created_at_ns"])

    @property
    def replay_of(self) -> Link | None:
        """The run that it replays."""
        return self.run.links.get("replay_of")

    @property
    def is_interrupted(self) -> bool:
        """Whether its process died."""
        return self.error is not None and self.error["kind"] == INTERRUPTED["kind"]


def read_run(store: Store, run_id: ObjectId, name: str | None = None) -> RunManifest:
    """Read a run.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    run = store.get_record(run_id)
    # First, whether its process lives: one that has let go has written its last status.
    is_alive = store.is_leased(run_id)
    state_id = store.ref(f"{RUNS}{run_id}")
    state = None if state_id is None or state_id == run_id else store.get_record(state_id)
    status: Status = "pending" if state is None else state.fields["status"]
    error = None if state is None else state.fields["error"]
    if status in UNFINISHED and not is_alive:
        status, error = "failed", INTERRUPTED
    if name is None:
        name = name_of(store, run_id)
    return _manifest(store, store.typed(run_id), name, run, state, status, error)


def read_ended(store: Store, run_id: Link, state_id: Link) -> RunManifest:
    """Read a run whose last state is known, and that has no name; no index is asked.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    state = store.get_record(state_id)
    run, status, error = store.get_record(run_id), state.fields["status"], state.fields["error"]
    return _manifest(store, run_id, None, run, state, status, error)


def _manifest(
    store: Store,
    run_id: Link,
    name: str | None,
    run: Record,
    state: Record | None,
    status: Status,
    error: Mapping[str, str] | None,
) -> RunManifest:
    recipe_id = run.links["recipe"]
    outcome_id = None if state is None else state.links.get("outcome")
    return RunManifest(
        run_id=run_id,
        name=name,
        run=run,
        recipe_id=recipe_id,
        recipe=store.get_record(recipe_id),
        status=status,
        seconds=None if state is None else state.fields["seconds"],
        error=error,
        log=None if state is None else state.links.get("log"),
        log_bytes_cut=0 if state is None else state.fields["log_bytes_cut"],
        outcome_id=outcome_id,
        outcome=None if outcome_id is None else store.get_record(outcome_id),
        sandbox=None if state is None else state.fields.get("sandbox"),
        nondeterminism=() if state is None else tuple(state.fields.get("nondeterminism", ())),
    )


def read_rows(store: Store, rows: Iterable[RunRow]) -> Iterator[RunManifest | RunRow]:
    """Read the runs that the index found; one whose records are damaged stays a row."""
    for row in rows:
        try:
            yield read_run(store, row.run_id, row.name)
        except (errors.ObjectMissing, errors.ObjectCorrupt):
            yield row


def find_completed(store: Store, recipe: ObjectId) -> RunManifest | None:
    """Return the newest completed run of a recipe that was no replay."""
    conditions = {"recipe": recipe.digest, "status": "completed", "kind": "run"}
    for row in store.runs(conditions=conditions):
        try:
            found = read_run(store, row.run_id, row.name)
        except (errors.ObjectMissing, errors.ObjectCorrupt):
            continue  # no answer any more: running it again puts the same objects back
        # The index only points: what is answered stands in the objects.
        if found.recipe_id == recipe and found.status == "completed":
            return found
    return None


def settle_interrupted(store: Store) -> None:
    """Note in the index the unfinished runs whose process is gone, so that filters see them so."""
    for status in UNFINISHED:
        for row in read_rows(store, list(store.runs(conditions={"status": status}))):
            if isinstance(row, RunManifest) and row.is_interrupted:
                store.mark_run(row.run_id, "failed")


def name_of(store: Store, run_id: ObjectId) -> str | None:
    """Return the name that a run was given."""
    for row in store.runs(conditions={"run": run_id.digest}, limit=1):
        return row.name
    return None


def name_ref(name: str) -> str:
    """Return the ref of a run's name."""
    return NAMES + name


def artifacts(store: Store, manifest: RunManifest) -> dict[str, Entry]:
    """Return a run's artifacts by their path, tables and files, subfolders walked."""
    if manifest.outcome is None:
        return {}
    return dict(_walk(store, manifest.outcome.links["artifacts"], ""))


def artifact(store: Store, manifest: RunManifest, path: str) -> Entry:
    """Return one artifact.

    Raises: ArtifactMissing with the nearest names.
    """
    found = artifacts(store, manifest)
    if path in found:
        return found[path]
    raise ArtifactMissing(path, difflib.get_close_matches(path, found, n=3, cutoff=0.3) or [*found])


def _walk(store: Store, tree_id: ObjectId, prefix: str) -> Iterator[tuple[str, Entry]]:
    for name, entry in sorted(store.get_tree(tree_id).items()):
        if entry.kind == "tree":
            yield from _walk(store, entry.link, f"{prefix}{name}/")
        else:
            yield prefix + name, entry
