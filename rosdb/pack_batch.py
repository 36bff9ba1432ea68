"""What one transaction adds to the packs.

Owns the choice between what is stored already and what is new, and the pack that the new goes into.
Nothing of it is found by anybody before ``publish``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rosdb import codec, pack_file
from rosdb.object_store import Objects, Touched
from rosdb.objects import Kind, Link, ObjectId
from rosdb.pack_file import Entry, PackWriter

_TASK_OBJECTS: Final = 128
_HELP_FROM_BYTES: Final = 4 * 1024 * 1024
"""From this much content on a second thread is worth its start."""


class PackBatch:
    """Entries on their way into a pack, or into several where one would grow too large."""

    def __init__(self, objects: Objects, temporary_folder: Path, *, is_synced: bool) -> None:
        self._objects = objects
        self._temporary = temporary_folder
        self._is_synced = is_synced
        self._writers: list[PackWriter] = []
        self._appended: set[bytes] = set()
        self._touched = Touched()
        self.stored_bytes = 0
        objects.packs.list_once()  # before two threads ask at once

    @property
    def is_empty(self) -> bool:
        """Nothing has been appended as yet."""
        return not self._appended

    def has_entry(self, digest: bytes) -> bool:
        """Tell whether the id is stored, or on its way."""
        return digest in self._appended or self._objects.has_entry(digest)

    def keeps_blob(self, digest: bytes) -> bool:
        """Tell whether a whole blob is stored, or on its way; its time is freshened."""
        return not self._is_new(Link(digest, Kind.BLOB))

    def freshens(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id, unverified; its time is freshened."""
        return self._objects.freshen(object_id, self._touched)

    def append(self, head: bytes, stored: codec.Stored) -> None:
        """Append an entry, given its encoded header.

        Raises: StoreUnwritable.
        """
        if not self._writers or self._writers[-1].size > pack_file.PACK_BYTES_MAX:
            self._writers.append(PackWriter(self._temporary))
        writer = self._writers[-1]
        writer.append(head, stored)
        self._appended.add(writer.rows[-1][0])
        self.stored_bytes += len(head) + len(stored)

    def put(self, contents: Mapping[Link, bytes]) -> None:
        """Append those of the objects that are not stored.

        Raises: StoreUnwritable.
        """
        new = [(link, content) for link, content in contents.items() if self._is_new(link)]
        if sum(len(content) for _, content in new) < _HELP_FROM_BYTES:
            for link, content in new:
                self.append(*_encode(link, content))
            return
        from concurrent.futures import ThreadPoolExecutor

        tasks = [new[i : i + _TASK_OBJECTS] for i in range(0, len(new), _TASK_OBJECTS)]
        with ThreadPoolExecutor(2) as pool:
            for done in pool.map(_encode_all, tasks):
                for head, stored in done:
                    self.append(head, stored)

    def put_loose(self, link: Link, content: bytes) -> None:
        """Store one object as a file of its own, if it is not stored.

        Raises: StoreUnwritable.
        """
        if self._is_new(link):
            self.stored_bytes += self._objects.loose.put(
                link.kind, link, content, is_synced=self._is_synced
            )

    def publish(self) -> None:
        """Make everything durable and findable.

        Raises: StoreUnwritable.
        """
        for writer in self._writers:
            self._objects.packs.write_pack(writer, is_synced=self._is_synced)
        if self._writers:
            self._touched.packs.clear()  # their folder has just been synced
        if self._is_synced:
            self._objects.sync_names(self._touched)
        self._writers.clear()
        self._touched = Touched()

    def abandon(self) -> None:
        """Drop what was not published."""
        for writer in self._writers:
            writer.abandon()
        self._writers.clear()

    def _is_new(self, link: Link) -> bool:
        return link.digest not in self._appended and not self._objects.keep(link, self._touched)


def _encode_all(objects: list[tuple[Link, bytes]]) -> list[tuple[bytes, codec.Stored]]:
    return [_encode(link, content) for link, content in objects]


def _encode(link: Link, content: bytes) -> tuple[bytes, codec.Stored]:
    code, stored = codec.encode(content)
    head = pack_file.encode_header(Entry(link.kind), code, len(content), stored, link.digest)
    return head, stored
