"""Windows on packs: entries that stand near each other, many with one call to the system.

Owns the reading of packs in the order in which they were written. The chunks of a blob stand one
behind the other, so the next one is looked for right behind the last, and the index is asked only
where another stands there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from rosdb.pack_file import HEADER, MAGIC, Damaged, Header, PackFile, decode_header, is_checked
from rosdb.packs import Packs, Place

_BUFFER_BYTES: Final = 1024 * 1024
_WINDOWS_MAX: Final = 8


class PackWindow:
    """A window on one pack."""

    def __init__(self, pack: PackFile) -> None:
        self.pack = pack
        self._start = 0
        self._data = b""
        self._view = memoryview(b"")

    def entry(self, offset: int) -> tuple[Header, bytes, memoryview]:
        """Return a header, decoded and raw, and the stored bytes; nothing but sizes is checked.

        Raises: Damaged; OSError.
        """
        inside = offset - self._start
        if inside < 0 or inside + HEADER.size > len(self._data):
            inside = self._fill(offset, _BUFFER_BYTES)
        header = decode_header(self._data, inside)
        end = header.stored_bytes + HEADER.size
        if inside + end > len(self._data):
            if offset + end > self.pack.size:
                raise Damaged("it ends behind the pack")
            inside = self._fill(offset, max(end, _BUFFER_BYTES))
            if end > len(self._data):
                raise Damaged("it ends behind the pack")
        stored = inside + HEADER.size
        return header, self._data[inside:stored], self._view[stored : inside + end]

    def _fill(self, offset: int, size: int) -> int:
        self._start = offset
        self._data = self.pack.read(size, offset)
        self._view = memoryview(self._data)
        return 0


class Found(NamedTuple):
    """An entry, and where it stands."""

    pack: str
    offset: int
    header: Header
    head: bytes
    stored: memoryview


class Windows:
    """Windows on the packs that one blob lies in; of many packs, on those read last."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self._windows: OrderedDict[str, PackWindow] = OrderedDict()
        self._last: PackWindow | None = None
        self._pack = ""
        self._next = 0

    def find(self, digest: bytes) -> Found | None:
        """Return the entry that carries an id, where one is known and its sizes add up."""
        if self._last is not None and self._next < self._last.pack.size:
            try:
                header, head, stored = self._last.entry(self._next)
            except (Damaged, OSError):
                pass
            else:
                if header.digest == digest:
                    offset, self._next = self._next, self._next + header.end
                    return Found(self._pack, offset, header, head, stored)
        for place in self._packs.places(digest):
            try:
                return self._at(place, digest)
            except (Damaged, OSError):
                continue
        return None

    def _at(self, place: Place, digest: bytes) -> Found:
        window = self._windows.get(place.pack)
        if window is None:
            window = self._windows[place.pack] = PackWindow(self._packs.pack(place.pack))
            if len(self._windows) > _WINDOWS_MAX:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(place.pack)
        header, head, stored = window.entry(place.offset)
        if header.digest != digest:
            raise Damaged("another entry stands where its index points")
        self._last, self._pack, self._next = window, place.pack, place.offset + header.end
        return Found(place.pack, place.offset, header, head, stored)


def checked_entries(pack: PackFile) -> Iterator[tuple[bytes, memoryview] | None]:
    """Read every entry's header and stored bytes; None where one is damaged, and end.

    Raises: OSError.
    """
    window = PackWindow(pack)
    offset = len(MAGIC)
    if pack.size < offset or pack.read(offset, 0) != MAGIC:
        yield None
        return
    while offset < pack.size:
        try:
            header, head, stored = window.entry(offset)
        except Damaged:
            yield None
            return
        if not is_checked(head, stored):
            yield None
            return
        yield head, stored
        offset += header.end
