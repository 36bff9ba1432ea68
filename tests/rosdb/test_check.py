"""The check of a whole store: it finds one changed byte anywhere, and says what that touches."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rosdb import Entry, Link, ObjectId, Store, errors
from rosdb.objects import Kind, Record, decode_record, encode_record, id_of


@pytest.fixture
def full(store: Store, put_run: Callable[..., Link]) -> Store:
    """Give a store in which things are shared, nested, unreachable and compressed."""
    put_run(store, metrics={"sharpe": 1.0}, name="best")
    put_run(store, parameters={"fast": 20}, status="failed")
    with store.transaction() as tx:
        shared = tx.put_blob(b"shared by two trees " * 100)
        deep = tx.put_blob(b"deep")
        inner = tx.put_tree({"deep": Entry(kind="file", link=deep, size=4, mode=0o644)})
        outer = tx.put_tree(
            {
                "inner": Entry(kind="tree", link=inner, size=4),
                "shared": Entry(kind="file", link=shared, size=2000, mode=0o644),
            }
        )
        other = tx.put_tree({"same": Entry(kind="file", link=shared, size=2000, mode=0o755)})
        table = tx.put_table({"x": np.arange(2000), "y": np.array(["a"] * 2000)}, {"x": "s"})
        snapshot = tx.put_record("snapshot/v1", {"name": "d"}, {"files": other, "bars": table})
        tx.move_ref("datasets/d/1", snapshot, expected=None)
        tx.move_ref("names/outer", outer, expected=None)
        tx.move_ref("names/inner", inner, expected=None)
    store.put_blob(b"reached from nowhere")
    store.put_record("note/v1", {"orphan": True}, {"shared": shared})
    return store


def files(store: Store) -> dict[ObjectId, Path]:
    return {
        ObjectId.from_hex(path.parent.name + path.name): path
        for path in sorted((store.path / "objects").glob("??/*"))
    }


def touched(store: Store, wanted: ObjectId) -> tuple[str, ...]:
    """Return the refs from which an object is reached, by walking down from each of them."""

    def reaches(link: Link) -> bool:
        if link == wanted:
            return True
        if link.kind is Kind.BLOB:
            return False
        return any(reaches(below) for below in store.get_record(link).links.values())

    return tuple(name for name, link in store.refs() if reaches(store.typed(link)))


def test_a_sound_store(full):
    report = full.check()

    assert report.ok
    assert (report.damaged, report.missing) == ((), ())
    assert report.objects == len(files(full))
    assert report.bytes == sum(full._objects.content_size(object_id) for object_id in files(full))
    assert len(report.dangling) == 2
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


def test_one_byte_of_any_object_is_found_and_names_what_it_touches(full):
    expected = {object_id: touched(full, object_id) for object_id in files(full)}
    assert sorted({len(names) for names in expected.values()}) == [0, 1, 2]
    sizes = {object_id: path.stat().st_size for object_id, path in files(full).items()}

    for object_id, path in files(full).items():
        sound = path.read_bytes()
        path.chmod(0o644)
        places = {0, 4, 5, 6, 8, 15, 16, 17, 18, 20, sizes[object_id] // 2, sizes[object_id] - 1}
        for at in sorted(places):
            if at >= len(sound):
                continue
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])

            report = full.check()

            assert not report.ok
            (fault,) = report.damaged
            assert (fault.object_id, fault.touches) == (object_id, expected[object_id])
            assert fault.reason
            assert report.missing == ()
            assert report.objects == len(sizes)
        path.write_bytes(sound)
    assert full.check().ok


def test_a_missing_object_is_found_and_names_what_it_touches(full):
    expected = {object_id: touched(full, object_id) for object_id in files(full)}
    linked = {*dict(full.refs()).values()}
    for object_id in files(full):
        if full._objects.kind(object_id) is Kind.RECORD:
            linked |= set(full.get_record(object_id).links.values())

    for object_id, path in files(full).items():
        path.rename(path.with_suffix(".away"))

        report = full.check()

        if object_id in linked:
            assert not report.ok
            (fault,) = report.missing
            assert (fault.object_id, fault.touches) == (object_id, expected[object_id])
            assert "linked, but nothing is stored" in fault.reason
        else:
            assert report.ok
        assert report.damaged == ()
        path.with_suffix(".away").rename(path)


def test_several_faults_are_all_named(full):
    (a, path_a), (b, path_b), *_ = files(full).items()
    path_a.chmod(0o644)
    path_a.write_bytes(b"")
    path_b.chmod(0o644)
    path_b.write_bytes(b"ros\1")
    gone = full.ref("datasets/d/1")
    assert gone is not None
    files(full)[ObjectId(gone.digest)].unlink()

    report = full.check()

    assert [fault.object_id for fault in report.damaged] == sorted([a, b])
    assert gone in [fault.object_id for fault in report.missing]


def forge(store: Store, kind: Kind, content: bytes) -> Link:
    """Store an object past all checks."""
    link = id_of(kind, content)
    store._objects.publish([(link, store._objects.stage(kind, content))])
    return link


def move(store: Store, name: str, new: Link) -> None:
    with store.transaction() as tx:
        tx.move_ref(name, new, expected=None)


@pytest.mark.parametrize("content", [b"", b"\xc0", b"not msgpack at all", b"\x93\xa4a/v1\x80"])
def test_a_record_that_hashes_and_is_none_is_damage(store, content):
    link = forge(store, Kind.RECORD, content)
    move(store, "names/x", link)

    report = store.check()

    (fault,) = report.damaged
    assert (fault.object_id, fault.touches) == (link, ("names/x",))
    with pytest.raises(errors.ObjectCorrupt):
        store.get_record(link)


def test_a_link_to_an_object_of_another_kind_leads_nowhere(store):
    blob = store.put_blob(b"x")
    record = encode_record(Record("note/v1", {}, {"x": Link(blob.digest, Kind.RECORD)}))
    move(store, "names/x", forge(store, Kind.RECORD, record))

    report = store.check()

    (fault,) = report.missing
    assert (fault.object_id, fault.touches) == (blob, ("names/x",))
    assert fault.reason == "record linked, but a blob is stored"
    assert not report.ok


def test_a_damaged_journal_is_reported_with_the_rest(full):
    path = full.path / "journal"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    lost = next(iter(files(full).values()))
    lost.chmod(0o644)
    lost.write_bytes(b"")

    report = full.check()

    assert not report.ok
    assert not report.journal.ok
    assert report.journal.error is not None
    assert "damaged" in report.journal.error
    assert len(report.damaged) == 1
    assert not report.index_differs, "there is nothing to hold it against"


@pytest.mark.parametrize("damage", ["missing", "empty", "folder"])
def test_a_journal_that_is_none_is_reported(full, damage):
    path = full.path / "journal"
    path.unlink()
    if damage == "empty":
        path.touch()
    elif damage == "folder":
        path.mkdir()

    report = full.check()

    assert not report.ok
    assert report.journal.error is not None
    assert report.objects == len(files(full))


def test_a_journal_that_was_cut_at_an_entry_is_reported(full):
    """The chain is whole; only the index knows that there was more."""
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
    for name in ("README", "ab/note.txt", "pack/pack-1.pack", "zz", "a", "AB/" + "0" * 62):
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


def test_the_check_changes_nothing(full):
    def fingerprint() -> dict[str, tuple[str, int]]:
        return {
            str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in full.path.rglob("*")
            if path.is_file() and not path.name.startswith("index.")
        }

    lost = next(iter(files(full).values()))
    lost.chmod(0o644)
    lost.write_bytes(b"")
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


def test_what_a_check_says_of_a_run_is_what_its_reader_meets(full):
    """Nobody is told that a run is sound who then cannot read it, and the other way round."""
    for object_id, path in files(full).items():
        sound = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(sound[:-1])
        report = full.check()
        for name, link in full.refs():
            is_touched = any(name in fault.touches for fault in report.damaged)
            assert is_touched == (not readable(full, full.typed(link))), (name, str(object_id))
        path.write_bytes(sound)


def readable(store: Store, link: Link) -> bool:
    try:
        return all(readable(store, below) for below in store.verify(link))
    except (errors.ObjectCorrupt, errors.ObjectMissing):
        return False


def test_what_a_verification_returns_are_the_links(full):
    for object_id in files(full):
        link = full.typed(object_id)
        content = full._objects.load(link)[1]
        expected = [] if link.kind is Kind.BLOB else [*decode_record(content).links.values()]

        assert full.verify(link) == expected
