"""The check of a whole store: it finds one changed byte anywhere, and says what that touches."""

import hashlib
import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rosdb import Entry as TreeEntry
from rosdb import Link, ObjectId, Store, codec, errors
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.objects import Kind, Record, decode_record, encode_record, id_of
from rosdb.pack_file import Entry, PackWriter, decode_header, encode_header


@pytest.fixture(params=["packed", "loose"])
def full(
    store: Store, put_run: Callable[..., Link], fate: Any, request: pytest.FixtureRequest
) -> Store:
    """Give a store in which things are shared, nested, unreachable and compressed."""
    put_run(store, metrics={"sharpe": 1.0}, name="best")
    put_run(store, parameters={"fast": 20}, status="failed")
    with store.transaction() as tx:
        shared = tx.put_blob(b"shared by two trees " * 100)
        deep = tx.put_blob(b"deep")
        inner = tx.put_tree({"deep": TreeEntry(kind="file", link=deep, size=4, mode=0o644)})
        outer = tx.put_tree(
            {
                "inner": TreeEntry(kind="tree", link=inner, size=4),
                "shared": TreeEntry(kind="file", link=shared, size=2000, mode=0o644),
            }
        )
        other = tx.put_tree({"same": TreeEntry(kind="file", link=shared, size=2000, mode=0o755)})
        table = tx.put_table({"x": np.arange(2000), "y": np.array(["a"] * 2000)}, {"x": "s"})
        snapshot = tx.put_record("snapshot/v1", {"name": "d"}, {"files": other, "bars": table})
        tx.move_ref("datasets/d/1", snapshot, expected=None)
        tx.move_ref("names/outer", outer, expected=None)
        tx.move_ref("names/inner", inner, expected=None)
    store.put_blob(b"reached from nowhere")
    with store.transaction() as tx:
        other = tx.put_record("note/v1", {"orphan": "of an orphan"})
        tx.put_record("note/v1", {"orphan": True}, {"shared": shared, "other": other})
    if request.param == "loose":
        fate.loosen(store)
    return store


def spoil(copy: Any) -> None:
    """Write zeros over all of a copy."""
    copy.write(bytes(copy.end - copy.start))


def touched(store: Store, wanted: ObjectId) -> tuple[str, ...]:
    """Return the refs from which an object is reached, by walking down from each of them."""

    def reaches(link: Link) -> bool:
        if link == wanted:
            return True
        if link.kind is Kind.BLOB:
            return False
        return any(reaches(below) for below in store.get_record(link).links.values())

    return tuple(name for name, link in store.refs() if reaches(store.typed(link)))


def test_a_sound_store(full, fate):
    stored = fate.copies(full)

    report = full.check()

    assert report.ok
    assert (report.damaged, report.missing) == ((), ())
    assert report.objects == len(stored)
    assert report.bytes == sum(len(full._objects.load(object_id)[1]) for object_id in stored)
    assert len(report.dangling) == 3
    assert report.files == ()
    assert not report.index_differs
    assert report.journal.ok
    assert report.journal.entries == 5
    assert report.journal.head == list(full.journal())[-1].hash
    assert (report.journal.torn_bytes, report.journal.error) == (0, None)


def test_an_empty_store(store):
    report = store.check()

    assert report.ok
    assert (report.objects, report.bytes, report.dangling) == (0, 0, ())
    assert (report.journal.entries, report.journal.head) == (0, "00" * 32)


def test_one_byte_of_any_object_is_found_and_names_what_it_touches(full, fate):
    copies = fate.copies(full)
    expected = {object_id: touched(full, object_id) for object_id in copies}
    assert sorted({len(names) for names in expected.values()}) == [0, 1, 2]

    for object_id, (copy,) in copies.items():
        size = copy.end - copy.start
        places = {0, 4, 5, 6, 8, 15, 16, 17, 18, 20, 24, 55, 56, 71, 72, size // 2, size - 1}
        for at in sorted(place for place in places if place < size):
            copy.flip(at, 0x10)

            report = full.check()

            assert not report.ok
            faults = {fault.object_id: fault for fault in report.damaged}
            assert faults[object_id].touches == expected[object_id], at
            assert faults[object_id].reason
            assert not faults[object_id].has_sound_copy
            assert len(faults) == 1
            assert report.missing == ()
            assert report.objects == len(copies)
            copy.flip(at, 0x10)
    assert full.check().ok


def test_one_byte_is_found_without_an_index_as_well(full, fate):
    """Then nothing may know whose it was: what links to it says that it is missing."""
    copies = fate.copies(full)
    expected = {object_id: touched(full, object_id) for object_id in copies}

    for object_id, (copy,) in copies.items():
        for at in {0, 8, 15, (copy.end - copy.start) // 2, copy.end - copy.start - 1}:
            full.close()
            fate.forget_indexes(full)
            copy.flip(at, 0x10)

            report = full.check()

            assert not report.ok
            faults = {f.object_id: f for f in (*report.damaged, *report.missing)}
            if expected[object_id]:
                assert faults[object_id].touches == expected[object_id], at
            assert {f for each in faults.values() for f in each.touches} == {*expected[object_id]}
            copy.flip(at, 0x10)


def test_a_missing_object_is_found_and_names_what_it_touches(full, fate):
    copies = fate.copies(full)
    expected = {object_id: touched(full, object_id) for object_id in copies}
    linked = {*dict(full.refs()).values()}
    for object_id in copies:
        if full._objects.kind(object_id) is Kind.RECORD:
            linked |= set(full.get_record(object_id).links.values())
    whole = full.path.with_name("whole")
    shutil.copytree(full.path, whole)

    for object_id in copies:
        fate.lose(full, object_id)

        report = full.check()

        if object_id in linked:
            assert not report.ok
            (fault,) = report.missing
            assert (fault.object_id, fault.touches) == (object_id, expected[object_id])
            assert fault.reason == "nothing is stored"
        else:
            assert report.ok
        assert report.damaged == ()
        assert report.objects == len(copies) - 1
        full.close()
        shutil.rmtree(full.path / "objects")
        shutil.copytree(whole / "objects", full.path / "objects")


def test_several_faults_are_all_named(full, fate):
    gone = full.ref("datasets/d/1")
    assert gone is not None
    fate.lose(full, gone)
    (a, (copy_a,)), (b, (copy_b,)), *_ = fate.copies(full).items()
    list(full.refs())  # opens what was closed, indexes of the packs as well
    assert full.has(a)
    spoil(copy_a)
    spoil(copy_b)

    report = full.check()

    assert {fault.object_id for fault in report.damaged} == {a, b}
    assert gone in [fault.object_id for fault in report.missing]


@pytest.mark.parametrize("is_loose_damaged", [True, False])
def test_an_object_with_a_sound_copy_is_not_lost(store, fate, is_loose_damaged):
    with store.transaction() as tx:
        link = tx.put_blob(b"stored twice")
        tx.move_ref("names/x", link, expected=None)
    store._objects.loose.put(link.kind, link, b"stored twice", is_synced=False)
    packed, loose = fate.copies(store)[link]
    (loose if is_loose_damaged else packed).flip(-1)

    report = store.check()

    (fault,) = report.damaged
    assert (fault.object_id, fault.touches, fault.kind) == (link, ("names/x",), "blob")
    assert fault.has_sound_copy
    assert ("(loose)" in fault.reason) is is_loose_damaged
    assert not report.ok
    assert (report.objects, report.missing) == (1, ())
    assert store.get_blob(link) == b"stored twice"


def test_bytes_that_belong_to_no_entry_are_a_file_s_fault(full, fate):
    packs = fate.packs(full)
    for pack in packs:
        pack.path.chmod(0o644)
        with pack.path.open("ab") as handle:
            handle.write(b"more")
    full.close()

    report = full.check()

    assert report.ok is (not packs)
    assert [fault.name for fault in report.files] == sorted(pack.path.name for pack in packs)
    assert report.damaged == report.missing == ()


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_chunk_s_damage_is_its_blob_s(store, fate, is_quick):
    content = np.random.default_rng(3).bytes(WHOLE_BYTES_MAX * 2)
    with store.transaction() as tx:
        blob = tx.put_blob(content)
        tx.move_ref("names/x", blob, expected=None)
    parts = fate.copies(store)
    assert len(parts) > 10
    assert store.check().ok

    for object_id, (copy,) in parts.items():
        copy.flip(-1)

        report = store.check(is_quick=is_quick)

        faults = {fault.object_id: fault for fault in report.damaged}
        assert faults[object_id].touches == ("names/x",)
        assert faults.keys() <= {object_id, blob}
        assert is_quick or blob in faults
        assert report.missing == ()
        assert not report.ok
        copy.flip(-1)


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_lost_chunk_is_its_blob_s_damage(store, fate, is_quick):
    content = np.random.default_rng(3).bytes(WHOLE_BYTES_MAX * 2)
    with store.transaction() as tx:
        blob = tx.put_blob(content)
        tx.move_ref("names/x", blob, expected=None)
    chunk = next(each for each in fate.copies(store) if each != blob)
    fate.lose(store, chunk)

    report = store.check(is_quick=is_quick)

    (fault,) = report.missing
    assert (fault.object_id, fault.touches) == (chunk, ("names/x",))
    assert is_quick or [fault.object_id for fault in report.damaged] == [blob]


def test_chunks_that_hash_to_another_blob_are_damage(store, fate):
    """The list's check holds, each chunk is sound, and it is not that blob."""
    contents = [np.random.default_rng(n).bytes(WHOLE_BYTES_MAX * 2) for n in (1, 2)]
    with store.transaction() as tx:
        a, b = (tx.put_blob(content) for content in contents)
        tx.move_ref("names/a", a, expected=None)
        tx.move_ref("names/b", b, expected=None)
    (pack,) = fate.packs(store)
    entries = [(h, *pack.entry(at)[1:]) for at, h in pack.scan() if h]
    lists = {h.digest: (head, stored) for h, head, stored in entries if h.entry is Entry.CHUNKS}
    writer = PackWriter(store.path / "tmp")
    for header, head, stored in entries:
        if header.digest == a.digest:
            head, stored = lists[b.digest]
            size = decode_header(head).content_bytes
            head = encode_header(Entry.CHUNKS, head[5], size, stored, a.digest)
        writer.append(head, stored)
    store.close()
    pack.path.unlink()
    fate.forget_indexes(store)
    writer.publish(pack.path.parent, is_synced=False)

    report = store.check()

    (fault,) = report.damaged
    assert (fault.object_id, fault.touches) == (a, ("names/a",))
    assert "do not hash to its id" in fault.reason
    assert store.check(is_quick=True).ok
    assert store.get_blob(b) == contents[1]
    with pytest.raises(errors.ObjectCorrupt):
        store.get_blob(a)


def test_a_quick_check_finds_any_byte_of_a_pack(store, fate, put_run):
    # Of each object every third byte, from another one on: all of them take half a minute.
    put_run(store, metrics={"sharpe": 1.0})
    store.put_record("note/v1", {"orphan": True})

    for number, copies in enumerate(fate.copies(store).values()):
        for at in range(number % 3, copies[0].end - copies[0].start, 3):
            copies[0].flip(at)
            assert not store.check(is_quick=True).ok, at
            copies[0].flip(at)
    assert store.check(is_quick=True).ok


def forge(store: Store, kind: Kind, content: bytes) -> Link:
    """Store an object past all checks."""
    link = id_of(kind, content)
    store._objects.loose.put(kind, link, content, is_synced=False)
    return link


def forge_packed(store: Store, kind: Kind, content: bytes) -> Link:
    link = id_of(kind, content)
    writer = PackWriter(store.path / "tmp")
    writer.append(
        encode_header(Entry(kind), codec.RAW, len(content), content, link.digest), content
    )
    store._objects.packs.write_pack(writer, is_synced=False)
    return link


def move(store: Store, name: str, new: Link) -> None:
    with store.transaction() as tx:
        tx.move_ref(name, new, expected=None)


@pytest.mark.parametrize("forge", [forge, forge_packed])
@pytest.mark.parametrize("content", [b"", b"\xc0", b"not msgpack at all", b"\x93\xa4a/v1\x80"])
def test_a_record_that_hashes_and_is_none_is_damage(store, content, forge):
    link = forge(store, Kind.RECORD, content)
    move(store, "names/x", link)

    report = store.check()

    (fault,) = report.damaged
    assert (fault.object_id, fault.touches) == (link, ("names/x",))
    with pytest.raises(errors.ObjectCorrupt):
        store.get_record(link)


@pytest.mark.parametrize("forge", [forge, forge_packed])
def test_a_link_to_an_object_of_another_kind_leads_nowhere(store, forge):
    blob = store.put_blob(b"x")
    record = encode_record(Record("note/v1", {}, {"x": Link(blob.digest, Kind.RECORD)}))
    move(store, "names/x", forge(store, Kind.RECORD, record))

    report = store.check()

    (fault,) = report.missing
    assert (fault.object_id, fault.touches) == (blob, ("names/x",))
    assert fault.reason == "a record is linked, another kind is stored"
    assert not report.ok


def test_a_damaged_journal_is_reported_with_the_rest(full, fate):
    path = full.path / "journal"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    spoil(next(iter(fate.copies(full).values()))[0])

    report = full.check()

    assert not report.ok
    assert not report.journal.ok
    assert report.journal.error is not None
    assert "damaged" in report.journal.error
    assert len(report.damaged) == 1
    assert not report.index_differs, "there is nothing to hold it against"


@pytest.mark.parametrize("damage", ["missing", "empty", "folder"])
def test_a_journal_that_is_none_is_reported(full, fate, damage):
    path = full.path / "journal"
    path.unlink()
    if damage == "empty":
        path.touch()
    elif damage == "folder":
        path.mkdir()

    report = full.check()

    assert not report.ok
    assert report.journal.error is not None
    assert report.objects == len(fate.copies(full))


def test_a_journal_that_was_cut_at_an_entry_is_reported(full):
    """The chain is whole; only the index knows that there was more."""
    list(full.refs())
    ends = [entry.end.offset for entry in full._journal.entries()]
    os.truncate(full.path / "journal", ends[-2])

    report = full.check()

    assert not report.ok
    assert not report.journal.ok
    assert report.journal.error is not None
    assert "it was another when it was read before" in report.journal.error


def test_a_torn_tail_is_reported_and_is_no_damage(full):
    with (full.path / "journal").open("ab") as handle:
        handle.write(b"\x40\x01\x00\x00\xbf\xfe\xff\xffabc")

    report = full.check()

    assert report.ok
    assert report.journal.ok
    assert report.journal.torn_bytes == 11


def test_foreign_files_are_no_objects(full):
    before = full.check()
    for name in (
        "README",
        "ab/note.txt",
        "pack/pack-1.pack",
        "pack/note.idx",
        "zz",
        "a",
        "AB/" + "0" * 62,
    ):
        path = full.path / "objects" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"foreign")
    (full.path / "tmp" / "left-behind").write_bytes(b"garbage")
    if not (full.path / "objects" / "00").exists():
        (full.path / "objects" / "00").write_bytes(b"a file in the place of a folder")

    assert full.check() == before


def test_a_file_that_only_has_an_object_s_name_is_damage(full):
    path = full.path / "objects" / "00" / ("0" * 62)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"foreign")

    (fault,) = full.check().damaged

    assert (str(fault.object_id), fault.touches) == ("0" * 64, ())


def test_the_check_changes_nothing(full, fate):
    def fingerprint() -> dict[str, tuple[str, int]]:
        return {
            str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in full.path.rglob("*")
            if path.is_file() and "index." not in path.name and path.suffix != ".lock"
        }

    spoil(next(iter(fate.copies(full).values()))[0])
    with (full.path / "journal").open("ab") as handle:
        handle.write(b"torn")
    before = fingerprint()

    full.check()

    assert fingerprint() == before


def test_the_progress_adds_up(full):
    sizes: list[int] = []

    report = full.check(sizes.append)

    assert len(sizes) == report.objects
    assert sum(sizes) == report.bytes


def test_what_a_check_says_of_a_run_is_what_its_reader_meets(full, fate):
    """Nobody is told that a run is sound who then cannot read it, and the other way round."""
    for object_id, (copy,) in fate.copies(full).items():
        copy.flip(-1)
        report = full.check()
        for name, link in full.refs():
            is_touched = any(name in fault.touches for fault in report.damaged)
            assert is_touched == (not readable(full, full.typed(link))), (name, str(object_id))
        copy.flip(-1)


def readable(store: Store, link: Link) -> bool:
    try:
        return all(readable(store, below) for below in store.verify(link))
    except (errors.ObjectCorrupt, errors.ObjectMissing):
        return False


def test_what_a_verification_returns_are_the_links(full, fate):
    for object_id in fate.copies(full):
        link = full.typed(object_id)
        content = full._objects.load(link)[1]
        expected = [] if link.kind is Kind.BLOB else [*decode_record(content).links.values()]

        assert full.verify(link) == expected
