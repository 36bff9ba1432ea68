r"""Loose objects: one read-only file for each, under ``objects/ab/cdef…``.

Owns the bytes of such a file (``docs/format.md`` section 5) and their verification: whatever is
returned has been hashed on the way. Knows nothing of packs, refs or transactions. The file of the
blob ``hello\n``::

    72 6f 73 01 | 01 00 00 00 | 06 00 00 00 00 00 00 00 | 68 65 6c 6c 6f 0a
    "ros", 1      blob, raw     six bytes of content      hello\n
"""

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from rosdb import codec, disk
from rosdb.blob_file import open_bytes
from rosdb.errors import ObjectCorrupt, ObjectMissing
from rosdb.objects import Kind, ObjectId, hasher, id_of

HEADER: Final = struct.Struct("<4sBBHQ")
MAGIC: Final = b"ros\x01"
ZSTD_BYTES_MAX: Final = 1024 * 1024
"""Longer content is raw, so that a range of it can be read without the rest."""

_CRC: Final = struct.Struct("<I")
_STREAM_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Header:
    """The first sixteen bytes of a loose object."""

    kind: Kind
    codec: int
    size: int


class LooseObjects:
    """The loose objects under one folder."""

    def __init__(self, folder: Path, temporary_folder: Path) -> None:
        self.folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._temporary = temporary_folder

    def path(self, object_id: ObjectId) -> Path:
        """Return where an object is, or would be."""
        return Path(self._path(object_id.digest))

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id; does not verify it."""
        return os.path.exists(self._path(object_id.digest))

    def header(self, object_id: ObjectId) -> Header:
        """Return what an object says of itself.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self._open(object_id) as handle:
            return _read_header(handle, object_id)

    def load(self, object_id: ObjectId) -> tuple[Kind, bytes]:
        """Return an object's kind and its whole content, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self._open(object_id) as handle:
            header = _read_header(handle, object_id)
            content = _decode(handle.read(), header, object_id)
        if id_of(header.kind, content) != object_id:
            raise ObjectCorrupt(str(object_id), "its content does not hash to its id")
        return header.kind, content

    def load_stored(self, object_id: ObjectId) -> tuple[Kind, int, int, bytes]:
        """Return an object's kind, codec, content size and stored bytes, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self._open(object_id) as handle:
            header = _read_header(handle, object_id)
            stored = handle.read()
        content = _decode(stored, header, object_id)
        if id_of(header.kind, content) != object_id:
            raise ObjectCorrupt(str(object_id), "its content does not hash to its id")
        if header.codec == codec.ZSTD:
            stored = stored[: -_CRC.size]
        return header.kind, header.codec, header.size, stored

    def open_content(self, object_id: ObjectId) -> tuple[Kind, BinaryIO]:
        """Open an object's content as a seekable file, verified by one pass over it.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id):
            handle = self._open(object_id)
            try:
                header = _read_header(handle, object_id)
                if header.codec == codec.RAW:
                    _verify_stream(handle, header, object_id)
                    handle.seek(HEADER.size)
                    return header.kind, io.BufferedReader(_Content(handle, header.size))
            except BaseException:
                handle.close()
                raise
            handle.close()
        kind, content = self.load(object_id)
        return kind, open_bytes(content)

    def verify(self, object_id: ObjectId) -> Header:
        """Read an object through and hash it, in bounded memory.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self._open(object_id) as handle:
            header = _read_header(handle, object_id)
            if header.codec == codec.RAW:
                _verify_stream(handle, header, object_id)
                return header
        self.load(object_id)
        return header

    def put(self, kind: Kind, object_id: ObjectId, content: bytes, *, is_synced: bool) -> int:
        """Write an object durably; return the size of its file.

        Raises: StoreUnwritable.
        """
        code, stored = codec.encode(content) if len(content) <= ZSTD_BYTES_MAX else (0, content)
        data = HEADER.pack(MAGIC, kind, code, 0, len(content)) + stored
        if code == codec.ZSTD:
            data += _CRC.pack(zlib.crc32(stored))
        target = self.path(object_id)
        with disk.refusals(self.folder):
            handle, temporary = disk.open_temporary(self._temporary)
            try:
                with handle:
                    if is_synced:
                        disk.write_synced(handle, data)
                    else:
                        disk.write(handle, data)
                disk.make_folder(target.parent)
                disk.publish(temporary, target)
            except BaseException:
                disk.remove(temporary)
                raise
            if is_synced:
                disk.sync_folder(target.parent)
                disk.sync_folder(self.folder)  # another may have made the one below, and died
        return len(data)

    def freshen(self, object_id: ObjectId) -> bool:
        """Set an object's time to now, for it was put again; False if it is not there."""
        path = self.path(object_id)
        with disk.refusals(path):
            return disk.freshen(path)

    def sync_names(self, folders: Iterable[Path]) -> None:
        """Make the names in some of the folders durable, and the folders' own."""
        with disk.refusals(self.folder):
            for folder in [*folders, self.folder]:
                disk.sync_folder(folder)

    def remove(self, object_id: ObjectId) -> None:
        """Unlink an object."""
        with disk.refusals(self.folder):
            disk.remove(self.path(object_id))

    def listing(self) -> Iterator[ObjectId]:
        """List the ids of all loose objects, in order. Files with other names are no objects."""
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                name = folder.name + path.name
                if len(name) == 64 and not set(name) - set("0123456789abcdef"):
                    yield ObjectId.from_hex(name)

    def status(self, object_id: ObjectId) -> os.stat_result:
        """Return size and times of an object's file.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id):
            return self.path(object_id).stat()

    def stored_bytes(self, object_id: ObjectId) -> int:
        """Return how many bytes of an object's file are its content, as the codec has it.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        overhead = HEADER.size + (_CRC.size if self.header(object_id).codec == codec.ZSTD else 0)
        return self.status(object_id).st_size - overhead

    def _path(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._prefix}{name[:2]}{os.sep}{name[2:]}"

    def _open(self, object_id: ObjectId) -> BinaryIO:
        return open(self._path(object_id.digest), "rb")


class _Content(io.RawIOBase):
    """The content of a raw object: the file behind its header, for reading only."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle = handle
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell(), self._size)[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}")
        return self._handle.seek(HEADER.size + start + offset) - HEADER.size

    def tell(self) -> int:
        return self._handle.tell() - HEADER.size

    def readinto(self, buffer: Any) -> int:
        return self._handle.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


@contextlib.contextmanager
def _readable(object_id: ObjectId) -> Iterator[None]:
    """Translate the system's refusals to read, once."""
    try:
        yield
    except FileNotFoundError:
        raise ObjectMissing(str(object_id)) from None
    except OSError as error:
        disk.refuse_to_guess(error, Path(str(object_id)))
        raise ObjectCorrupt(str(object_id), error.strerror or "unreadable") from error


def _read_header(handle: BinaryIO, object_id: ObjectId) -> Header:
    head = handle.read(HEADER.size)
    if len(head) < HEADER.size:
        raise ObjectCorrupt(str(object_id), "its header is cut off")
    magic, kind, code, zero, size = HEADER.unpack(head)
    if magic != MAGIC or zero != 0 or kind not in (Kind.BLOB, Kind.RECORD):
        raise ObjectCorrupt(str(object_id), "its header is not one")
    if code not in (codec.RAW, codec.ZSTD):
        raise ObjectCorrupt(str(object_id), f"codec {code} is unknown")
    # The size is a claim: it is held against the file's before anything is allocated for it.
    stored = os.fstat(handle.fileno()).st_size - HEADER.size
    if code == codec.RAW and stored != size:
        raise ObjectCorrupt(str(object_id), f"{stored} bytes of {size}")
    if code == codec.ZSTD and max(stored, size) > ZSTD_BYTES_MAX:
        raise ObjectCorrupt(str(object_id), f"claims {size} bytes in {stored} compressed ones")
    return Header(Kind(kind), code, size)


def _verify_stream(handle: BinaryIO, header: Header, object_id: ObjectId) -> None:
    digest = hasher(header.kind)
    while chunk := handle.read(_STREAM_BYTES):
        digest.update(chunk)
    if digest.digest() != object_id.digest:
        raise ObjectCorrupt(str(object_id), "its content does not hash to its id")


def _decode(stored: bytes, header: Header, object_id: ObjectId) -> bytes:
    if header.codec == codec.ZSTD:
        stored, crc = stored[: -_CRC.size], stored[-_CRC.size :]
        # A frame has bits that no decoder looks at: without its own sum a flip goes unseen.
        if crc != _CRC.pack(zlib.crc32(stored)):
            raise ObjectCorrupt(str(object_id), "its compressed bytes do not add up")
    try:
        return bytes(codec.decode(header.codec, stored, header.size))
    except codec.NotDecodable as error:
        raise ObjectCorrupt(str(object_id), str(error)) from None
