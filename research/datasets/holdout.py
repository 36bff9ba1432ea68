"""Holdouts: dataset versions that are kept for the last question.

Owns the mark, a ref ``holdouts/NAME/VERSION`` that leads to the snapshot. It changes nothing of the
data and of no recipe: it has the ledger count who opened it. A mark is made once and stays.
"""

from collections.abc import Iterator
from typing import Final

from research.context import Context
from research.datasets.snapshot import Snapshot
from rosdb import Store, errors

HOLDOUTS: Final = "holdouts/"


def mark_holdout(context: Context, snapshot: Snapshot) -> bool:
    """Mark a snapshot as a holdout; tell whether it was none before."""
    ref, store = f"{HOLDOUTS}{snapshot.name}/{snapshot.version}", context.store
    if store.ref(ref) is not None:
        return False
    try:
        with store.transaction(f"data mark {snapshot.label} --holdout") as tx:
            tx.move_ref(ref, snapshot.link, expected=None)
    except errors.RefMoved:
        return False  # somebody else marked it just now
    return True


def holdouts(store: Store) -> Iterator[tuple[str, str]]:
    """List what is marked: names and versions."""
    for ref, _ in store.refs(HOLDOUTS):
        name, _, version = ref.removeprefix(HOLDOUTS).partition("/")
        yield name, version


def is_holdout(store: Store, snapshot: Snapshot) -> bool:
    """Tell whether a snapshot is marked."""
    return store.ref(f"{HOLDOUTS}{snapshot.name}/{snapshot.version}") is not None
