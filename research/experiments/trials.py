"""Trials: a stored question asked again under changed conditions, and not recorded.

Owns what an answer is compared by: its places. A place is a column of a table, a file, a metric, or
the error; two answers differ at those places whose contents are not the same. What a trial puts
out lives in a store of its own that is thrown away.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from research.experiments import capsule, runs
from research.experiments.conditions import Conditions
from research.experiments.runs import RunManifest
from rosdb import Link, Store, errors, remove_folder

STATUS: Final = "status"
FOLDERS: Final = "folders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a question was answered with: an outcome by its id and its places, or an error."""

    outcome_id: Link | None
    places: Mapping[str, Any] = field(default_factory=dict)

    def differs_at(self, other: "Answered") -> frozenset[str]:
        """Name the places at which two answers differ; none if they are the same."""
        names = self.places.keys() | other.places.keys()
        found = {name for name in names if self.places.get(name) != other.places.get(name)}
        if not found and self.outcome_id != other.outcome_id:
            found = {FOLDERS}
        return frozenset(found)


def read_answer(store: Store, manifest: RunManifest) -> Answered:
    """Read what a recorded run has answered."""
    if manifest.outcome is None:
        error = manifest.error or {}
        return _failed(error.get("kind", ""), error.get("message", ""))
    places: dict[str, Any] = {}
    for name, entry in runs.artifacts(store, manifest).items():
        if entry.kind != "table":
            places[name] = (str(entry.link), entry.mode)
            continue
        table = store.get_table(entry.link)
        places[name] = (table.rows, list(table))
        for column in table:
            kind = (table.rows, table.dtypes[column], table.units[column])
            places[f"{name}:{column}"] = (*kind, *map(_plain, table.parts(column)))
    for name, value in manifest.metrics.items():
        places[f"metrics:{name}"] = (type(value).__name__, repr(value))
    return Answered(outcome_id=manifest.outcome_id, places=places)


class Trials:
    """A question that can be asked again, so many times at most."""

    def __init__(self, store: Store, scratch: Store, folder: Path, question: RunManifest) -> None:
        self.count = 0
        self._store = store
        self._scratch = scratch
        self._folder = folder
        self._question = question

    def ask(self, conditions: Conditions, place: str = "") -> Answered:
        """Ask under these conditions; in a folder of this name, if the folder is to be the same."""
        self.count += 1
        folder = self._folder / (place or f"trial-{self.count}")
        folder.mkdir()
        try:
            return self._answer(capsule.Capsule(folder), conditions)
        finally:
            remove_folder(folder)

    def _answer(self, box: capsule.Capsule, conditions: Conditions) -> Answered:
        recipe = self._question.recipe
        box.fill(self._store, recipe)
        try:
            answer = box.run(recipe, conditions)
            if answer.error is not None:
                return _failed(answer.error.kind, answer.error.message)
            with self._scratch.transaction("a trial's outputs") as tx:
                links = {"artifacts": answer.collect(tx)}
                fields = {"metrics": dict(answer.metrics or {})}
                outcome_id = tx.put_record(runs.OUTCOME_SCHEMA, fields, links)
        except (errors.BadName, errors.BadTable, errors.NotCanonical, OSError) as fault:
            return _failed(type(fault).__name__, str(fault))
        outcome = self._scratch.get_record(outcome_id)
        answered = replace(self._question, outcome_id=outcome_id, outcome=outcome)
        return read_answer(self._scratch, answered)


@contextlib.contextmanager
def open_trials(store: Store, question: RunManifest) -> Iterator[Trials]:
    """Give a run's question to be asked again; all that is made for it is gone afterwards.

    The folder is where a run's folder is: on another file system a trial might go otherwise.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.lease(question.run_id))
        folder = stack.enter_context(store.scratch(question.run_id)).resolve()
        scratch = Store.init(folder / "store")
        stack.callback(scratch.close)
        yield Trials(store, scratch, folder, question)


def _failed(kind: str, message: str) -> Answered:
    return Answered(outcome_id=None, places={STATUS: (kind, message)})


def _plain(part: Link | bytes | None) -> str | bytes | None:
    return part if part is None or isinstance(part, bytes) else str(part)
