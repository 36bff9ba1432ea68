"""The store: the one object that outsiders hold.

Owns the public verbs; each is a few lines over the room that does it.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from rosdb import (
    check,
    disk,
    journal,
    layout,
    merge,
    query,
    refs,
    removal,
    stats,
    tables,
    trees,
    verify,
)
from rosdb.collect import GRACE_SECONDS, CollectionPlan
from rosdb.errors import BadSetting, ObjectCorrupt, ObjectMissing, StoreError
from rosdb.found_runs import FoundRuns
from rosdb.index import Index
from rosdb.journal import Move
from rosdb.leases import Leases, SharedLease
from rosdb.object_store import Objects
from rosdb.objects import Kind, Link, ObjectId, Record
from rosdb.pack_batch import PackBatch
from rosdb.ref_tail import RefTail
from rosdb.repair import Repaired, repair
from rosdb.resolve import resolve
from rosdb.run_rows import RunRow
from rosdb.settings import Settings, read_settings
from rosdb.stat_cache import StatCache
from rosdb.transaction import Transaction
from rosdb.trial_rows import TrialColumns


class Store:
    """A store of immutable objects and of refs that move over them."""

    stat_cache: StatCache | None = None  # for `put_folder`: each file is read, in its own commit

    def __init__(
        self,
        path: Path,
        *,
        who: str | None = None,
        now_ns: Callable[[], int] = disk.now_ns,
    ) -> None:
        self.path = path
        self.who = disk.whoami() if who is None else who
        self._now_ns = now_ns
        self._objects = Objects(path / "objects", path / "tmp")
        self._journal = journal.Journal(path / "journal", lambda: self.settings.durability)
        self._leases = Leases(path)
        self._writers = removal.Writers(path, self._objects)
        self._index: Index | None = None

    @classmethod
    def init(cls, path: Path | str) -> "Store":
        """Make a store at the path: the folder that is usually called ``.ros``.

        Raises: StoreExists, StoreUnwritable.
        """
        layout.create(Path(path).absolute())
        return cls.open(path)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        who: str | None = None,
        now_ns: Callable[[], int] = disk.now_ns,
    ) -> "Store":
        """Open the store at the path, or the one in its folder ``.ros``.

        Raises: NotAStore, UnsupportedFormat.
        """
        return cls(layout.find(Path(path).absolute()), who=who, now_ns=now_ns)

    def close(self) -> None:
        """Let go of all files; a closed store opens them again when asked."""
        self._journal.close()
        self._objects.close()
        if self._index is not None:
            self._index.close()
            self._index = None

    @functools.cached_property
    def settings(self) -> Settings:
        """What ``config.toml`` says, as it was when it was first asked for.

        Raises: BadSetting.
        """
        return read_settings(self.path / "config.toml")

    @contextlib.contextmanager
    def transaction(self, why: str = "", *, reads_all: bool = False) -> Iterator[Transaction]:
        """Land objects and ref moves together at the end of the block, or not at all.

        ``reads_all`` reads every file, where one that looks unchanged would be known from before.
        Raises: RefMoved if another writer moved one of the refs first.
        """
        is_synced = self.settings.durability != "none"
        with self._writers.writing():
            if self._index is None:
                layout.upgrade(self.path)
            self._opened()
            transaction = Transaction(
                self._objects,
                self._journal,
                self._ref_tail,
                PackBatch(self._objects, self.path / "tmp", is_synced=is_synced),
                None if reads_all else StatCache(self.path / "stat.db"),
                lock=lambda: disk.exclusive_lock(self.path / "lock"),
                now_ns=self._now_ns,
                who=self.who,
                why=why,
            )
            try:
                yield transaction
                transaction.commit()
            finally:
                transaction.abandon()
        with contextlib.suppress(StoreError):  # what is committed is committed, merged or not
            self.merge_packs()

    def writing(self) -> AbstractContextManager[None]:
        """Keep all that is stored while several transactions build on each other.

        Raises: StoreLocked, StoreUnwritable.
        """
        return self._writers.writing()

    def merge_packs(self) -> bool:
        """Merge packs and indexes where there are too many."""
        return merge.merge(self._objects.packs, self.path / "tmp", self.path / "merge.lock")

    def plan_collection(self, *, grace_seconds: float = GRACE_SECONDS) -> CollectionPlan:
        """Plan the removal of what no ref reaches; ``execute`` carries it out.

        What was put within the grace stays: it may be on its way under a ref. With none, an object
        that was put outside of a transaction with a move can go at once.

        Units:  grace_seconds in seconds.
        Raises: CollectionRefused if what is reached cannot be read, JournalDamaged, BadSetting.
        """
        if not 0 <= grace_seconds < math.inf:
            raise BadSetting("grace_seconds", f"{grace_seconds!r} is no time from 0 on")
        read_settings(self.path / "config.toml")  # whoever cannot read them does not delete
        self._caught_up()  # an index that has read further than there is knows of more refs
        removal.finish(self.path, self._objects)
        older_than_ns = disk.now_ns() - round(grace_seconds * 1e9) if grace_seconds > 0 else None
        clear = StatCache(self.path / "stat.db").clear
        return CollectionPlan(self.path, self._objects, self._journal, clear, older_than_ns)

    def put_blob(self, data: bytes | bytearray | memoryview) -> Link:
        """Put bytes; the id is what ``b3sum`` prints for them."""
        with self.transaction() as tx:
            return tx.put_blob(data)

    def put_file(self, path: Path | str) -> Link:
        """Put a file's content, streamed: in memory is the list of its chunks, 35 MB a GiB."""
        with self.transaction() as tx:
            return tx.put_file(path)

    def put_record(
        self,
        schema: str,
        fields: Mapping[str, Any],
        links: Mapping[str, ObjectId] | None = None,
    ) -> Link:
        """Put a record whose links all lead somewhere.

        Raises: NotCanonical, ObjectMissing if a link leads nowhere.
        """
        with self.transaction() as tx:
            return tx.put_record(schema, fields, links)

    def put_tree(self, tree: trees.Tree) -> Link:
        """Put a tree.

        Raises: BadName, ObjectMissing.
        """
        with self.transaction() as tx:
            return tx.put_tree(tree)

    def put_table(self, columns: Mapping[str, Any], units: Mapping[str, str] | None = None) -> Link:
        """Put a table of 1-d numpy arrays, or masked ones, each (rows,).

        Raises: BadTable if they make no table.
        """
        with self.transaction() as tx:
            return tx.put_table(columns, units)

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id; does not verify it."""
        return self._objects.has(object_id)

    def typed(self, object_id: ObjectId) -> Link:
        """Return the id with the kind of what is stored under it.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        if isinstance(object_id, Link):
            return object_id
        return Link(object_id.digest, self._objects.kind(object_id))

    def verify(self, object_id: Link) -> list[Link]:
        """Re-hash an object in bounded memory; return what it links to.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return verify.verify_object(self._objects, object_id)

    def verify_closure(
        self, starts: Iterable[ObjectId]
    ) -> tuple[int, dict[ObjectId, ObjectMissing | ObjectCorrupt]]:
        """Re-hash all that these objects reach: how many they are, and what is wrong with them."""
        return verify.verify_closure(self.verify, [self.typed(start) for start in starts])

    def get_blob(self, object_id: ObjectId) -> bytes:
        """Return a blob, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return self._objects.load(object_id, Kind.BLOB)[1]

    def open_blob(self, object_id: ObjectId) -> BinaryIO:
        """Open a blob as a seekable file, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return self._objects.open_content(object_id, Kind.BLOB)

    def copy_blob(self, object_id: ObjectId, target: BinaryIO) -> None:
        """Write a blob's content to the end of a file; what is there is verified once this returns.

        Raises: ObjectMissing, ObjectCorrupt; OSError.
        """
        self._objects.copy_content(object_id, Kind.BLOB, target)

    def get_record(self, object_id: ObjectId) -> Record:
        """Return a record, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return self._objects.load_record(object_id)

    def get_tree(self, object_id: ObjectId) -> dict[str, trees.Entry]:
        """Return a tree, verified.

        Raises: ObjectMissing, ObjectCorrupt, NotCanonical if the record is no tree.
        """
        return trees.read_tree(self.get_record(object_id))

    def get_table(self, object_id: ObjectId) -> tables.Table:
        """Return a table whose columns are read when asked for.

        Raises: ObjectMissing, ObjectCorrupt, NotCanonical if the record is no table.
        """
        return tables.Table(self.get_record(object_id), self.get_blob)

    def ref(self, name: str) -> Link | None:
        """Return what a ref leads to, or None."""
        return self._caught_up().ref(name)

    def refs(self, prefix: str = "") -> Iterator[tuple[str, ObjectId]]:
        """List the refs that start with a prefix, by name."""
        yield from self._caught_up().refs(prefix)

    def newest_ref(self, prefix: str) -> tuple[str, ObjectId] | None:
        """Return the ref under a prefix that was moved last."""
        return self._caught_up().newest_ref(prefix)

    def journal(self, ref: str | None = None) -> Iterator[Move]:
        """List every move, or those of one ref, oldest first.

        Raises: JournalDamaged.
        """
        moves = (move for entry in self._journal.entries() for move in entry.moves)
        yield from (move for move in moves if ref is None or move.ref == ref)

    def resolve(self, revision: str) -> ObjectId:
        """Return the run that a revision names: a hash, a prefix, a name, ``@``, ``@~2``.

        Raises: RefMissing, IdAmbiguous.
        """
        return resolve(self._caught_up(), revision)

    def runs(
        self,
        where: str = "",
        *,
        sort: str | None = None,
        limit: int | None = None,
        since_ns: int | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> FoundRuns:
        """List runs, newest first: those for which ``where`` holds and the conditions are equal.

        ``conditions`` compares columns exactly: ``experiment``, ``status``, ``recipe``, ``kind``.

        Units:  since_ns in nanoseconds since 1970 UTC.
        Raises: BadExpression, when the first run is asked for.
        """

        def ask() -> Iterator[RunRow]:
            wanted = query.compile_question(where, conditions or {}, since_ns, self._now_ns())
            return self._caught_up().runs(wanted, sort, limit)

        return FoundRuns(ask, self.get_record)

    def marks(self, run_id: ObjectId) -> list[tuple[str, str]]:
        """List what was said of a run later: ``("tag", LABEL)``, ``("sweep", ID)``."""
        return self._caught_up().marks(run_id)

    def fact_names(self) -> list[str]:
        """List what any run has had: ``metrics.K`` and ``params.K``."""
        return self._caught_up().fact_names()

    def trials(self, experiment: str, dataset: str | None = None) -> dict[str, TrialColumns]:
        """Return the runs ever made of an experiment by dataset, all or one ("" for none)."""
        return self._caught_up().trials(experiment, dataset)

    def lease(self, run_id: ObjectId) -> AbstractContextManager[None]:
        """Hold the kernel's word that a run's process lives; it ends with the process."""
        return self._leases.hold(run_id)

    def shared_lease(self) -> AbstractContextManager[SharedLease]:
        """Hold one lease for many runs of this process."""
        return self._leases.share()

    def scratch(self, run_id: ObjectId) -> AbstractContextManager[Path]:
        """Give a leased run a folder, gone at the end; what the dead have left goes on the way."""
        return self._leases.scratch(run_id)

    def is_leased(self, run_id: ObjectId) -> bool:
        """Tell whether the process of a run lives."""
        return self._leases.is_held(run_id)

    def mark_run(self, run_id: ObjectId, status: str) -> None:
        """Note in the index, and there only, what a run turned out to be."""
        self._caught_up().mark(run_id, status)

    def stats(self) -> stats.Stats:
        """Measure the store. Raises: ObjectMissing, ObjectCorrupt."""
        index = self._caught_up()
        runs = [link for _, link in index.refs(refs.RUNS)]
        datasets = [link for _, link in index.refs(refs.DATASETS)]
        return stats.measure(self._objects, runs, datasets)

    def check(
        self, advance: Callable[[int], None] = lambda size: None, *, is_quick: bool = False
    ) -> check.Report:
        """Re-hash every object, walk every link, verify the journal.

        Quick: structure and checksums, not the content. An index that differs is rebuilt.
        """
        fresh = Index(None, self._journal, self._objects.skim_record)
        with removal.still(self.path, self._objects, self._writers):
            report = check.check(
                self._objects, self._journal, self._caught_up, fresh, advance, is_quick=is_quick
            )
        fresh.close()
        if report.index_differs:
            self._caught_up().rebuild()
        return report

    def repair(self, advance: Callable[[int], None] = lambda size: None) -> Repaired:
        """Restore what can be: indexes, a torn journal, good copies in place of bad ones.

        Damaged files are set aside in the folder ``damaged``, never deleted.
        Raises: StoreLocked, StoreUnwritable.
        """
        self._objects.close()
        removal.finish(self.path, self._objects)
        StatCache(self.path / "stat.db").clear()  # what it knows may be what was lost
        return repair(self.path, self._objects, self._journal, self._opened().renew, advance)

    def _opened(self) -> Index:
        if self._index is None:
            self._index = Index(self.path / "index.db", self._journal, self._objects.skim_record)
            self._ref_tail = RefTail(self._journal, self._index)
        return self._index

    def _caught_up(self) -> Index:
        index = self._opened()
        index.catch_up()
        return index
