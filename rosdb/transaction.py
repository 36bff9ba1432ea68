"""Transactions: objects and ref moves that land together or not at all.

Owns the order of writing (Law 5): objects are staged and synced, then named, then one journal
entry makes them reachable. Until that entry nothing has happened; a failure before it leaves
garbage at worst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rosdb import refs, tables, trees
from rosdb.errors import BadTable, ObjectCorrupt, RefMoved
from rosdb.index import Index
from rosdb.journal import Journal
from rosdb.object_store import WHOLE_BYTES_MAX, LooseObjects
from rosdb.objects import Kind, Link, ObjectId, Record, encode_record, id_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Objects beyond this are staged before the commit: memory is bounded, and garbage is harmless.
_PENDING_BYTES_MAX: Final = 64 * 1024 * 1024


class Transaction:
    """Collects objects and moves; ``commit`` lands them. Made by ``Store.transaction``."""

    def __init__(
        self,
        objects: LooseObjects,
        journal: Journal,
        index: Index,
        *,
        lock: Callable[[], AbstractContextManager[None]],
        now_ns: Callable[[], int],
        who: str,
        why: str,
    ) -> None:
        self._objects = objects
        self._journal = journal
        self._index = index
        self._lock = lock
        self._now_ns = now_ns
        self._who = who
        self._why = why
        self._known: dict[ObjectId, Link] = {}
        self._pending: dict[Link, bytes] = {}
        self._pending_bytes = 0
        self._staged: dict[Link, Path] = {}
        self._new: set[Link] = set()
        self._kept: set[Link] = set()
        self._moves: dict[str, tuple[ObjectId | None, Link | None]] = {}
        self.stored_bytes = 0
        """What the landed objects take on disk, those stored already left out."""

    def put_blob(self, data: bytes | bytearray | memoryview) -> Link:
        """Put bytes."""
        # By way of a view: bytes(5) would be five zeros, and a blob is never made of a number.
        return self._put(Kind.BLOB, data if type(data) is bytes else bytes(memoryview(data)))

    def put_file(self, path: Path | str) -> Link:
        """Put a file's content, streamed: memory does not grow with the file."""
        with Path(path).open("rb") as source:
            head = source.read(WHOLE_BYTES_MAX + 1)
            if len(head) <= WHOLE_BYTES_MAX:
                return self._put(Kind.BLOB, head)
            source.seek(0)
            link, temporary = self._objects.stage_stream(source)
        if link in self._pending or link in self._staged:
            temporary.unlink()  # the first one keeps its place, ahead of what links to it
        else:
            self._staged[link] = temporary
            self._known[link] = link
        return link

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
        Raises: BadName, ObjectMissing if the new value leads nowhere.
        """
        refs.check_ref(name)
        assert name not in self._moves, f"{name} is moved twice in one transaction"
        self._moves[name] = (expected, None if new is None else self.typed(new))

    def typed(self, object_id: ObjectId) -> Link:
        """Return the id with its kind, of an object that is here or on its way here.

        Raises: ObjectMissing, ObjectCorrupt if it is of another kind than a link says.
        """
        found = self._known.get(object_id)
        if found is None:
            found = Link(object_id.digest, self._objects.kind(object_id))
        if isinstance(object_id, Link) and object_id.kind is not found.kind:
            raise ObjectCorrupt(str(object_id), f"a {found.kind.name.lower()} by its header")
        return found

    def commit(self) -> None:
        """Land everything.

        Raises: RefMoved if a ref is not where it was expected; then no ref has moved.
        """
        self._flush()
        if not self._moves:
            return
        with self._lock():
            end = self._index.catch_up()
            moves: list[tuple[str, Link | None, Link | None]] = []
            for name, (expected, new) in self._moves.items():
                old = self._index.ref(name)
                if old != expected:
                    raise RefMoved(name, _text(expected), _text(old))
                moves.append((name, old, new))
            self._journal.append(end, moves, at_ns=self._now_ns(), who=self._who, why=self._why)
        # What is committed is committed: the index is caught up by the next question, so that no
        # trouble with it can fail a transaction that has landed.

    def abandon(self) -> None:
        """Drop everything, the moves as well: they may lead to what was staged."""
        for temporary in self._staged.values():
            temporary.unlink(missing_ok=True)
        self._known.clear()
        self._pending.clear()
        self._staged.clear()
        self._moves.clear()

    def _put(self, kind: Kind, content: bytes) -> Link:
        link = id_of(kind, content)
        if link not in self._pending and link not in self._staged:
            self._pending[link] = content
            self._known[link] = link
            self._pending_bytes += len(content)
            if self._pending_bytes > _PENDING_BYTES_MAX:
                self._stage()
        return link

    def _stage(self) -> None:
        for link, content in self._pending.items():
            if self._objects.keep(link):
                self._kept.add(link)
            else:
                self._staged[link] = self._objects.stage(link.kind, content)
                self._new.add(link)
        self._pending.clear()
        self._pending_bytes = 0

    def _flush(self) -> None:
        self._stage()
        # What was streamed has a temporary file before anybody could ask whether it is stored.
        for link in [k for k in self._staged if k not in self._new and self._objects.keep(k)]:
            self._staged.pop(link).unlink()
            self._kept.add(link)
        self.stored_bytes += sum(path.stat().st_size for path in self._staged.values())
        if self._staged or self._kept:
            self._objects.publish(self._staged.items(), self._kept)
        self._staged.clear()
        self._kept.clear()


def _text(object_id: ObjectId | None) -> str | None:
    return None if object_id is None else str(object_id)
