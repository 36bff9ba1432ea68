"""The power goes at every instant of everything that writes, and takes what it may.

Each script is done once on a recording disk (``crash_disk.py``). Then, for every prefix of what it
asked of the disk and for many losses of what was not synced there, the folder that a restart would
find is made, opened, checked and written to. ``ROS_CRASH_STATES=100000`` looks at about as many.
"""

import importlib.util
import itertools
import logging
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import blake3
import numpy as np
import pytest

from rosdb import Link, Record, Store, disk, errors
from rosdb.objects import Kind, encode_record, id_of

_NAME: Final = "crash_disk"
_spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name(f"{_NAME}.py"))
assert _spec is not None
assert _spec.loader is not None
crash_disk = sys.modules[_NAME] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(crash_disk)

# conftest takes all of ROS_ away from the tests, so this is read as the file is.
STATES = int(os.environ.get("ROS_CRASH_STATES", "0"))
CALLS = 1000
"""About as many calls do all scripts together ask of the disk."""
LOSSES_A_CALL = max(2, STATES // CALLS)
LOSSES_A_DEATH = max(1, STATES // CALLS // 20)
FAILURES_MAX = 3
STORE = ".ros"
SECTOR: Final = crash_disk.SECTOR
START_NS = 1_700_000_000_000_000_000

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _unsynced() -> Iterator[None]:
    """Ask for every sync, in place of the fixture that asks for none; wait for no disk."""
    logging.disable(logging.WARNING)  # of every torn tail that is cut
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda handle: None)
        # A check forks for each core: too much for stores so small, and so many.
        patch.setattr(os, "cpu_count", lambda: 1)
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder in memory, where there is one: thousands of stores are made in it."""
    memory = Path("/dev/shm")
    name = tempfile.mkdtemp(prefix="ros-crash-", dir=memory if memory.is_dir() else None)
    yield Path(name)
    shutil.rmtree(name)


# --- What is done -------------------------------------------------------------------------------


@dataclass
class Known:
    """What a store holds for certain: the refs, blobs by their ids; and what it need not hold."""

    refs: dict[str, Link] = field(default_factory=dict)
    blobs: dict[Link, bytes] = field(default_factory=dict)
    gone: dict[Link, bytes] = field(default_factory=dict)
    is_sound: bool = True

    def copy(self) -> "Known":
        return Known(dict(self.refs), dict(self.blobs), dict(self.gone), self.is_sound)


@dataclass(frozen=True)
class Stage:
    """What a restart must find between two marks of the log."""

    refs: list[dict[str, Link]]
    blobs: dict[Link, bytes]
    others: dict[Link, bytes]
    """Blobs that may be there, wholly or in parts or not at all."""
    is_sound: bool = True
    may_be_absent: bool = False


def between(before: Known, after: Known) -> Stage:
    """Return what holds while something is being done: each ref as before it, or all as after."""
    kept = {link: data for link, data in before.blobs.items() if link in after.blobs}
    others = {**before.gone, **before.blobs, **after.gone, **after.blobs}
    return Stage(
        refs=[before.refs] + ([after.refs] if after.refs != before.refs else []),
        blobs=kept,
        others={link: data for link, data in others.items() if link not in kept},
        is_sound=before.is_sound and after.is_sound,
    )


Action = Callable[[Store, Known], None]


class Bench:
    """A store on a recording disk, and what it must hold after each step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "disk"
        self.path = self.root / STORE
        self.known = Known()
        self.stages: list[Stage] = []
        self.outside: list[Path] = []
        self.treasures: list[bytes] = []
        """Contents of files that no repair may lose."""
        self.unsettled: list[dict[str, Link]] | None = None
        """Where a store is so set: the refs of commits that have returned and may be lost."""
        self.ticks = itertools.count(START_NS, 1_000)
        self.recorder: Any = None
        self.patch = pytest.MonkeyPatch()
        self.root.mkdir()

    def open(self, path: Path | None = None) -> Store:
        return Store.open(path or self.path, who="ana@desk", now_ns=lambda: next(self.ticks))

    def file(self, name: str, content: bytes) -> Path:
        """Make a file outside of the store, older than a clock's grain."""
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, ns=(START_NS, START_NS))
        self.outside.append(path)
        return path

    def record(self) -> None:
        """Begin: what has happened so far is durable."""
        self.recorder = crash_disk.Recorder(self.root)
        self.recorder.install(self.patch)
        self.stages.append(self._now())

    def mark(self, note: str, stage: Stage) -> None:
        """Say what holds from here on."""
        self.recorder.mark(note)
        self.stages.append(stage)

    def step(self, action: Action, store: Store | None = None) -> None:
        """Do something; from its return on it is done for good."""
        before = self.known.copy()
        if self.recorder is None:
            self.perform(action, store)
            return
        self.mark(f"begin {action.__name__}", self.stages[-1])
        self.perform(action, store)
        stage = between(before, self.known.copy())
        if self.unsettled is not None:
            self.unsettled.append(self.known.copy().refs)
            stage = replace(stage, refs=list(self.unsettled))
        self.stages[-1] = stage
        self.mark(f"end {action.__name__}", self._now())

    def settle(self) -> None:
        """Say that nothing that has returned can be lost any more."""
        self.unsettled = [self.known.copy().refs]
        self.mark("settled", self._now())

    def perform(self, action: Action, store: Store | None = None) -> None:
        if store is not None:
            action(store, self.known)
            return
        store = self.open()
        try:
            action(store, self.known)
        finally:
            store.close()

    def _now(self) -> Stage:
        known = self.known.copy()
        stage = between(known, known)
        return stage if self.unsettled is None else replace(stage, refs=list(self.unsettled))


Script = Callable[[Bench], None]
SCRIPTS: list[Script] = []


def script(function: Script) -> Script:
    SCRIPTS.append(function)
    return function


def put(
    store: Store, known: Known, moves: dict[str, bytes | None], *blobs: bytes, why: str = "why"
) -> None:
    """Land blobs and moves in one transaction; a ref leads to a record that links to its blob."""
    with store.transaction(why) as tx:
        for content in blobs:
            known.blobs[tx.put_blob(content)] = content
        for name, content in moves.items():
            old = known.refs.pop(name, None)
            new = None
            if content is not None:
                blob = tx.put_blob(content)
                known.blobs[blob] = content
                new = known.refs[name] = tx.put_record("note/v1", {"ref": name}, {"blob": blob})
            tx.move_ref(name, new, expected=old)


def puts(moves: dict[str, bytes | None], *blobs: bytes, why: str = "why") -> Action:
    def action(store: Store, known: Known) -> None:
        put(store, known, moves, *blobs, why=why)

    return action


def past(bench: Bench, transactions: int = 2) -> None:
    """Give the store something that no power cut may touch any more."""
    Store.init(bench.path).close()
    for number in range(transactions):
        bench.step(puts({f"names/p{number}": b"past %d" % number}))


def long_content(number: int) -> bytes:
    """Return content that is cut into chunks, and shrinks to a quarter."""
    return random.Random(number).randbytes(320_000).translate(b"abcd" * 64)


@script
def a_store_is_made(bench: Bench) -> None:
    bench.record()
    bench.stages[0] = replace(bench.stages[0], may_be_absent=True)
    Store.init(bench.path).close()
    bench.mark("end init", replace(bench.stages[0], may_be_absent=False))


@script
def single_blobs_are_put(bench: Bench) -> None:
    past(bench)
    bench.record()

    def small(store: Store, known: Known) -> None:
        known.blobs[store.put_blob(b"hello\n")] = b"hello\n"

    def larger(store: Store, known: Known) -> None:
        content = random.Random(1).randbytes(3000)
        known.blobs[store.put_blob(content)] = content

    def again(store: Store, known: Known) -> None:
        store.put_blob(b"hello\n")
        store.put_blob(b"past 0")

    for action in (small, larger, again):
        bench.step(action)


@script
def objects_and_moves_land_in_one_transaction(bench: Bench) -> None:
    past(bench)
    bench.record()

    def several(store: Store, known: Known) -> None:
        with store.transaction("a long reason, " * 100) as tx:
            blob = tx.put_blob(b"new" * 700)
            again = tx.put_blob(b"past 0")
            table = tx.put_table({"x": np.arange(3), "y": np.arange(2000.0)[:3]})
            record = tx.put_record("note/v1", {}, {"a": blob, "b": again, "table": table})
            tx.move_ref("names/new", record, expected=None)
            tx.move_ref("names/p0", record, expected=known.refs["names/p0"])
            tx.move_ref("names/p1", None, expected=known.refs.pop("names/p1"))
        known.blobs[blob] = b"new" * 700
        known.refs["names/new"] = known.refs["names/p0"] = record

    bench.step(several)


@script
def one_ref_is_moved_again_and_again(bench: Bench) -> None:
    past(bench)
    bench.record()
    store = bench.open()
    for content in (b"a", b"b", None, b"a", b"c" * 600):
        bench.step(puts({"names/x": content}), store)
    store.close()


@script
def a_run_is_recorded(bench: Bench) -> None:
    past(bench)
    bench.record()
    store = bench.open()
    states: list[Link] = []

    def begin(store: Store, known: Known) -> None:
        with store.transaction("run sma") as tx:
            fields = {"experiment": "sma", "parameters": {"n": 1}, "seed": 42}
            recipe = tx.put_record("recipe/v1", fields)
            run = tx.put_record(
                "run/v1",
                {"created_at_ns": START_NS, "process": 1, "kind": "run", "dataset": None},
                {"recipe": recipe},
            )
            tx.move_ref(f"runs/{run}", run, expected=None)
        states.extend((run, run))
        known.refs[f"runs/{run}"] = run

    def advance(status: str, metrics: dict[str, float] | None) -> Callable[..., None]:
        def move(store: Store, known: Known) -> None:
            run = states[0]
            with store.transaction(status) as tx:
                links = {"run": run}
                if metrics is not None:
                    links["outcome"] = tx.put_record("outcome/v1", {"metrics": metrics})
                state = tx.put_record("status/v1", {"status": status, "seconds": 1.5}, links)
                tx.move_ref(f"runs/{run}", state, expected=states[-1])
            states.append(state)
            known.refs[f"runs/{run}"] = state

        return move

    for action in (begin, advance("running", None), advance("completed", {"sharpe": 1.0})):
        bench.step(action, store)
    store.close()


@script
def long_files_are_put(bench: Bench) -> None:
    first = long_content(2)
    second = first[:100_000] + b"inserted" + first[100_000:]
    past(bench)
    paths = [bench.file("first", first), bench.file("second", second)]
    bench.record()

    def with_a_ref(store: Store, known: Known) -> None:
        with store.transaction() as tx:
            blob = tx.put_file(paths[0])
            tx.move_ref("names/file", blob, expected=None)
        known.blobs[blob] = first
        known.refs["names/file"] = blob

    def without_a_ref(store: Store, known: Known) -> None:
        known.blobs[store.put_file(paths[1])] = second

    def again(store: Store, known: Known) -> None:
        with store.transaction() as tx:
            tx.move_ref("names/again", tx.put_file(paths[0]), expected=None)
        known.refs["names/again"] = known.refs["names/file"]

    for action in (with_a_ref, without_a_ref, again):
        bench.step(action)


@script
def ten_small_transactions_follow_each_other(bench: Bench) -> None:
    past(bench, transactions=2)
    bench.record()
    for number in range(10):
        bench.step(puts({f"names/n{number}": b"number %d" % number}))


@script
def small_indexes_are_merged(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        keep_packs_apart(patch)
        past(bench, transactions=6)
        bench.record()
        for number in range(4):
            bench.step(puts({f"names/n{number}": b"number %d" % number}))


def keep_packs_apart(patch: pytest.MonkeyPatch) -> None:
    """Let every pack be large enough to stay as it is, so that indexes are merged in their place."""
    try:
        from rosdb import merge
    except ImportError:
        return
    patch.setattr(merge, "MERGED_BELOW_BYTES", 1)


@script
def a_torn_tail_is_cut_and_leftovers_stay(bench: Bench) -> None:
    past(bench, transactions=3)
    tear(bench)
    for path in bench.path.glob("index.db*"):
        path.unlink()
    (bench.path / "tmp" / "123-4").write_bytes(b"left")
    bench.record()
    bench.step(puts({"names/p0": b"after", "names/lost": b"lost"}))


def tear(bench: Bench) -> None:
    """Leave what a crash may leave: half an entry of the journal, and torn indexes of packs."""
    journal = bench.path / "journal"
    content = journal.read_bytes()
    bench.step(puts({"names/lost": b"lost"}, why="w" * 700))
    torn = journal.read_bytes()
    journal.write_bytes(torn[: len(content)] + bytes(512) + torn[len(content) + 512 : -200])
    del bench.known.refs["names/lost"]
    for path in (bench.path / "objects" / "pack").glob("*.idx"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:512])


@script
def a_store_of_version_1_becomes_one_of_version_2(bench: Bench) -> None:
    Store.init(bench.path).close()
    (bench.path / "format").write_bytes(b"research-os store 1\n")
    blob = put_loose(bench, Kind.BLOB, b"old")
    content = encode_record(Record("note/v1", {}, {"blob": blob}))
    record = put_loose(bench, Kind.RECORD, content)
    bench.known.blobs[blob] = b"old"
    bench.record()

    def first(store: Store, known: Known) -> None:
        with store.transaction() as tx:
            tx.move_ref("names/old", record, expected=None)
        known.refs["names/old"] = record

    bench.step(first)
    bench.step(puts({"names/old": b"old", "names/new": b"new"}))


def put_loose(bench: Bench, kind: Kind, content: bytes) -> Link:
    """Write a loose object as the first version of the store did."""
    link = id_of(kind, content)
    name = str(link)
    path = bench.path / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    head = b"ros\x01" + bytes((int(kind), 0, 0, 0)) + len(content).to_bytes(8, "little")
    path.write_bytes(head + content)
    return link


# What a store cannot do, nobody does to it.


def collect(store: Store, known: Known) -> None:
    """Remove what no ref reaches, without grace."""
    reached: set[Link] = set()
    waiting = list(known.refs.values())
    while waiting:
        link = waiting.pop()
        reached.add(link)
        waiting += store.get_record(link).links.values() if link.kind is Kind.RECORD else []
    store.plan_collection(grace_seconds=0).execute()
    for link in known.blobs.keys() - reached:
        known.gone[link] = known.blobs.pop(link)


def repair(store: Store, known: Known) -> None:
    store.repair()
    known.is_sound = True


if hasattr(Store, "plan_collection"):

    @script
    def garbage_is_collected(bench: Bench) -> None:
        past(bench, transactions=3)
        # The sixteenth has lists of lists of chunks, which shorter content seldom has.
        first = bench.file("first", long_content(16))
        second = bench.file("second", long_content(16)[:300_000] + b"another end")

        # The second's lists lead to lists and chunks in the pack of the first.
        for name, path in (("names/first", first), ("names/second", second)):

            def long_one(store: Store, known: Known, name: str = name, path: Path = path) -> None:
                with store.transaction() as tx:
                    link = known.refs[name] = tx.put_file(path)
                    tx.move_ref(name, link, expected=None)
                known.blobs[link] = path.read_bytes()

            bench.step(long_one)
        bench.step(puts({"names/both": b"in two packs", "names/p1": b"another"}, b"no ref"))
        bench.step(puts({}, b"a loose one"))
        bench.step(puts({}, b"past 0"))
        bench.record()

        def forget(store: Store, known: Known) -> None:
            with store.transaction() as tx:
                for name in ("names/first", "names/second", "names/p0", "names/both"):
                    tx.move_ref(name, None, expected=known.refs.pop(name))

        bench.step(forget)
        bench.step(collect)
        bench.step(puts({"names/again": b"in two packs"}))
        bench.step(collect)

    @script
    def garbage_is_collected_where_commits_are_synced_in_batches(bench: Bench) -> None:
        past(bench, transactions=3)
        set_durability(bench, "batch")
        bench.record()
        bench.unsettled = [bench.known.copy().refs]
        store = bench.open()
        bench.step(puts({"names/p0": None, "names/p1": b"another"}), store)
        bench.step(collect, store)
        store.close()


if hasattr(Store, "repair"):

    @script
    def damage_is_repaired(bench: Bench) -> None:
        bad = random.Random(5).randbytes(300)  # stored as it is
        past(bench)
        bench.step(puts({"names/good": b"good" * 100}, bad))
        bench.step(puts({}, b"a loose one"))
        tear(bench)
        for path in sorted((bench.path / "objects").glob("*/*")):
            damage(bench, path, bad)
            damage(bench, path, b"a loose one")
        assert len(bench.treasures) == 2
        for content in (bad, b"a loose one"):
            link = id_of(Kind.BLOB, content)
            bench.known.gone[link] = bench.known.blobs.pop(link)
        bench.known.is_sound = False
        bench.record()
        bench.step(repair)
        bench.step(repair)


def damage(bench: Bench, path: Path, part: bytes) -> None:
    """Change a byte of what a file holds, if it does; no repair may lose the rest of the file."""
    content = bytearray(path.read_bytes())
    at = content.find(part)
    if at >= 0:
        content[at] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
        bench.treasures.append(bytes(content))


def set_durability(bench: Bench, value: str) -> None:
    (bench.path / "config.toml").write_text(f'durability = "{value}"\n')


if hasattr(Store, "settings"):

    @script
    def commits_are_synced_in_batches(bench: Bench) -> None:
        past(bench)
        set_durability(bench, "batch")
        bench.record()
        bench.unsettled = [bench.known.copy().refs]
        store = bench.open()
        for number in range(4):
            moves = {f"names/b{number}": b"batch %d" % number, "names/p0": b"p%d" % number}
            bench.step(puts(moves, why="w" * 400), store)
        store.close()
        bench.settle()


# --- What is found ------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What one restart finds, and what it must find."""

    at: int
    stage: Stage
    medium: Any
    loss: Any
    caches: dict[str, bytes]

    def image(self) -> dict[str, bytes]:
        image = self.medium.image(self.loss)
        return {**image, **self.caches} if f"{STORE}/" in image else image


def losses(medium: Any, chance: random.Random, count: int) -> Iterator[dict[Any, Any]]:
    """List losses of what is not durable: none, all, and some of those between.

    Of each thing lost alone or spared alone, of each write torn in every way, and of mixtures.
    """
    yield {}
    everything = medium.all_lost()
    yield everything
    between: list[tuple[Any, Any, bool]] = []
    for item, ways in medium.items().items():
        if not medium.is_garbage(item):
            for part in range(ways) if item[0] == "name" else medium.parts(item):
                between += [(item, part, False), (item, part, True)]
            between.append((item, None, True))
    for item, part, is_alone in chance.sample(between, min(count, len(between))):
        loss = dict(everything) if is_alone else {}
        if part is None:
            del loss[item]
        else:
            loss[item] = part
        yield loss
    for _ in range((count + 2) // 3 if len(between) > 1 else 0):
        yield medium.random_loss(chance)


def states(
    bench: Bench, chance: random.Random, count: int = LOSSES_A_CALL, start: int = 0
) -> Iterator[State]:
    """List every state once, from a call on: garbage makes no difference of its own."""
    medium = crash_disk.Medium(bench.recorder.start)
    caches = bench.recorder.caches
    seen: set[tuple[int, bytes, int]] = set()
    marks = newest = 0
    for at in range(len(bench.recorder.events) + 1):
        if at:
            event = bench.recorder.events[at - 1]
            medium.apply(event)
            marks += event.verb == "mark"
            newest = event.caches
            if event.verb in crash_disk.SILENT:
                continue
        if at < start:
            continue
        for number, loss in enumerate(losses(medium, chance, count)):
            key = blake3.blake3()
            for path, content in sorted(medium.image(loss).items()):
                if not path.startswith((f"{STORE}/tmp/", f"{STORE}/leases/")):
                    key.update(b"%s %d " % (path.encode(), len(content))).update(content)
            digest = key.digest()
            # An index is absent, of some time before, as it was, or spoilt: all of it is legal.
            first = digest[0] % 4
            some = (first, (first + 2) % 4) if number < 2 else (first,)
            for variant in range(4) if STATES else some:
                if (marks, digest, variant) not in seen:
                    seen.add((marks, digest, variant))
                    copy = caches[chance.randrange(newest + 1) if variant == 1 else newest]
                    copy = {} if variant == 0 else copy
                    copy = crash_disk.spoilt(copy, chance) if variant == 3 else copy
                    yield State(at, bench.stages[marks], medium, loss, copy)


def examine(path: Path, state: State, bench: Bench, number: int) -> None:
    """Use a store as whoever comes after the crash does."""
    stage = state.stage
    try:
        store = bench.open(path)
    except errors.NotAStore:
        assert stage.may_be_absent
        Store.init(path).close()
        store = bench.open(path)
    try:
        refs = dict(store.refs())
        assert refs in stage.refs, f"refs are {refs}, not one of {stage.refs}"
        sound(store, stage, refs)
        assert after_it(store, stage, bench, random.Random(number))
        if number % 4 == 0 and hasattr(store, "plan_collection") and stage.is_sound:
            store.plan_collection(grace_seconds=0).execute()
            sound(store, stage, refs)
    finally:
        store.close()
    if number % 8 == 0:
        again = bench.open(path)
        try:
            assert {name: link for name, link in again.refs() if name != "names/after"} == refs
            sound(again, stage, refs)
        finally:
            again.close()


def sound(store: Store, stage: Stage, refs: dict[str, Link]) -> None:
    report = store.check()
    assert report.ok or not stage.is_sound, report
    assert not report.index_differs
    _, damaged = store.verify_closure(refs.values())
    assert not damaged, damaged
    for link, content in stage.blobs.items():
        assert store.get_blob(link) == content


def after_it(store: Store, stage: Stage, bench: Bench, chance: random.Random) -> Link:
    """Put some of what was on its way once more, with links to all that was there."""
    # Not all of it: one may heal the other, which is to be whole by itself.
    some = {link: data for link, data in stage.others.items() if chance.random() < 0.4}
    files = [path for path in bench.outside if chance.random() < 0.4]
    blobs = {**stage.blobs, **some, id_of(Kind.BLOB, b"after"): b"after"}
    with store.transaction("after") as tx:
        links = {f"old{i}": link for i, link in enumerate(stage.blobs)}
        links |= {f"file{i}": tx.put_file(path) for i, path in enumerate(files)}
        links |= {f"new{i}": tx.put_blob(data) for i, data in enumerate(blobs.values())}
        after = tx.put_record("after/v1", {}, links)
        tx.move_ref("names/after", after, expected=None)
    assert store.ref("names/after") == after
    _, damaged = store.verify_closure([after])
    assert not damaged, damaged
    for link, content in blobs.items():
        assert store.get_blob(link) == content
    return after


def trouble(state: State, bench: Bench, number: int) -> str | None:
    """Return what is wrong with a state, None if nothing is."""
    folder = bench.folder / "state"
    try:
        image = state.image()
        for treasure in bench.treasures:
            assert treasure in image.values(), "a damaged file is gone"
        crash_disk.write_image(folder, image)
        examine(folder / STORE, state, bench, number)
    except Exception:
        return traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def explained(state: State, bench: Bench, number: int, found: str) -> str:
    """Say how to come to a failing state: with as few losses as it takes."""
    loss = dict(state.loss)
    for item in list(loss):
        left = {each: part for each, part in loss.items() if each != item}
        smaller = trouble(replace(state, loss=left), bench, number)
        if smaller is not None:
            loss, found = left, smaller
    bare = trouble(replace(state, loss=loss, caches={}), bench, number)
    index = "the caches matter" if bare is None else "without caches too"
    if bare is not None:
        found = bare
    events = bench.recorder.events[: state.at]
    begin = max((i for i, e in enumerate(events) if e.note.startswith("begin")), default=0)
    return "\n".join(
        (
            f"after {state.at} calls, {index}; the last of them:",
            *(f"  {begin + i:4} {event}" for i, event in enumerate(events[begin:])),
            "lost:",
            *(f"  {line}" for line in state.medium.describe(loss) or ["nothing"]),
            found,
        )
    )


class Survey:
    """Looks at states, and remembers what is wrong: each kind of failure once."""

    def __init__(self, seed: int, failures_max: int = FAILURES_MAX) -> None:
        self.seed = seed
        self.failures_max = failures_max
        self.chance = random.Random(seed)
        self.total = 0
        self.failures: dict[str, str] = {}

    def look(self, bench: Bench, found: Iterator[State]) -> None:
        # The iterator goes on only when a state is done with: they share one medium.
        for state in found:
            wrong = trouble(state, bench, self.total)
            if wrong is not None:
                lines = [line for line in wrong.splitlines() if line.startswith("  File")]
                if "\n".join(lines) not in self.failures:
                    self.failures["\n".join(lines)] = explained(state, bench, self.total, wrong)
            self.total += 1
            if len(self.failures) == self.failures_max:
                return

    def conclude(self) -> None:
        print(f"{self.total} states, seed {self.seed}")
        if self.failures:
            text = "\n\n".join(self.failures.values())
            pytest.fail(f"seed {self.seed}, {self.total} states:\n{text}", pytrace=False)


def recorded(act: Script, folder: Path) -> Bench:
    bench = Bench(folder)
    try:
        act(bench)
    finally:
        bench.patch.undo()
    return bench


@pytest.mark.parametrize("act", SCRIPTS, ids=lambda act: act.__name__)
def test_a_power_cut_loses_nothing_that_was_promised_while(act, folder, seed):
    bench = recorded(act, folder)
    survey = Survey(seed)
    survey.look(bench, states(bench, survey.chance))
    survey.conclude()

    assert survey.total > 10


@pytest.mark.parametrize("act", SCRIPTS, ids=lambda act: act.__name__)
def test_nothing_escapes_the_record_when(act, folder):
    """Replayed in full, the log gives the folder that is there, byte for byte."""
    bench = recorded(act, folder)
    medium = crash_disk.Medium(bench.recorder.start)
    for event in bench.recorder.events:
        medium.apply(event)

    assert medium.image({}) == crash_disk.read_image(bench.root)
    assert "sync" in {event.verb for event in bench.recorder.events}


@pytest.mark.parametrize("behind", [*range(1, 9), *range(504, 512)])
def test_an_entry_that_crosses_a_sector_by_few_bytes_is_torn_or_whole(behind, folder, seed):
    """Behind how many bytes of a sector the entry ends, or starts: the small part may be lost."""
    bench = Bench(folder)
    try:
        past(bench, transactions=1)
        journal = bench.path / "journal"
        sizes = [journal.stat().st_size]
        for why in ("w" * 300, "why"):
            bench.step(puts({"names/p0": why.encode()}, why=why))
            sizes.append(journal.stat().st_size)
        # A reason of 300 to 811 letters has one header, so an entry can be made to end anywhere.
        small = sizes[2] - sizes[1] if behind < SECTOR // 2 else 0
        letters = 300 + (behind - small - sizes[2] - (sizes[1] - sizes[0])) % SECTOR
        bench.step(puts({"names/p0": b"1"}, why="w" * letters))
        bench.record()
        bench.step(puts({"names/p0": b"2"}))
    finally:
        bench.patch.undo()
    events = bench.recorder.events
    written = next(i for i, e in enumerate(events) if e.verb == "write" and "journal" in e.path)
    edge = events[written].offset + (len(events[written].data) if small else 0)
    survey = Survey(seed)
    found = states(bench, survey.chance, 50, start=written + 1)
    survey.look(bench, itertools.takewhile(lambda state: state.at == written + 1, found))
    survey.conclude()

    assert edge % SECTOR == behind
    assert survey.total > 5


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_a_sync_that_is_forgotten_is_found(forgotten, folder, seed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(disk, forgotten, lambda what: None)
        bench = recorded(objects_and_moves_land_in_one_transaction, folder)
    survey = Survey(seed, failures_max=1)
    survey.look(bench, states(bench, survey.chance))

    assert survey.failures, f"seed {seed}"


# --- A process dies, another one works, the power goes ------------------------------------------


LONG = long_content(7)


def commits(store: Store, known: Known) -> None:
    with store.transaction() as tx:
        long, short = tx.put_blob(LONG), tx.put_blob(b"short")
        record = known.refs["names/a"] = tx.put_record("note/v1", {}, {"l": long, "s": short})
        tx.move_ref("names/a", record, expected=None)
    known.blobs |= {long: LONG, short: b"short"}


def puts_one(store: Store, known: Known) -> None:
    known.blobs[store.put_blob(b"short")] = b"short"


def forgets(store: Store, known: Known) -> None:
    put(store, known, {"names/p0": None})


def puts_the_same(store: Store, known: Known) -> None:
    with store.transaction() as tx:
        long, short = tx.put_blob(LONG), tx.put_blob(b"short")
        for name, link in (("names/long", long), ("names/short", short)):
            known.refs[name] = link
            tx.move_ref(name, link, expected=None)
    known.blobs |= {long: LONG, short: b"short"}


def puts_the_same_long_one(store: Store, known: Known) -> None:
    known.blobs[store.put_blob(LONG)] = LONG


def puts_the_same_short_one(store: Store, known: Known) -> None:
    puts_one(store, known)


def links_to_what_is_there(store: Store, known: Known) -> None:
    with store.transaction() as tx:
        links: dict[str, Link] = {}
        for name, content in (("long", LONG), ("short", b"short")):
            link = id_of(Kind.BLOB, content)
            if store.has(link):
                links[name] = link
                known.blobs[link] = content
        record = known.refs["names/links"] = tx.put_record("note/v1", {}, links)
        tx.move_ref("names/links", record, expected=None)


def moves_to_what_is_there(store: Store, known: Known) -> None:
    with store.transaction() as tx:
        for name, content in (("names/long", LONG), ("names/short", b"short")):
            link = id_of(Kind.BLOB, content)
            if store.has(link):
                tx.move_ref(name, link, expected=None)
                known.refs[name] = link
                known.blobs[link] = content


def collects(store: Store, known: Known) -> None:
    store.plan_collection(grace_seconds=0).execute()
    # What it has removed depends on when the other one died: the links are checked, not more.
    known.gone |= known.blobs
    known.blobs.clear()


def merges(store: Store, known: Known) -> None:
    """Land one more, which is as many as are merged, with what the other one has left."""
    put(store, known, {"names/m": b"merged"})


DEATHS = [
    (commits, puts_the_same),
    (commits, puts_the_same_long_one),
    (commits, links_to_what_is_there),
    (commits, moves_to_what_is_there),
    (commits, merges),
    (puts_one, puts_the_same_short_one),
    (puts_one, puts_the_same),
    (puts_one, links_to_what_is_there),
    (puts_one, moves_to_what_is_there),
]
if hasattr(Store, "plan_collection"):
    DEATHS += [(commits, collects), (forgets, collects), (collects, puts_the_same)]
if hasattr(Store, "repair"):
    DEATHS += [(commits, repair)]


def full_record(first: Action, folder: Path) -> tuple[Known, int]:
    """Return what is known when the first process does not die, and how many calls it makes."""

    def act(bench: Bench) -> None:
        before_deaths(bench)
        bench.record()
        bench.perform(first)

    bench = recorded(act, folder)
    return bench.known, len(bench.recorder.events)


def before_deaths(bench: Bench) -> None:
    past(bench, transactions=6)
    bench.step(puts({"names/p1": b"another"}))


def dies(bench: Bench, action: Action, at: int) -> None:
    """Do something in a process that ends without a word behind a call of that number."""
    memory = bench.folder / "memory"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bench.recorder.call_at(at, lambda: leave(bench, memory))
            bench.perform(action)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    bench.recorder.recall(memory.read_bytes())


def leave(bench: Bench, memory: Path) -> None:
    memory.write_bytes(bench.recorder.remember())
    os._exit(7)


@pytest.mark.parametrize(("first", "second"), DEATHS, ids=lambda action: action.__name__)
def test_nobody_relies_on_what_a_dead_process_has_left_unsynced_when(first, second, folder, seed):
    (folder / "full").mkdir()
    after, calls = full_record(first, folder / "full")
    survey = Survey(seed)
    numbers = list(range(1, calls + 1))
    if not STATES:
        numbers = sorted(survey.chance.sample(numbers, min(8, calls)))
    for at in numbers:
        (folder / str(at)).mkdir()
        bench = Bench(folder / str(at))
        try:
            before_deaths(bench)
            bench.record()
            before = bench.known.copy()
            bench.mark(f"begin {first.__name__}", between(before, after))
            dies(bench, first, at)
            bench.known.gone = {**after.gone, **after.blobs}
            bench.known.blobs = {k: v for k, v in before.blobs.items() if k in after.blobs}
            bench.mark(f"begin {second.__name__}", bench.stages[-1])
            start = len(bench.recorder.events)
            bench.perform(second)
        finally:
            bench.patch.undo()
        refs = moved(before, after, bench.known)
        # What is on its way may lead to what the dead process had not synced: no ref does.
        bench.stages[-1] = replace(
            between(before, bench.known),
            refs=bench.stages[-1].refs + refs,
            is_sound=False,
        )
        stage = replace(between(bench.known, bench.known), refs=refs)
        bench.mark(f"end {second.__name__}", stage)
        if not STATES:
            start = len(bench.recorder.events)
        survey.look(bench, states(bench, survey.chance, LOSSES_A_DEATH, start))
        shutil.rmtree(folder / str(at))
    survey.conclude()


def moved(before: Known, after: Known, known: Known) -> list[dict[str, Link]]:
    """Return the refs when the second has moved its own, the first one its own or not."""
    own = {name: link for name, link in known.refs.items() if before.refs.get(name) != link}
    return [{**before.refs, **own}, {**after.refs, **own}]
