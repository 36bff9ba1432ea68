"""Transactions: everything or nothing, whatever fails and whenever the power goes."""

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosdb import Link, ObjectId, Store, disk, errors, transaction
from rosdb.chunks import CHUNK_BYTES_MAX, WHOLE_BYTES_MAX
from rosdb.objects import Kind, id_of

SECTOR = 512

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def moves(store: Store) -> list[tuple[str, Link | None, Link | None]]:
    return [(move.ref, move.old, move.new) for move in store.journal()]


# --- What a transaction does --------------------------------------------------------------------


def test_objects_and_moves_land_together(store):
    with store.transaction("first") as tx:
        blob = tx.put_blob(b"hello\n")
        record = tx.put_record("note/v1", {"text": "é"}, {"file": blob})
        tx.move_ref("names/a", record, expected=None)
        tx.move_ref("names/b", blob, expected=None)
        assert not store.has(record)
        assert store.ref("names/a") is None

    assert store.get_record(record).links == {"file": blob}
    assert dict(store.refs()) == {"names/a": record, "names/b": blob}
    assert moves(store) == [("names/a", None, record), ("names/b", None, blob)]
    assert {move.hash for move in store.journal()} == {next(store.journal()).hash}
    assert [(move.why, move.who) for move in store.journal()] == [("first", "ana@desk")] * 2


def test_objects_without_a_move_leave_the_journal_alone(store):
    before = (store.path / "journal").read_bytes()

    store.put_blob(b"x")
    with store.transaction():
        pass

    assert (store.path / "journal").read_bytes() == before


def test_a_ref_moves_from_where_it_was_expected_to_be(store):
    a, b = store.put_blob(b"a"), store.put_blob(b"b")
    for old, new in ((None, a), (a, b), (b, None), (None, b)):
        with store.transaction() as tx:
            tx.move_ref("names/x", new, expected=old)

        assert store.ref("names/x") == new
    assert moves(store) == [
        ("names/x", None, a),
        ("names/x", a, b),
        ("names/x", b, None),
        ("names/x", None, b),
    ]


@pytest.mark.parametrize("expected", [None, b"other", b"new"])
def test_a_ref_that_is_elsewhere_moves_nothing(store, expected):
    old, new = store.put_blob(b"old"), store.put_blob(b"new")
    with store.transaction() as tx:
        tx.move_ref("names/taken", old, expected=None)
    before = moves(store)
    wanted = None if expected is None else store.put_blob(expected)

    def work() -> None:
        with store.transaction() as tx:
            blob = tx.put_blob(b"a blob")
            tx.move_ref("names/first", blob, expected=None)
            tx.move_ref("names/taken", new, expected=wanted)
            tx.move_ref("names/third", blob, expected=None)

    with pytest.raises(errors.RefMoved) as caught:
        work()

    assert moves(store) == before
    assert dict(store.refs()) == {"names/taken": old}
    assert caught.value.ref == "names/taken"
    assert caught.value.found == str(old)
    assert caught.value.expected == (None if wanted is None else str(wanted))


def test_an_exception_lands_nothing(store, tmp_path):
    (tmp_path / "large").write_bytes(bytes(WHOLE_BYTES_MAX + 1))

    with contextlib.suppress(ZeroDivisionError), store.transaction() as tx:
        blob = tx.put_blob(b"a blob")
        large = tx.put_file(tmp_path / "large")
        tx.move_ref("names/x", blob, expected=None)
        raise ZeroDivisionError

    assert not store.has(blob)
    assert not store.has(large)
    assert moves(store) == []
    assert list((store.path / "tmp").iterdir()) == []


def test_what_is_abandoned_does_not_land(store):
    with store.transaction() as tx:
        blob = tx.put_blob(b"a blob")
        tx.move_ref("names/x", blob, expected=None)
        tx.abandon()

    assert moves(store) == []
    assert not store.has(blob)


def test_a_transaction_within_another(store):
    with store.transaction() as outer:
        a = outer.put_blob(b"a")
        outer.move_ref("names/a", a, expected=None)
        with store.transaction() as inner:
            inner.move_ref("names/b", inner.put_blob(b"b"), expected=None)

    assert [ref for ref, _, _ in moves(store)] == ["names/b", "names/a"]


def test_trouble_with_the_index_fails_no_landed_transaction(store, monkeypatch):
    real = store._journal.append

    def append_then_break(*arguments: Any, **options: Any) -> Any:
        end = real(*arguments, **options)
        monkeypatch.setattr(type(store._caught_up()), "_catch_up", broken)
        return end

    def broken(index: object) -> None:
        raise errors.StoreLocked("index.db", 60.0)

    list(store.refs())
    monkeypatch.setattr(store._journal, "append", append_then_break)

    with store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)

    monkeypatch.undo()
    assert "names/x" in dict(store.refs())


# --- No dangling link ---------------------------------------------------------------------------


def test_a_link_must_lead_somewhere(store):
    nowhere = id_of(Kind.BLOB, b"never stored")

    for target in (nowhere, ObjectId(nowhere.digest)):
        with pytest.raises(errors.ObjectMissing, match=str(nowhere)):
            store.put_record("note/v1", {}, {"file": target})
        with pytest.raises(errors.ObjectMissing, match=str(nowhere)), store.transaction() as tx:
            tx.move_ref("names/x", target, expected=None)
    assert store.check().objects == 0
    assert moves(store) == []


def test_a_link_must_lead_to_what_it_says(store):
    blob, record = store.put_blob(b"x"), store.put_record("note/v1", {})
    liars = [Link(blob.digest, Kind.RECORD), Link(record.digest, Kind.BLOB)]

    for liar in liars:
        with pytest.raises(errors.ObjectCorrupt, match="by its header"):
            store.put_record("note/v1", {"a": 1}, {"x": liar})
        with pytest.raises(errors.ObjectCorrupt), store.transaction() as tx:
            tx.move_ref("names/x", liar, expected=None)
    with store.transaction() as tx:
        fresh = tx.put_blob(b"on its way")
        with pytest.raises(errors.ObjectCorrupt):
            tx.put_record("note/v1", {}, {"x": Link(fresh.digest, Kind.RECORD)})


def test_an_id_without_a_kind_finds_its_kind(store):
    blob = store.put_blob(b"stored before")
    with store.transaction() as tx:
        other = tx.put_record("note/v1", {"n": 1})
        record = tx.put_record(
            "note/v1", {}, {"a": ObjectId(blob.digest), "b": ObjectId(other.digest)}
        )

    links = store.get_record(record).links
    assert (links["a"].kind, links["b"].kind) == (Kind.BLOB, Kind.RECORD)


def test_a_ref_s_name_is_checked(store):
    blob = store.put_blob(b"x")

    for name in ("", "a b", "../x", "names/"):
        with pytest.raises(errors.BadName), store.transaction() as tx:
            tx.move_ref(name, blob, expected=None)
    with store.transaction() as tx:
        tx.move_ref("names/x", blob, expected=None)
        with pytest.raises(AssertionError, match="is moved twice"):
            tx.move_ref("names/x", None, expected=blob)


@pytest.mark.parametrize("limit", [0, 1_000, 2**26])
def test_large_transactions_are_staged_on_the_way(store, fate, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(transaction, "_PENDING_BYTES_MAX", limit)
    content = random.Random(1).randbytes(WHOLE_BYTES_MAX + 1)
    (tmp_path / "large").write_bytes(content)

    with store.transaction() as tx:
        blobs = [tx.put_blob(b"%d" % i * 300) for i in range(20)]
        large = [tx.put_file(tmp_path / "large"), tx.put_blob(content)]
        links = {f"b{i}": link for i, link in enumerate([*blobs, *large])}
        record = tx.put_record("many/v1", {}, links)
        again = [tx.put_file(tmp_path / "large"), tx.put_blob(b"0" * 300)]
        tx.move_ref("names/x", record, expected=None)

    assert again == [large[0], blobs[0]]
    assert store.check().ok
    copies = fate.copies(store)
    assert fate.objects(store) == {record, *blobs, large[0]}
    assert {len(each) for each in copies.values()} == {1}
    assert len(copies) > 22 + len(content) // CHUNK_BYTES_MAX
    assert store.get_blob(large[0]) == content
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize(("is_moved", "size"), [(False, 1016), (True, 1072)])
def test_what_was_stored_already_is_not_counted_as_new(store, is_moved, size):
    content = os.urandom(1000)
    with store.transaction() as first:
        link = first.put_blob(content)
        if is_moved:
            first.move_ref("names/x", link, expected=None)
    with store.transaction() as second:
        second.put_blob(content)
        if is_moved:
            second.move_ref("names/y", link, expected=None)

    assert (first.stored_bytes, second.stored_bytes) == (size, 0)


def test_a_transaction_is_one_pack_and_a_single_put_a_loose_object(store, fate):
    alone = store.put_blob(b"alone")
    with store.transaction() as tx:
        two = {tx.put_blob(b"one of two"), tx.put_blob(b"another")}
    with store.transaction() as tx:
        moved = tx.put_blob(b"moved")
        tx.move_ref("names/x", moved, expected=None)
    with store.transaction() as tx:
        tx.move_ref("names/y", moved, expected=None)

    packed = [{h.digest for _, h in pack.scan() if h} for pack in fate.packs(store)]
    assert fate.loose(store).keys() == {alone}
    assert sorted(packed, key=len) == [{moved.digest}, {link.digest for link in two}]


def test_what_is_stored_in_any_way_is_not_stored_again(store, fate, tmp_path):
    content = random.Random(1).randbytes(WHOLE_BYTES_MAX + 1)
    (tmp_path / "large").write_bytes(content)
    store.put_blob(b"loose")
    with store.transaction() as tx:
        tx.put_blob(b"packed")
        tx.put_file(tmp_path / "large")
    before = fate.copies(store)

    store.put_blob(content)
    store.put_blob(b"packed")
    with store.transaction() as tx:
        links = [tx.put_blob(b"loose"), tx.put_blob(b"packed"), tx.put_file(tmp_path / "large")]
        tx.move_ref("names/x", links[-1], expected=None)

    assert fate.copies(store) == before
    assert tx.stored_bytes == 0


# --- Every disk call, failing -------------------------------------------------------------------


class PowerCut(BaseException):
    """The machine stops. What was written and not synced is lost."""


class Disk:
    """The disk's primitives, counted; one of them may fail, before it acts or after.

    It knows what a power cut loses: names in folders that were not synced since, and the end of a
    file that was not. And it holds the order of writing: a pack is synced before it gets its name,
    and all that a journal entry may lead to has its name for good before the entry is written. Only
    the index of a pack may be lost, or torn.
    """

    PRIMITIVES = (
        "freshen",
        "make_folder",
        "open_temporary",
        "publish",
        "sync",
        "sync_folder",
        "write",
        "write_synced",
    )

    def __init__(self, patch: pytest.MonkeyPatch, journal: Path) -> None:
        self.calls: list[str] = []
        self.fail_at: int | None = None
        self.is_after = False
        self.failure: Callable[[], BaseException] = PowerCut
        self.journal = journal
        self.dirty: dict[int, Path] = {}
        self.named: list[Path] = []
        self.loose_names: set[Path] = set()
        self.torn_indexes: set[Path] = set()
        self.synced_folders: list[Path] = []
        for name in self.PRIMITIVES:
            patch.setattr(disk, name, self._wrapped(name, getattr(disk, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            is_chosen = len(self.calls) - 1 == self.fail_at
            self._before(name, arguments)
            if is_chosen and not self.is_after:
                raise self.failure()
            result = real(*arguments)
            self._after(name, arguments, result)
            if is_chosen:
                if name == "open_temporary":
                    result[0].close()
                    result[1].unlink()  # what is not opened is not there
                raise self.failure()
            return result

        return call

    def _before(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("write", "write_synced"):
            handle = arguments[0]
            if Path(handle.name) == self.journal and name == "write_synced":
                assert not self.loose_names, "an entry is written before its objects are durable"
                dirty = [path for path in self.dirty.values() if path.exists()]
                assert not dirty, "an entry is written before its objects are synced"
            self.dirty[os.fstat(handle.fileno()).st_ino] = Path(handle.name)
        elif name == "publish":
            temporary, target = arguments
            if target.suffix == ".idx":
                self.dirty.pop(temporary.stat().st_ino, None)
                self.torn_indexes.add(target)
            assert temporary.stat().st_ino not in self.dirty, "a name is given before a sync"
            self.loose_names.add(target)

    def _after(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        if name == "sync":
            self.dirty.pop(os.fstat(arguments[0]).st_ino, None)
        elif name == "sync_folder":
            self.loose_names = {p for p in self.loose_names if p.parent != arguments[0]}
            self.synced_folders.append(arguments[0])
        elif name == "open_temporary":
            self.dirty[os.fstat(result[0].fileno()).st_ino] = result[1]
        elif name == "publish":
            self.named.append(arguments[1])

    def lose(self, before: bytes, lost_sectors: int) -> None:
        """Take away what a power cut would: names, and sectors of what was not synced."""
        for path in self.loose_names:
            path.unlink(missing_ok=True)
        for path in self.torn_indexes:
            if path.exists():
                path.chmod(0o644)
                path.write_bytes(torn(b"", path.read_bytes(), lost_sectors))
        if self.journal.stat().st_ino in self.dirty:
            self.journal.write_bytes(torn(before, self.journal.read_bytes(), lost_sectors))


def torn(before: bytes, written: bytes, lost_sectors: int) -> bytes:
    """Return what was written with some of the new sectors of zeros."""
    data = bytearray(written)
    first = len(before) // SECTOR * SECTOR
    for i, at in enumerate(range(first, len(data), SECTOR)):
        a, b = max(at, len(before)), min(at + SECTOR, len(data))
        if a < b and lost_sectors >> i & 1:
            data[a:b] = bytes(b - a)
    return bytes(data)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file that is streamed; with a lower limit, for hundreds of times."""
    monkeypatch.setattr(transaction, "WHOLE_BYTES_MAX", 1000)
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(30_000))
    return path


def before_it(store: Store) -> None:
    """Give the store a past: a ref, and an object that the work puts again."""
    with store.transaction("before") as tx:
        tx.move_ref("names/kept", tx.put_blob(b"kept"), expected=None)
        tx.move_ref("names/moved", tx.put_blob(b"old"), expected=None)
    list(store.refs())  # nothing is left to the index that the work would do


def work(store: Store, large: Path) -> None:
    """Land one transaction of every kind of object and of move."""
    with store.transaction("a long reason, " * 100) as tx:
        files = {"kept": tx.put_blob(b"kept"), "new": tx.put_blob(b"new" * 100)}
        streamed = tx.put_file(large)
        table = tx.put_table({"x": np.arange(3), "y": np.arange(2000.0)[:3]})
        record = tx.put_record("note/v1", {"n": 1}, {**files, "large": streamed, "table": table})
        tx.move_ref("names/new", record, expected=None)
        tx.move_ref("names/moved", record, expected=id_of(Kind.BLOB, b"old"))
        tx.move_ref("names/kept", None, expected=id_of(Kind.BLOB, b"kept"))


def steps(path: Path, large: Path) -> Disk:
    """Do the work; return what the disk was asked for."""
    Store.init(path).close()
    before_it(Store.open(path))
    with pytest.MonkeyPatch.context() as patch:
        fragile = Disk(patch, path / "journal")
        work(Store.open(path), large)
    return fragile


def test_a_transaction_writes_in_order(tmp_path, large):
    fragile = steps(tmp_path / "store", large)
    calls = fragile.calls

    folder = tmp_path / "store" / "objects" / "pack"
    syncs = [call for call in calls if call in ("sync", "sync_folder")]
    assert syncs == ["sync", "sync_folder", "sync"], "the pack, its name, the journal"
    assert fragile.synced_folders == [folder]
    assert [(path.parent, path.suffix) for path in fragile.named] == [
        (folder, ".pack"),
        (folder, ".idx"),
    ]
    assert calls[-3:] == ["write_synced", "write", "sync"], "the journal's entry is the last word"
    assert calls.count("write_synced") == 1
    last_name = max(i for i, call in enumerate(calls) if call == "publish")
    assert calls[last_name + 1 :] == ["sync_folder", "write_synced", "write", "sync"]


@pytest.mark.parametrize("is_loose", [False, True])
def test_a_move_to_what_another_process_has_just_put_syncs_its_name(tmp_path, fate, is_loose):
    """It may have named it a moment ago, and not synced the folder yet."""
    store = Store.init(tmp_path / "store")
    before_it(store)
    kept = id_of(Kind.BLOB, b"kept")
    if is_loose:
        fate.loosen(store)
    with pytest.MonkeyPatch.context() as patch:
        fragile = Disk(patch, store.path / "journal")
        with store.transaction() as tx:
            tx.move_ref("names/again", tx.put_blob(b"kept"), expected=None)

    folder = store.path / "objects" / (str(kept)[:2] if is_loose else "pack")
    assert fragile.synced_folders == ([folder, folder.parent] if is_loose else [folder])
    assert fragile.named == []
    assert fragile.calls[-3:] == ["write_synced", "write", "sync"]
    store.close()


def test_a_single_put_writes_in_order(tmp_path):
    store = Store.init(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        fragile = Disk(patch, store.path / "journal")
        link = store.put_blob(b"alone")

    folder = store.path / "objects" / str(link)[:2]
    assert fragile.named == [folder / str(link)[2:]]
    assert fragile.synced_folders == [folder.parent, folder, folder.parent]
    assert [call for call in fragile.calls if call in ("sync", "publish", "sync_folder")] == [
        "sync",
        "sync_folder",
        "publish",
        "sync_folder",
        "sync_folder",
    ]
    store.close()


State = tuple[dict[str, ObjectId], int]


def state(path: Path) -> State:
    """Read a store as a process does that comes later, and check it."""
    store = Store.open(path)
    refs = dict(store.refs())
    report = store.check()
    assert report.ok, report
    assert not report.index_differs
    for link in refs.values():
        assert store.verify(store.typed(link)) is not None
    count = len(list(store.journal()))
    store.close()
    return refs, count


@dataclass(frozen=True, kw_only=True)
class Case:
    """A store that is about to do the work, and the disk call that is to fail."""

    path: Path
    fail_at: int
    is_after: bool
    is_journal: bool
    is_index: bool

    def broken(self, patch: pytest.MonkeyPatch, failure: Callable[[], BaseException]) -> Disk:
        fragile = Disk(patch, self.path / "journal")
        fragile.fail_at, fragile.is_after, fragile.failure = self.fail_at, self.is_after, failure
        return fragile


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What a store is before the work and after it, and a case for each disk call between."""

    old: State
    new: State
    each: list[Case]


@pytest.fixture
def cases(tmp_path: Path, large: Path) -> Cases:
    calls = steps(tmp_path / "new", large).calls
    named = [number for number, call in enumerate(calls) if call == "publish"]
    assert len(named) == 2
    assert len(calls) > 10
    Store.init(tmp_path / "old").close()
    with contextlib.closing(Store.open(tmp_path / "old")) as old:  # what is open is not copied
        before_it(old)
    each = []
    for fail_at in range(len(calls)):
        for is_after in (False, True):
            path = tmp_path / f"{fail_at}-{is_after}"
            shutil.copytree(tmp_path / "old", path)
            each.append(
                Case(
                    path=path,
                    fail_at=fail_at,
                    is_after=is_after,
                    is_journal=fail_at >= len(calls) - 3,
                    is_index=named[0] < fail_at <= named[1],
                )
            )
    return Cases(old=state(tmp_path / "old"), new=state(tmp_path / "new"), each=each)


def test_a_refusal_of_any_disk_call_lands_nothing(cases, large):
    for case in cases.each:
        store = Store.open(case.path)
        with pytest.MonkeyPatch.context() as patch:
            fragile = case.broken(patch, lambda: OSError(28, "No space left on device"))
            if case.is_index:
                work(store, large)  # it is derived: without it the pack is read as well
            else:
                with pytest.raises(errors.StoreUnwritable, match="No space left on device"):
                    work(store, large)

        assert state(case.path) == (cases.new if case.is_index else cases.old), fragile.calls
        assert list((case.path / "tmp").iterdir()) == [], fragile.calls
        if not case.is_index:
            work(store, large)
        assert state(case.path) == cases.new
        store.close()


def test_a_power_cut_at_any_disk_call_leaves_the_old_or_the_new(cases, large):
    seen = set()
    for case in cases.each:
        if case.is_after and not case.is_journal:
            continue  # for the disk, that is before the next call
        journal = (case.path / "journal").read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            fragile = case.broken(patch, PowerCut)
            with pytest.raises(PowerCut):
                work(Store.open(case.path), large)
        written = (case.path / "journal").read_bytes()
        for lost_sectors in range(16) if case.is_journal else [0b1111]:
            # No index remembers what was lost: it syncs the journal before it remembers anything.
            for path in case.path.glob("index.db*"):
                path.unlink()
            (case.path / "journal").write_bytes(written)
            fragile.lose(journal, lost_sectors)

            found = state(case.path)

            assert found in (cases.old, cases.new), fragile.calls
            seen.add(found == cases.new)
            if found == cases.old:
                work(Store.open(case.path), large)
            assert state(case.path) == cases.new
    assert seen == {False, True}


def test_a_process_that_dies_at_any_disk_call_leaves_the_old_or_the_new(cases, large):
    """In a process of its own, that ends without a word and cleans nothing up."""
    for case in cases.each:
        if case.is_after and not case.is_journal:
            continue
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patch:
                case.broken(patch, lambda: os._exit(7))
                work(Store.open(case.path), large)
            os._exit(0)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 7
        found = state(case.path)
        assert found in (cases.old, cases.new)
        if found == cases.old:
            work(Store.open(case.path), large)
        assert state(case.path) == cases.new
