"""The stat cache: what is unchanged is not read again, and what has changed always is."""

import contextlib
import itertools
import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rosdb import Entry, Link, disk, errors, folders, stat_cache
from rosdb.folders import put_files, put_folder
from rosdb.objects import Kind, ObjectId, encode_record, id_of
from rosdb.stat_cache import (
    GRAIN_COARSE_NS,
    GRAIN_FINE_NS,
    SCHEMA_VERSION,
    StatCache,
    is_settled,
    listing_hash,
)
from rosdb.trees import Tree, tree_record

SECOND_NS = 1_000_000_000
TICK_NS = 10_000_000
NOW_NS = 1_700_000_000 * SECOND_NS
FORK = multiprocessing.get_context("fork")

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


class Shelf:
    """A store in memory, which tells what it was made to read."""

    def __init__(self, path: Path | None, now_ns: Callable[[], int] = disk.now_ns) -> None:
        self.path = path
        self.now_ns = now_ns
        self.stat_cache: StatCache | None = None
        self.objects: dict[ObjectId, bytes] = {}
        self.read: list[str] = []
        self.tree_count = 0
        self.before_reading: Callable[[Path], object] = lambda path: None
        self.while_reading: Callable[[Path], object] = lambda path: None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.read, self.tree_count = [], 0
        if self.path is None:
            yield
            return
        self.stat_cache = StatCache(self.path, now_ns=self.now_ns)
        try:
            yield
            self.stat_cache.commit()
        finally:
            self.stat_cache.close()

    def put(self, folder: Path, special: Callable[[Path], Entry | None] | None = None) -> Link:
        with self.transaction():
            return put_folder(self, folder, special)

    def has(self, object_id: ObjectId) -> bool:
        return object_id in self.objects

    def put_blob(self, data: bytes) -> Link:
        link = id_of(Kind.BLOB, data)
        self.objects[link] = data
        return link

    def put_file(self, path: Path) -> Link:
        self.read.append(path.name)
        self.before_reading(path)
        link = self.put_blob(path.read_bytes())
        self.while_reading(path)
        return link

    def put_tree(self, tree: Tree) -> Link:
        self.tree_count += 1
        content = encode_record(tree_record(tree))
        link = id_of(Kind.RECORD, content)
        self.objects[link] = content
        return link


def truth(folder: Path) -> Link:
    """Put a folder by reading all of it."""
    return Shelf(None).put(folder)


def settle() -> None:
    """Wait until no change can hide behind the clock's grain."""
    time.sleep((GRAIN_FINE_NS + 20_000_000) / SECOND_NS)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a folder of settled files."""
    folder = tmp_path / "source"
    for name in ("a", "b", "deep/c", "deep/d", "deep/er/e", "deep/er/f", "other/g", "other/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode().ljust(12, b"."))
    (folder / "hollow").mkdir()
    settle()
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / ".ros").mkdir()
    return Shelf(tmp_path / ".ros" / "stat.db")


# --- What is unchanged --------------------------------------------------------------------------


def test_what_is_unchanged_is_not_read_again(shelf, source):
    first = shelf.put(source)
    read, trees = sorted(shelf.read), shelf.tree_count

    second = shelf.put(source)

    assert (read, trees) == (["a", "b", "c", "c", "d", "e", "f", "g"], 5)
    assert (shelf.read, shelf.tree_count) == ([], 0)
    assert second == first == truth(source)
    assert second.kind is Kind.RECORD


def test_the_size_of_a_known_tree_is_known(shelf, source):
    shelf.put(source)
    (source / "new").write_bytes(b"x")  # so that the tree above is made once more

    assert shelf.put(source) == truth(source)
    assert shelf.read == ["new"]


def test_without_a_cache_everything_is_read(shelf, source):
    shelf.put(source)
    shelf.path = shelf.stat_cache = None

    shelf.put(source)

    assert len(shelf.read) == 8


def test_what_was_not_committed_is_forgotten(shelf, source):
    with pytest.raises(ZeroDivisionError), shelf.transaction():
        put_folder(shelf, source)
        1 / 0  # noqa: B018

    shelf.put(source)

    assert len(shelf.read) == 8


def test_a_question_makes_no_file(shelf, source):
    cache = StatCache(shelf.path)

    assert cache.file(b"/nowhere", b"x", os.stat(source)) is None
    assert cache.tree(b"/nowhere", b"x") is None
    cache.commit()
    cache.close()
    assert not shelf.path.exists()


def test_an_object_that_is_gone_is_put_again(shelf, source):
    link = shelf.put(source)
    del shelf.objects[link]
    del shelf.objects[id_of(Kind.BLOB, (source / "a").read_bytes())]

    assert shelf.put(source) == link
    assert shelf.read == ["a"]
    assert link in shelf.objects

    shelf.objects.clear()

    assert shelf.put(source) == link
    assert len(shelf.read) == 8


# --- What has changed ---------------------------------------------------------------------------


def write_alike(path: Path, content: bytes) -> None:
    """Write a file in place, and put back its time of modification."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_alike(path: Path, content: bytes) -> None:
    """Put another file in the place of one, of the same time of modification."""
    new = path.with_name("new")
    new.write_bytes(content)
    shutil.copystat(path, new)
    new.replace(path)


def exchange(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# What is done to the folder, and which files it makes us read.
CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "rewritten alike": (lambda s: write_alike(s / "a", b"another size"), ["a"]),
    "rewritten alike, deep": (lambda s: write_alike(s / "deep/er/e", b"another size"), ["e"]),
    "replaced alike": (lambda s: replace_alike(s / "deep/c", b"another size"), ["c"]),
    "replaced by its neighbour": (lambda s: (s / "a").replace(s / "b"), ["b"]),
    "grown": (lambda s: (s / "b").write_bytes(b"b" * 13), ["b"]),
    "emptied": (lambda s: os.truncate(s / "b", 0), ["b"]),
    "made executable": (lambda s: (s / "deep/d").chmod(0o755), ["d"]),
    "added": (lambda s: (s / "deep/er/z").write_bytes(b""), ["z"]),
    "removed": (lambda s: (s / "deep/er/e").unlink(), []),
    "renamed": (lambda s: (s / "deep/er/e").rename(s / "deep/er/z"), ["z"]),
    "exchanged": (lambda s: exchange(s / "a", s / "b"), ["a", "b"]),
    "moved elsewhere": (lambda s: (s / "deep/d").rename(s / "other/d"), ["d"]),
    "a second name": (lambda s: os.link(s / "a", s / "z"), ["a", "z"]),
    "a folder renamed": (lambda s: (s / "other").rename(s / "another"), ["c", "g"]),
    "a folder removed": (lambda s: shutil.rmtree(s / "deep/er"), []),
    "an empty folder removed": (lambda s: (s / "hollow").rmdir(), []),
    "an empty folder added": (lambda s: (s / "deep/hollow").mkdir(), []),
    "folders exchanged": (lambda s: exchange(s / "deep", s / "other"), list("cgcdef")),
    "a folder in a file's place": (lambda s: become_folder(s / "a"), []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_seen(shelf, source, change):
    before = shelf.put(source)
    act, read = CHANGES[change]
    act(source)

    after = shelf.put(source)

    assert after == truth(source) != before
    assert shelf.read == read or sorted(shelf.read) == sorted(read)
    settle()
    assert shelf.put(source) == after
    assert shelf.put(source) == after
    assert (shelf.read, shelf.tree_count) == ([], 0)


def test_a_file_that_was_only_touched_is_read(shelf, source):
    link = shelf.put(source)
    (source / "a").touch()

    assert shelf.put(source) == link
    assert shelf.read == ["a"]


def test_files_that_are_gone_are_forgotten(shelf, source):
    shelf.put(source)
    for path in (source / "deep").glob("?"):
        path.unlink()
    shelf.put(source)

    with contextlib.closing(sqlite3.connect(shelf.path)) as db:
        rows = dict(db.execute("SELECT folder, files FROM folders"))

    assert b"\xc4\x01d" not in rows[os.fsencode(source / "deep")]
    assert b"\xc4\x01e" in rows[os.fsencode(source / "deep/er")]


def test_what_became_of_another_kind_is_refused(shelf, source):
    shelf.put(source)
    (source / "a").unlink()
    (source / "a").symlink_to(source / "b")

    with pytest.raises(errors.BadName, match="neither a file nor a folder"):
        shelf.put(source)


def test_a_bad_name_is_refused_however_often(shelf, source):
    (source / "deep" / os.fsdecode(b"\xff")).write_bytes(b"x")
    settle()

    for _ in range(2):
        with pytest.raises(errors.BadName):
            shelf.put(source)


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.write_bytes(b"another size"),
        lambda path: replace_alike(path, b"another size"),
        lambda path: path.unlink(),
    ],
    ids=["rewritten", "replaced", "removed"],
)
def test_a_file_that_changes_while_it_is_read_is_not_remembered(shelf, source, act):
    shelf.while_reading = lambda path: act(path) if path.name == "e" else None

    link = shelf.put(source)

    assert shelf.objects[id_of(Kind.BLOB, b"deep/er/e...")]
    shelf.while_reading = lambda path: None
    settle()
    again = shelf.put(source)
    assert again == truth(source)
    assert again != link
    assert shelf.read == (["e"] if (source / "deep/er/e").exists() else [])


def test_a_file_that_is_read_in_anothers_place_is_not_remembered(shelf, source):
    before = truth(source)

    def swap(path: Path) -> None:
        if str(path).endswith(("deep/c", "deep/d")):  # there, and back again
            exchange(source / "deep", source / "other")

    shelf.before_reading = swap
    assert shelf.put(source) != before
    shelf.before_reading = lambda path: None

    assert shelf.put(source) == before
    assert shelf.read == ["c"]


# --- The clock's grain --------------------------------------------------------------------------


@pytest.fixture(params=["the kernel's", "coarse"])
def grain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give files the times of a slow clock as well: newer kernels have one that hides nothing."""
    if request.param == "coarse":
        true_identity, true_is_settled = stat_cache.identity, stat_cache.is_settled

        def coarse(status: os.stat_result) -> SimpleNamespace:
            times = {name: getattr(status, name) for name in ("st_mtime_ns", "st_ctime_ns")}
            ticks = {name: time_ns // TICK_NS * TICK_NS + 1 for name, time_ns in times.items()}
            same = {name: getattr(status, name) for name in ("st_size", "st_ino", "st_dev")}
            return SimpleNamespace(**ticks, **same)

        for room in (folders, stat_cache):
            monkeypatch.setattr(room, "identity", lambda status: true_identity(coarse(status)))
        monkeypatch.setattr(
            folders, "is_settled", lambda status, now_ns: true_is_settled(coarse(status), now_ns)
        )


@pytest.mark.usefixtures("grain")
def test_a_change_within_the_grain_is_seen(shelf, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(300):
        for content in (b"%06d" % number, b"%06x" % (number + 1)):
            (folder / "x").write_bytes(content)
            link = shelf.put(folder)

            assert link == truth(folder)
            assert content in shelf.objects.values()


@pytest.mark.usefixtures("grain")
def test_a_change_at_the_edge_of_the_grain_is_seen(shelf, tmp_path):
    """Here 80 of its 100 ms have passed, so that some files are just remembered, and change."""
    shelf.now_ns = lambda: disk.now_ns() + 80_000_000
    folder = tmp_path / "source"
    folder.mkdir()
    remembered = 0
    for number in range(100):
        (folder / "x").write_bytes(b"%06d" % number)
        time.sleep(0.015 + number / 10_000)
        shelf.put(folder)
        shelf.put(folder)
        remembered += not shelf.read
        (folder / "x").write_bytes(b"%06x" % (number + 1_000))

        assert shelf.put(folder) == truth(folder)
    assert remembered


@pytest.mark.usefixtures("grain")
def test_a_change_within_the_grain_is_seen_when_reading_takes_longer(shelf, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(8):

        def act(path: Path, number: int = number) -> None:
            path.write_bytes(b"%06x" % (number + 1_000))
            settle()

        shelf.while_reading = act
        (folder / "x").write_bytes(b"%06d" % number)
        shelf.put(folder)
        shelf.while_reading = lambda path: None

        assert shelf.put(folder) == truth(folder)


def test_a_fresh_file_is_read_until_it_has_settled(shelf, source):
    (source / "deep" / "fresh").write_bytes(b"x")

    read = []
    for _ in range(3):
        shelf.put(source)
        read.append(shelf.read)
    settle()
    for _ in range(2):
        shelf.put(source)
        read.append(shelf.read)

    assert len(read[0]) == 9
    assert read[1:] == [["fresh"], ["fresh"], ["fresh"], []]


FINE, COARSE = GRAIN_FINE_NS, GRAIN_COARSE_NS


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "expected"),
    [
        (NOW_NS - FINE - 1, NOW_NS - FINE - 1, True),
        (NOW_NS - FINE + 1, NOW_NS - FINE - 1, False),
        (NOW_NS - FINE - 1, NOW_NS - FINE + 1, False),
        (NOW_NS - 1, NOW_NS - 1, False),
        (NOW_NS - 2 * SECOND_NS, NOW_NS - 2 * SECOND_NS - 1, False),
        (NOW_NS - 2 * SECOND_NS - 1, NOW_NS - 2 * SECOND_NS, False),
        (NOW_NS - 2 * SECOND_NS - 1, NOW_NS - 2 * SECOND_NS - 1, True),
        (NOW_NS - COARSE - SECOND_NS // 2, NOW_NS - COARSE - SECOND_NS // 2, True),
        (0, NOW_NS - FINE - 1, False),
        (0, NOW_NS - COARSE - 1, True),
        (NOW_NS + 1, NOW_NS - SECOND_NS - 1, False),
        (NOW_NS - SECOND_NS - 1, NOW_NS + 3_600 * SECOND_NS + 1, False),
        (NOW_NS, NOW_NS, False),
        (-1, NOW_NS - COARSE - 1, False),
        (2**80 + 1, 1, False),
    ],
)
def test_a_file_has_settled_when_its_times_lie_behind_the_grain(mtime_ns, ctime_ns, expected):
    status = SimpleNamespace(st_mtime_ns=mtime_ns, st_ctime_ns=ctime_ns)

    assert is_settled(status, NOW_NS) is expected


def test_a_time_in_whole_seconds_is_trusted_late(shelf, source):
    os.utime(source / "a", ns=(SECOND_NS, SECOND_NS))
    settle()

    read = []
    for shelf.now_ns in (disk.now_ns, disk.now_ns, lambda: disk.now_ns() + GRAIN_COARSE_NS):
        shelf.put(source)
        read.append(shelf.read)
    shelf.put(source)

    assert len(read[0]) == 8
    assert read[1:] == [["a"], ["a"]]
    assert shelf.read == []


def test_a_time_in_the_future_is_never_trusted(shelf, source):
    ahead_ns = disk.now_ns() + 3_600 * SECOND_NS + 1
    os.utime(source / "a", ns=(ahead_ns, ahead_ns))
    settle()

    shelf.put(source)
    for content in (b"another size", b"another....."):
        (source / "a").write_bytes(content)
        os.utime(source / "a", ns=(ahead_ns, ahead_ns))
        assert shelf.put(source) == truth(source)
        assert shelf.read == ["a"]


def test_all_that_decides_a_tree_is_in_the_hash():
    names = "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"
    status = SimpleNamespace(**dict.fromkeys(names, 1))
    tree = id_of(Kind.RECORD, b"x")

    hashes = [listing_hash([(b"a", status)], {}), listing_hash([(b"b", status)], {})]
    hashes += [listing_hash([(b"a", status)], {b"a": tree}), listing_hash([], {})]
    hashes += [listing_hash([(b"a", status)], {b"a": id_of(Kind.RECORD, b"y")})]
    hashes += [listing_hash([(b"a", status), (b"b", status)], {})]
    for name in names:
        for value in (0, 2, 2**64, -(2**70)):  # a file system may keep a time beyond 64 bits
            other = SimpleNamespace(**vars(status) | {name: value})
            hashes.append(listing_hash([(b"a", other)], {}))

    assert len(set(hashes)) == len(hashes)


def test_a_random_walk_meets_no_old_answer(shelf, tmp_path, seed):
    chance = random.Random(seed)
    folder = tmp_path / "source"
    folder.mkdir()
    serial = itertools.count()

    def any_file() -> Path | None:
        return chance.choice([*sorted(p for p in folder.rglob("*") if p.is_file()), None])

    for _ in range(400):
        path = any_file()
        match chance.randrange(9):
            case 0 | 1:
                parent = chance.choice([folder, folder / "p", folder / "p/q", folder / "r"])
                parent.mkdir(parents=True, exist_ok=True)
                (parent / f"{chance.randrange(4)}").write_bytes(b"%06d" % next(serial))
            case 2 if path:
                write_alike(path, b"%06d" % next(serial))
            case 3 if path:
                replace_alike(path, b"%06d" % next(serial))
            case 4 if path and (target := any_file()):
                path.replace(target)
            case 5 if path:
                path.chmod(chance.choice([0o644, 0o755]))
            case 6 if path and chance.random() < 0.3:
                shutil.rmtree(path.parent) if path.parent != folder else path.unlink()
            case 7:
                time.sleep(chance.choice([0, 0.002, 0.01, 0.1]))
        if chance.random() < 0.7:
            assert shelf.put(folder) == truth(folder)


# --- The file of the cache ----------------------------------------------------------------------


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(data)


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def become_directory(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "a byte": lambda path: path.write_bytes(b"x"),
    "text": lambda path: path.write_text("nothing was seen\n" * 1_000),
    "garbage": lambda path: path.write_bytes(random.Random(1).randbytes(20_000)),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "all but a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "its header alone": lambda path: os.truncate(path, 100),
    "no header": lambda path: overwrite(path, 0, bytes(100)),
    "pages of zeros": lambda path: overwrite(path, 4096, bytes(path.stat().st_size - 4096)),
    "pages of noise": lambda path: overwrite(path, 4096, b"\xa5" * (path.stat().st_size - 4096)),
    "an old version": lambda path: change(path, f"PRAGMA user_version = {SCHEMA_VERSION - 1}"),
    "a newer version": lambda path: change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}"),
    "no table": lambda path: change(path, "DROP TABLE folders"),
    "another table": lambda path: change(
        path, "DROP TABLE folders", "CREATE TABLE folders (folder INTEGER, tree, files, more)"
    ),
    "rows of another type": lambda path: change(path, "UPDATE folders SET tree = 'x', files = 7.5"),
    "rows of nothing": lambda path: change(path, "UPDATE folders SET tree = NULL, files = x''"),
    "rows of one another": lambda path: change(
        path,
        "CREATE TABLE rows AS SELECT * FROM folders",
        "UPDATE folders SET (tree, files) = (SELECT tree, files FROM rows"
        " WHERE rows.folder > folders.folder ORDER BY rows.folder LIMIT 1)",
    ),
    "values in the wrong place": lambda path: change(
        path, "UPDATE folders SET (tree, files) = (SELECT files, tree)"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_no_answer_and_is_replaced(shelf, source, damage):
    link = shelf.put(source)
    write_alike(source / "a", b"another size")
    settle()
    DAMAGES[damage](shelf.path)

    assert shelf.put(source) == truth(source) != link
    assert "a" in shelf.read
    assert shelf.put(source) == truth(source)
    assert shelf.read == []


def test_what_another_version_has_seen_is_not_taken_over(shelf, source):
    shelf.put(source)
    change(shelf.path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    shelf.put(source / "other")
    assert shelf.read == ["c", "g"]
    shelf.put(source)
    assert sorted(shelf.read) == ["a", "b", "c", "d", "e", "f"]


def test_no_flipped_bit_is_an_answer(shelf, source, seed):
    chance = random.Random(seed)
    shelf.put(source)
    expected = truth(source)
    whole = shelf.path.read_bytes()

    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 1, 30])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        shelf.path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])

        assert shelf.put(source) == expected


def test_a_directory_in_its_place_means_no_cache(shelf, source):
    link = shelf.put(source)
    become_directory(shelf.path)

    for _ in range(2):
        assert shelf.put(source) == link
        assert len(shelf.read) == 8
    assert StatCache(shelf.path).clear()
    assert (shelf.path / "inner").is_dir()


def test_a_missing_folder_means_no_cache(shelf, source):
    shelf.path.parent.rmdir()

    for _ in range(2):
        assert shelf.put(source) == truth(source)
        assert len(shelf.read) == 8


@pytest.mark.parametrize("is_there", [True, False])
def test_a_read_only_disk_is_read(shelf, source, is_there, monkeypatch):
    link = shelf.put(source)
    if not is_there:
        shelf.path.unlink()
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3,
        "connect",
        lambda path, **rest: connect(f"{path.as_uri()}?mode=ro", uri=True, **rest),
    )
    monkeypatch.setattr(disk, "remove", refuse)
    (source / "new").write_bytes(b"x")
    settle()

    for _ in range(2):
        assert shelf.put(source) == truth(source) != link
        assert shelf.read == ["new"] if is_there else len(shelf.read) == 9
    assert shelf.path.exists() is is_there


def test_a_locked_cache_is_left_alone(shelf, source):
    link = shelf.put(source)
    (source / "new").write_bytes(b"x")
    settle()
    with contextlib.closing(sqlite3.connect(shelf.path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert shelf.put(source) == truth(source) != link
        assert len(shelf.read) == 9
        db.execute("ROLLBACK")

        db.execute("BEGIN IMMEDIATE")
        assert shelf.put(source) == truth(source)
        assert shelf.read == ["new"]
        db.execute("ROLLBACK")

    shelf.put(source)
    assert shelf.read == ["new"]
    shelf.put(source)
    assert shelf.read == []


def work(path: Path, shared: Path, own: Path, number: int) -> None:
    shelf = Shelf(path)
    chance = random.Random(number)
    for step in range(30):
        (own / f"{chance.randrange(3)}").write_bytes(b"%06d" % step)
        if step % 10 == 9:
            StatCache(path).clear()
        time.sleep(chance.choice([0, 0, 0.12]))
        assert shelf.put(own) == truth(own)
        with shelf.transaction():
            first = put_folder(shelf, shared)
            assert first == put_folder(shelf, shared) == truth(shared)


def test_processes_share_it(shelf, source, tmp_path):
    workers = []
    for number in range(4):
        (tmp_path / f"own-{number}").mkdir()
        arguments = (shelf.path, source, tmp_path / f"own-{number}", number)
        workers.append(FORK.Process(target=work, args=arguments))
        workers[-1].start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * 4
    shelf.put(source)
    assert shelf.put(source) == truth(source)
    assert shelf.read == []


# --- Emptied ------------------------------------------------------------------------------------


def refuse(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_what_was_cleared_is_forgotten_durably(shelf, source, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    shelf.put(source)

    for _ in range(2):
        assert StatCache(shelf.path).clear()
    assert synced == [shelf.path.parent] * 2
    assert list(shelf.path.parent.iterdir()) == []
    shelf.put(source)
    assert len(shelf.read) == 8


def test_what_another_has_open_is_cleared_as_well(shelf, source):
    shelf.put(source)
    (source / "new").write_bytes(b"x")
    settle()

    with shelf.transaction():
        put_folder(shelf, source)
        assert shelf.read == ["new"]
        with contextlib.closing(sqlite3.connect(shelf.path)) as db:
            db.execute("BEGIN")
            db.execute("SELECT * FROM folders").fetchone()
            assert StatCache(shelf.path).clear()

    shelf.put(source)
    assert len(shelf.read) == 9


def test_what_cannot_be_cleared_is_said(shelf, source, monkeypatch):
    assert StatCache(shelf.path).clear()
    shelf.put(source)
    monkeypatch.setattr(disk, "remove", refuse)

    assert not StatCache(shelf.path).clear()


# --- Where it looks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"a\nb", b"quo'te\"", b"%s", b" ", b"-rf", "Ä".encode(), b"x" * 255]
)
def test_no_folder_is_too_odd(shelf, tmp_path, name):
    parent = tmp_path / os.fsdecode(name)
    (parent / "source").mkdir(parents=True)
    (parent / "source" / "Ä '\"%").write_bytes(b"x")
    settle()

    link = shelf.put(parent / "source")

    assert shelf.put(parent / "source") == link == truth(parent / "source")
    assert shelf.read == []


def test_a_relative_path_is_the_same_folder(shelf, source, monkeypatch):
    link = shelf.put(source)
    monkeypatch.chdir(source.parent)

    assert shelf.put(Path("source")) == link
    assert shelf.read == []
    monkeypatch.chdir(source / "other")
    assert shelf.put(Path()) == truth(source / "other")
    assert shelf.read == []


def test_what_lies_in_the_store_is_not_remembered(shelf):
    output = shelf.path.parent / "tmp" / "run" / "output"
    output.mkdir(parents=True)
    (output / "x").write_bytes(b"x")
    settle()

    for _ in range(2):
        shelf.put(output)
        assert shelf.read == ["x"]
    assert not shelf.path.exists()


def test_what_special_makes_is_made_each_time(shelf, source):
    table = id_of(Kind.RECORD, b"a table")
    made: list[str] = []

    def special(path: Path) -> Entry | None:
        if path.name != "er":
            return None
        made.append(path.name)
        return Entry(kind="table", link=table, size=len(made))

    links = [shelf.put(source, special) for _ in range(3)]

    assert made == ["er"] * 3
    assert len(set(links)) == 3
    assert shelf.read == []
    assert shelf.tree_count == 2
    assert shelf.put(source) == truth(source)
    assert shelf.read == ["e", "f"]


def test_single_files_are_known_as_well(shelf, source):
    files = {"x/y": source / "a", "z": source / "deep/c", "w": b"from memory"}
    with shelf.transaction():
        link = put_files(shelf, files)
    assert shelf.read == ["a", "c"] or shelf.read == ["c", "a"]

    with shelf.transaction():
        assert put_files(shelf, files) == link
    assert shelf.read == []
    assert shelf.put(source) == truth(source)
    assert sorted(shelf.read) == ["b", "c", "d", "e", "f", "g"]
    write_alike(source / "a", b"another size")
    with shelf.transaction():
        assert put_files(shelf, files) != link
    assert shelf.read == ["a"]


def test_single_files_take_nothing_from_a_known_folder(shelf, source):
    link = shelf.put(source)
    (source / "a").touch()
    settle()
    with shelf.transaction():
        put_files(shelf, {"a": source / "a"})
    assert shelf.read == ["a"]

    assert shelf.put(source) == link
    assert shelf.read == []


def test_a_symbolic_link_is_known_by_what_it_leads_to(shelf, source):
    link = source / "link"
    link.symlink_to("a")
    reads = []
    for target in ("a", "b", "b"):
        link.unlink()
        link.symlink_to(target)
        with shelf.transaction():
            assert put_files(shelf, {"x": link}) == put_files(Shelf(None), {"x": source / target})
        reads.append(shelf.read)
    (source / "b").write_bytes(b"another size")
    with shelf.transaction():
        assert put_files(shelf, {"x": link}) == put_files(Shelf(None), {"x": source / "b"})

    assert reads == [["link"], ["link"], []]
    assert shelf.read == ["link"]
