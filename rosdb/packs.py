"""The packs of a store: which there are, and where an object is.

Owns the folder ``objects/pack``: its listing, the layers of indexes over it and their rebuilding.
An index is believed only as far as the entry at its offset carries the id; so a wrong one can hide
an object, never change it, and before an object is called missing the indexes are verified.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from blake3 import blake3

from rosdb import disk
from rosdb.errors import StoreUnwritable
from rosdb.pack_file import Damaged, Header, PackFile, PackWriter
from rosdb.pack_index import PackIndex, Row, encode_index, open_index

P = ParamSpec("P")
R = TypeVar("R")

_FILE: Final = re.compile(r"(pack|multi)-([0-9a-f]{64})\.(pack|idx)")
_OPEN_PACKS_MAX: Final = 64
_OWN_ROWS_MAX: Final = 50_000


def is_pack_file(name: str) -> bool:
    """Tell whether a file's name is that of a pack or of an index."""
    return _FILE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index says that an entry is."""

    pack: str
    offset: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One index, and the file that it was read from (None: it could not be written)."""

    index: PackIndex
    path: Path | None


def _alone(method: Callable[Concatenate[Packs, P], R]) -> Callable[Concatenate[Packs, P], R]:
    """Let one thread at a time change what is known of the packs."""

    @functools.wraps(method)
    def call(packs: Packs, /, *arguments: P.args, **named: P.kwargs) -> R:
        with packs._alone:
            return method(packs, *arguments, **named)

    return call


class Packs:
    """The packs under one folder."""

    def __init__(self, folder: Path, temporary_folder: Path) -> None:
        self.folder = folder
        self._temporary = temporary_folder
        self._layers: dict[str, Layer] = {}
        self._order: list[PackIndex] = []
        self._last: tuple[PackIndex, ...] = ()  # what was stored together is asked for together
        # Who commits run after run has its own in many small packs, and asks for them in a moment.
        self._own: dict[bytes, list[Place]] = {}
        self._own_layers: set[str] = set()
        self._names: set[str] = set()
        self._listed: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._alone = threading.RLock()
        self._small: set[str] = set()
        self._unmeasured: set[str] = set()
        self._left_alone: set[str] = set()
        self._rebuilt_count = 0
        self._open: OrderedDict[str, PackFile] = OrderedDict()
        self._is_listed = self._is_verified = False

    def places(self, digest: bytes) -> Iterator[Place]:
        """List where an object is said to be, without looking at the folder again."""
        self.list_once()
        own = self._own.get(digest, ())
        yield from (place for place in own if place.pack in self._names)
        for index in dict.fromkeys((*self._last, *self._order)):
            if found := index.find(digest):
                place = Place(index.pack_names[found[0]], found[1])
                if place.pack in self._names and place not in own:
                    self._last = (index,)
                    yield place

    def has(self, digest: bytes) -> bool:
        """Tell whether a known index has the id."""
        return next(self.places(digest), None) is not None

    def pack(self, name: str) -> PackFile:
        """Return a pack, open.

        Raises: OSError.
        """
        with self._alone:
            pack = self._open.get(name)
            if pack is None:
                pack = self._open[name] = PackFile(self.path(name))
                if len(self._open) > _OPEN_PACKS_MAX:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(name)
            return pack

    def header(self, place: Place, digest: bytes) -> Header:
        """Return the header of an entry that is to carry an id.

        Raises: Damaged if another entry stands there; OSError.
        """
        return _carrying(self.pack(place.pack).header(place.offset), digest)

    def entry(self, place: Place, digest: bytes) -> tuple[Header, bytes, memoryview]:
        """Return an entry that is to carry an id: header, its bytes, the stored bytes.

        Raises: Damaged if another entry stands there; OSError.
        """
        found = self.pack(place.pack).entry(place.offset)
        _carrying(found[0], digest)
        return found

    def path(self, name: str) -> Path:
        """Return the file of a pack."""
        return self.folder / f"pack-{name}.pack"

    def index_path(self, name: str) -> Path:
        """Return the file of a pack's own index."""
        return self.folder / f"pack-{name}.idx"

    def size(self, name: str) -> int:
        """Return a pack's size; 0 if it is gone."""
        size = self._sizes.get(name)
        if size is None:
            try:
                size = self._sizes[name] = os.stat(self.path(name)).st_size
            except OSError:
                return 0
        return size

    @_alone
    def smaller_than(self, size_bytes: int) -> list[str]:
        """List the packs below a size, sorted; the others are remembered, and looked at once."""
        self.list_once()
        self._small |= {name for name in self._unmeasured if self.size(name) < size_bytes}
        self._unmeasured.clear()
        self._small &= self._names
        return sorted(self._small)

    def leave_alone(self, name: str) -> None:
        """Merge a pack or index no more: a damaged one is to be found as it is."""
        self._left_alone.add(name)

    def is_left_alone(self, name: str) -> bool:
        """Tell whether a merge has tried it and could not."""
        return name in self._left_alone

    def names(self) -> list[str]:
        """List the packs that are known, sorted."""
        self.list_once()
        return sorted(self._names)

    def layers(self) -> dict[str, Layer]:
        """Return the indexes by their files' names."""
        self.list_once()
        return dict(self._layers)

    def list_once(self) -> None:
        """List the folder, if that was not done before."""
        if not self._is_listed:
            self.refresh()

    def digests(self) -> Iterator[bytes]:
        """List what the indexes have of the packs that are there, some ids more than once."""
        for layer in self.layers().values():
            is_there = [name in self._names for name in layer.index.pack_names]
            for digest, number, _, _ in layer.index.rows():
                if is_there[number]:
                    yield digest

    @_alone
    def refresh(self) -> bool:
        """List the folder again; tell whether a pack has come or gone, or an index has come."""
        try:
            listed = set(os.listdir(self.folder))
        except OSError as error:
            disk.refuse_to_guess(error, self.folder)
            listed = set()  # it is not there, or something else stands in its place
        if self._is_listed and listed == self._listed:
            return False
        self._is_listed, self._listed = True, listed
        files = {name: match for name in listed if (match := _FILE.fullmatch(name))}
        names = {m[2] for m in files.values() if m[1] == "pack" and m[3] == "pack"}
        indexes = {
            n for n, m in files.items() if m[3] == "idx" and (m[1] == "multi" or m[2] in names)
        }
        if names == self._names and indexes <= self._layers.keys():
            return False
        self._unmeasured |= names - self._names
        self._names = names
        for gone in self._open.keys() - names:
            del self._open[gone]
        self._layers = {
            name: layer
            for name, layer in self._layers.items()
            if name in indexes or not names.isdisjoint(layer.index.pack_names)
        }
        covered = self._covered()
        # Those over several packs first: what they cover needs no other.
        for name in sorted(indexes - self._layers.keys(), key=lambda n: not n.startswith("multi")):
            if name.startswith("multi") or name[5:69] not in covered:
                with contextlib.suppress(OSError, ValueError):
                    index = open_index(self.folder / name)
                    if name.startswith("multi") or index.pack_names == [name[5:69]]:
                        self._layers[name] = Layer(index, self.folder / name)
                        covered.update(index.pack_names)
        for name in sorted(names - covered):
            self._rebuild(name)
        self._sort()
        return True

    @_alone
    def verify_indexes(self) -> int:
        """Hold each index against its checksum; rebuild those that fail, and count them.

        Once: what this object has seen to be sound is mapped, and stays so.
        """
        if self._is_verified:
            return 0
        self._is_verified = True
        bad = [name for name, layer in self._layers.items() if not layer.index.is_sound()]
        self._disown()
        for name in bad:
            layer = self._layers.pop(name)
            if layer.path is not None:
                with contextlib.suppress(OSError):
                    disk.remove(layer.path)
        for name in sorted(self._names - self._covered()):
            self._rebuild(name)
        self._sort()
        return len(bad)

    def take_rebuilt_count(self) -> int:
        """Return how many indexes were made anew from their packs since this was last asked."""
        count, self._rebuilt_count = self._rebuilt_count, 0
        return count

    @_alone
    def write_pack(self, writer: PackWriter, *, is_synced: bool) -> str:
        """Publish a pack and its index, and make their names durable; return the pack's name.

        Raises: StoreUnwritable.
        """
        with disk.refusals(self.folder):
            disk.make_folder(self.folder)  # a store of version 1 has none
        path = writer.publish(self.folder, is_synced=is_synced)
        name = path.stem.removeprefix("pack-")
        self._write_index(name, [(digest, 0, offset, kind) for digest, offset, kind in writer.rows])
        self._note_own(name, writer.rows)
        if is_synced:
            with disk.refusals(self.folder):
                disk.sync_folder(self.folder)
        self._names.add(name)
        self._unmeasured.add(name)
        self._listed |= {self.path(name).name, self.index_path(name).name}
        self._sort()
        return name

    @_alone
    def replace_indexes(self, old: list[str], data: bytes) -> None:
        """Put one index in the place of several, which covers all that they cover.

        Raises: StoreUnwritable.
        """
        name = f"multi-{blake3(data).hexdigest()}.idx"
        path = self._publish_index(name, data)
        with disk.refusals(self.folder):
            disk.sync_folder(self.folder)
            for each in old:
                disk.remove(self.folder / each)
        self._layers[name] = Layer(PackIndex(data), path)
        for each in old:
            self._layers.pop(each, None)
        self._sort()

    @_alone
    def forget(self, names: list[str]) -> None:
        """Unlink packs, and the indexes that cover no other pack.

        Raises: StoreUnwritable.
        """
        with disk.refusals(self.folder):
            for name in names:
                self._names.discard(name)
                self._open.pop(name, None)
                disk.remove(self.path(name))
                disk.remove(self.index_path(name))
                self._listed -= {self.path(name).name, self.index_path(name).name}
        for name, layer in list(self._layers.items()):
            if self._names.isdisjoint(layer.index.pack_names):
                del self._layers[name]
                if layer.path is not None:
                    with disk.refusals(self.folder):
                        disk.remove(layer.path)
        self._sort()

    def freshen(self, name: str) -> bool:
        """Set a pack's time to now: something in it was put again. False if it is gone."""
        return disk.freshen(self.path(name))

    def close(self) -> None:
        """Let go of all files."""
        self._open.clear()
        self._layers.clear()
        self._own.clear()
        self._own_layers.clear()
        self._sort()
        self._names.clear()
        self._small.clear()
        self._unmeasured.clear()
        self._sizes.clear()
        self._is_listed = self._is_verified = False

    def _covered(self) -> set[str]:
        return {name for layer in self._layers.values() for name in layer.index.pack_names}

    def _note_own(self, name: str, rows: list[tuple[bytes, int, int]]) -> None:
        if len(self._own) + len(rows) > _OWN_ROWS_MAX:
            self._disown()
        if len(rows) <= _OWN_ROWS_MAX:
            self._own_layers.add(self.index_path(name).name)
            for digest, offset, _ in rows:
                self._own.setdefault(digest, []).append(Place(name, offset))

    def _disown(self) -> None:
        """Leave all to the indexes; in this order, for others look without waiting for us."""
        self._own_layers = set()
        self._sort()
        self._own = {}

    def _sort(self) -> None:
        # The largest first: that is where most of what is stored is.
        others = [each for name, each in self._layers.items() if name not in self._own_layers]
        others.sort(key=lambda layer: -layer.index.count)
        self._order = [layer.index for layer in others]
        self._last = ()

    def _rebuild(self, name: str) -> None:
        """Make a pack's index from the pack itself."""
        try:
            scan = PackFile(self.path(name)).scan()
            found = [(h.digest, 0, at, int(h.entry)) for at, h in scan if h]
        except OSError:
            return
        self._write_index(name, found)
        self._rebuilt_count += 1

    def _write_index(self, name: str, rows: list[Row]) -> None:
        data = encode_index([name], rows)
        file_name = self.index_path(name).name
        try:
            path: Path | None = self._publish_index(file_name, data)
        except StoreUnwritable:
            path = None  # it is derived: in memory it serves as well
        self._layers[file_name] = Layer(PackIndex(data), path)

    def _publish_index(self, file_name: str, data: bytes) -> Path:
        """Write an index, unsynced: a torn one fails its checksum and is made again."""
        target = self.folder / file_name
        with disk.refusals(target):
            handle, temporary = disk.open_temporary(self._temporary)
            try:
                with handle:
                    disk.write(handle, data)
                disk.publish(temporary, target)
            except BaseException:
                disk.remove(temporary)
                raise
        return target


def _carrying(header: Header, digest: bytes) -> Header:
    if header.digest != digest:
        raise Damaged("another entry stands where its index points")
    return header
