"""Collection: what no ref reaches is removed, and what is left is packed (Law 7).

Owns the plan and its execution. The plan is made without a lock: it walks all refs, and keeps what
they reach, what was put lately, and all that either leads to. The execution copies what is to stay
out of the files that are to go. Then, alone for a moment, it walks what was moved or put since,
spares every file with something in it that this has revived, and removes the others.

What nothing but its age keeps stays in the file that it is in, so that it goes on ageing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rosdb import disk, merge, pack_file, removal, turnstile
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.errors import CollectionRefused, ObjectCorrupt, ObjectMissing
from rosdb.journal import Journal, Position
from rosdb.loose import HEADER as LOOSE_HEADER
from rosdb.object_store import Objects
from rosdb.objects import Link, ObjectId
from rosdb.pack_file import HEADER as ENTRY_HEADER
from rosdb.pack_file import PACK_BYTES_MAX, Entry, PackWriter
from rosdb.reach import reach

GRACE_SECONDS: Final = 14 * 86_400
"""What no ref reaches is kept for this long after it was put."""

_SMALL_BYTES: Final = 64 * 1024 * 1024
"""Packs below this size are put together, where there are several."""

_LOOKS_MAX: Final = 16
_WAIT_SECONDS: Final = 10.0
_PACKED_BYTES_MAX: Final = WHOLE_BYTES_MAX + LOOSE_HEADER.size
"""A loose file of up to this size goes into a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection comes to. Bytes are those on disk, indexes of packs left out.

    A blob in chunks counts as one object, and each of its chunks and lists as another.
    """

    objects_before: int
    objects_after: int
    bytes_before: int
    bytes_after: int

    @property
    def removed(self) -> int:
        """How many objects go."""
        return self.objects_before - self.objects_after


@dataclass(frozen=True, slots=True)
class _File:
    """A file that objects are kept in: a pack, or one loose object."""

    mtime_ns: int
    size: int
    entries: dict[ObjectId, int]
    """How many bytes each object would take in a pack."""


class CollectionPlan:
    """What is to go, and what is to be packed. Made by ``Store.plan_collection``."""

    def __init__(
        self,
        folder: Path,
        objects: Objects,
        journal: Journal,
        clear_caches: Callable[[], bool],
        older_than_ns: int | None,
    ) -> None:
        """Make the plan; what no ref reaches goes if it was put before ``older_than_ns``.

        Raises: CollectionRefused, JournalDamaged.
        """
        self._folder = folder
        self._objects = objects
        self._journal = journal
        self._clear_caches = clear_caches
        # Before the walk: what is put after this is none of the plan's.
        self._packs = self._list_packs()
        self._loose = self._list_loose()
        refs, self._position = _read_refs(journal)
        self._reached: set[ObjectId] = set()
        self._reach(refs.values())
        self._kept = set(self._reached)
        self._unread: set[ObjectId] = set()
        if older_than_ns is not None:
            for file in self._files():
                if file.mtime_ns >= older_than_ns:
                    self._unread |= reach(objects, file.entries, self._kept, is_strict=False)
        self._from_packs, self._from_loose = self._to_rewrite()
        self._copied = {each for file in self._sources() for each in file.entries} & self._kept
        self.outcome = self._outcome()

    def execute(self) -> Collected:
        """Carry out the plan; what others have moved or put since is spared.

        Raises: CollectionRefused, StoreLocked, StoreUnwritable.
        """
        if self._from_packs or self._from_loose or removal.leftovers(self._folder):
            with disk.exclusive_lock(self._folder / "merge.lock"):
                # Another's, begun since the plan: its note would be lost under ours.
                removal.finish_under_lock(self._folder, self._objects, _WAIT_SECONDS)
                written = self._copy()
                with turnstile.alone(self._folder, _WAIT_SECONDS):
                    packs, loose = self._doomed(written)
                    if packs + loose and not self._clear_caches():
                        raise CollectionRefused("stat.db can be neither emptied nor removed")
                    self._sync_journal()
                    removal.remove(self._folder, self._objects, packs, loose)
                    removal.sweep(self._folder)
                    if len(packs) + len(loose) < len(self._from_packs) + len(self._from_loose):
                        return self._measure()
        return self.outcome

    def _measure(self) -> Collected:
        """Return what it came to, where something of the plan was spared.

        What others have put since was not removed: it counts before as it does after.
        """
        now = set(self._objects.listing())
        removed = {each for file in self._files() for each in file.entries} - now
        return Collected(
            objects_before=len(now) + len(removed),
            objects_after=len(now),
            bytes_before=self.outcome.bytes_before,
            bytes_after=self._objects.stored_bytes(),
        )

    def _list_packs(self) -> dict[str, _File]:
        packs = self._objects.packs
        packs.refresh()
        packs.verify_indexes()
        found: dict[str, _File] = {}
        gone: list[str] = []
        while missing := [name for name in packs.names() if name not in found]:
            # Others may remove a pack and make the same one again, but not for ever.
            if any(gone.count(name) > _LOOKS_MAX for name in missing):
                raise CollectionRefused(f"pack {missing[0]} is listed, and cannot be opened")
            for name in missing:
                if (file := self._pack(name)) is not None:
                    found[name] = file
                else:
                    gone.append(name)
            packs.refresh()  # one that is gone was merged, and lives on in one that is new
        return {name: found[name] for name in packs.names()}

    def _list_loose(self) -> dict[ObjectId, _File]:
        loose = self._objects.loose
        found: dict[ObjectId, _File] = {}
        for each in loose.listing():
            try:
                status, stored = loose.status(each), loose.stored_bytes(each)
            except ObjectMissing:
                continue  # collected since it was listed
            except ObjectCorrupt as error:
                raise CollectionRefused(str(error)) from None
            entries = {each: ENTRY_HEADER.size + stored}
            found[each] = _File(status.st_mtime_ns, status.st_size, entries)
        return found

    def _pack(self, name: str) -> _File | None:
        """Read what a pack holds; None if it is gone.

        Raises: CollectionRefused.
        """
        try:
            pack = self._objects.packs.pack(name)
            entries: dict[ObjectId, int] = {}
            for _, header in pack.scan_headers():
                if header is None:
                    raise CollectionRefused(f"pack {name} is damaged")
                entries[ObjectId(header.digest)] = header.end
            return _File(self._pack_mtime_ns(name), pack.size, entries)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CollectionRefused(f"pack {name}: {error.strerror}") from None

    def _pack_mtime_ns(self, name: str) -> int:
        """Return a pack's time, by its name: a put may have replaced the file that we hold open."""
        return self._objects.packs.path(name).stat().st_mtime_ns

    def _files(self) -> list[_File]:
        return [*self._packs.values(), *self._loose.values()]

    def _sources(self) -> list[_File]:
        """Return the files whose kept objects are copied."""
        packs = [self._packs[name] for name in self._from_packs]
        return packs + [self._loose[each] for each in self._from_loose]

    def _reach(self, starts: Iterable[ObjectId]) -> None:
        try:
            reach(self._objects, starts, self._reached)
        except (ObjectMissing, ObjectCorrupt) as error:
            raise CollectionRefused(str(error)) from None

    def _to_rewrite(self) -> tuple[list[str], list[ObjectId]]:
        """Return packs and loose objects that go: holding garbage, or small and several."""
        loose = [
            each
            for each, file in self._loose.items()
            # A long one, of an old store, stays as it is: it would have to be cut.
            if each not in self._kept or (each in self._reached and file.size <= _PACKED_BYTES_MAX)
        ]
        garbage = [n for n, f in self._packs.items() if not self._kept.issuperset(f.entries)]
        small = [
            name
            for name, file in self._packs.items()
            if file.size < _SMALL_BYTES and self._reached.issuperset(file.entries)
        ]
        is_packing = not self._kept.isdisjoint(loose) or any(
            not self._kept.isdisjoint(self._packs[name].entries) for name in garbage
        )
        if len(small) + is_packing > 1:
            garbage += small
        return garbage, loose

    def _outcome(self) -> Collected:
        before = {each for file in self._files() for each in file.entries}
        sources = {id(file) for file in self._sources()}
        stays = [file for file in self._files() if id(file) not in sources]
        return Collected(
            objects_before=len(before),
            objects_after=len(before & self._kept),
            bytes_before=sum(file.size for file in self._files()),
            bytes_after=sum(file.size for file in stays) + self._bytes_to_write(),
        )

    def _bytes_to_write(self) -> int:
        """Return how long the new packs will be, cut as ``_copy`` cuts them."""
        left = set(self._copied)
        total = size = 0
        for file in self._sources():
            copied = left & file.entries.keys()
            left -= copied
            if copied and not size:
                size = len(pack_file.MAGIC)
            size += sum(file.entries[each] for each in copied)
            if size > PACK_BYTES_MAX:
                total, size = total + size, 0
        return total + size

    def _copy(self) -> set[str]:
        """Copy what stays out of the files that go; return the names of the new packs.

        Raises: CollectionRefused, StoreUnwritable.
        """
        packs, loose = self._objects.packs, self._objects.loose
        packs.refresh()
        names = set(packs.names())
        written: set[str] = set()
        left = {each.digest for each in self._copied}
        writer = PackWriter(self._folder / "tmp")
        try:
            for source in [*self._from_packs, *self._from_loose]:
                if isinstance(source, ObjectId):
                    self._copy_loose(source, writer, left)
                elif source in names:
                    if not merge.copy_entries([packs.pack(source)], writer, left):
                        raise CollectionRefused(f"pack {source} is damaged")
                    left -= {each.digest for each in self._packs[source].entries}
                if writer.size > PACK_BYTES_MAX:
                    written.add(packs.write_pack(writer, is_synced=True))
                    writer = PackWriter(self._folder / "tmp")
            if writer.rows:
                written.add(packs.write_pack(writer, is_synced=True))
        finally:
            writer.abandon()
        # A source that is gone was merged or collected since: another file holds what it held.
        if not all(packs.has(each) or loose.has(ObjectId(each)) for each in left):
            raise CollectionRefused("another collection has removed what this one was to keep")
        newest = max((file.mtime_ns for file in self._sources()), default=0)
        for name in written:
            disk.set_time(packs.path(name), newest)
        return written

    def _copy_loose(self, object_id: ObjectId, writer: PackWriter, left: set[bytes]) -> None:
        if object_id.digest in left:
            try:
                kind, code, size, stored = self._objects.loose.load_stored(object_id)
            except ObjectMissing:
                return
            except ObjectCorrupt as error:
                raise CollectionRefused(str(error)) from None
            head = pack_file.encode_header(Entry(kind), code, size, stored, object_id.digest)
            writer.append(head, stored)
            left.discard(object_id.digest)

    def _doomed(self, written: set[str]) -> tuple[list[str], list[ObjectId]]:
        """Return the files that can go, now that nobody writes.

        Raises: CollectionRefused.
        """
        packs, loose = self._objects.packs, self._objects.loose
        packs.refresh()
        # What could not be read may have been put again since; if so, it leads somewhere.
        self._kept -= self._unread
        staying: list[Iterable[ObjectId]] = [self._unread]
        rewritten: set[str | ObjectId] = {*self._from_packs, *self._from_loose}
        going: dict[str, _File] = {}
        for name in set(packs.names()) - written:
            file = self._packs.get(name)
            if file is None or self._pack_mtime_ns(name) != file.mtime_ns:
                # New, or put again since the plan, with no ref as yet. What was merged since lives
                # on in such a pack, garbage and all.
                now = self._pack(name)
                assert now is not None, "nobody else removes anything just now"
                staying.append(now.entries)
            elif name in rewritten:
                going[name] = file
        single: dict[ObjectId, _File] = {}
        for object_id in loose.listing():
            file = self._loose.get(object_id)
            if file is None or loose.status(object_id).st_mtime_ns != file.mtime_ns:
                staying.append([object_id])
            elif object_id in rewritten:
                single[object_id] = file
        for entry in self._journal.entries(self._position):
            self._reach(move.new for move in entry.moves if move.new is not None)
        self._kept |= self._reached
        self._spare(going, single, staying)
        return sorted(going), sorted(single)

    def _spare(
        self,
        going: dict[str, _File],
        single: dict[ObjectId, _File],
        staying: list[Iterable[ObjectId]],
    ) -> None:
        """Take out of what goes each file with an object in it that is now kept and not copied.

        Whatever stays, stays with all that it leads to, so one spared file may spare another.
        """
        while True:
            for entries in staying:
                self._unread |= reach(self._objects, entries, self._kept, is_strict=False)
            staying = []
            revived = self._kept - self._copied
            for name in [n for n, f in going.items() if not revived.isdisjoint(f.entries)]:
                staying.append(going.pop(name).entries)
            for object_id in [o for o in single if o in revived]:
                staying.append(single.pop(object_id).entries)
            if not staying:
                return

    def _sync_journal(self) -> None:
        """Make the moves durable, whatever the setting.

        One that a power cut took back would leave its ref at what is gone.
        """
        with disk.refusals(self._journal.path), disk.open_existing(self._journal.path) as handle:
            disk.sync(handle.fileno())


def _read_refs(journal: Journal) -> tuple[dict[str, Link], Position]:
    """Read the refs from the journal itself: an index is a cache, and could hide one."""
    refs: dict[str, Link] = {}
    position = Position()
    for entry in journal.entries():
        entry.apply(refs)
        position = entry.end
    return refs, position
