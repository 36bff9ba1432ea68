"""Merging: few packs and few indexes, whatever the number of transactions.

Owns when small packs become one, and small indexes one over several packs. A merged pack is
published and durable before those that it replaces are unlinked; readers who find one gone list the
folder again. Nobody waits for a merge, and a merge for nobody: it can be left to the next writer.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rosdb import disk, removal
from rosdb.errors import StoreLocked
from rosdb.pack_file import DIGEST_SLICE, PackFile, PackWriter
from rosdb.pack_index import Row, encode_index
from rosdb.pack_window import checked_entries
from rosdb.packs import Packs

FAN_IN: Final = 16
MERGED_BELOW_BYTES: Final = 4 * 1024 * 1024
"""A pack of this size stays as it is: a merge never makes a writer wait for long."""

_MAGNITUDE_BITS: Final = 4  # powers of sixteen


def merge(packs: Packs, temporary_folder: Path, lock: Path) -> bool:
    """Merge what there is too much of; tell whether anything was.

    Raises: StoreUnwritable.
    """
    if not _due(packs) and not _due_indexes(packs):
        return False
    try:
        with disk.exclusive_lock(lock, wait_seconds=0):
            if removal.is_unfinished(lock.parent):
                return False  # what is to go must not live on in a merged pack
            packs.refresh()
            is_merged = False
            while due := _due(packs):
                is_merged = True
                if not merge_packs(packs, due, temporary_folder):
                    break
            return merge_indexes(packs) or is_merged
    except StoreLocked:
        return False


def merge_packs(packs: Packs, names: list[str], temporary_folder: Path) -> bool:
    """Make one pack of several, and unlink them; False if one of them is damaged: all stay.

    Raises: StoreUnwritable.
    """
    writer = PackWriter(temporary_folder)
    try:
        try:
            sources = [PackFile(packs.path(name)) for name in names]
            is_sound = copy_entries(sources, writer)
        except OSError:
            is_sound = False  # what cannot be read now is left for a better day
        if not is_sound:
            for name in names:
                packs.leave_alone(name)
            return False
        # Synced whatever the setting: what it replaces may be durable.
        made = packs.write_pack(writer, is_synced=True)
    finally:
        writer.abandon()
    packs.forget([name for name in names if name != made])
    # After the unlinking, so that a put that freshened one of them meanwhile is counted.
    disk.set_time(packs.path(made), max(source.mtime_ns() for source in sources))
    return True


def copy_entries(
    sources: Iterable[PackFile], writer: PackWriter, wanted: set[bytes] | None = None
) -> bool:
    """Copy the entries of packs, or those with wanted ids, each id once.

    False if an entry is damaged: then nothing is to be done with what was written.
    Raises: StoreUnwritable.
    """
    seen: set[bytes] = set()
    for source in sources:
        for entry in checked_entries(source):
            if entry is None:
                return False
            digest = entry[0][DIGEST_SLICE]
            if digest not in seen and (wanted is None or digest in wanted):
                seen.add(digest)
                writer.append(*entry)
    return True


def merge_indexes(packs: Packs) -> bool:
    """Make one index of several, where there are too many of one magnitude.

    Of packs that stay as they are only: the others' indexes go with them.
    Raises: StoreUnwritable.
    """
    is_merged = False
    for peers in _due_indexes(packs):
        names = _disjoint(packs, peers)
        if len(names) < FAN_IN:
            for name in peers:
                packs.leave_alone(name)
            continue
        pack_names: list[str] = []
        rows: list[Row] = []
        for name in names:
            index, first = packs.layers()[name].index, len(pack_names)
            rows += [(d, first + pack, at, kind) for d, pack, at, kind in index.rows()]
            pack_names += index.pack_names
        packs.replace_indexes(names, encode_index(pack_names, rows))
        is_merged = True
    return is_merged


def _due_indexes(packs: Packs) -> list[list[str]]:
    """Return indexes that are to become one, by magnitude."""
    small = set(packs.smaller_than(MERGED_BELOW_BYTES))
    by_magnitude: dict[int, list[str]] = {}
    if len(packs.layers()) - len(small) < FAN_IN:
        return []
    for name, layer in packs.layers().items():
        if not packs.is_left_alone(name) and small.isdisjoint(layer.index.pack_names):
            magnitude = layer.index.count.bit_length() // _MAGNITUDE_BITS
            by_magnitude.setdefault(magnitude, []).append(name)
    return [names for names in by_magnitude.values() if len(names) >= FAN_IN]


def _disjoint(packs: Packs, names: list[str]) -> list[str]:
    """Return those indexes that share no id with one before them.

    An index has one place for an id: where there are two copies, the second would be found by
    nobody who finds the first damaged.
    """
    chosen: list[str] = []
    seen: set[bytes] = set()
    for name in names:
        digests = {row[0] for row in packs.layers()[name].index.rows()}
        if seen.isdisjoint(digests):
            seen |= digests
            chosen.append(name)
    return chosen


def _due(packs: Packs) -> list[str]:
    """Return packs that are to become one; the smallest magnitude first."""
    by_magnitude: dict[int, list[str]] = {}
    for name in packs.smaller_than(MERGED_BELOW_BYTES):
        if not packs.is_left_alone(name):
            magnitude = packs.size(name).bit_length() // _MAGNITUDE_BITS
            by_magnitude.setdefault(magnitude, []).append(name)
    for magnitude in sorted(by_magnitude):
        if len(by_magnitude[magnitude]) >= FAN_IN:
            # And all that is smaller goes along: it costs next to nothing.
            return [n for m in sorted(by_magnitude) if m <= magnitude for n in by_magnitude[m]]
    return []
