r"""Objects and their ids: the whole hashing scheme, without I/O.

Owns what an id is (``docs/format.md`` sections 1 and 3), not where objects are kept. Blobs are
named by plain BLAKE3, records in derive-key mode, so that no blob can pass for a record::

    >>> str(id_of(Kind.BLOB, b"hello\n"))
    '8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99'
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import msgpack
from blake3 import blake3

from rosdb import canonical
from rosdb.errors import BadName, NotCanonical

DIGEST_SIZE: Final = 32
RECORD_CONTEXT: Final = "research-os 2026-11-22 record"
SCHEMA_PATTERN: Final = re.compile(r"[a-z][a-z0-9_-]*/v[1-9][0-9]*")


class Kind(IntEnum):
    """What an object is; the numbers are the ext types of links and stand on disk."""

    BLOB = canonical.LINK_BLOB
    RECORD = canonical.LINK_RECORD


_KINDS: Final = {int(kind): kind for kind in Kind}


class ObjectId:
    """Names an object by 32 bytes; ``str`` gives 64 hex digits."""

    __slots__ = ("digest",)

    digest: bytes

    def __init__(self, digest: bytes) -> None:
        assert type(digest) is bytes
        assert len(digest) == DIGEST_SIZE
        self.digest = digest

    @classmethod
    def from_hex(cls, text: str) -> "ObjectId":
        """Read 64 lower-case hex digits.

        Raises: BadName if it is anything else.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise BadName("id", text, "an id is 64 lower-case hex digits")
        return ObjectId(bytes.fromhex(text))

    def __eq__(self, other: object) -> bool:
        """Compare the digests; a link equals the id that it holds."""
        return isinstance(other, ObjectId) and self.digest == other.digest

    def __hash__(self) -> int:
        """Hash the digest."""
        return hash(self.digest)

    def __lt__(self, other: "ObjectId") -> bool:
        """Order by digest."""
        return self.digest < other.digest

    def __str__(self) -> str:
        """Write 64 hex digits."""
        return self.digest.hex()

    def __repr__(self) -> str:
        """Show the class and the first digits."""
        return f"{type(self).__name__}({self.digest.hex()[:12]}…)"


class Link(ObjectId):
    """An id that also knows what kind of object it names: what a record holds."""

    __slots__ = ("kind",)

    kind: Kind

    def __init__(self, digest: bytes, kind: Kind) -> None:
        super().__init__(digest)
        self.kind = kind

    def __reduce__(self) -> tuple[type["Link"], tuple[bytes, Kind]]:
        """Pickle both parts."""
        return Link, (self.digest, self.kind)


@dataclass(frozen=True, slots=True)
class Record:
    """A structured object: schema, plain fields, links."""

    schema: str
    fields: Mapping[str, Any]
    links: Mapping[str, Link] = field(default_factory=dict)


def hasher(kind: Kind) -> Any:
    """Return the incremental hash for an object of that kind."""
    if kind is Kind.RECORD:
        return blake3(derive_key_context=RECORD_CONTEXT)
    return blake3()


def id_of(kind: Kind, content: bytes | bytearray | memoryview) -> Link:
    """Return the id of an object's content.

    In one thread: BLAKE3's pool does not survive a fork, and a forked process would wait for it
    for ever. One thread hashes gigabytes a second.
    """
    if kind is Kind.RECORD:
        return Link(blake3(content, derive_key_context=RECORD_CONTEXT).digest(), kind)
    return Link(blake3(content).digest(), kind)


def link_value(link: Link) -> canonical.Value:
    """Return the link as the canonical encoding holds it."""
    return canonical.Ext(link.kind, link.digest)


def value_link(value: canonical.Value) -> Link:
    """Read a link back.

    Raises: NotCanonical if the value is no link.
    """
    if type(value) is not canonical.Ext:
        raise NotCanonical(f"{type(value).__name__} where a link belongs")
    return Link(value.data, Kind(value.code))


def encode_record(record: Record) -> bytes:
    """Encode a record.

    Raises: NotCanonical if a field is not a plain value or the schema's name is malformed.
    """
    _check_schema(record.schema)
    links = {name: link_value(link) for name, link in record.links.items()}
    # A link among the fields is refused: nobody who walks the store would see it.
    return canonical.encode_apart([record.schema, dict(record.fields)], links)


def record_id(record: Record) -> Link:
    """Return the id of a record."""
    return id_of(Kind.RECORD, encode_record(record))


def decode_record(content: bytes) -> Record:
    """Decode a record.

    Raises: NotCanonical if the content is anything but an encoded record.
    """
    value, link_count = canonical.decode_counted(content)
    if type(value) is not list or len(value) != 3:
        raise NotCanonical("a record is a list of three")
    schema, fields, links = value
    if type(schema) is not str or type(fields) is not dict or type(links) is not dict:
        raise NotCanonical("a record is a schema, fields and links")
    _check_schema(schema)
    record = Record(schema, fields, {name: value_link(link) for name, link in links.items()})
    if link_count != len(record.links):
        raise NotCanonical("a link stands among the fields")
    return record


def skim_record(content: bytes) -> Record:
    """Decode a record that hashes to its id, three times as fast, without asking for more.

    That it is canonical is held against it when it is read to be shown; the index is a cache.
    Raises: NotCanonical if it is no record at all.
    """
    try:
        schema, fields, links = msgpack.unpackb(content, raw=False, ext_hook=_link)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise NotCanonical(f"not a record ({type(error).__name__})") from None
    if type(schema) is not str or type(fields) is not dict or type(links) is not dict:
        raise NotCanonical("a record is a schema, fields and links")
    return Record(schema, fields, links)


def _link(code: int, data: bytes) -> Link:
    kind = _KINDS.get(code)
    if kind is None or len(data) != DIGEST_SIZE:
        raise ValueError("no link")
    return Link(data, kind)


def _check_schema(schema: str) -> None:
    if not SCHEMA_PATTERN.fullmatch(schema):
        raise NotCanonical(f"schema {schema!r} is not NAME/vN")
