"""The tail of the journal: where refs lead that the index has not read as yet.

Owns what a writer has to know, and no more: the end of the journal, and where a ref leads now. The
index, with all its columns, then reads hundreds of moves at once instead of each by itself.
"""

import threading
from collections.abc import Sequence
from typing import Final

from rosdb.index import Index
from rosdb.journal import Journal, Position
from rosdb.objects import Link

_MOVES_MAX: Final = 256


class RefTail:
    """The refs of one store, for its writers."""

    def __init__(self, journal: Journal, index: Index) -> None:
        self._journal = journal
        self._index = index
        self._moved: dict[str, Link | None] = {}
        self._end: Position | None = None
        self._alone = threading.RLock()

    def catch_up(self) -> Position:
        """Read the journal to its end, and return where that is.

        Raises: JournalDamaged.
        """
        with self._alone:
            if self._end is None or len(self._moved) > _MOVES_MAX:
                self._end = self._index.catch_up()
                self._moved.clear()
            if self._journal.bytes_behind(self._end):
                for entry in self._journal.entries(self._end):
                    self._moved.update((move.ref, move.new) for move in entry.moves)
                    self._end = entry.end
            return self._end

    def ref(self, name: str) -> Link | None:
        """Return what a ref leads to, as of the last reading."""
        with self._alone:
            return self._moved[name] if name in self._moved else self._index.ref(name)

    def note(self, moves: Sequence[tuple[str, Link | None, Link | None]], end: Position) -> None:
        """Take in an entry that was just appended at the end."""
        with self._alone:
            self._moved.update((name, new) for name, _, new in moves)
            self._end = end
