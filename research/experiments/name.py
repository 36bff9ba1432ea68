"""Names: one for a run, and one run for a name.

Owns who may have a name. It belongs to its run until that is given another; only a run that failed
can lose it to a different run.
"""

import contextlib
from collections.abc import Iterator

from research.context import Context
from research.errors import NameTaken
from research.experiments import runs
from rosdb import ObjectId, Store, check_run_name, errors


def name(context: Context, run_id: ObjectId, new: str) -> str | None:
    """Give a run a name in the place of the one that it has; return that one.

    Raises: BadName, NameTaken.
    """
    check_run_name(new)
    store = context.store
    old = runs.name_of(store, run_id)
    before = check_free(store, new, run_id)
    if old == new:
        return old
    with told_if_taken(store, new), store.transaction(f"name {new}") as tx:
        if before != run_id:
            tx.move_ref(runs.name_ref(new), run_id, expected=before)
        if old is not None:
            tx.move_ref(runs.name_ref(old), None, expected=run_id)
    return old


def check_free(store: Store, name: str | None, wanted: ObjectId | None) -> ObjectId | None:
    """Return what a name leads to now, if it may be moved: it is free, or its run came to nothing.

    Raises: NameTaken.
    """
    owner = None if name is None else store.ref(runs.name_ref(name))
    if name is None or owner is None or owner == wanted:
        return owner
    if runs.read_run(store, owner).status == "failed":
        return owner
    raise NameTaken("run name", name, f"it names run {str(owner)[:12]}")


@contextlib.contextmanager
def told_if_taken(store: Store, name: str | None) -> Iterator[None]:
    """Say of a name's lost race what it comes to: the name is taken."""
    try:
        yield
    except errors.RefMoved as error:
        if name is not None and error.ref == runs.name_ref(name):
            check_free(store, name, None)
        raise
