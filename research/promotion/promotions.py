"""Promotions: the history of each strategy.

Owns the listing of what was promoted. A promotion that is superseded keeps its record, its config
and its evidence.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from research.errors import NotThere
from rosdb import PROMOTIONS, ObjectId, Record, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One promotion of a strategy.

    ``created_at_ns`` and ``who`` are None for promotions of old; the journal has them.
    """

    strategy: str
    promotion: ObjectId
    is_current: bool
    created_at_ns: int | None
    who: str | None
    run_id: ObjectId
    config: ObjectId
    supersedes: ObjectId | None
    profile: str | None
    warnings: tuple[str, ...]
    """The gates that warned."""


def promotions(store: Store, strategy: str | None = None) -> Iterator[Entry]:
    """List the promotions of a strategy, or of all by name; the newest of each first.

    Raises: NotThere with the nearest names; ObjectMissing, ObjectCorrupt.
    """
    found = {ref.removeprefix(PROMOTIONS): newest for ref, newest in store.refs(PROMOTIONS)}
    if strategy is not None and strategy not in found:
        near = difflib.get_close_matches(strategy, found, n=3, cutoff=0.5)
        raise NotThere("promoted strategy", strategy, near)
    for name in found if strategy is None else [strategy]:
        for promotion, record in history(store, found[name]):
            evidence = record.fields["evidence"]
            gates = evidence.get("gates", ())
            yield Entry(
                strategy=name,
                promotion=promotion,
                is_current=promotion == found[name],
                created_at_ns=record.fields.get("created_at_ns"),
                who=record.fields.get("who"),
                run_id=record.links["run"],
                config=record.links["config"],
                supersedes=record.links.get("supersedes"),
                profile=evidence.get("profile"),
                warnings=tuple(gate["name"] for gate in gates if gate["verdict"] == "warn"),
            )


def history(store: Store, promotion: ObjectId | None) -> Iterator[tuple[ObjectId, Record]]:
    """List a promotion and those that it supersedes, the newest first.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    while promotion is not None:
        record = store.get_record(promotion)
        yield promotion, record
        promotion = record.links.get("supersedes")
