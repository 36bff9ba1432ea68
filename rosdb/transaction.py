"""Transactions: objects and ref moves that land together or not at all.

Owns the order of writing (Law 5): objects go into a pack, the pack is synced and named, then one
journal entry makes them reachable. Until that entry nothing has happened; a failure before it
leaves garbage at worst.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rosdb import refs, tables, trees
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.errors import BadName, BadTable, ObjectCorrupt, RefMoved
from rosdb.ingest import put_stream
from rosdb.journal import Journal
from rosdb.object_store import Objects
from rosdb.objects import Kind, Link, ObjectId, Record, encode_record, id_of
from rosdb.pack_batch import PackBatch
from rosdb.ref_tail import RefTail
from rosdb.stat_cache import StatCache

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Objects beyond this go to the pack before the commit: memory is bounded, and garbage is harmless.
_PENDING_BYTES_MAX: Final = 16 * 1024 * 1024


class Transaction:
    """Collects objects and moves; ``commit`` lands them. Made by ``Store.transaction``."""

    def __init__(
        self,
        objects: Objects,
        journal: Journal,
        ref_tail: RefTail,
        batch: PackBatch,
        stat_cache: StatCache | None,
        *,
        lock: Callable[[], AbstractContextManager[None]],
        now_ns: Callable[[], int],
        who: str,
        why: str,
    ) -> None:
        self._objects = objects
        self._journal = journal
        self._ref_tail = ref_tail
        self._batch = batch
        self.stat_cache = stat_cache
        """What was seen of files outside; None if every file is to be read."""
        self._lock = lock
        self._now_ns = now_ns
        self._who = who
        self.why = why
        """What the journal will say of it; it may be said as late as when it is known."""

        self._known: dict[ObjectId, Link] = {}
        self._pending: dict[Link, bytes] = {}
        self._pending_bytes = 0
        self._moves: dict[str, tuple[ObjectId | None, Link | None]] = {}
        self._is_over = False
        self.stored_bytes = 0
        """What the landed objects take on disk, those stored already left out."""

    def put_blob(self, data: bytes | bytearray | memoryview) -> Link:
        """Put bytes."""
        # By way of a view: bytes(5) would be five zeros, and a blob is never made of a number.
        return self._put(Kind.BLOB, data if type(data) is bytes else bytes(memoryview(data)))

    def put_file(self, path: Path | str) -> Link:
        """Put a file's content, streamed: in memory is the list of its chunks, 35 MB a GiB."""
        with open(path, "rb", buffering=0) as source:
            size = min(os.fstat(source.fileno()).st_size, WHOLE_BYTES_MAX)
            head = source.read(size + 1)
            # A read may be cut short, and says the end of the file by giving nothing.
            while len(head) <= size and (more := source.read(size + 1 - len(head))):
                head += more
            if len(head) <= size:
                return self._put(Kind.BLOB, head)
            source.seek(0)
            return self._put_stream(source.readinto)

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether something is stored under the id, or on its way; it is as if put anew."""
        return object_id in self._known or self._batch.freshens(object_id)

    def put_record(
        self,
        schema: str,
        fields: Mapping[str, Any],
        links: Mapping[str, ObjectId] | None = None,
    ) -> Link:
        """Put a record whose links all lead somewhere.

        Raises: NotCanonical, ObjectMissing if a link leads nowhere.
        """
        typed = {name: self.typed(target) for name, target in (links or {}).items()}
        return self._put(Kind.RECORD, encode_record(Record(schema, fields, typed)))

    def put_tree(self, tree: trees.Tree) -> Link:
        """Put a tree.

        Raises: BadName, ObjectMissing.
        """
        record = trees.tree_record(tree)
        return self.put_record(record.schema, record.fields, record.links)

    def put_table(self, columns: Mapping[str, Any], units: Mapping[str, str] | None = None) -> Link:
        """Put a table of 1-d numpy arrays, or masked ones, of equal length.

        Shapes: each column (rows,).
        Raises: BadTable if they make no table.
        """
        units = units or {}
        for name in units.keys() - columns.keys():
            raise BadTable(name, "it has a unit and is no column")
        rows = {name: tables.count_rows(name, values) for name, values in columns.items()}
        for name, count in rows.items():
            if count != next(iter(rows.values())):
                raise BadTable(name, f"{count} rows where the first column has another count")
        arrays = [tables.array_column(n, v, units.get(n, "")) for n, v in columns.items()]
        return self.put_columns(next(iter(rows.values()), 0), arrays)

    def put_columns(self, rows: int, columns: list[tables.Column]) -> Link:
        """Put a table of columns that are bytes already.

        Raises: BadTable if they make no table.
        """
        record, blobs = tables.table_record(rows, columns)
        for blob in blobs:
            self._put(Kind.BLOB, blob)
        return self.put_record(record.schema, record.fields, record.links)

    def move_ref(self, name: str, new: ObjectId | None, *, expected: ObjectId | None) -> None:
        """Move a ref when the transaction commits, if it still leads to ``expected`` then.

        ``None`` as new removes the ref, as expected says that there is none.
        Raises: BadName, also for a ref of the ledger that is there already; ObjectMissing if the
            new value leads nowhere.
        """
        assert not self._is_over, "the transaction is over"
        refs.check_ref(name)
        if name.startswith(refs.TRIALS) and (expected is not None or new is None):
            raise BadName("ref", name, "the ledger of trials is added to, and never changed")
        assert name not in self._moves, f"{name} is moved twice in one transaction"
        self._moves[name] = (expected, None if new is None else self.typed(new))

    def typed(self, object_id: ObjectId) -> Link:
        """Return the id with its kind, of an object that is here or on its way here.

        Raises: ObjectMissing, ObjectCorrupt if it is of another kind than a link says.
        """
        found = self._known.get(object_id)
        if found is None:
            found = Link(object_id.digest, self._objects.kind(object_id))
            self._batch.freshens(found)  # and durable, before anything leads to it
            self._known[found] = found
        if isinstance(object_id, Link) and object_id.kind is not found.kind:
            raise ObjectCorrupt(str(object_id), f"a {found.kind.name.lower()} by its header")
        return found

    def commit(self) -> None:
        """Land everything.

        Raises: RefMoved if a ref is not where it was expected; then no ref has moved.
        """
        self._flush()
        if self._moves:
            self._move()
        # What is committed is committed: the index is caught up by the next question, so that no
        # trouble with it can fail a transaction that has landed.
        if self.stat_cache is not None:
            self.stat_cache.commit()

    def _move(self) -> None:
        self._ref_tail.catch_up()  # what takes long, before anybody has to wait
        with self._lock():
            end = self._ref_tail.catch_up()
            moves: list[tuple[str, Link | None, Link | None]] = []
            for name, (expected, new) in self._moves.items():
                old = self._ref_tail.ref(name)
                if old != expected:
                    raise RefMoved(name, _text(expected), _text(old))
                moves.append((name, old, new))
            end = self._journal.append(
                end, moves, at_ns=self._now_ns(), who=self._who, why=self.why
            )
            self._ref_tail.note(moves, end)

    def abandon(self) -> None:
        """Drop everything, the moves as well: they may lead to what was on its way."""
        self._is_over = True
        self._batch.abandon()
        if self.stat_cache is not None:
            self.stat_cache.close()
        self._known.clear()
        self._pending.clear()
        self._moves.clear()

    def _put(self, kind: Kind, content: bytes) -> Link:
        assert not self._is_over, "the transaction is over"
        if kind is Kind.BLOB and len(content) > WHOLE_BYTES_MAX:
            return self._put_stream(io.BytesIO(content).readinto)
        link = id_of(kind, content)
        if link not in self._pending:
            self._pending[link] = content
            self._known[link] = link
            self._pending_bytes += len(content)
            if self._pending_bytes > _PENDING_BYTES_MAX:
                self._stage()
        return link

    def _put_stream(self, read_into: Callable[[memoryview], int]) -> Link:
        assert not self._is_over, "the transaction is over"
        self._stage()  # what is pending stands ahead of what links to it
        digest, _ = put_stream(read_into, self._batch)
        link = Link(digest, Kind.BLOB)
        self._known[link] = link
        return link

    def _stage(self) -> None:
        self._batch.put(self._pending)
        self._pending = {}
        self._pending_bytes = 0

    def _flush(self) -> None:
        # One object that nothing moves to is a file of its own: a pack would be two.
        is_single = len(self._pending) == 1 and not self._moves and self._batch.is_empty
        if is_single and self._pending_bytes <= WHOLE_BYTES_MAX:
            self._batch.put_loose(*self._pending.popitem())
        self._stage()
        self._batch.publish()
        self.stored_bytes = self._batch.stored_bytes


def _text(object_id: ObjectId | None) -> str | None:
    return None if object_id is None else str(object_id)
