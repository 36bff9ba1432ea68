"""Objects on their way from one store to another, by whatever carries bytes.

Owns what a parcel holds: everything that some links lead to, children before parents. Who unpacks
one puts each object anew, so that its id is computed and not believed.
"""

from collections.abc import Iterable
from typing import Final

from rosdb import (
    Kind,
    Link,
    ObjectId,
    Record,
    Store,
    Transaction,
    decode_value,
    encode_value,
    errors,
)

_VERSION: Final = "parcel/v1"


def pack(store: Store, roots: Iterable[Link]) -> bytes:
    """Pack what the roots lead to.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    packed: dict[Link, list[object]] = {}
    waiting = [(root, False) for root in roots]
    while waiting:
        link, is_below_packed = waiting.pop()
        if link in packed:
            continue
        if link.kind is Kind.BLOB:
            packed[link] = [link.digest, store.get_blob(link)]
            continue
        record = store.get_record(link)
        if is_below_packed:
            packed[link] = [link.digest, _spelled(record)]
        else:
            waiting.append((link, True))
            waiting.extend((each, False) for each in record.links.values())
    return encode_value([_VERSION, list(packed.values())])


def unpack(tx: Transaction, parcel: bytes) -> None:
    """Put what a parcel holds.

    Raises: ObjectCorrupt if it is no parcel, or something in it is not what it is called.
    """
    try:
        version, entries = decode_value(parcel)
        if version != _VERSION:
            raise ValueError(version)
        for digest, content in entries:
            found = tx.put_blob(content) if isinstance(content, bytes) else _put_record(tx, content)
            if found.digest != digest:
                raise errors.ObjectCorrupt(str(ObjectId(digest)), f"it is {found}")
    except (errors.NotCanonical, ValueError, TypeError, KeyError) as error:
        raise errors.ObjectCorrupt("parcel", f"it cannot be read ({error})") from None


def _spelled(record: Record) -> list[object]:
    links = {name: [link.kind.value, link.digest] for name, link in record.links.items()}
    return [record.schema, dict(record.fields), links]


def _put_record(tx: Transaction, content: list[object]) -> Link:
    schema, fields, links = content
    assert isinstance(schema, str)
    assert isinstance(fields, dict)
    assert isinstance(links, dict)
    typed = {name: Link(digest, Kind(kind)) for name, (kind, digest) in links.items()}
    return tx.put_record(schema, fields, typed)
