"""The fields of a run that have a column of their own: what a filter, a sort and a list may name.

Owns their names, their types and where the index keeps them. Every other name is a fact: a metric
or a parameter.

    text    status experiment name kind version note      compared as text
    id      run fingerprint outcome replay_of             the first digits are enough
    number  seconds          time    created              dataset: NAME or NAME@VERSION
    set     tag sweep promoted                            a run has none, one or several
"""

from dataclasses import dataclass
from typing import Final, Literal

FieldType = Literal["text", "id", "number", "time", "dataset", "set"]

TAG: Final = "tag"
NOTE: Final = "note"
SWEEP: Final = "sweep"
PROMOTED: Final = "promoted"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its type, and the SQL that reads it from the row ``r`` of a run."""

    type: FieldType
    sql: str
    has_ids: bool = False
    """Its values are ids, of which the first digits are enough."""


def _id(column: str) -> Field:
    return Field("id", f"lower(hex({column}))", has_ids=True)


def _marks(space: str) -> str:
    # Of the sets, the SQL that lists the values; the space is one of the words above.
    return f"SELECT value FROM marks WHERE run = r.run AND space = '{space}'"


FIELDS: Final = {
    "status": Field("text", "r.status"),
    "experiment": Field("text", "r.experiment"),
    "name": Field("text", "r.name"),
    "kind": Field("text", "r.kind"),
    "version": Field("text", "r.version"),
    "note": Field("text", f"({_marks(NOTE)})"),
    "run": _id("r.run"),
    "fingerprint": _id("r.recipe"),
    "outcome": Field("id", "nullif(lower(hex(r.outcome)), '')", has_ids=True),
    "replay_of": Field("id", "nullif(lower(hex(r.replay_of)), '')", has_ids=True),
    "seconds": Field("number", "r.seconds"),
    "created": Field("time", "r.created_at_ns"),
    "dataset": Field("dataset", "r.dataset"),
    "tag": Field("set", _marks(TAG)),
    "sweep": Field("set", _marks(SWEEP), has_ids=True),
    "promoted": Field("set", _marks(PROMOTED)),
}
