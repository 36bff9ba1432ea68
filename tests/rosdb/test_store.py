"""The store as the Python API promises it."""

import io
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rosdb
from rosdb import Link, ObjectId, Record, Store, Table, errors, put_files, refs
from rosdb.objects import Kind, id_of

LARGE = random.Random(1).randbytes(2**20 + 5000)  # past the size to which blobs are held whole


# --- Making and opening -------------------------------------------------------------------------


def test_a_store_is_made_and_opened(tmp_path):
    made = Store.init(tmp_path / "a" / "b" / ".ros")
    made.put_blob(b"x")
    made.close()

    opened = Store.open(tmp_path / "a" / "b" / ".ros")

    assert opened.has(id_of(Kind.BLOB, b"x"))
    assert (tmp_path / "a" / "b" / ".ros" / "format").read_bytes() == b"research-os store 2\n"
    assert (tmp_path / "a" / "b" / ".ros" / ".gitignore").read_bytes() == b"*\n"


def test_a_store_is_found_in_its_folder(tmp_path):
    Store.init(tmp_path / ".ros")
    (tmp_path / "format").write_text("a file of the workspace's own")

    store = Store.open(str(tmp_path))

    assert store.path == tmp_path / ".ros"


def test_a_store_stays_where_it_is_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store.init(Path(".ros"))
    monkeypatch.chdir("/")

    with store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)

    assert store.path == tmp_path / ".ros"
    assert store.check().ok


def test_a_store_is_made_once(path):
    store = Store.open(path)
    with store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)
    before = sorted((p, p.read_bytes()) for p in path.rglob("*") if p.is_file())

    with pytest.raises(errors.StoreExists, match=str(path)):
        Store.init(path)

    assert sorted((p, p.read_bytes()) for p in path.rglob("*") if p.is_file()) == before


@pytest.mark.parametrize("lost", ["format", "config.toml", "tmp", "leases", ".gitignore"])
def test_a_store_that_was_half_made_is_made_whole(path, lost):
    """The format is written last: without it there is no store yet, with it there is all of one."""
    store = Store.open(path)
    with store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)
    store.close()
    (path / "format").unlink()
    if (path / lost).is_dir():
        shutil.rmtree(path / lost)
    else:
        (path / lost).unlink(missing_ok=True)

    again = Store.init(path)

    assert dict(again.refs()).keys() == {"names/x"}
    assert again.check().ok
    assert again.put_blob(b"y")


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file", "a folder of files"])
def test_what_is_no_store_is_not_opened(tmp_path, what):
    target = tmp_path / "x"
    if what == "a file":
        target.write_bytes(b"")
    elif what != "nothing":
        target.mkdir()
        if what == "a folder of files":
            (target / "journal").write_bytes(b"")

    with pytest.raises(errors.NotAStore, match=str(target)):
        Store.open(target)


@pytest.mark.parametrize(
    "data",
    [b"", b"research-os store 3\n", b"research-os store 2", b"\xff\xfe", b"x" * 10_000],
)
def test_an_unknown_format_is_refused(path, data):
    (path / "format").write_bytes(data)

    with pytest.raises(errors.UnsupportedFormat) as caught:
        Store.open(path)

    assert caught.value.path == str(path)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_format_that_cannot_be_read_is_refused(path):
    (path / "format").unlink()
    (path / "format").mkdir()

    with pytest.raises(errors.UnsupportedFormat, match="directory"):
        Store.open(path)


def test_a_store_where_none_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(errors.StoreUnwritable):
        Store.init(tmp_path / "file" / ".ros")


def test_a_closed_store_opens_again_when_asked(store):
    link = store.put_blob(b"x")
    with store.transaction() as tx:
        tx.move_ref("names/x", link, expected=None)

    store.close()
    store.close()

    assert store.ref("names/x") == link


# --- Versions and settings ----------------------------------------------------------------------


@pytest.fixture
def old(store: Store, fate, put_run) -> Store:
    """Give a store as version 1 left it."""
    put_run(store, metrics={"sharpe": 1.0}, name="best")
    store.put_blob(LARGE)
    fate.loosen(store)
    (store.path / "format").write_bytes(b"research-os store 1\n")
    (store.path / "config.toml").write_bytes(b"")
    (store.path / "objects" / "pack").rmdir()
    return store


def test_a_store_of_version_1_is_read_as_it_is(old, open_store):
    def files() -> dict[Path, bytes]:
        names = ("index.", ".lock")
        every = (
            p for p in old.path.rglob("*") if p.is_file() and not any(n in p.name for n in names)
        )
        return {path: path.read_bytes() for path in every}

    before = files()

    store = open_store()

    assert store.check().ok
    assert [row.status for row in store.runs()] == ["completed"]
    assert store.get_blob(id_of(Kind.BLOB, LARGE)) == LARGE
    assert store.resolve("best")
    assert files() == before


def test_the_first_transaction_makes_a_version_2_of_it(old, open_store, put_run):
    store = open_store()
    put_run(store, metrics={"sharpe": 2.0})

    assert (store.path / "format").read_bytes() == b"research-os store 2\n"
    assert len(list(store.runs())) == 2
    assert open_store().check().ok
    assert store.get_blob(id_of(Kind.BLOB, LARGE)) == LARGE


@pytest.mark.parametrize("durability", ["full", "batch", "none"])
def test_a_store_works_in_every_durability(store, put_run, open_store, durability):
    (store.path / "config.toml").write_text(f'durability = "{durability}"\n', "utf-8")

    put_run(store, metrics={"sharpe": 2.0})
    store.put_blob(LARGE)
    store.close()

    assert store.settings.durability == durability
    assert open_store().check().ok
    assert len(list(open_store().runs())) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("durability = full", "line 1"),
        ('durability = "fast"', "'fast'"),
        ("durability = 1", "not 1"),
        ('durabilty = "none"', "'durabilty' is no setting"),
        ("\0", "line 1"),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused(store, text, reason):
    (store.path / "config.toml").write_text(text, "utf-8")

    with pytest.raises(errors.BadSetting, match="config.toml") as caught:
        store.put_blob(b"x")

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(store.refs()) == []


# --- Blobs --------------------------------------------------------------------------------------


def test_blobs(store, tmp_path):
    (tmp_path / "file").write_bytes(b"hello\n")

    link = store.put_blob(b"hello\n")

    assert str(link) == "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
    assert store.get_blob(link) == b"hello\n"
    assert store.get_blob(ObjectId.from_hex(str(link))) == b"hello\n"
    assert store.put_file(tmp_path / "file") == store.put_file(str(tmp_path / "file")) == link
    assert isinstance(link, ObjectId)


@pytest.mark.parametrize("size", [0, 1, 4096, 2**20 - 1, 2**20, 2**20 + 1])
def test_a_file_and_its_bytes_are_one_blob(store, tmp_path, size):
    (tmp_path / "file").write_bytes(LARGE[:size])

    link = store.put_file(tmp_path / "file")

    assert link == store.put_blob(LARGE[:size])
    assert id_of(Kind.BLOB, store.get_blob(link)) == link


def test_a_file_that_is_not_there_is_the_caller_s_error(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        store.put_file(tmp_path)


def test_what_is_not_stored_is_missing(store):
    object_id = ObjectId(bytes(32))

    for get in (store.get_blob, store.get_record, store.get_tree, store.get_table, store.open_blob):
        with pytest.raises(errors.ObjectMissing, match="00000000"):
            get(object_id)
    with pytest.raises(errors.ObjectMissing):
        store.typed(object_id)
    assert not store.has(object_id)


def test_a_blob_is_no_record_and_a_record_no_blob(store):
    blob, record = store.put_blob(b"x"), store.put_record("note/v1", {})

    for get in (store.get_record, store.get_tree, store.get_table):
        with pytest.raises(errors.ObjectCorrupt, match="a blob by its header"):
            get(blob)
    for get in (store.get_blob, store.open_blob):
        with pytest.raises(errors.ObjectCorrupt, match="a record by its header"):
            get(record)
    assert store.typed(ObjectId(blob.digest)).kind is Kind.BLOB
    assert store.typed(ObjectId(record.digest)).kind is Kind.RECORD
    with pytest.raises(errors.ObjectCorrupt, match="a record by its header"):
        store.verify(Link(record.digest, Kind.BLOB))


CONTENTS = {"empty": b"", "small": b"hello", "compressed": b"abc" * 5000, "streamed": LARGE}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_an_open_blob_is_a_file(store, content):
    link = store.put_blob(content)

    with store.open_blob(link) as blob:
        assert blob.readable()
        assert blob.seekable()
        assert not blob.writable()
        assert id_of(Kind.BLOB, blob.read()) == link
        assert blob.read() == b""
        assert blob.tell() == len(content)
        assert blob.seek(0) == 0
        assert blob.read(3) == content[:3]
        buffer = bytearray(10)
        count = blob.readinto(buffer)
        assert buffer[:count] == content[3 : 3 + count]
        assert id_of(Kind.BLOB, b"".join(store.open_blob(link))) == link
        with pytest.raises(io.UnsupportedOperation):
            blob.write(b"x")
    assert blob.closed
    with pytest.raises(ValueError, match="closed"):
        blob.read()


@pytest.mark.parametrize("name", ["small", "compressed", "streamed"])
@given(
    moves=st.lists(
        st.tuples(st.integers(-20_000, 20_000), st.sampled_from([0, 1, 2]), st.integers(0, 20_000)),
        max_size=12,
    )
)
def test_an_open_blob_seeks_as_a_file_does(seekable, name, moves):
    blob, content = seekable[name], CONTENTS[name]
    at = blob.seek(0)
    for offset, whence, size in moves:
        target = (0, at, len(content))[whence] + offset
        if target < 0:
            with pytest.raises((ValueError, OSError)):
                blob.seek(offset, whence)
        else:
            assert blob.seek(offset, whence) == target
            assert blob.read(size) == content[target : target + size]
            at = target + len(content[target : target + size])
        assert blob.tell() == at


@pytest.fixture(scope="module")
def seekable(tmp_path_factory):
    store = Store.init(tmp_path_factory.mktemp("seek") / ".ros")
    blobs = {name: store.open_blob(store.put_blob(data)) for name, data in CONTENTS.items()}
    yield blobs
    for blob in blobs.values():
        blob.close()
    store.close()


@pytest.mark.parametrize("is_loose", [False, True])
def test_a_range_of_a_large_blob_is_read_alone(store, fate, monkeypatch, is_loose):
    link = store.put_blob(LARGE)
    if is_loose:
        fate.loosen(store)
    read = 0

    def counted(real):
        def call(*arguments):
            nonlocal read
            answer = real(*arguments)
            read += answer if isinstance(answer, int) else len(answer)
            return answer

        return call

    with store.open_blob(link) as blob:
        if is_loose:
            handle = blob.raw._handle
            stand_in = SimpleNamespace(
                readinto=counted(handle.readinto),
                seek=handle.seek,
                tell=handle.tell,
                close=handle.close,
            )
            monkeypatch.setattr(blob.raw, "_handle", stand_in)
        monkeypatch.setattr(os, "pread", counted(os.pread))
        blob.seek(1_000_000)

        assert blob.read(100) == LARGE[1_000_000:1_000_100]
        assert 0 < read < 300_000  # a buffer's worth of chunks of at most 64 KiB


@pytest.mark.parametrize("is_loose", [False, True])
def test_a_damaged_blob_is_not_opened(store, fate, is_loose):
    contents = [b"abc" * 5000, b"small", *([LARGE] if is_loose else [])]
    with store.transaction() as tx:
        links = [tx.put_blob(content) for content in contents]
    if is_loose:
        fate.loosen(store)
    for link in links:
        fate.damage(store, link)

        with pytest.raises(errors.ObjectCorrupt, match=str(link)):
            store.open_blob(link)


def test_a_damaged_chunk_is_not_handed_out(store, fate):
    """A blob in chunks is verified as it is read: what comes before the damage is sound."""
    link = store.put_blob(LARGE)
    parts = fate.copies(store)
    assert len(parts) > 40

    for (copy,) in parts.values():
        copy.flip(-1)
        read = bytearray()
        with pytest.raises(errors.ObjectCorrupt, match=str(link)), store.open_blob(link) as blob:
            while piece := blob.read(50_000):
                read += piece
        with pytest.raises(errors.ObjectCorrupt, match=str(link)):
            store.get_blob(link)
        with pytest.raises(errors.ObjectCorrupt, match=str(link)):
            store.verify(link)

        assert LARGE.startswith(read)
        copy.flip(-1)
    assert store.get_blob(link) == LARGE


def test_a_blob_with_a_lost_chunk_is_damaged(store, fate):
    link = store.put_blob(LARGE)
    lost = next(each for each in fate.copies(store) if each != link)
    fate.lose(store, lost)

    with pytest.raises(errors.ObjectCorrupt, match=str(link)), store.open_blob(link) as blob:
        blob.read()
    with pytest.raises(errors.ObjectCorrupt, match=f"{link}.*{lost}"):
        store.get_blob(link)


# --- Records, trees and tables ------------------------------------------------------------------


def test_records(store):
    blob = store.put_blob(b"x")
    fields = {"n": 1, "x": 1.0, "t": "é", "b": b"\0", "l": [None, True], "m": {"deep": {}}}

    link = store.put_record("note/v1", fields, {"file": blob})

    assert store.get_record(link) == Record("note/v1", fields, {"file": blob})
    assert store.put_record("note/v1", dict(reversed(fields.items())), {"file": blob}) == link
    assert store.put_record("note/v2", fields, {"file": blob}) != link
    with pytest.raises(errors.NotCanonical):
        store.put_record("note", {})
    with pytest.raises(errors.NotCanonical, match="float64 is not a plain value"):
        store.put_record("note/v1", {"x": np.float64(1)})


def test_tables_and_trees(store):
    table = store.put_table({"x": np.arange(3)}, {"x": "s"})
    tree = put_files(store, {"a": b"x"})

    assert isinstance(store.get_table(table), Table)
    assert store.get_table(table)["x"].tolist() == [0, 1, 2]
    assert store.get_tree(tree)["a"].link == id_of(Kind.BLOB, b"x")
    with pytest.raises(errors.NotCanonical):
        store.get_table(tree)
    with pytest.raises(errors.NotCanonical):
        store.get_tree(table)


@pytest.mark.parametrize("is_loose", [False, True])
def test_a_closure_is_verified(store, fate, is_loose):
    blob = store.put_blob(b"x" * 1000)
    with store.transaction() as tx:
        first = tx.put_record("note/v1", {"n": 1}, {"file": tx.put_blob(b"x" * 1000)})
        second = tx.put_record("note/v1", {"n": 2}, {"first": first, "file": blob})
    assert store.verify_closure([second, blob]) == (3, {})

    if is_loose:
        fate.loosen(store)
    fate.lose(store, blob)
    count, damaged = store.verify_closure([second])

    assert count == 3
    assert damaged.keys() == {blob}
    assert isinstance(damaged[blob], errors.ObjectMissing)


@pytest.mark.parametrize("is_loose", [False, True])
def test_sizes_are_measured(store, fate, put_run, is_loose):
    assert store.stats().dedup_ratio is None
    for _ in range(3):
        put_run(store, parameters={"same": [1] * 100})
    if is_loose:
        fate.loosen(store)

    stats = store.stats()

    files = [path for path in (store.path / "objects").rglob("*") if path.is_file()]
    on_disk = [path.stat().st_size for path in files if path.suffix != ".idx"]
    assert (stats.objects, stats.runs, stats.datasets) == (len(fate.copies(store)), 3, 0)
    assert stats.stored_bytes == sum(on_disk)
    assert stats.logical_bytes > stats.content_bytes
    assert stats.dedup_ratio == stats.logical_bytes / stats.content_bytes


# --- Refs, journal, revisions -------------------------------------------------------------------


def move(store: Store, name: str, new: ObjectId | None) -> None:
    with store.transaction("a reason") as tx:
        tx.move_ref(name, new, expected=store.ref(name))


def test_refs_are_listed_by_name_and_prefix(store):
    link = store.put_blob(b"x")
    for name in ("names/b", "names/a", "datasets/d/1", "names-more", "names/a/b"):
        move(store, name, link)

    assert [name for name, _ in store.refs()] == [
        "datasets/d/1",
        "names-more",
        "names/a",
        "names/a/b",
        "names/b",
    ]
    assert [name for name, _ in store.refs("names/")] == ["names/a", "names/a/b", "names/b"]
    assert [name for name, _ in store.refs("names/a/")] == ["names/a/b"]
    assert list(store.refs("none")) == []
    assert store.ref("names/none") is None
    assert store.newest_ref("names/") == ("names/a/b", link)
    assert store.newest_ref("none/") is None


def test_the_journal_is_every_move(store):
    a, b = store.put_blob(b"a"), store.put_record("note/v1", {})
    move(store, "names/x", a)
    move(store, "names/y", a)
    move(store, "names/x", b)
    move(store, "names/x", None)

    every = list(store.journal())

    assert [m.ref for m in every] == ["names/x", "names/y", "names/x", "names/x"]
    assert [(m.old, m.new) for m in store.journal("names/x")] == [(None, a), (a, b), (b, None)]
    assert {(m.who, m.why) for m in every} == {("ana@desk", "a reason")}
    assert [m.at_ns for m in every] == sorted(m.at_ns for m in every)
    assert len({m.hash for m in every}) == 4
    assert every[2].new is not None
    assert every[2].new.kind is Kind.RECORD


def test_revisions(store, put_run):
    first = put_run(store, experiment="sma", name="best")
    second = put_run(store, experiment="gamma")
    third = put_run(store, experiment="sma")
    put_run(store, experiment="sma", kind="replay")

    expected = {
        "@": third,
        "@~0": third,
        "@~1": second,
        "@~2": first,
        "sma@": third,
        "sma@~1": first,
        "gamma@": second,
        "best": first,
        str(second): second,
        str(second).upper(): second,
        str(second)[:40]: second,
    }
    assert {revision: store.resolve(revision) for revision in expected} == expected
    for revision in (
        "@~3",
        "gamma@~1",
        "none@",
        "none",
        "",
        "0" * 64,
        "f" * 5,
        "abc",
        str(first)[:3],
    ):
        with pytest.raises(errors.RefMissing) as caught:
            store.resolve(revision)
        assert caught.value.revision == revision


def test_no_revision_names_anything_in_an_empty_store(store):
    for revision in ("@", "@~1", "x@", "x", "abcd"):
        with pytest.raises(errors.RefMissing):
            store.resolve(revision)


def test_an_ambiguous_prefix_lists_the_candidates(store, put_run):
    runs = []
    while True:
        runs.append(put_run(store, status="pending"))
        heads = [str(run)[:4] for run in runs]
        if len(set(heads)) < len(heads) or len(runs) > 1500:
            break
    twins = sorted(str(run) for run in runs if heads.count(str(run)[:4]) > 1)
    assert len(twins) == 2, "the birthday paradox has failed us"

    with pytest.raises(errors.IdAmbiguous) as caught:
        store.resolve(twins[0][:4])

    assert caught.value.candidates == tuple(twins)
    shared = next(i for i, (a, b) in enumerate(zip(*twins, strict=True)) if a != b)
    assert str(store.resolve(twins[0][: shared + 1])) == twins[0]
    assert store.resolve(twins[1]) == ObjectId.from_hex(twins[1])


def test_a_name_goes_before_a_prefix(store, put_run):
    """No run may be called so (check_run_name); if one is, its name is what is meant."""
    run = put_run(store)
    other = put_run(store)
    move(store, f"{refs.NAMES}{str(other)[:6]}", run)

    assert store.resolve(str(other)[:6]) == run
    assert store.resolve(str(other)[:7]) == other


# --- The door -----------------------------------------------------------------------------------


def test_everything_at_the_door_is_there():
    for name in rosdb.__all__:
        assert hasattr(rosdb, name), name
    assert rosdb.FOLDER == ".ros"
