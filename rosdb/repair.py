"""Repair: what can be restored is, and what cannot is set aside.

Owns the order of the steps. Nothing is deleted: a damaged file goes to the folder ``damaged`` after
all of it that is sound has been copied and synced. What is lost stays lost, and the check names it;
a put of the same content brings it back.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from rosdb import blob_file, codec, disk, pack_file, removal, turnstile
from rosdb.errors import BadSetting, JournalDamaged, ObjectCorrupt, ObjectMissing
from rosdb.journal import Journal, Position
from rosdb.object_store import Objects, Touched
from rosdb.pack_file import PACK_BYTES_MAX, Damaged, PackFile, PackWriter
from rosdb.packs import is_pack_file
from rosdb.verify import Findings, verify_all

_WAIT_SECONDS: Final = 60.0
_FOLDER: Final = "damaged"
_LOOSE_NAME_DIGITS: Final = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did."""

    indexes_rebuilt: int
    journal_bytes_cut: int
    packs_rewritten: tuple[str, ...]
    files_set_aside: tuple[str, ...]
    """Paths below the store's folder."""

    journal_was_longer: bool = False
    """The index had read entries that are gone: no power cut takes those."""

    @property
    def is_anything(self) -> bool:
        """Something was amiss."""
        return bool(
            self.indexes_rebuilt
            or self.journal_bytes_cut
            or self.packs_rewritten
            or self.files_set_aside
            or self.journal_was_longer
        )


def repair(
    folder: Path,
    objects: Objects,
    journal: Journal,
    renew_index: Callable[[], bool],
    advance: Callable[[int], None],
) -> Repaired:
    """Rebuild indexes, cut a torn journal, set damaged files aside.

    ``renew_index`` makes the index anew, and tells whether the journal had been longer.
    Raises: StoreLocked, StoreUnreadable, StoreUnwritable.
    """
    with (
        disk.exclusive_lock(folder / "merge.lock", _WAIT_SECONDS),
        turnstile.alone(folder, _WAIT_SECONDS),
    ):
        removal.renew_mark(folder)  # what is set aside is gone for writers of other processes
        aside = [_move_aside(folder, path) for path in list(_misplaced(objects))]
        found = verify_all(objects, is_quick=False, advance=advance)
        rewritten, originals = _rewrite_packs(folder, objects, found)
        aside += originals
        for object_id in sorted(found.bad_loose):
            aside.append(_link_aside(folder, objects.loose.path(object_id)))
            objects.loose.remove(object_id)
        # Unlinked for good: what came back would be found damaged again.
        objects.sync_names(
            Touched(found.bad_packs, {objects.loose.path(each).parent for each in found.bad_loose})
        )
        # A pack whose tail was cut has kept its name: whoever has it open has the old one.
        objects.close()
        objects.packs.refresh()
        cut_bytes = _cut_journal(folder, journal)
        rebuilt_count = objects.packs.take_rebuilt_count()
    was_longer = False
    with contextlib.suppress(JournalDamaged, BadSetting):  # the check names them
        was_longer = renew_index()
    return Repaired(
        indexes_rebuilt=rebuilt_count,
        journal_bytes_cut=cut_bytes,
        packs_rewritten=tuple(rewritten),
        files_set_aside=tuple(aside),
        journal_was_longer=was_longer,
    )


def _rewrite_packs(folder: Path, objects: Objects, found: Findings) -> tuple[list[str], list[str]]:
    """Copy what is sound in damaged packs, set those aside; return their names, old and new.

    All of it is copied before anything is named, and then into packs of its own: two packs may have
    been swapped, and each stand where the other's copy is to go.
    """
    sound = {name: _sound_entries(objects, name, found) for name in sorted(found.bad_packs)}
    rewriting = [name for name, entries in sound.items() if entries is not None]
    writers: list[PackWriter] = []
    with contextlib.ExitStack() as stack:
        seen: set[tuple[int, bytes]] = set()
        for name in rewriting:
            pack = PackFile(objects.packs.path(name))
            for offset, head in sound[name] or ():
                header = pack_file.decode_header(head)
                if (header.entry, header.digest) in seen:
                    continue
                seen.add((header.entry, header.digest))
                if not writers or writers[-1].size > PACK_BYTES_MAX:
                    writers.append(PackWriter(folder / "tmp"))
                    stack.callback(writers[-1].abandon)
                writers[-1].append(head, pack.entry(offset)[2])
        aside = [_link_aside(folder, objects.packs.path(name)) for name in rewriting]
        made = {objects.packs.write_pack(writer, is_synced=True) for writer in writers}
        objects.packs.forget([name for name in rewriting if name not in made])
    return rewriting, aside


def _sound_entries(objects: Objects, name: str, found: Findings) -> list[tuple[int, bytes]] | None:
    """Return where the sound entries of a pack are, and their headers as they should be.

    None if the pack is what its name says, a list in it may lead to what is damaged elsewhere; or
    if it cannot be read through, and is left for a better day.
    """
    known = {
        offset: digest
        for layer in objects.packs.layers().values()
        for digest, number, offset, *_ in layer.index.rows()
        if layer.index.pack_names[number] == name
    }
    try:
        pack = PackFile(objects.packs.path(name))
        is_whole = True
        entries: list[tuple[int, bytes]] = []
        scanned = dict(pack.scan())
        for offset in sorted(scanned.keys() | known.keys()):
            header = scanned.get(offset)
            is_useless = (
                header is not None
                and (name, header.digest) in found.useless_lists
                and not _puts_together(objects, pack, offset)
            )
            head = None if is_useless else _sound_head(pack, offset, known.get(offset))
            is_whole = is_whole and header is not None and head is not None
            if head is not None:
                entries.append((offset, head))
    except OSError as error:
        disk.refuse_to_guess(error, objects.packs.path(name))
        return None
    names = blake3()
    for _, head in entries:
        names.update(head)
    return None if is_whole and names.hexdigest() == name else entries


def _puts_together(objects: Objects, pack: PackFile, offset: int) -> bool:
    """Tell whether a list makes its blob after all, of whatever copies: then it is not dropped."""
    try:
        header, _, stored = pack.entry(offset)
        content = pack_file.decode_unverified(header, stored)
        for _ in blob_file.chunk_contents(header.digest, content, objects.part_loader()):
            pass
    except (Damaged, ObjectMissing, ObjectCorrupt):
        return False
    return True


def _sound_head(pack: PackFile, offset: int, known: bytes | None) -> bytes | None:
    """Return the header that an entry should have; None where its content is lost.

    Content that hashes to the id in its header, or in the index, is sound, whatever else is not.
    """
    try:
        header, head, stored = pack.entry(offset)
        content = codec.decode(header.codec, stored, header.content_bytes)
    except (Damaged, codec.NotDecodable):
        return None
    digest = pack_file.digest_of(header.entry, content)
    is_checked = pack_file.is_checked(head, stored)
    if digest is None or (is_checked and digest == header.digest):
        return head if is_checked else None
    if digest not in (header.digest, known):
        return None
    return pack_file.encode_header(header.entry, header.codec, header.content_bytes, stored, digest)


def _misplaced(objects: Objects) -> Iterator[Path]:
    """List what stands in the place of a folder, or of a file, and is none."""
    packs = objects.packs.folder
    if not packs.is_dir():
        if os.path.lexists(packs):
            yield packs
    else:
        names = (each for each in packs.iterdir() if is_pack_file(each.name))
        yield from (each for each in names if not each.is_file())
    for folder in sorted(objects.loose.folder.glob("[0-9a-f][0-9a-f]")):
        if not folder.is_dir():
            yield folder
            continue
        names = (each for each in folder.iterdir() if len(each.name) == _LOOSE_NAME_DIGITS)
        yield from (each for each in names if not each.is_file())


def _move_aside(folder: Path, path: Path) -> str:
    """Move what is no file of ours among the damaged; return its name below the store's folder."""
    with disk.refusals(folder):
        disk.make_folder(folder / _FOLDER)
        target = next(each for each in _free_names(folder, path) if not os.path.lexists(each))
        path.rename(target)
        for changed in (path.parent, target.parent):
            disk.sync_folder(changed)
    return str(target.relative_to(folder))


def _link_aside(folder: Path, path: Path) -> str:
    """Give a file a second name among the damaged; return that, below the store's folder."""
    with disk.refusals(folder):
        disk.make_folder(folder / _FOLDER)
        for target in _free_names(folder, path):
            with contextlib.suppress(FileExistsError):
                disk.link(path, target)
                break
    return str(target.relative_to(folder))


def _free_names(folder: Path, path: Path) -> Iterator[Path]:
    name = path.parent.name + path.name if len(path.name) == _LOOSE_NAME_DIGITS else path.name
    yield folder / _FOLDER / name
    for number in itertools.count(2):
        yield folder / _FOLDER / f"{name}.{number}"


def _cut_journal(folder: Path, journal: Journal) -> int:
    """Cut what a crash has left behind the last whole entry; return how many bytes."""
    with disk.exclusive_lock(folder / "lock"):
        position = Position()
        try:
            for entry in journal.entries():
                position = entry.end
        except JournalDamaged:
            return 0  # that is no torn tail: nobody but the check is to say what it is
        return journal.cut(position)
