"""The store against plain dictionaries: whatever is done in whatever order, they agree."""

import contextlib
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
from rosdb.objects import Kind, id_of

CONTENTS = st.binary(max_size=20) | st.sampled_from([b"a" * 200, b"ab" * 3000, bytes(9000)])
NAMES = st.sampled_from(["names/a", "names/b", "names/a/b", "datasets/d/1", "runs/x"])
STEPS = st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=3, unique_by=lambda s: s[0])


class StoreAgainstDictionaries(RuleBasedStateMachine):
    """Two stores opened on one folder, and what should be in it."""

    links: Bundle[Link] = Bundle("links")
    records: Bundle[Link] = Bundle("records")

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / ".ros"
        Store.init(self.path).close()
        self.stores = [Store.open(self.path, who="a"), Store.open(self.path, who="b")]
        self.blobs: dict[Link, bytes] = {}
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
        link = self.stores[which].put_blob(content)
        self.blobs[link] = content
        self.lost.pop(link, None)  # a put heals
        return link

    @rule(target=links, content=CONTENTS, which=st.integers(0, 1))
    def put_file(self, content: bytes, which: int) -> Link:
        (self.folder / "file").write_bytes(content)
        link = self.stores[which].put_file(self.folder / "file")
        self.blobs[link] = content
        self.lost.pop(link, None)
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
        path = self.path / "objects" / str(link)[:2] / str(link)[2:]
        self.lost[link] = path.read_bytes()
        path.unlink()

    @precondition(lambda self: self.lost)
    @rule(target=links)
    def find_again(self) -> Link:
        ((link, data),) = self.lost.items()
        path = self.path / "objects" / str(link)[:2] / str(link)[2:]
        path.write_bytes(data)
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
        assert report.objects == len(self.blobs.keys() - self.lost.keys()) + len(self.fields)
        assert not report.index_differs
        assert list((self.path / "tmp").iterdir()) == []


def test_the_store_agrees_with_dictionaries(monkeypatch):
    monkeypatch.setattr(transaction, "WHOLE_BYTES_MAX", 1000)  # beyond it, files are streamed
    run_state_machine_as_test(
        StoreAgainstDictionaries, settings=settings(max_examples=25, stateful_step_count=30)
    )
