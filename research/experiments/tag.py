"""Tags: labels that runs are given, and lose again.

Owns the refs ``tags/RUN_ID/LABEL``. A run may have several, and several runs one.
"""

import contextlib
import difflib
from collections.abc import Iterator

from research.context import Context
from research.errors import TagMissing
from rosdb import TAGS, ObjectId, check_label, errors


def tag(context: Context, run_id: ObjectId, label: str) -> bool:
    """Give a run a label; tell whether it did not have it before.

    Raises: BadName.
    """
    check_label("tag", label)
    store, ref = context.store, _ref(run_id, label)
    if store.ref(ref) is not None:
        return False
    with _lost_race(), store.transaction(f"tag {label}") as tx:
        tx.move_ref(ref, run_id, expected=None)
    return True


def untag(context: Context, run_id: ObjectId, label: str) -> None:
    """Take a label from a run.

    Raises: BadName; TagMissing if the run does not have it.
    """
    check_label("tag", label)
    store, ref = context.store, _ref(run_id, label)
    target = store.ref(ref)
    if target is None:
        prefix = _ref(run_id, "")
        has = [name.removeprefix(prefix) for name, _ in store.refs(prefix)]
        raise TagMissing(label, str(run_id)[:12], difflib.get_close_matches(label, has) or has[:3])
    with _lost_race(), store.transaction(f"untag {label}") as tx:
        tx.move_ref(ref, None, expected=target)


def _ref(run_id: ObjectId, label: str) -> str:
    return f"{TAGS}{run_id}/{label}"


@contextlib.contextmanager
def _lost_race() -> Iterator[None]:
    """Take a lost race as won: whoever was faster has said the same."""
    with contextlib.suppress(errors.RefMoved):
        yield
