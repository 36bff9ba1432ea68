"""The store against plain dictionaries, with all that keeps it small and all that befalls it.

What a ref reaches is there, whatever was merged, collected, broken off, crashed or damaged and
repaired in between; what no ref reaches may be gone, and then all of it that leads to it is.
"""

import contextlib
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rosdb import Link, ObjectId, Record, Store, errors, merge
from rosdb.objects import Kind, id_of

NAMES = ["names/a", "names/b", "names/c", "datasets/d/1", "promotions/p"]
LONG = random.Random(3).randbytes(420_000)
BLOBS = [b"", b"one", b"two" * 300, bytes(2_000), LONG, LONG[:300_000] + b"another end"]

names = st.sampled_from(NAMES)
numbers = st.integers(0, 50)
which = st.integers(0, 1)


class StoreThatIsCollected(RuleBasedStateMachine):
    """Two stores opened on one folder; what each id holds; what each ref leads to."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / ".ros"
        Store.init(self.path).close()
        self.stores = [Store.open(self.path, who="a"), Store.open(self.path, who="b")]
        self.known: list[Link] = []
        self.contents: dict[Link, Any] = {}
        self.refs: dict[str, Link] = {}
        self.moves = 0

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            store.close()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)

    # --- The model ------------------------------------------------------------------------------

    def learn(self, link: Link, content: object) -> Link:
        if link not in self.contents:
            self.known.append(link)
        self.contents[link] = content
        return link

    def pick(self, number: int) -> Link | None:
        return self.known[number % len(self.known)] if self.known else None

    def closure(self, *starts: Link) -> set[Link]:
        found: set[Link] = set()
        waiting = list(starts)
        while waiting:
            link = waiting.pop()
            if link not in found:
                found.add(link)
                content = self.contents[link]
                waiting += content.links.values() if isinstance(content, Record) else []
        return found

    def move(self, name: str, link: Link | None) -> None:
        self.moves += 1
        if link is None:
            self.refs.pop(name, None)
        else:
            self.refs[name] = link

    # --- Puts and moves -------------------------------------------------------------------------

    @rule(number=st.integers(0, len(BLOBS) - 1), which=which)
    def put_blob(self, number: int, which: int) -> None:
        link = self.stores[which].put_blob(BLOBS[number])
        self.learn(link, BLOBS[number])

    @rule(name=names, blobs=st.sets(st.integers(0, len(BLOBS) - 1), max_size=3), which=which)
    def put_several_under_a_ref(self, name: str, blobs: set[int], which: int) -> None:
        with self.stores[which].transaction() as tx:
            links = {f"b{n}": self.learn(tx.put_blob(BLOBS[n]), BLOBS[n]) for n in sorted(blobs)}
            inner = tx.put_record("inner/v1", {"n": len(links)}, links)
            self.learn(inner, Record("inner/v1", {"n": len(links)}, links))
            outer = tx.put_record("outer/v1", {}, {"inner": inner})
            self.learn(outer, Record("outer/v1", {}, {"inner": inner}))
            tx.move_ref(name, outer, expected=self.refs.get(name))
        self.move(name, outer)

    @rule(name=names, known=numbers, which=which)
    def put_record_of_what_may_be_gone(self, name: str, known: int, which: int) -> None:
        link = self.pick(known)
        store = self.stores[which]
        if link is None:
            return
        is_there = store.has(link)
        try:
            with store.transaction() as tx:
                record = tx.put_record("of/v1", {}, {"it": link})
                tx.move_ref(name, record, expected=self.refs.get(name))
        except errors.ObjectMissing:
            assert link not in self.closure(*self.refs.values())
        else:
            assert is_there or store.has(link)
            self.learn(record, Record("of/v1", {}, {"it": link}))
            self.move(name, record)

    @rule(name=names, rows=st.integers(0, 3), which=which)
    def put_table(self, name: str, rows: int, which: int) -> None:
        store = self.stores[which]
        with store.transaction() as tx:
            columns = {"x": np.arange(rows * 1000), "y": np.ones(rows * 1000)}
            table = tx.put_table(columns)
            tx.move_ref(name, table, expected=self.refs.get(name))
        record = store.get_record(table)
        for link in record.links.values():
            self.learn(link, store.get_blob(link))
        self.learn(table, record)
        self.move(name, table)

    @rule(name=names, known=numbers, which=which)
    def revive(self, name: str, known: int, which: int) -> None:
        """Move a ref to what was known once: it is there with all it leads to, or missing."""
        link = self.pick(known)
        if link is None:
            return
        try:
            with self.stores[which].transaction() as tx:
                tx.move_ref(name, link, expected=self.refs.get(name))
        except errors.ObjectMissing:
            assert link not in self.closure(*self.refs.values())
        else:
            self.move(name, link)

    @rule(name=names, which=which)
    def remove_ref(self, name: str, which: int) -> None:
        if name in self.refs:
            with self.stores[which].transaction() as tx:
                tx.move_ref(name, None, expected=self.refs[name])
            self.move(name, None)

    # --- What keeps the store small -------------------------------------------------------------

    @rule(which=which)
    def merge_packs(self, which: int) -> None:
        self.stores[which].merge_packs()

    @rule(which=which)
    def collect(self, which: int) -> None:
        found = self.stores[which].plan_collection(grace_seconds=0).execute()
        assert found.bytes_after <= found.bytes_before + 80 * found.objects_after
        for link in set(self.contents) - self.closure(*self.refs.values()):
            assert not self.stores[which].has(link)

    @rule(which=which)
    def collect_with_grace(self, which: int) -> None:
        there = {link for link in self.contents if self.stores[which].has(link)}
        self.stores[which].plan_collection(grace_seconds=3600).execute()
        assert all(self.stores[which].has(link) for link in there)

    @rule(name=names, known=numbers, which=which)
    def move_between_plan_and_execution(self, name: str, known: int, which: int) -> None:
        plan = self.stores[which].plan_collection(grace_seconds=0)
        self.revive(name, known, 1 - which)
        plan.execute()

    @rule(number=st.integers(0, len(BLOBS) - 1), name=names, which=which)
    def put_between_plan_and_execution(self, number: int, name: str, which: int) -> None:
        plan = self.stores[which].plan_collection(grace_seconds=0)
        self.put_several_under_a_ref(name, {number}, 1 - which)
        plan.execute()

    # --- What befalls a store -------------------------------------------------------------------

    @rule(which=which)
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = Store.open(self.path, who="ab"[which])

    @rule(name=names, which=which)
    def break_off(self, name: str, which: int) -> None:
        with contextlib.suppress(ZeroDivisionError), self.stores[which].transaction() as tx:
            tx.move_ref(name, tx.put_blob(LONG + b"broken off"), expected=self.refs.get(name))
            raise ZeroDivisionError

    @rule(name=names, number=st.integers(0, len(BLOBS) - 1), which=which)
    def crash_before_the_journal(self, name: str, number: int, which: int) -> None:
        """All of a transaction is on the disk but its entry, or half of the entry."""
        journal = self.path / "journal"
        before = journal.read_bytes()
        contents, known, refs, moves = (
            dict(self.contents),
            list(self.known),
            dict(self.refs),
            self.moves,
        )
        self.put_several_under_a_ref(name, {number}, which)
        self.crash()
        journal.write_bytes(journal.read_bytes()[: len(before) + 20])
        for each in self.path.glob("index.db*"):
            each.unlink()  # it has seen what never was
        # What was put is garbage now: it may be there.
        self.refs, self.moves = refs, moves
        assert contents.keys() <= self.contents.keys()
        assert known == self.known[: len(known)]

    def crash(self) -> None:
        """Both processes end where they are; what they were writing lies about."""
        (self.path / "tmp" / "1-1").write_bytes(b"a leftover")
        for store in self.stores:
            store.close()
        self.stores = [Store.open(self.path, who="a"), Store.open(self.path, who="b")]
        (self.path / "tmp" / "1-1").unlink()

    @rule()
    def delete_all_indexes(self) -> None:
        for each in [*self.path.glob("objects/pack/*.idx"), *self.path.glob("*.db*")]:
            each.unlink()

    @precondition(lambda self: self.refs)
    @rule(name=names, at=st.integers(0, 10**6), which=which)
    def damage_one_copy_and_repair(self, name: str, at: int, which: int) -> None:
        """Something that a ref reaches is damaged where it has a sound copy besides."""
        reached = sorted(self.closure(*self.refs.values()), key=lambda link: link.digest)
        link = reached[at % len(reached)]
        content = self.contents[link]
        store = self.stores[which]
        if link.kind is Kind.RECORD or len(content) > 100_000:
            return
        store._objects.loose.put(Kind.BLOB, link, content, is_synced=False)
        path = store._objects.loose.path(ObjectId(link.digest))
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"\xee\xee")
        before = files(self.path)
        with contextlib.suppress(errors.CollectionRefused):
            store.plan_collection(grace_seconds=0)
        assert files(self.path) == before

        repaired = store.repair()

        assert len(repaired.files_set_aside) == 1
        assert store.check().ok

    # --- What always holds ----------------------------------------------------------------------

    @invariant()
    def what_is_reached_is_there(self) -> None:
        for store in getattr(self, "stores", []):
            assert dict(store.refs()) == self.refs
            for link in self.closure(*self.refs.values()):
                if link.kind is Kind.RECORD:
                    found = store.get_record(link)
                    expected = self.contents[link]
                    assert (found.schema, found.links) == (expected.schema, expected.links)
                else:
                    assert store.get_blob(link) == self.contents[link]

    @invariant()
    def the_journal_has_every_move_once(self) -> None:
        if hasattr(self, "stores"):
            last: dict[str, Link | None] = {}
            count = 0
            for move in self.stores[0].journal():
                assert move.old == last.get(move.ref)
                last[move.ref] = move.new
                count += 1
            assert count == self.moves

    @rule()
    def check(self) -> None:
        report = self.stores[0].check()
        assert report.ok, report
        assert not report.index_differs
        assert list((self.path / "tmp").iterdir()) == []
        dangling = {ObjectId(each.digest) for each in report.dangling}
        reached = self.closure(*self.refs.values())
        assert dangling.isdisjoint(reached)
        assert all(id_of(link.kind, content) == link for link, content in self.blobs(reached))

    def blobs(self, links: set[Link]) -> list[tuple[Link, bytes]]:
        return [(link, self.contents[link]) for link in links if link.kind is Kind.BLOB]


def files(path: Path) -> dict[str, bytes]:
    found = [*path.glob("objects/??/*"), *path.glob("objects/pack/*.pack")]
    return {str(each): each.read_bytes() for each in found}


def test_the_store_agrees_with_dictionaries_whatever_is_collected(monkeypatch):
    monkeypatch.setattr(merge, "FAN_IN", 3)
    run_state_machine_as_test(
        StoreThatIsCollected, settings=settings(max_examples=20, stateful_step_count=30)
    )
