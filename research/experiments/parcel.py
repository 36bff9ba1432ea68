r"""Parcels: objects on their way from one store to another, by whatever carries bytes.

Owns the bytes of a parcel, and nothing of who sends it. It is a sequence of parts, each small
enough to be in memory; a part is a row of frames, and a frame is an object: which kind (one byte),
the id that it is announced as (32), how many bytes follow (8), and those. Objects stand behind
those that they link to. A blob that is longer than a part is cut, and kind 0 says of a frame that
the next one goes on. The blob ``hello\n`` is one frame::

    01 8e4c7c1b…d629a99 0600000000000000 68656c6c6f0a

Whoever unpacks a parcel puts each object anew: its id is computed, and what it was announced as is
only compared with that. So nothing that was changed on the way, and nothing that somebody made up,
gets into a store under the id of something else.
"""

import contextlib
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from rosdb import (
    Kind,
    Link,
    Record,
    Store,
    Transaction,
    decode_value,
    encode_value,
    errors,
)

PART_BYTES: Final = 8 * 1024 * 1024
"""A part ends behind the frame with which it has so many; no frame holds more of a blob."""

_HEAD: Final = struct.Struct("<B32sQ")
_PIECE: Final = 0
_LINK_BYTES: Final = 1 + 32


class _Frame(NamedTuple):
    """A frame; the kind of a piece is that of what it is a piece of."""

    link: Link
    content: memoryview
    is_last: bool


def pack(
    store: Store, roots: Iterable[Link], is_there: Callable[[Link], bool] = lambda link: False
) -> Iterator[bytes]:
    """Pack the roots and all below them, part by part; none where there is nothing to send.

    ``is_there`` tells of what is left out, with all below it: the receiver has it.
    Raises: ObjectMissing, ObjectCorrupt.
    """
    part, size = [], 0
    for link, record in _below(store, roots, is_there):
        for frame in _blob_frames(store, link) if record is None else [_record_frame(link, record)]:
            part.append(frame)
            size += len(frame)
            if size >= PART_BYTES:
                yield b"".join(part)
                part, size = [], 0
    if part:
        yield b"".join(part)


def unpack(tx: Transaction, parts: Iterable[bytes], folder: Path) -> set[Link]:
    """Put all that a parcel holds, one part after the other; return what it was.

    The folder takes what is longer than a part, for as long as it is read.
    Raises: ObjectCorrupt if it is no parcel, or if something is not what it is announced as.
    """
    found: set[Link] = set()
    with contextlib.ExitStack() as opened:
        pieces: Any = None
        for link, content, is_last in _frames(parts):
            if pieces is not None or not is_last:
                pieces = pieces or opened.enter_context(tempfile.NamedTemporaryFile(dir=folder))
                pieces.write(content)
            if is_last:
                if pieces is None:
                    _put(tx, link, content)
                else:
                    pieces.flush()
                    _check(link, tx.put_file(pieces.name))
                    opened.close()
                    pieces = None
                found.add(link)
    return found


class Parcel:
    """A parcel that has arrived whole, from which one thing after the other is put."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """Read which objects it holds; none is looked into.

        Raises: ObjectCorrupt if it is no parcel.
        """
        self._contents: dict[Link, bytes | memoryview] = {}
        pieces: list[memoryview] = []
        for link, content, is_last in _frames(parts):
            pieces.append(content)
            if is_last:
                self._contents[link] = content if len(pieces) == 1 else b"".join(pieces)
                pieces = []
        self._places = {link: place for place, link in enumerate(self._contents)}

    def put(self, tx: Transaction, root: Link) -> Link:
        """Put an object and all below it, and nothing else that the parcel holds.

        What it does not hold, the store has already.
        Raises: ObjectCorrupt if something is not what it is announced as, or leads nowhere.
        """
        wanted, waiting = {root}, [root]
        while waiting:
            link = waiting.pop()
            if link.kind is Kind.RECORD and link in self._contents:
                below = set(_read_record(link, self._contents[link]).links.values()) - wanted
                wanted |= below
                waiting += below
        # In the parcel's order: whatever it claims, nothing is put before what it links to.
        for link in sorted(wanted & self._places.keys(), key=self._places.__getitem__):
            _put(tx, link, self._contents[link])
        try:
            return tx.typed(root)
        except errors.ObjectMissing:
            raise errors.ObjectCorrupt(str(root), "it was announced and has not come") from None


def _below(
    store: Store, roots: Iterable[Link], is_there: Callable[[Link], bool]
) -> Iterator[tuple[Link, Record | None]]:
    """Give what the roots lead to, each once and behind what it links to."""
    given: set[Link] = set()
    waiting: list[tuple[Link, Record | None]] = [(root, None) for root in roots]
    while waiting:
        link, record = waiting.pop()
        if link in given or is_there(link):
            continue
        if link.kind is Kind.RECORD and record is None:
            record = store.get_record(link)
            waiting.append((link, record))  # again, once all that it links to has been given
            waiting += [(each, None) for each in record.links.values()]
        else:
            given.add(link)
            yield link, record


def _record_frame(link: Link, record: Record) -> bytes:
    # As long as in the store, so that whatever is stored there can travel.
    links = {name: bytes([each.kind]) + each.digest for name, each in record.links.items()}
    content = encode_value([record.schema, dict(record.fields), links])
    return _HEAD.pack(link.kind, link.digest, len(content)) + content


def _blob_frames(store: Store, link: Link) -> Iterator[bytes]:
    with store.open_blob(link) as source:
        piece = source.read(PART_BYTES)
        while more := source.read(PART_BYTES):
            yield _HEAD.pack(_PIECE, link.digest, len(piece)) + piece
            piece = more
        yield _HEAD.pack(link.kind, link.digest, len(piece)) + piece


def _frames(parts: Iterable[bytes]) -> Iterator[_Frame]:
    """Read the frames of a parcel.

    Raises: ObjectCorrupt if it is none.
    """
    open_link: Link | None = None
    for part in parts:
        view, start = memoryview(part), 0
        while start < len(part):
            if start + _HEAD.size > len(part):
                raise _damage("a frame is cut short")
            kind, digest, size = _HEAD.unpack_from(part, start)
            start += _HEAD.size
            if size > len(part) - start or kind not in (_PIECE, *Kind):
                raise _damage("a frame is cut short, or of no kind")
            link = Link(digest, Kind(kind or Kind.BLOB))
            if open_link not in (None, link):
                raise _damage("a blob is cut short")
            open_link = link if kind == _PIECE else None
            yield _Frame(link, view[start : start + size], kind != _PIECE)
            start += size
    if open_link is not None:
        raise _damage("a blob is cut short")


def _put(tx: Transaction, link: Link, content: bytes | memoryview) -> None:
    """Put an object.

    Raises: ObjectCorrupt if it is not what it is announced as, or leads nowhere.
    """
    if link.kind is Kind.BLOB:
        _check(link, tx.put_blob(content))
        return
    record = _read_record(link, content)
    try:
        _check(link, tx.put_record(record.schema, record.fields, record.links))
    except (errors.NotCanonical, errors.ObjectMissing) as error:
        raise errors.ObjectCorrupt(str(link), str(error)) from None


def _check(announced: Link, found: Link) -> None:
    if found != announced or found.kind is not announced.kind:
        raise errors.ObjectCorrupt(str(announced), f"what has come under this id is {found}")


def _read_record(link: Link, content: bytes | memoryview) -> Record:
    """Read a record as it travels; what it says is not trusted.

    Raises: ObjectCorrupt.
    """
    try:
        schema, fields, spelled = decode_value(bytes(content))
        if type(schema) is not str or type(fields) is not dict or type(spelled) is not dict:
            raise ValueError(schema)
        if any(type(e) is not bytes or len(e) != _LINK_BYTES for e in spelled.values()):
            raise ValueError(spelled)
        links = {name: Link(each[1:], Kind(each[0])) for name, each in spelled.items()}
    except (errors.NotCanonical, ValueError, TypeError):
        raise errors.ObjectCorrupt(str(link), "what has come under this id is no record") from None
    return Record(schema, fields, links)


def _damage(reason: str) -> errors.ObjectCorrupt:
    return errors.ObjectCorrupt("of a parcel", reason)
