"""Notes: a few words on a run, which may be replaced; what was said before is in the journal.

Owns the refs ``notes/RUN_ID`` and the record ``note/v1``.
"""

from typing import Final

from research.context import Context
from research.errors import BadInput
from research.experiments.marks import NOTE_SCHEMA
from rosdb import NOTES, ObjectId

_BYTES_MAX: Final = 64 * 1024


def note(context: Context, run_id: ObjectId, text: str) -> bool:
    """Say something of a run; tell whether that was not its note before.

    Raises: BadInput if the text is empty, too long, or would move a terminal's cursor.
    """
    text = _checked(text)
    store, ref = context.store, f"{NOTES}{run_id}"
    before = store.ref(ref)
    with store.transaction("note") as tx:
        link = tx.put_record(NOTE_SCHEMA, {"text": text}, {"run": run_id})
        if link != before:
            tx.move_ref(ref, link, expected=before)
    return link != before


def unnote(context: Context, run_id: ObjectId) -> bool:
    """Take a run's note away; tell whether it had one."""
    store, ref = context.store, f"{NOTES}{run_id}"
    before = store.ref(ref)
    if before is not None:
        with store.transaction("note taken away") as tx:
            tx.move_ref(ref, None, expected=before)
    return before is not None


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise BadInput("a note says something; to take one away: ros note RUN --delete")
    for char in text:
        if not char.isprintable() and char not in "\n\t":
            raise BadInput(f"a note is text: {char!r} cannot be shown")
    if len(text.encode()) > _BYTES_MAX:
        raise BadInput(f"a note has at most {_BYTES_MAX} bytes; add a longer text as a dataset")
    return text
