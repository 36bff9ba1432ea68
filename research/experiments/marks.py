"""Marks: what is said of a run after it ended.

Owns their reading. Tags, a note and a name are refs of their own that lead to the run, or to a
record that links it; a sweep and a promotion link it too. Nothing in the run's records changes, so
neither does its id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rosdb import NOTES, TAGS, ObjectId, Store, errors

NOTE_SCHEMA: Final = "note/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The marks of one run."""

    tags: tuple[str, ...] = ()
    note: str | None = None
    sweeps: tuple[str, ...] = ()
    """The ids of the sweeps of which it answers a point."""

    promoted: tuple[str, ...] = ()
    """The strategies whose newest promotion is of this run."""


NONE: Final = Marks()


def read_marks(store: Store, run_id: ObjectId) -> Marks:
    """Read a run's marks: tags and note from where their refs lead, the others from the index."""
    told = store.marks(run_id)
    prefix = f"{TAGS}{run_id}/"
    return Marks(
        tags=tuple(name.removeprefix(prefix) for name, _ in store.refs(prefix)),
        note=read_note(store, run_id),
        sweeps=_named(told, "sweep"),
        promoted=_named(told, "promoted"),
    )


def read_note(store: Store, run_id: ObjectId) -> str | None:
    """Return a run's note; None where there is none that can be read."""
    link = store.ref(f"{NOTES}{run_id}")
    if link is None:
        return None
    try:
        record = store.get_record(link)
    except (errors.ObjectMissing, errors.ObjectCorrupt):
        return None  # the check names it; the run can be shown all the same
    text = record.fields.get("text") if record.schema == NOTE_SCHEMA else None
    return text if isinstance(text, str) else None


def _named(told: Iterable[tuple[str, str]], space: str) -> tuple[str, ...]:
    return tuple(value for each, value in told if each == space)
