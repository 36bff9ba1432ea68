"""The index is a cache: whatever befalls it, the answers are those of the journal."""

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosdb import Link, Move, RunRow, Store, disk, errors, index_file
from rosdb.index_file import SCHEMA_VERSION
from rosdb.journal import MAGIC

ROOT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def answers(store: Store) -> tuple[object, ...]:
    """Ask everything that the index answers."""
    return (
        list(store.refs()),
        list(store.runs()),
        [str(row.run_id) for row in store.runs("metrics.sharpe > 0.5", sort="-metrics.sharpe")],
        [str(row.run_id) for row in store.runs("params.fast >= 20 and status = completed")],
        store.resolve("@"),
        store.newest_ref("runs/"),
    )


@pytest.fixture
def filled(store: Store, put_run: Callable[..., Link]) -> Store:
    """Give a store of some runs, its index caught up."""
    for i in range(6):
        put_run(
            store,
            parameters={"fast": 10 * i, "nested": {"deep": [i]}},
            metrics={"sharpe": i / 4, "note": f"n{i}"},
            status=("completed", "failed", "running", "pending")[i % 4],
            name=f"run-{i}" if i % 2 else None,
        )
    answers(store)
    return store


# --- Deleted, damaged, half-written -------------------------------------------------------------

DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "deleted with its log": lambda path: [p.unlink() for p in path.parent.glob("index.db*")],
    "its log deleted": lambda path: [p.unlink() for p in path.parent.glob("index.db-*")],
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(os.urandom(5_000)),
    "a little garbage": lambda path: path.write_bytes(b"x"),
    "text": lambda path: path.write_text("refs: none\n" * 100),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "all but a page": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "a page of zeros": lambda path: overwrite(path, 4096, bytes(4096)),
    "pages of noise": lambda path: overwrite(path, 8192, b"\xa5" * 16384),
    "no header": lambda path: overwrite(path, 0, bytes(100)),
    "an old version": lambda path: change(path, f"PRAGMA user_version = {SCHEMA_VERSION - 1}"),
    "a newer version": lambda path: change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}"),
    "no tables": lambda path: change(path, "DROP TABLE meta", "DROP TABLE runs"),
    "one table less": lambda path: change(path, "DROP TABLE facts"),
    "no position": lambda path: change(path, "UPDATE meta SET value = 'x'"),
    "a position of another type": lambda path: change(path, "UPDATE meta SET value = 7"),
    "a position ahead of the journal": lambda path: change(
        path, "UPDATE meta SET value = 3 WHERE key = 'offset'"
    ),
    "another database": lambda path: (path.unlink(), change(path, "CREATE TABLE t (x)")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as handle:
        handle.seek(at)
        handle.write(data)


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_between_two_processes_changes_no_answer(filled, open_store, name):
    expected = answers(filled)
    filled.close()

    DAMAGES[name](filled.path / "index.db")

    after = open_store()
    assert answers(after) == expected
    report = after.check()
    assert report.ok
    assert not report.index_differs
    assert answers(open_store()) == expected


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_under_a_process_changes_no_answer(filled, open_store, put_run, name):
    expected = answers(filled)

    DAMAGES[name](filled.path / "index.db")

    other = open_store()
    assert answers(other) == expected
    assert answers(filled) == expected
    put_run(filled, metrics={"sharpe": 2.0})
    put_run(other, metrics={"sharpe": 3.0})
    assert answers(filled) == answers(other) == answers(open_store()) != expected


def test_an_index_is_made_from_nothing_but_journal_and_objects(filled, tmp_path):
    expected = answers(filled)
    copy = tmp_path / "copy" / ".ros"
    copy.mkdir(parents=True)
    for name in ("format", "journal", "objects"):
        source = filled.path / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        else:
            shutil.copy(source, copy / name)

    assert answers(Store.open(copy)) == expected


def test_where_the_disk_spoils_what_is_made_the_index_is_in_memory(filled, open_store, monkeypatch):
    """As a full disk does: the file is there, and SQLite calls it malformed."""
    expected = answers(filled)
    filled.close()
    index_file.unlink(filled.path / "index.db")
    connect = index_file.connect

    def spoiled(uri):
        if uri.startswith("file:///") and "index.db" in uri:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return connect(uri)

    monkeypatch.setattr(index_file, "connect", spoiled)

    assert answers(open_store()) == expected


def test_a_read_only_folder_is_read(filled):
    """By a process without the right to write: there the index is held in memory."""
    expected = answers(filled)
    filled.close()
    folder = Path(tempfile.mkdtemp())  # tmp_path is closed to the user nobody
    try:
        for case, keep in (("with an index", True), ("without one", False)):
            copy = folder / case / ".ros"
            shutil.copytree(filled.path, copy)
            if not keep:
                (copy / "index.db").unlink()
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            listing = sorted(copy.iterdir())

            seen = in_a_child(lambda copy=copy: repr(answers(Store.open(copy))), unprivileged=True)

            assert seen == repr(expected), case
            assert sorted(copy.iterdir()) == listing
            refused = in_a_child(lambda copy=copy: put_anything(copy), unprivileged=True)
            assert refused == "StoreUnwritable", case
            folder.chmod(0o755)
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)


def put_anything(path: Path) -> str:
    try:
        Store.open(path).put_blob(b"new")
    except errors.StoreError as error:
        return type(error).__name__
    return "put"


def in_a_child(work: Callable[[], str], *, unprivileged: bool = False) -> str:
    """Do some work in a forked process, which may be nobody's."""
    receive, send = FORK.Pipe(duplex=False)

    def child() -> None:
        if unprivileged and os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        send.send(work())

    process = FORK.Process(target=child)
    process.start()
    send.close()
    try:
        answer: str = receive.recv()
    finally:
        process.join()
    return answer


# --- The journal decides ------------------------------------------------------------------------


def test_looking_for_an_index_makes_none(tmp_path):
    """An empty file would take up the log of an index that was deleted beside it."""
    assert index_file.current(tmp_path / "index.db") is None
    assert list(tmp_path.iterdir()) == []


def test_a_cut_journal_is_noticed_by_the_index(filled, open_store):
    """The cut is at the end of an entry: the journal alone would not show it."""
    link = filled.put_blob(b"x")
    list(filled.refs())
    ends = [entry.end.offset for entry in filled._journal.entries()]
    size = ends[-1]
    os.truncate(filled.path / "journal", ends[-2])

    for store in (filled, open_store()):
        with pytest.raises(errors.JournalDamaged) as caught:
            list(store.refs())
        assert caught.value.offset == size
        with pytest.raises(errors.JournalDamaged), store.transaction() as tx:
            tx.move_ref("names/new", link, expected=None)


def test_a_rewritten_journal_is_noticed_by_the_index(filled, tmp_path):
    other = Store.init(tmp_path / "other" / ".ros")
    link = other.put_blob(b"x")
    old = None
    for _ in range(100):
        with other.transaction() as tx:
            tx.move_ref("names/x", link, expected=old)
        old = link
    (filled.path / "journal").write_bytes((other.path / "journal").read_bytes())

    with pytest.raises(errors.JournalDamaged):
        filled.ref("names/x")


def test_a_torn_tail_is_no_part_of_the_index(filled, open_store):
    expected = answers(filled)
    with (filled.path / "journal").open("ab") as handle:
        handle.write(b"\x40\x01\x00\x00\xbf\xfe\xff\xffabc")

    assert answers(filled) == answers(open_store()) == expected


@pytest.mark.parametrize("data", [b"", MAGIC[:5], b"garbage" * 100])
def test_a_journal_that_is_none_is_refused_by_every_question(store, data):
    link = store.put_blob(b"x")
    (store.path / "journal").write_bytes(data)

    for ask in (store.refs, store.runs, store.journal):
        with pytest.raises(errors.JournalDamaged):
            list(ask())
    with pytest.raises(errors.JournalDamaged), store.transaction() as tx:
        tx.move_ref("names/new", link, expected=None)


def test_no_index_remembers_an_entry_that_a_power_cut_can_take(open_store, monkeypatch):
    """It would say later that the journal was cut. What was synced once is not synced again."""
    writer, reader = open_store(), open_store()
    list(reader.refs())
    events: list[str] = []
    monkeypatch.setattr(disk, "sync", lambda handle: events.append("sync"))

    with writer.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)
    events.clear()
    list(writer.refs())
    assert events == []
    assert "names/x" in dict(reader.refs())
    (reader.path / "index.db").unlink()
    fresh = open_store()
    list(fresh.refs())
    list(fresh.refs())
    assert events == ["sync"]


@pytest.mark.parametrize(
    ("number", "is_read"), [(errno.EIO, False), (errno.EROFS, True), (errno.EINVAL, True)]
)
def test_what_cannot_be_made_durable_is_not_remembered(open_store, monkeypatch, number, is_read):
    with open_store().transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)

    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", refuse)
        reader = open_store()
        if is_read:
            assert "names/x" in dict(reader.refs())
        else:
            with pytest.raises(errors.StoreUnwritable):
                list(reader.refs())
    assert "names/x" in dict(reader.refs())


def test_an_index_that_was_edited_is_reported(filled):
    assert not filled.check().index_differs
    edits = [
        "UPDATE runs SET status = 'completed' WHERE status = 'failed'",
        "UPDATE runs SET outcome = recipe WHERE outcome IS NOT NULL",
        "UPDATE runs SET experiment = 'other' WHERE seq = 1",
        "UPDATE runs SET name = 'other' WHERE name = 'run-1'",
        "UPDATE runs SET created_at_ns = created_at_ns + 1 WHERE seq = 1",
        "UPDATE runs SET seconds = 0.0 WHERE seq = 1",
        "UPDATE runs SET kind = 'replay' WHERE seq = 1",
        "DELETE FROM runs WHERE seq = 1",
        "UPDATE facts SET num = 9.0 WHERE key = (SELECT id FROM keys WHERE name = 'sharpe') AND num = 1.0",
        "UPDATE facts SET txt = 'x' WHERE txt = 'n0'",
        "DELETE FROM facts WHERE key = (SELECT id FROM keys WHERE name = 'fast') AND num = 10",
        "INSERT INTO facts SELECT 1, 4711, 9.0, NULL",
        "UPDATE keys SET name = 'calmar' WHERE name = 'sharpe'",
        "INSERT INTO marks SELECT run, 'tag', 'paper' FROM runs LIMIT 1",
        "DELETE FROM refs WHERE name = 'names/run-1'",
        "INSERT INTO refs SELECT 'names/forged', digest, kind, moved, entry FROM refs LIMIT 1",
        "UPDATE refs SET entry = NULL WHERE name = 'names/run-1'",
        "UPDATE refs SET entry = -5 WHERE name = 'names/run-1'",
        "UPDATE refs SET entry = 'x' WHERE name = 'names/run-1'",
        "UPDATE refs SET entry = entry + 1 WHERE name = 'names/run-1'",
        "UPDATE refs SET digest = zeroblob(32) WHERE name = 'names/run-1'",
    ]
    for edit in edits:
        with contextlib.closing(
            sqlite3.connect(filled.path / "index.db", isolation_level=None)
        ) as db:
            db.execute("BEGIN")
            assert db.execute(edit).rowcount > 0
            db.execute("COMMIT")
        report = filled.check()

        assert report.index_differs, edit
        assert report.ok, "a cache is no truth: nothing is lost"
        filled.close()
        (filled.path / "index.db").unlink()
        assert not filled.check().index_differs


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE refs SET digest = (SELECT digest FROM refs WHERE name = 'names/run-3')",
        "UPDATE refs SET digest = zeroblob(32)",
        "UPDATE refs SET kind = 1",
        "UPDATE refs SET entry = NULL",
        "UPDATE refs SET entry = 0",
        "UPDATE refs SET name = 'names/forged' WHERE name = 'names/run-5'",
        "INSERT INTO refs SELECT 'names/forged', digest, kind, moved, entry FROM refs LIMIT 1",
    ],
)
def test_an_edited_ref_is_not_believed(filled, open_store, edit):
    """Each is held against its entry in the journal, by whoever reads it."""
    expected = dict(filled.refs())
    filled.close()
    change(filled.path / "index.db", edit)

    assert dict(open_store().refs()) == expected
    change(filled.path / "index.db", edit)
    assert open_store().ref("names/run-1") == expected["names/run-1"]


def test_a_note_is_no_difference(filled):
    """What a run turned out to be, whose process died, stands in the cache only."""
    (running,) = filled.runs("status = running")

    filled.mark_run(running.run_id, "failed")

    assert running.run_id in [row.run_id for row in filled.runs("status = failed")]
    assert not filled.check().index_differs
    filled.close()
    (filled.path / "index.db").unlink()
    assert [row.run_id for row in filled.runs("status = running")] == [running.run_id]


def test_a_note_gives_way_to_what_the_journal_says_later(filled):
    (running,) = filled.runs("status = running")
    filled.mark_run(running.run_id, "failed")
    ref = f"runs/{running.run_id}"

    with filled.transaction() as tx:
        outcome = tx.put_record("outcome/v1", {"metrics": {"sharpe": 9.0}})
        done = tx.put_record(
            "status/v1",
            {"status": "completed", "seconds": 1.0},
            {"run": running.run_id, "outcome": outcome},
        )
        tx.move_ref(ref, done, expected=filled.ref(ref))

    (row,) = filled.runs("metrics.sharpe = 9")
    assert (row.run_id, row.status, row.outcome) == (running.run_id, "completed", outcome)
    assert not filled.check().index_differs


def test_catching_up_is_the_same_in_one_step_and_in_many(open_store, put_run):
    writer, reader = open_store(), open_store()
    for i in range(8):
        run = put_run(writer, metrics={"sharpe": i}, name=f"n{i % 3}" if i < 3 else None)
        if i % 3 == 2:
            with writer.transaction() as tx:
                tx.move_ref(f"names/n{i % 3}", None, expected=writer.ref(f"names/n{i % 3}"))
        if i % 2:
            answers(reader)
        else:
            assert run in [row.run_id for row in writer.runs()]

    assert not reader.check().index_differs
    assert not writer.check().index_differs
    assert answers(reader) == answers(writer)


# --- What runs look like ------------------------------------------------------------------------


def test_a_run_is_listed_as_its_records_say(store, put_run):
    run = put_run(store, experiment="gamma", metrics={"sharpe": 1.0}, name="best", kind="replay")

    (row,) = store.runs()

    assert row == RunRow(
        run_id=run,
        experiment="gamma",
        name="best",
        status="completed",
        kind="replay",
        recipe=store.get_record(run).links["recipe"],
        outcome=row.outcome,
    )
    assert row.outcome is not None
    assert store.get_record(row.outcome).fields == {"metrics": {"sharpe": 1.0}}


def test_a_name_is_the_last_one_that_still_leads_to_the_run(store, put_run):
    run, other = put_run(store), put_run(store)

    def move(name: str, new: Link | None) -> tuple[str | None, str | None]:
        with store.transaction() as tx:
            tx.move_ref(f"names/{name}", new, expected=store.ref(f"names/{name}"))
        names = {row.run_id: row.name for row in store.runs()}
        return names[run], names[other]

    assert move("first", run) == ("first", None)
    assert move("second", run) == ("second", None)
    assert move("second", other) == ("first", "second")
    assert move("first", None) == (None, "second")
    assert move("second", None) == (None, None)
    assert not store.check().index_differs


def test_the_order_of_moves_in_a_transaction_means_nothing(store):
    with store.transaction() as tx:
        recipe = tx.put_record("recipe/v1", {"experiment": "e", "parameters": {}, "seed": 1})
        fields = {"created_at_ns": 1, "kind": "run", "dataset": None}
        run = tx.put_record("run/v1", fields, {"recipe": recipe})
        tx.move_ref("names/early", run, expected=None)
        tx.move_ref(f"runs/{run}", run, expected=None)

    assert [row.name for row in store.runs()] == ["early"]


def test_a_run_that_is_taken_away_is_listed_no_longer(store, put_run):
    kept, run = put_run(store), put_run(store, metrics={"sharpe": 1.0})
    ref = f"runs/{run}"
    last = store.ref(ref)

    with store.transaction() as tx:
        tx.move_ref(ref, None, expected=last)
    assert [row.run_id for row in store.runs()] == [kept]
    with pytest.raises(errors.RefMissing):
        store.resolve(str(run))
    put_run(store, status="pending")
    assert list(store.runs("metrics.sharpe = 1")) == []
    with store.transaction() as tx:
        tx.move_ref(ref, last, expected=None)
    assert [row.run_id for row in store.runs("metrics.sharpe = 1")] == [run]
    assert not store.check().index_differs


def test_a_run_that_is_taken_back_is_pending_again(store, put_run):
    run = put_run(store, metrics={"sharpe": 1.0})
    ref = f"runs/{run}"

    with store.transaction() as tx:
        tx.move_ref(ref, run, expected=store.ref(ref))

    (row,) = store.runs()
    assert (row.run_id, row.status, row.outcome) == (run, "pending", None)
    assert list(store.runs("metrics.sharpe = 1")) == []
    assert not store.check().index_differs


@pytest.mark.parametrize(
    "name", ["runs/x", "runs/" + "0" * 63, "runs/" + "A" * 64, "runs/a/b", "runs"]
)
def test_a_ref_that_only_looks_like_a_run_s_is_a_ref(store, name):
    link = store.put_blob(b"x")

    with store.transaction() as tx:
        tx.move_ref(name, link, expected=None)

    assert store.ref(name) == link
    assert list(store.runs()) == []


RUN = {"created_at_ns": 1, "kind": "run", "dataset": None}
RECIPE = {"experiment": "e", "parameters": {"a": 1}, "seed": 1}


@pytest.mark.parametrize(
    ("run", "recipe"),
    [
        ({}, RECIPE),
        (RUN, {}),
        (RUN | {"dataset": "sp500"}, RECIPE),
        (RUN | {"dataset": ["sp500"]}, RECIPE),
        (RUN | {"kind": ["run"]}, RECIPE),
        (RUN | {"kind": {}}, RECIPE),
        (RUN | {"created_at_ns": 2**64 - 1}, RECIPE),
        (RUN, RECIPE | {"experiment": [1]}),
        (RUN, RECIPE | {"parameters": {"a": {"b": 2**64 - 1}}}),
        (RUN, RECIPE | {"seed": {"a": 1}}),
    ],
    ids=repr,
)
def test_a_run_that_says_nonsense_stops_nobody(store, put_run, run, recipe):
    """Anyone may put any record under runs/: history stays readable, the odd one included."""
    with store.transaction() as tx:
        links = {"recipe": tx.put_record("recipe/v1", recipe)}
        odd = tx.put_record("run/v1", run, links)
        tx.move_ref(f"runs/{odd}", odd, expected=None)
    good = put_run(store)

    rows = {row.run_id: row for row in store.runs()}

    assert rows.keys() == {odd, good}
    assert rows[odd].status in ("damaged", "pending")
    assert store.resolve("@") == good
    assert store.resolve(str(odd)) == odd
    assert not store.check().index_differs


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        ({}, ["run"]),
        ({"status": "completed"}, ["run"]),
        ({"status": ["x"], "seconds": 1.0}, ["run"]),
        ({"status": "completed", "seconds": {}}, ["run"]),
        ({"status": "completed", "seconds": 1.0}, ["run", "outcome"]),
        ({"status": "completed", "seconds": 1.0}, []),
    ],
    ids=repr,
)
def test_a_status_that_says_nonsense_stops_nobody(store, put_run, fields, links):
    run = put_run(store, status="pending")
    with store.transaction() as tx:
        outcome = tx.put_record("outcome/v1", {"metrics": [1, 2]})
        known = {"run": run, "outcome": outcome}
        odd = tx.put_record("status/v1", fields, {name: known[name] for name in links})
        tx.move_ref(f"runs/{run}", odd, expected=run)

    (row,) = store.runs()

    assert row.run_id == run
    assert row.status in ("damaged", "completed")


@pytest.mark.parametrize("which", ["run", "recipe", "outcome", "status"])
@pytest.mark.parametrize("damage", ["missing", "corrupt"])
@pytest.mark.parametrize("is_loose", [False, True])
def test_one_damaged_object_hides_no_other_run(
    store, put_run, open_store, fate, which, damage, is_loose
):
    bad, good = put_run(store, metrics={"sharpe": 1.0}), put_run(store, metrics={"sharpe": 2.0})
    status = store.get_record(store.ref(f"runs/{bad}"))
    lost = {
        "run": bad,
        "recipe": store.get_record(bad).links["recipe"],
        "outcome": status.links["outcome"],
        "status": store.ref(f"runs/{bad}"),
    }[which]
    if is_loose:
        fate.loosen(store)
    (fate.lose if damage == "missing" else fate.damage)(store, lost)
    store.close()
    (store.path / "index.db").unlink()

    again = open_store()

    rows = {row.run_id: row.status for row in again.runs()}
    assert rows.keys() == {bad, good}
    assert rows[good] == "completed"
    assert rows[bad] == ("completed" if which in ("run", "recipe") else "damaged")
    assert [row.run_id for row in again.runs("metrics.sharpe > 0")] == (
        [good] if which in ("outcome", "status") else [good, bad]
    )


def test_a_status_alone_brings_its_run_with_it(store):
    with store.transaction() as tx:
        recipe = tx.put_record("recipe/v1", RECIPE)
        run = tx.put_record("run/v1", RUN, {"recipe": recipe})
        done = tx.put_record("status/v1", {"status": "failed", "seconds": None}, {"run": run})
        tx.move_ref(f"runs/{run}", done, expected=None)

    (row,) = store.runs("params.a = 1 and status = failed")

    assert (row.run_id, row.experiment, row.recipe) == (run, "e", recipe)


# --- Locks and races ----------------------------------------------------------------------------


def test_an_index_that_is_locked_for_too_long_is_said_to_be(filled, open_store, monkeypatch):
    monkeypatch.setattr(index_file, "BUSY_SECONDS", 0.05)
    other = open_store()
    with contextlib.closing(sqlite3.connect(filled.path / "index.db", isolation_level=None)) as db:
        list(other.refs())
        db.execute("BEGIN IMMEDIATE")
        with filled.transaction() as tx:
            tx.move_ref("names/new", tx.put_blob(b"x"), expected=None)
            journal = (filled.path / "journal").stat().st_size
            db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")

        assert (filled.path / "journal").stat().st_size > journal
        with pytest.raises(errors.StoreLocked):
            list(other.refs())
        db.execute("COMMIT")
    assert "names/new" in dict(other.refs())


@pytest.mark.parametrize("part", ["index.db", "index.new"])
def test_a_full_disk_for_the_index_stops_no_question(
    filled, open_store, put_run, monkeypatch, part
):
    for i in range(40):
        put_run(filled, parameters={f"p{j}": j for j in range(9)}, metrics={"sharpe": float(i)})
    expected = answers(filled)
    filled.close()
    (filled.path / "index.db").unlink()
    real = index_file.connect

    def cramped(uri: str) -> sqlite3.Connection:
        db = real(uri)
        if part in uri:
            db.execute("PRAGMA max_page_count = 1")  # not a page more than there are
        return db

    monkeypatch.setattr(index_file, "connect", cramped)

    assert answers(open_store()) == expected


def _make_index(path: Path, start: object, answers_: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    store = Store.open(path)
    answers_.put((len(list(store.refs())), len(list(store.runs()))))  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", ["deleted with its log", "garbage", "an old version"])
def test_processes_that_make_the_index_at_once_agree(filled, damage):
    expected = (len(list(filled.refs())), len(list(filled.runs())))
    filled.close()
    for _ in range(4):
        DAMAGES[damage](filled.path / "index.db")
        start, found = FORK.Barrier(4), FORK.Queue()
        workers = [
            FORK.Process(target=_make_index, args=(filled.path, start, found)) for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        seen = [found.get(timeout=30) for _ in workers]
        for worker in workers:
            worker.join()

        assert seen == [expected] * 4
    assert not filled.check().index_differs


def test_another_python_reads_the_same(filled):
    """A process of its own, with another hash seed and another time zone."""
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[2]); from rosdb import Store;"
        "store = Store.open(sys.argv[1]);"
        "print(json.dumps([[n, str(o)] for n, o in store.refs()]))"
    )

    printed = subprocess.run(
        [sys.executable, "-c", script, str(filled.path), str(ROOT)],
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert json.loads(printed) == [[name, str(link)] for name, link in filled.refs()]


def test_the_journal_gives_the_moves_that_the_index_was_made_of(filled):
    refs: dict[str, Link] = {}
    moves: Iterator[Move] = filled.journal()
    for move in moves:
        assert refs.get(move.ref) == move.old
        if move.new is None:
            del refs[move.ref]
        else:
            refs[move.ref] = move.new

    assert dict(filled.refs()) == refs
    starts = itertools.groupby(sorted(refs), key=lambda name: name.partition("/")[0] + "/")
    for prefix, names in starts:
        assert [name for name, _ in filled.refs(prefix)] == list(names)
