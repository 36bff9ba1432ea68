"""Reachability: what a ref leads to, through records and lists of chunks.

Owns the walk. It fails closed: what cannot be read could lead anywhere, so it is an error of the
walk, unless the caller says that its starts are garbage themselves.
"""

from collections.abc import Iterable, Sequence

from rosdb.chunks import decode_list
from rosdb.errors import NotCanonical, ObjectCorrupt, ObjectMissing
from rosdb.object_store import Objects
from rosdb.objects import Kind, Link, ObjectId, decode_record
from rosdb.pack_file import Damaged, Entry


def reach(
    objects: Objects, starts: Iterable[ObjectId], known: set[ObjectId], *, is_strict: bool = True
) -> set[ObjectId]:
    """Add to ``known`` all that the starts lead to, themselves included; each is read and hashed.

    What is known already is not walked again. Without strictness blobs are not read, and what
    cannot be read is passed by and returned: it is known, and nobody knows what it leads to.
    Raises: ObjectMissing, ObjectCorrupt.
    """
    unread: set[ObjectId] = set()
    waiting = list(starts)
    while waiting:
        object_id = waiting.pop()
        if object_id in known:
            continue
        known.add(object_id)
        try:
            waiting += _leads_to(objects, object_id, is_strict)
        except (ObjectMissing, ObjectCorrupt):
            if is_strict:
                raise
            unread.add(object_id)
    return unread


def _leads_to(objects: Objects, object_id: ObjectId, is_strict: bool) -> Sequence[ObjectId]:
    entry = objects.entry(object_id)
    if isinstance(object_id, Link) and (entry is Entry.RECORD) != (object_id.kind is Kind.RECORD):
        raise ObjectCorrupt(str(object_id), "another kind is linked than is stored")
    if entry is Entry.BLOB:
        if is_strict:
            # What calls itself a blob may be a list with a flipped bit, and lead to its chunks.
            objects.verify(object_id)
        return []
    if entry in (Entry.CHUNKS, Entry.INNER):
        content = memoryview(objects.load_part(object_id.digest, entry))
        try:
            return [ObjectId(digest) for digest, _ in decode_list(content)[1]]
        except Damaged as damage:
            raise ObjectCorrupt(str(object_id), str(damage)) from None
    try:
        record = decode_record(objects.load(object_id, Kind.RECORD)[1])
    except NotCanonical as error:
        raise ObjectCorrupt(str(object_id), error.reason) from None
    return list(record.links.values())
