"""The store: the one object that outsiders hold.

Owns the folder's layout and the public verbs; each is a few lines over the room that does it.
"""

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from rosdb import check, disk, journal, query, refs, stats, tables, trees
from rosdb.errors import (
    IdAmbiguous,
    NotAStore,
    NotCanonical,
    ObjectCorrupt,
    ObjectMissing,
    RefMissing,
    StoreExists,
    UnsupportedFormat,
)
from rosdb.index import Index, RunRow
from rosdb.journal import Move
from rosdb.object_store import LooseObjects
from rosdb.objects import Kind, Link, ObjectId, Record, decode_record
from rosdb.transaction import Transaction

FOLDER: Final = ".ros"
FORMAT: Final = "research-os store 1\n"
_CONFIG: Final = "# Settings of this store; see docs/format.md.\n"


class Store:
    """A store of immutable objects and of refs that move over them."""

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
        self._objects = LooseObjects(path / "objects", path / "tmp")
        self._journal = journal.Journal(path / "journal")
        # Without the store in it: it must not be kept alive by an index that it keeps alive.
        self._load = functools.partial(_load_record, self._objects)
        self._index: Index | None = None

    @classmethod
    def init(cls, path: Path | str) -> "Store":
        """Make a store at the path: the folder that is usually called ``.ros``.

        Raises: StoreExists, StoreUnwritable.
        """
        path = Path(path).absolute()
        if (path / "format").exists():
            raise StoreExists(str(path))
        with disk.refusals(path):
            for folder in ("objects/pack", "tmp", "leases"):
                disk.make_folder(path / folder)
        with disk.exclusive_lock(path / "lock"):
            if (path / "format").exists():
                raise StoreExists(str(path))
            if not (path / "journal").exists():
                journal.create(path / "journal", path / "tmp")
            disk.replace_file(path / ".gitignore", b"*\n", path / "tmp")
            disk.replace_file(path / "config.toml", _CONFIG.encode(), path / "tmp")
            # The format is written last: a folder that has it is a whole store.
            disk.replace_file(path / "format", FORMAT.encode(), path / "tmp")
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
        path = Path(path).absolute()
        if (path / FOLDER / "format").exists():
            path = path / FOLDER
        try:
            found = (path / "format").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            raise NotAStore(str(path)) from None
        except OSError as error:
            raise UnsupportedFormat(str(path), error.strerror or "unreadable") from error
        if found != FORMAT:
            raise UnsupportedFormat(str(path), repr(found.strip()[:40]))
        return cls(path, who=who, now_ns=now_ns)

    def close(self) -> None:
        """Let go of the index; a closed store opens it again when asked."""
        if self._index is not None:
            self._index.close()
            self._index = None

    @contextlib.contextmanager
    def transaction(self, why: str = "") -> Iterator[Transaction]:
        """Land objects and ref moves together at the end of the block, or not at all.

        Raises: RefMoved if another writer moved one of the refs first.
        """
        transaction = Transaction(
            self._objects,
            self._journal,
            self._caught_up(),
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

    def put_blob(self, data: bytes | bytearray | memoryview) -> Link:
        """Put bytes; the id is what ``b3sum`` prints for them."""
        with self.transaction() as tx:
            return tx.put_blob(data)

    def put_file(self, path: Path | str) -> Link:
        """Put a file's content, streamed: memory does not grow with the file."""
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
        """Put a table of 1-d numpy arrays, or masked ones, of equal length.

        Shapes: each column (rows,).
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
        if object_id.kind is Kind.RECORD:
            return list(self.get_record(object_id).links.values())
        header = self._objects.verify(object_id)
        if header.kind is not object_id.kind:
            raise ObjectCorrupt(str(object_id), f"a {header.kind.name.lower()} by its header")
        return []

    def verify_closure(
        self, starts: Iterable[ObjectId]
    ) -> tuple[int, dict[ObjectId, ObjectMissing | ObjectCorrupt]]:
        """Re-hash all that these objects reach: how many they are, and what is wrong with them."""
        waiting = [self.typed(start) for start in starts]
        seen: set[ObjectId] = set()
        damaged: dict[ObjectId, ObjectMissing | ObjectCorrupt] = {}
        while waiting:
            link = waiting.pop()
            if link in seen:
                continue
            seen.add(link)
            try:
                waiting += self.verify(link)
            except (ObjectMissing, ObjectCorrupt) as error:
                damaged[link] = error
        return len(seen), damaged

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

    def get_record(self, object_id: ObjectId) -> Record:
        """Return a record, verified.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return _load_record(self._objects, object_id)

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
        for entry in self._journal.entries():
            for move in entry.moves:
                if ref is None or move.ref == ref:
                    yield move

    def resolve(self, revision: str) -> ObjectId:
        """Return the run that a revision names: a hash, a prefix, a name, ``@``, ``@~2``, ``ID@``.

        Raises: RefMissing, IdAmbiguous.
        """
        index = self._caught_up()
        wanted = refs.parse_revision(revision)
        found: ObjectId | None = None
        if isinstance(wanted, refs.Newest):
            found = index.newest(wanted.experiment, wanted.back)
        else:
            # A name is exact, so it goes before a prefix; no name looks like one (check_run_name).
            found = index.ref(refs.NAMES + wanted.name)
            if found is None and wanted.prefix is not None:
                matches = index.runs_with_prefix(wanted.prefix, limit=50)
                if len(matches) > 1:
                    raise IdAmbiguous(revision, [str(m) for m in matches])
                found = matches[0] if matches else None
        if found is None:
            raise RefMissing(revision)
        return found

    def runs(
        self,
        where: str = "",
        *,
        sort: str | None = None,
        limit: int | None = None,
        since_ns: int | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> Iterator[RunRow]:
        """List runs, newest first: those for which ``where`` holds and the conditions are equal.

        ``conditions`` compares columns exactly: ``experiment``, ``status``, ``recipe``, ``kind``.

        Units:  since_ns in nanoseconds since 1970 UTC.
        Raises: BadExpression.
        """
        parts = [query.compile_equal(name, value) for name, value in (conditions or {}).items()]
        if where.strip():
            parts.append(query.compile_where(where, self._now_ns()))
        if since_ns is not None:
            parts.append(query.Sql("r.created_at_ns >= ?", (since_ns,)))
        order = None if sort is None else query.compile_sort(sort)
        yield from self._caught_up().runs(query.joined_and(parts), order, limit)

    @contextlib.contextmanager
    def lease(self, run_id: ObjectId) -> Iterator[None]:
        """Hold the kernel's word that a run's process lives; it ends with the process."""
        path = self.path / "leases" / str(run_id)
        disk.make_folder(path.parent)
        with disk.exclusive_lock(path):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self, run_id: ObjectId) -> Iterator[Path]:
        """Give a leased run a private folder, gone at the end of the block.

        What a dead process has left of its own is removed on the way.
        """
        for left in (self.path / "tmp").glob("run-*"):
            if not disk.is_locked(self.path / "leases" / left.name.removeprefix("run-")):
                shutil.rmtree(left, ignore_errors=True)
        folder = self.path / "tmp" / f"run-{run_id}"
        with disk.refusals(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def is_leased(self, run_id: ObjectId) -> bool:
        """Tell whether the process of a run lives."""
        return disk.is_locked(self.path / "leases" / str(run_id))

    def mark_run(self, run_id: ObjectId, status: str) -> None:
        """Note in the index, and there only, what a run turned out to be."""
        self._caught_up().mark(run_id, status)

    def stats(self) -> stats.Stats:
        """Measure the store: counts, sizes, and what sharing saves.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        index = self._caught_up()
        runs = [link for _, link in index.refs(refs.RUNS)]
        datasets = [link for _, link in index.refs(refs.DATASETS)]
        return stats.measure(self._objects, runs, datasets)

    def check(self, advance: Callable[[int], None] = lambda size: None) -> check.Report:
        """Re-hash every object, walk every link, verify the journal.

        Nothing is changed but an index that says otherwise than the objects: it is rebuilt.
        """
        fresh = Index(None, self._journal, self._load)
        report = check.check(self._objects, self._journal, self._caught_up, fresh, advance)
        fresh.close()
        if report.index_differs:
            self._caught_up().rebuild()
        return report

    def _caught_up(self) -> Index:
        if self._index is None:
            self._index = Index(self.path / "index.db", self._journal, self._load)
        self._index.catch_up()
        return self._index


def _load_record(objects: LooseObjects, object_id: ObjectId) -> Record:
    content = objects.load(object_id, Kind.RECORD)[1]
    try:
        return decode_record(content)
    except NotCanonical as error:
        raise ObjectCorrupt(str(object_id), error.reason) from None
