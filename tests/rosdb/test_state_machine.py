"""The store against plain dictionaries: whatever is done in whatever order, they agree."""

import contextlib
import io
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rosdb import Link, Store, errors, transaction
from rosdb.chunks import segments
from rosdb.objects import Kind, id_of

LIMIT = 1000  # beyond it, contents are streamed and cut
NOISE = random.Random(1).randbytes(50_000)
LONG = [b"ab" * 3000, bytes(200_000), NOISE, NOISE[:30_000] + b"!" + NOISE[30_000:]]
CONTENTS = st.binary(max_size=20) | st.sampled_from([b"a" * 200, *LONG])
NAMES = st.sampled_from(["names/a", "names/b", "names/a/b", "datasets/d/1", "runs/x"])
STEPS = st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=3, unique_by=lambda s: s[0])


def chunk_ids(content: bytes) -> set[Link]:
    """Return what a content is cut into; a short one into nothing."""
    if len(content) <= LIMIT:
        return set()
    parts = segments(io.BytesIO(content).readinto)
    return {id_of(Kind.BLOB, chunk) for part in parts for chunk in part.chunks}


class StoreAgainstDictionaries(RuleBasedStateMachine):
    """Two stores opened on one folder, and what should be in it."""

    links: Bundle[Link] = Bundle("links")
    records: Bundle[Link] = Bundle("records")
    fate: Any

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / ".ros"
        Store.init(self.path).close()
        self.stores = [Store.open(self.path, who="a"), Store.open(self.path, who="b")]
        self.blobs: dict[Link, bytes] = {}
        self.chunks: set[Link] = set()
        self.fields: dict[Link, tuple[dict[str, Any], dict[str, Link]]] = {}
        self.refs: dict[str, Link] = {}
        self.moves: list[tuple[str, Link | None, Link | None, str]] = []
        self.lost: dict[Link, bytes] = {}
        self.clock = 0

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            store.close()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)

    # --- Objects --------------------------------------------------------------------------------

    @rule(target=links, content=CONTENTS, which=st.integers(0, 1))
    def put_blob(self, content: bytes, which: int) -> Link:
        return self.note(self.stores[which].put_blob(content), content)

    @rule(target=links, content=CONTENTS, which=st.integers(0, 1))
    def put_file(self, content: bytes, which: int) -> Link:
        (self.folder / "file").write_bytes(content)
        return self.note(self.stores[which].put_file(self.folder / "file"), content)

    def note(self, link: Link, content: bytes) -> Link:
        self.blobs[link] = content
        self.chunks |= chunk_ids(content)
        self.lost.pop(link, None)  # a put heals
        return link

    @rule(
        target=records,
        number=st.integers(-3, 3),
        links=st.dictionaries(st.sampled_from(["x", "y"]), links | records, max_size=2),
        which=st.integers(0, 1),
    )
    def put_record(self, number: int, links: dict[str, Link], which: int) -> Any:
        try:
            link = self.stores[which].put_record("note/v1", {"n": number}, links)
        except errors.ObjectMissing:
            assert set(links.values()) & self.lost.keys()
            return multiple()
        assert not set(links.values()) & self.lost.keys()
        self.fields[link] = ({"n": number}, links)
        return link

    @rule(link=links | records, which=st.integers(0, 1))
    def get(self, link: Link, which: int) -> None:
        store = self.stores[which]
        if link in self.lost:
            with pytest.raises(errors.ObjectMissing):
                store.verify(link)
        elif link in self.blobs:
            assert id_of(Kind.BLOB, store.get_blob(link)) == link
            with store.open_blob(link) as blob:
                assert blob.read(50) == self.blobs[link][:50]
        else:
            record = store.get_record(link)
            assert (record.fields, record.links) == self.fields[link]

    # --- Refs -----------------------------------------------------------------------------------

    @rule(
        steps=STEPS,
        new=st.none() | links | records,
        other=links | records,
        why=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
        which=st.integers(0, 1),
    )
    def move(
        self,
        steps: list[tuple[str, bool]],
        new: Link | None,
        other: Link,
        why: str,
        which: int,
    ) -> None:
        """Move refs in one transaction; some expect the wrong value."""
        expected = {name: self.refs.get(name) if good else other for name, good in steps}
        is_good = all(self.refs.get(name) == value for name, value in expected.items())
        try:
            with self.stores[which].transaction(why) as tx:
                for name, value in expected.items():
                    tx.move_ref(name, new, expected=value)
        except errors.RefMoved:
            assert not is_good
        except errors.ObjectMissing:
            assert new in self.lost
        else:
            assert is_good
            for name, old in expected.items():
                self.moves.append((name, old, new, why))
                if new is None:
                    self.refs.pop(name, None)
                else:
                    self.refs[name] = new

    @rule(link=links | records, which=st.integers(0, 1))
    def fail(self, link: Link, which: int) -> None:
        """Break off in the middle: nothing has happened."""
        with contextlib.suppress(ZeroDivisionError), self.stores[which].transaction() as tx:
            fresh = tx.put_blob(b"never to be seen")
            tx.move_ref("names/never", fresh, expected=None)
            raise ZeroDivisionError
        assert not self.stores[which].has(fresh)

    # --- What befalls a store -------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = Store.open(self.path, who="ab"[which])

    @rule(suffixes=st.sampled_from([[""], ["", "-wal", "-shm"]]))
    def delete_index(self, suffixes: list[str]) -> None:
        for suffix in suffixes:
            (self.path / f"index.db{suffix}").unlink(missing_ok=True)

    @rule(data=st.binary(min_size=1, max_size=200))
    def spoil_index(self, data: bytes) -> None:
        for store in self.stores:
            store.close()
        (self.path / "index.db").write_bytes(data)

    @rule(which=st.integers(0, 1))
    def merge(self, which: int) -> None:
        self.stores[which].merge_packs()

    @rule()
    def loosen(self) -> None:
        """Make it as version 1 had it; the chunks go with the lists."""
        for store in self.stores:
            store.close()
        kept = self.fate.objects(self.stores[0])
        self.fate.loosen(self.stores[0])
        self.chunks &= kept

    @rule(data=st.none() | st.binary(max_size=200))
    def spoil_indexes_of_packs(self, data: bytes | None) -> None:
        for path in (self.path / "objects" / "pack").glob("*.idx"):
            path.unlink()
            if data is not None:
                path.write_bytes(data)

    @rule(length=st.integers(1, 60))
    def tear_journal(self, length: int) -> None:
        """Leave what a crash leaves of an entry that nobody was told had landed."""
        journal = self.path / "journal"
        whole = journal.read_bytes()
        ends = [entry.end.offset for entry in self.stores[0]._journal.entries()]
        if ends and ends[-1] == len(whole):
            journal.write_bytes(whole + whole[16 : 16 + length])

    @precondition(lambda self: not self.lost)
    @rule(link=consumes(links))
    def lose(self, link: Link) -> None:
        """Take an object away; the check must say so, and a put brings it back."""
        for store in self.stores:
            store.close()
        self.fate.lose(self.stores[0], link)
        self.lost[link] = self.blobs[link]

    @precondition(lambda self: self.lost)
    @rule(target=links)
    def find_again(self) -> Link:
        ((link, data),) = self.lost.items()
        self.stores[0]._objects.loose.put(link.kind, link, data, is_synced=False)
        self.lost.clear()
        return link

    # --- What always holds ----------------------------------------------------------------------

    @invariant()
    def refs_and_journal_agree(self) -> None:
        for store in getattr(self, "stores", []):
            assert dict(store.refs()) == self.refs
            found = [(m.ref, m.old, m.new, m.why) for m in store.journal()]
            assert found == self.moves

    @rule()
    def check(self) -> None:
        report = self.stores[0].check()
        linked = {link for _, links in self.fields.values() for link in links.values()}
        linked |= set(self.refs.values())
        assert report.journal.ok
        assert {fault.object_id for fault in report.missing} == self.lost.keys() & linked
        assert report.damaged == ()
        stored = (self.blobs.keys() | self.chunks) - self.lost.keys()
        assert report.objects == len(stored) + len(self.fields)
        assert report.files == ()
        assert not report.index_differs
        assert list((self.path / "tmp").iterdir()) == []


def test_the_store_agrees_with_dictionaries(monkeypatch, fate):
    monkeypatch.setattr(transaction, "WHOLE_BYTES_MAX", LIMIT)
    monkeypatch.setattr(StoreAgainstDictionaries, "fate", fate, raising=False)
    run_state_machine_as_test(
        StoreAgainstDictionaries, settings=settings(max_examples=25, stateful_step_count=30)
    )
