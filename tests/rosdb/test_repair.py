"""Repair: what can be restored is, nothing is deleted, and twice is as good as once."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import rosdb.disk
from rosdb import Link, Store, errors
from rosdb.journal import START
from rosdb.pack_file import HEADER, PackFile


@pytest.fixture
def full(store: Store) -> Store:
    """Give a store with two packs and a loose object, all under refs."""
    for name in ("a", "b"):
        with store.transaction() as tx:
            links = [tx.put_blob(f"{name}{number} ".encode() * 99) for number in range(5)]
            record = tx.put_record("note/v1", {}, {str(n): link for n, link in enumerate(links)})
            tx.move_ref(f"names/{name}", record, expected=None)
    loose = store.put_blob(b"loose " * 9)
    with store.transaction() as tx:
        tx.move_ref("names/loose", loose, expected=None)
    list(store.refs())
    return store


def contents(store: Store) -> dict[Link, bytes]:
    """Return every object under a ref, as it is read."""
    found: dict[Link, bytes] = {}
    waiting = [store.typed(link) for _, link in store.refs()]
    while waiting:
        link = waiting.pop()
        try:
            found[link] = store._objects.load(link)[1]
            waiting += store.verify(link)
        except (errors.ObjectCorrupt, errors.ObjectMissing):
            continue
    return found


def files(store: Store) -> dict[str, bytes]:
    """Return what no repair may change where there is nothing to do."""
    kept = ("objects/**/*", "journal", "damaged/*", "format", "config.toml")
    return {
        str(path): path.read_bytes()
        for pattern in kept
        for path in sorted(store.path.glob(pattern))
        if path.is_file()
    }


def test_a_sound_store_is_left_as_it_is(full):
    before = files(full)

    repaired = full.repair()

    assert not repaired.is_anything
    assert files(full) == before
    assert not (full.path / "damaged").exists()
    assert list((full.path / "tmp").iterdir()) == []


def test_a_good_loose_copy_stands_in_for_a_bad_packed_one(full, fate):
    before = contents(full)
    lost = next(link for link in before if link in fate.copies(full) and before[link][:2] == b"a0")
    full._objects.loose.put(lost.kind, lost, before[lost], is_synced=False)
    packed, loose = fate.copies(full)[lost]
    packed.flip(-1)
    spoilt = packed.path.read_bytes()

    assert full.check().damaged[0].has_sound_copy
    repaired = full.repair()

    assert repaired.packs_rewritten == (packed.path.stem.removeprefix("pack-"),)
    assert (full.path / repaired.files_set_aside[0]).read_bytes() == spoilt
    assert full.check().ok
    assert contents(full) == before
    assert not packed.path.exists()
    assert loose.path.exists()


def test_a_good_packed_copy_stands_in_for_a_bad_loose_one(full, fate):
    before = contents(full)
    link = next(link for link in before if before[link][:2] == b"b0")
    full._objects.loose.put(link.kind, link, before[link], is_synced=False)
    loose = fate.loose(full)[link]
    loose.flip(-1)
    spoilt = loose.path.read_bytes()

    repaired = full.repair()

    assert repaired.packs_rewritten == ()
    assert repaired.files_set_aside == (f"damaged/{link}",)
    assert (full.path / "damaged" / str(link)).read_bytes() == spoilt
    assert not loose.path.exists()
    assert full.check().ok
    assert contents(full) == before


@pytest.mark.parametrize("at", range(HEADER.size - 16, HEADER.size))
def test_content_that_hashes_is_kept_whatever_its_check_says(full, fate, at):
    """It could be read before the repair, so it must be after it."""
    before = contents(full)
    for copies in fate.copies(full).values():
        if copies[0].path.suffix == ".pack":
            copies[0].flip(at)

    assert contents(full) == before
    full.repair()

    assert full.check().ok
    assert contents(full) == before


@pytest.mark.parametrize("at", [24, 40, 55])
def test_content_that_hashes_to_what_the_index_says_gets_its_id_back(full, fate, at):
    before = contents(full)
    copies = fate.copies(full)
    for each in copies.values():
        if each[0].path.suffix == ".pack":
            each[0].flip(at)

    full.repair()

    assert full.check().ok
    assert contents(full) == before
    assert fate.copies(full).keys() == copies.keys()


def test_packs_that_were_swapped_get_their_names_back(full, fate):
    before = contents(full)
    a, b = (pack.path for pack in fate.packs(full))
    full.close()
    swap(a, b)

    repaired = full.repair()

    assert len(repaired.packs_rewritten) == 2
    assert full.check().ok
    assert contents(full) == before


def swap(a: Path, b: Path) -> None:
    between = a.with_name("between")
    a.rename(between)
    b.rename(a)
    between.rename(b)


@pytest.mark.parametrize("harm", ["swapped", "flipped", "tail", "loose"])
def test_interrupted_at_any_call_it_loses_nothing(full, fate, tmp_path, harm):
    before = contents(full)
    a, b = (pack.path for pack in fate.packs(full))
    full.close()
    if harm == "swapped":
        swap(a, b)
    elif harm == "loose":
        next(iter(fate.loose(full).values())).flip(-1)
    elif harm == "tail":
        for path in (a, b):
            path.chmod(0o644)
            with path.open("ab") as handle:
                handle.write(b"more")
    else:
        fate.copies(full)[next(link for link in before if before[link][:2] == b"a0")][0].flip(-1)
    whole = set(contents(full))
    names = ("link", "publish", "remove", "sync", "sync_folder", "make_folder", "open_temporary")

    for room in range(40):
        path = tmp_path / str(room)
        shutil.copytree(full.path, path)
        store = Store.open(path)
        with pytest.MonkeyPatch.context() as patch:
            calls = Interrupted(room)
            for name in names:
                patch.setattr(rosdb.disk, name, calls.around(getattr(rosdb.disk, name)))
            try:
                store.repair()
            except KeyboardInterrupt:
                pass
        store.close()
        again = Store.open(path)
        again.repair()
        found = contents(again)
        assert whole <= set(found)
        assert found.items() <= before.items()
        if harm in ("swapped", "tail"):
            assert again.check().ok
            assert found == before
        if calls.count <= room:
            return
    pytest.fail("a repair of so small a store takes fewer calls")


class Interrupted:
    """Lets so many calls pass, and interrupts the next."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.count = 0

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        def interrupted(*arguments: object, **options: object) -> object:
            self.count += 1
            if self.count > self.room:
                raise KeyboardInterrupt
            return call(*arguments, **options)

        return interrupted


@pytest.mark.parametrize("harm", ["pack", "loose", "index", "journal", "folder", "all"])
def test_a_repeated_repair_does_nothing(full, fate, harm):
    pack = fate.packs(full)[0].path
    full.close()
    if harm in ("pack", "all"):
        pack.chmod(0o644)
        with pack.open("r+b") as handle:
            handle.seek(200)
            handle.write(bytes(50))
    if harm in ("loose", "all"):
        next(iter(fate.loose(full).values())).flip(-1)
    if harm in ("index", "all"):
        fate.forget_indexes(full)
    if harm in ("journal", "all"):
        with (full.path / "journal").open("ab") as handle:
            handle.write(b"torn")
    if harm in ("folder", "all"):
        (full.path / "objects" / "pack" / f"pack-{'0' * 64}.pack").mkdir()

    assert full.repair().is_anything
    before = files(full)

    assert not full.repair().is_anything
    assert not Store.open(full.path).repair().is_anything
    assert files(full) == before


def test_a_torn_tail_is_cut(full):
    before = (full.path / "journal").read_bytes()
    with (full.path / "journal").open("ab") as handle:
        handle.write(b"\x40\x01\x00\x00\xbf\xfe\xff\xffabc")

    repaired = full.repair()

    assert repaired.journal_bytes_cut == 11
    assert (full.path / "journal").read_bytes() == before
    assert full.check().ok


@pytest.mark.parametrize("at", [0, START, START + 20, START + 200])
def test_a_journal_damaged_in_the_middle_is_left_as_it_is_and_named(full, at):
    path = full.path / "journal"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    repaired = full.repair()

    assert repaired.journal_bytes_cut == 0
    assert path.read_bytes() == data
    assert full.check().journal.error
    full.close()
    for index in full.path.glob("index.db*"):
        index.unlink()
    with pytest.raises(errors.JournalDamaged), full.transaction() as tx:
        tx.move_ref("names/new", tx.put_blob(b"x"), expected=None)
    assert path.read_bytes() == data


@pytest.mark.parametrize("is_torn", [True, False])
def test_a_journal_that_the_index_knows_to_have_been_longer(full, open_store, is_torn):
    """No power cut takes what the index has read. The store works again, and the loss is said."""
    ends = [entry.end.offset for entry in full._journal.entries()]
    size = ends[-1] - 10 if is_torn else ends[-2]
    full.close()
    os.truncate(full.path / "journal", size)
    with pytest.raises(errors.JournalDamaged):
        list(open_store().refs())

    repaired = open_store().repair()

    assert repaired.journal_was_longer
    assert (full.path / "journal").stat().st_size == ends[-2]
    after = open_store()
    assert after.check().ok
    assert after.ref("names/loose") is None
    with after.transaction() as tx:
        tx.move_ref("names/new", tx.put_blob(b"new"), expected=None)
    assert not open_store().repair().journal_was_longer


@pytest.mark.parametrize(
    "place",
    ["objects/pack", "objects/00", "objects/pack/pack-{}.pack", "objects/pack/multi-{}.idx"],
)
def test_what_stands_in_the_way_is_set_aside(full, place):
    """And what is in it is somebody's, and kept."""
    before = contents(full)
    full.close()
    path = full.path / place.format("0" * 64)
    if path.exists():
        kept = path.with_name("kept")
        path.rename(kept)
    if path.suffix:
        path.mkdir()
        (path / "inside").write_bytes(b"somebody's")
    else:
        path.write_bytes(b"somebody's")

    (aside,) = full.repair().files_set_aside

    set_aside = full.path / aside
    kept_file = set_aside / "inside" if set_aside.is_dir() else set_aside
    assert kept_file.read_bytes() == b"somebody's"
    assert not full.repair().is_anything
    if place == "objects/pack":
        full.close()
        (full.path / "objects" / "kept").rename(path)
    assert full.check().ok
    assert contents(full) == before


def test_what_cannot_be_read_just_now_is_not_taken_for_damaged(full, monkeypatch):
    """A disk that is out of handles, or not ours, says nothing of what is stored."""
    before = files(full)

    def refuse(self: PackFile, *arguments: int) -> bytes:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(PackFile, "read", refuse)
    with pytest.raises(errors.StoreUnreadable):
        full.repair()
    monkeypatch.undo()

    assert files(full) == before
