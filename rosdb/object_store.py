r"""Loose objects: one read-only file for each, under ``objects/ab/cdef…``.

Owns the bytes of such a file (``docs/format.md`` section 5) and their verification: whatever is
returned has been hashed on the way. Knows nothing of records' meaning, refs or transactions. The
file of the blob ``hello\n``::

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

import zstandard

from rosdb import disk
from rosdb.errors import ObjectCorrupt, ObjectMissing
from rosdb.objects import Kind, Link, ObjectId, hasher, id_of

HEADER: Final = struct.Struct("<4sBBHQ")
_CRC: Final = struct.Struct("<I")
MAGIC: Final = b"ros\x01"
CODEC_RAW: Final = 0
CODEC_ZSTD: Final = 1

# Content up to this size is held in memory and compressed; longer content is streamed and kept
# raw, so that a range of it can be read without the rest.
WHOLE_BYTES_MAX: Final = 1024 * 1024
_COMPRESS_FROM_BYTES: Final = 128
_RATIO_MIN: Final = 1.05
_STREAM_BYTES: Final = 1024 * 1024

_compressor: Final = zstandard.ZstdCompressor(level=3)


@dataclass(frozen=True, slots=True)
class Header:
    """The first sixteen bytes of a loose object."""

    kind: Kind
    codec: int
    size: int


class LooseObjects:
    """The loose objects under one folder."""

    def __init__(self, folder: Path, temporary_folder: Path) -> None:
        self._folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._temporary = temporary_folder

    def path(self, object_id: ObjectId) -> Path:
        """Return where an object is, or would be."""
        name = str(object_id)
        return Path(f"{self._prefix}{name[:2]}{os.sep}{name[2:]}")

    def kind(self, object_id: ObjectId) -> Kind:
        """Return an object's kind from its header.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self.path(object_id).open("rb") as handle:
            return _read_header(handle, object_id).kind

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id; does not verify it."""
        return self.path(object_id).exists()

    def load(self, object_id: ObjectId, kind: Kind | None = None) -> tuple[Kind, bytes]:
        """Return an object's kind and its whole content, verified.

        Raises: ObjectMissing, ObjectCorrupt (another kind than the one asked for is corrupt too).
        """
        with _readable(object_id), self.path(object_id).open("rb") as handle:
            header = _read_header(handle, object_id)
            if kind is not None and header.kind is not kind:
                raise ObjectCorrupt(str(object_id), f"a {header.kind.name.lower()} by its header")
            content = _decompress(handle.read(), header, object_id)
        if id_of(header.kind, content) != object_id:
            raise ObjectCorrupt(str(object_id), "its content does not hash to its id")
        return header.kind, content

    def open_content(self, object_id: ObjectId, kind: Kind) -> BinaryIO:
        """Open an object's content as a seekable file, verified by one pass over it.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id):
            handle = self.path(object_id).open("rb")
            try:
                header = _read_header(handle, object_id)
                if header.codec == CODEC_RAW and header.kind is kind:
                    _verify_stream(handle, header, object_id)
                    handle.seek(HEADER.size)
                    return io.BufferedReader(_Content(handle, HEADER.size, header.size))
            except BaseException:
                handle.close()
                raise
            handle.close()
        content = self.load(object_id, kind)[1]
        return io.BufferedReader(_Content(io.BytesIO(content), 0, len(content)))

    def verify(self, object_id: ObjectId) -> Header:
        """Read an object through and hash it, in bounded memory.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self.path(object_id).open("rb") as handle:
            header = _read_header(handle, object_id)
            if header.codec == CODEC_RAW:
                _verify_stream(handle, header, object_id)
                return header
        self.load(object_id)
        return header

    def stage(self, kind: Kind, content: bytes) -> Path:
        """Write an object to a synced temporary file; ``publish`` gives it its name."""
        stored, codec = _compress(content)
        header = HEADER.pack(MAGIC, kind, codec, 0, len(content))
        with disk.refusals(self._folder):
            handle, temporary = disk.open_temporary(self._temporary)
            try:
                with handle:
                    disk.write_synced(handle, header + stored)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return temporary

    def stage_stream(self, source: BinaryIO) -> tuple[Link, Path]:
        """Hash and write a blob to a synced temporary file in bounded memory."""
        digest = hasher(Kind.BLOB)
        size = 0
        with disk.refusals(self._folder):
            handle, temporary = disk.open_temporary(self._temporary)
            try:
                with handle:
                    handle.write(bytes(HEADER.size))
                    while chunk := source.read(_STREAM_BYTES):
                        digest.update(chunk)
                        handle.write(chunk)
                        size += len(chunk)
                    handle.seek(0)
                    header = HEADER.pack(MAGIC, Kind.BLOB, CODEC_RAW, 0, size)
                    disk.write_synced(handle, header)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return Link(digest.digest(), Kind.BLOB), temporary

    def publish(
        self, staged: Iterable[tuple[ObjectId, Path]], kept: Iterable[ObjectId] = ()
    ) -> None:
        """Give staged objects their names, and make these names and the kept ones durable.

        A kept object may have got its name from another process a moment ago, unsynced as yet.
        """
        folders = {self._folder, *(self.path(object_id).parent for object_id in kept)}
        with disk.refusals(self._folder):
            for object_id, temporary in staged:
                target = self.path(object_id)
                disk.make_folder(target.parent)
                disk.publish(temporary, target)
                folders.add(target.parent)
            for folder in sorted(folders):
                disk.sync_folder(folder)

    def keep(self, object_id: ObjectId) -> bool:
        """Tell whether a sound copy is stored already, and freshen its time.

        A collector judges by age, so a put of what exists must look like a new put. A damaged copy
        counts as absent: the put then heals it.
        """
        with disk.refusals(self._folder):
            if not disk.freshen(self.path(object_id)):
                return False
        try:
            self.verify(object_id)
        except (ObjectCorrupt, ObjectMissing):
            return False
        return True

    def listing(self) -> Iterator[ObjectId]:
        """List the ids of all loose objects, in order. Files with other names are no objects."""
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                name = folder.name + path.name
                if len(name) == 64 and not set(name) - set("0123456789abcdef"):
                    yield ObjectId.from_hex(name)

    def content_size(self, object_id: ObjectId) -> int:
        """Return the size of an object's content, as its header states it.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        with _readable(object_id), self.path(object_id).open("rb") as handle:
            return _read_header(handle, object_id).size

    def stored_size(self, object_id: ObjectId) -> int:
        """Return the bytes that an object takes on disk."""
        return self.path(object_id).stat().st_size


class _Content(io.RawIOBase):
    """The content of an object: a file from some byte on, for reading only."""

    def __init__(self, handle: BinaryIO, start: int, size: int) -> None:
        self._handle = handle
        self._start = start
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell(), self._size)[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}")
        return self._handle.seek(self._start + start + offset) - self._start

    def tell(self) -> int:
        return self._handle.tell() - self._start

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
    magic, kind, codec, zero, size = HEADER.unpack(head)
    if magic != MAGIC or zero != 0 or kind not in (Kind.BLOB, Kind.RECORD):
        raise ObjectCorrupt(str(object_id), "its header is not one")
    if codec not in (CODEC_RAW, CODEC_ZSTD):
        raise ObjectCorrupt(str(object_id), f"codec {codec} is unknown")
    # The size is a claim: it is held against the file's before anything is allocated for it.
    stored = os.fstat(handle.fileno()).st_size - HEADER.size
    if codec == CODEC_RAW and stored != size:
        raise ObjectCorrupt(str(object_id), f"{stored} bytes of {size}")
    if codec == CODEC_ZSTD and max(stored, size) > WHOLE_BYTES_MAX:
        raise ObjectCorrupt(str(object_id), f"claims {size} bytes in {stored} compressed ones")
    return Header(Kind(kind), codec, size)


def _verify_stream(handle: BinaryIO, header: Header, object_id: ObjectId) -> None:
    digest = hasher(header.kind)
    while chunk := handle.read(_STREAM_BYTES):
        digest.update(chunk)
    if digest.digest() != object_id.digest:
        raise ObjectCorrupt(str(object_id), "its content does not hash to its id")


def _compress(content: bytes) -> tuple[bytes, int]:
    if _COMPRESS_FROM_BYTES <= len(content) <= WHOLE_BYTES_MAX:
        frame = _compressor.compress(content)
        if len(frame) * _RATIO_MIN < len(content):
            return frame + _CRC.pack(zlib.crc32(frame)), CODEC_ZSTD
    return content, CODEC_RAW


def _decompress(stored: bytes, header: Header, object_id: ObjectId) -> bytes:
    if header.codec == CODEC_RAW:
        return stored
    frame, crc = stored[: -_CRC.size], stored[-_CRC.size :]
    # A frame has bits that no decoder looks at: without its own sum a flip there would go unseen.
    if crc != _CRC.pack(zlib.crc32(frame)):
        raise ObjectCorrupt(str(object_id), "its compressed bytes do not add up")
    try:
        # Before the decoder allocates: the frame may ask for the size of the header, and no more.
        if zstandard.get_frame_parameters(frame).content_size != header.size:
            raise ObjectCorrupt(str(object_id), "its two sizes differ")
        return zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=header.size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise ObjectCorrupt(str(object_id), "it does not decompress") from error
