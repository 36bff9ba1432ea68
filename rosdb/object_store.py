"""The objects of a store, wherever they are kept: loose, packed, or cut into chunks.

Owns the search for an object and its verification: whatever is returned has been hashed on the way.
An id may be stored several times; any copy that verifies will do. A reader that finds none lists
the packs again, then verifies their indexes, before it says missing.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from rosdb import blob_file, blob_stream, chunks, codec, disk, pack_file
from rosdb.errors import NotCanonical, ObjectCorrupt, ObjectMissing
from rosdb.loose import LooseObjects
from rosdb.objects import Kind, ObjectId, Record, decode_record, skim_record
from rosdb.pack_file import Damaged, Entry
from rosdb.pack_window import Windows
from rosdb.packs import Packs, Place

T = TypeVar("T")

_LOOKS_MAX: Final = 16
"""How often an object is looked for, while others go on moving it."""

_COPY_BYTES: Final = 1024 * 1024

_KINDS: Final = {Entry.BLOB: Kind.BLOB, Entry.CHUNKS: Kind.BLOB, Entry.RECORD: Kind.RECORD}


@dataclass(frozen=True, slots=True)
class Content:
    """An object's kind and the size of its content."""

    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Touched:
    """What a transaction has found stored: the packs and the loose objects' folders."""

    packs: set[str] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)


class Objects:
    """All objects of one store."""

    def __init__(self, folder: Path, temporary_folder: Path) -> None:
        self.loose = LooseObjects(folder, temporary_folder)
        self.packs = Packs(folder / "pack", temporary_folder)

    def close(self) -> None:
        """Let go of all files; they are opened again when asked for."""
        self.packs.close()

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id; does not verify it."""
        try:
            self.kind(object_id)
        except (ObjectMissing, ObjectCorrupt) as error:
            return isinstance(error, ObjectCorrupt)
        return True

    def has_entry(self, digest: bytes) -> bool:
        """Tell whether the packs that are known have the id; asks the indexes alone."""
        return self.packs.has(digest)

    def kind(self, object_id: ObjectId) -> Kind:
        """Return an object's kind from its header.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        kind = _KINDS.get(self.entry(object_id))
        if kind is None:
            raise ObjectMissing(str(object_id))  # a part of a list, and no object by itself
        return kind

    def load(self, object_id: ObjectId, kind: Kind | None = None) -> tuple[Kind, bytes]:
        """Return an object's kind and its whole content, verified.

        Raises: ObjectMissing, ObjectCorrupt (another kind than the one asked for is corrupt too).
        """

        def packed(place: Place) -> tuple[Kind, bytes]:
            entry, content = self._packed(place, object_id.digest)
            if entry is Entry.CHUNKS:
                return Kind.BLOB, self._whole(object_id, content, lambda parts: b"".join(parts))
            return _kind(entry), bytes(content)

        found, content = self._search(object_id, packed, lambda: self.loose.load(object_id))
        return _of_kind(object_id, found, kind), content

    def load_record(
        self, object_id: ObjectId, decode: Callable[[bytes], Record] = decode_record
    ) -> Record:
        """Return a record, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        content = self.load(object_id, Kind.RECORD)[1]
        try:
            return decode(content)
        except NotCanonical as error:
            raise ObjectCorrupt(str(object_id), error.reason) from None

    def skim_record(self, object_id: ObjectId) -> Record:
        """Return a record that hashes to its id, its form not checked: for the index."""
        return self.load_record(object_id, skim_record)

    def open_content(self, object_id: ObjectId, kind: Kind) -> BinaryIO:
        """Open an object's content as a seekable file; a range reads its chunks only.

        Each chunk is verified when it is read, a content that is no list of chunks by one pass.
        Raises: ObjectMissing, ObjectCorrupt.
        """

        def packed(place: Place) -> tuple[Kind, BinaryIO]:
            entry, content = self._packed(place, object_id.digest)
            if entry is Entry.CHUNKS:
                return Kind.BLOB, blob_file.open_chunks(content, self.part_loader(), str(object_id))
            return _kind(entry), blob_file.open_bytes(bytes(content))

        found, handle = self._search(object_id, packed, lambda: self.loose.open_content(object_id))
        if found is not kind:
            handle.close()
        _of_kind(object_id, found, kind)
        return handle

    def copy_content(self, object_id: ObjectId, kind: Kind, target: BinaryIO) -> None:
        """Write an object's content to a file of the system that ends where it stands.

        Before this returns the file may hold what is damaged.
        Raises: ObjectMissing, ObjectCorrupt; OSError if the file refuses.
        """

        def packed(place: Place) -> tuple[Kind, Iterable[codec.Stored]]:
            entry, content = self._packed(place, object_id.digest)
            if entry is Entry.CHUNKS:
                return Kind.BLOB, self._pieces(object_id, content)
            return _kind(entry), (content,)

        def loose() -> tuple[Kind, Iterable[codec.Stored]]:
            found, handle = self.loose.open_content(object_id)
            return found, _read_through(handle)

        start = target.tell()
        found, parts = self._search(object_id, packed, loose)
        _of_kind(object_id, found, kind)
        try:
            disk.write_parts(target, parts)
        except (Damaged, ObjectMissing, ObjectCorrupt):
            # Chunk by chunk: of a damaged one another copy may be sound, or it is to be named.
            target.seek(start)
            target.truncate()
            with self.open_content(object_id, kind) as source:
                disk.write_parts(target, iter(lambda: source.read(_COPY_BYTES), b""))

    def verify(self, object_id: ObjectId) -> Content:
        """Read an object through and hash it, in bounded memory.

        Raises: ObjectMissing, ObjectCorrupt.
        """

        def packed(place: Place) -> Content:
            entry, content = self._packed(place, object_id.digest)
            if entry is Entry.CHUNKS:
                return Content(Kind.BLOB, self._whole(object_id, content, _size))
            return Content(_kind(entry), len(content))

        def loose() -> Content:
            header = self.loose.verify(object_id)
            return Content(header.kind, header.size)

        return self._search(object_id, packed, loose)

    def parts_of(self, object_id: ObjectId) -> list[chunks.Row]:
        """Return what is stored for an object, each with its size: itself, or its chunks.

        Raises: ObjectMissing, ObjectCorrupt.
        """

        def packed(place: Place) -> list[chunks.Row]:
            header = self.packs.header(place, object_id.digest)
            if header.entry is not Entry.CHUNKS:
                return [(object_id.digest, header.content_bytes)]
            content = self._packed(place, object_id.digest)[1]
            return list(blob_file.leaf_rows(content, self.part_loader()))

        def loose() -> list[chunks.Row]:
            return [(object_id.digest, self.loose.header(object_id).size)]

        return self._search(object_id, packed, loose)

    def entry(self, object_id: ObjectId) -> Entry:
        """Return how an object is kept, from its header: a blob may be a list of chunks.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return self._search(
            object_id,
            lambda place: self.packs.header(place, object_id.digest).entry,
            lambda: Entry(self.loose.header(object_id).kind),
        )

    def rows_of(self, place: Place, digest: bytes) -> tuple[int, list[chunks.Row]]:
        """Return the height and the rows of a chunk list at a place.

        Raises: Damaged; OSError.
        """
        return chunks.decode_list(memoryview(self._packed(place, digest)[1]))

    def part_loader(self) -> blob_file.Load:
        """Return a ``load_part`` for parts that stand near each other, as those of a blob do."""
        windows = Windows(self.packs)

        def load(digest: bytes, entry: Entry) -> codec.Stored:
            found = windows.find(digest)
            if found is not None and found.header.entry is entry:
                with contextlib.suppress(Damaged):
                    return pack_file.decode_content(found.header, found.stored)
            return self.load_part(digest, entry)

        return load

    def load_part(self, digest: bytes, entry: Entry) -> codec.Stored:
        """Return a chunk, or the bytes of a list of chunks, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """

        def packed(place: Place) -> codec.Stored:
            found, content = self._packed(place, digest)
            if found is not entry:
                raise Damaged(f"a part of another kind ({found.name.lower()})")
            return content

        object_id = ObjectId(digest)
        if entry is not Entry.BLOB:
            return self._search(object_id, packed, lambda: _missing(object_id))
        return self._search(object_id, packed, lambda: self.loose.load(object_id)[1])

    def keep(self, object_id: ObjectId, touched: Touched) -> bool:
        """Tell whether a sound copy is stored already, and freshen its time.

        A damaged copy counts as absent: the put then heals it. The chunks of a long blob are not
        looked into: a repair sets the damaged ones aside, and then a put brings them back.
        """
        if not self.freshen(object_id, touched):
            return False
        try:
            for place in self.packs.places(object_id.digest):
                self._packed(place, object_id.digest)
                return True
            self.loose.verify(object_id)
        except OSError as error:
            disk.refuse_to_guess(error, self.packs.folder)
            return False
        except (Damaged, ObjectCorrupt, ObjectMissing):
            return False
        return True

    def freshen(self, object_id: ObjectId, touched: Touched) -> bool:
        """Set the time of an object to now; False if none is known.

        A collector judges by age, so a put of what exists must look like a new put.
        """
        for place in self.packs.places(object_id.digest):
            if place.pack not in touched.packs:
                with disk.refusals(self.packs.folder):
                    if not self.packs.freshen(place.pack):
                        self.packs.refresh()  # merged or collected: it may be in another now
                        return self.freshen(object_id, touched)
                touched.packs.add(place.pack)
            return True
        if not self.loose.has(object_id) or not self.loose.freshen(object_id):
            return False
        touched.folders.add(self.loose.path(object_id).parent)
        return True

    def sync_names(self, touched: Touched) -> None:
        """Make durable what another process may have named a moment ago, and not synced as yet."""
        if touched.packs:
            with disk.refusals(self.packs.folder):
                disk.sync_folder(self.packs.folder)
        if touched.folders:
            self.loose.sync_names(sorted(touched.folders))

    def listing(self) -> Iterator[ObjectId]:
        """List the ids of all objects, each once: those in packs, chunks too, then the loose."""
        self.packs.refresh()
        seen: set[bytes] = set()
        for digest in self.packs.digests():
            if digest not in seen:
                seen.add(digest)
                yield ObjectId(digest)
        for object_id in self.loose.listing():
            if object_id.digest not in seen:
                yield object_id

    def stored_bytes(self) -> int:
        """Return what all objects take on disk, indexes left out."""
        total = sum(self.packs.size(name) for name in self.packs.names())
        for object_id in self.loose.listing():
            with contextlib.suppress(ObjectMissing):  # collected since it was listed
                total += self.loose.status(object_id).st_size
        return total

    def _packed(self, place: Place, digest: bytes) -> tuple[Entry, codec.Stored]:
        """Return the content of an entry, verified; of a chunk list, what its check vouches for.

        Raises: Damaged; OSError.
        """
        header, head, stored = self.packs.entry(place, digest)
        if header.entry is Entry.CHUNKS and not pack_file.is_checked(head, stored):
            raise Damaged("its stored bytes do not add up")
        return header.entry, pack_file.decode_content(header, stored)

    def _whole(
        self,
        object_id: ObjectId,
        content: codec.Stored,
        take: Callable[[Iterable[codec.Stored]], T],
    ) -> T:
        """Return what is made of a blob in chunks, taken part by part; it is verified then.

        Raises: Damaged, ObjectMissing, ObjectCorrupt.
        """
        with contextlib.suppress(Damaged, ObjectMissing, ObjectCorrupt):
            return take(self._pieces(object_id, content))
        # Chunk by chunk: of a damaged one another copy may be sound, or it is to be named.
        return take(blob_file.chunk_contents(object_id.digest, content, self.part_loader()))

    def _pieces(self, object_id: ObjectId, content: codec.Stored) -> Iterator[bytes]:
        rows = blob_file.leaf_rows(content, self.part_loader())
        windows, load = (lambda: Windows(self.packs)), self.load_part
        return blob_stream.whole_pieces(object_id.digest, rows, windows, load)

    def _search(
        self, object_id: ObjectId, packed: Callable[[Place], T], loose: Callable[[], T]
    ) -> T:
        """Return the first sound copy; look again before saying that there is none."""
        reason: str | None = None
        is_verified = False
        for _ in range(_LOOKS_MAX):
            for place in self.packs.places(object_id.digest):
                try:
                    return packed(place)
                except (Damaged, ObjectMissing, ObjectCorrupt) as error:
                    reason = blob_file.part_reason(error)
                except FileNotFoundError:
                    continue  # merged or collected since the folder was listed
                except OSError as error:
                    disk.refuse_to_guess(error, self.packs.path(place.pack))
                    reason = error.strerror or "unreadable"
            try:
                return loose()
            except ObjectCorrupt as error:
                reason = error.reason
            except ObjectMissing:
                pass
            if self.packs.refresh():
                continue  # a merge or a collection has moved it meanwhile, perhaps again
            if is_verified:
                break
            self.packs.verify_indexes()
            is_verified = True
        if reason is not None:
            raise ObjectCorrupt(str(object_id), reason)
        raise ObjectMissing(str(object_id))


def _read_through(handle: BinaryIO) -> Iterator[bytes]:
    with handle:
        while part := handle.read(_COPY_BYTES):
            yield part


def _size(parts: Iterable[codec.Stored]) -> int:
    return sum(len(part) for part in parts)


def _kind(entry: Entry) -> Kind:
    kind = _KINDS.get(entry)
    if kind is None:
        raise Damaged("a part of a list of chunks, and no object")
    return kind


def _of_kind(object_id: ObjectId, found: Kind, wanted: Kind | None) -> Kind:
    if wanted is not None and found is not wanted:
        raise ObjectCorrupt(str(object_id), f"a {found.name.lower()} by its header")
    return found


def _missing(object_id: ObjectId) -> codec.Stored:
    raise ObjectMissing(str(object_id))
