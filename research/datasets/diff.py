"""What differs between two snapshots of data: file by file, and row by row.

Owns the comparison behind ``ros data diff`` and behind what ``ros diff`` says of datasets. Bars are
compared as they were parsed when they were added, by time; every other CSV or Parquet file by the
key that is named or found in it. A file that both hold is recognised by its id and not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research.datasets.snapshot import Snapshot
from research.errors import BadInput
from research.row_match import NoKey
from research.table_diff import EXACT, SAMPLES, TableDiff, Tolerance, diff_tables
from rosdb import Entry, ObjectId, Store

BARS: Final = "bars"
TABLE_BYTES_MAX: Final = 512 * 1024 * 1024
"""A file that is longer is not read as a table."""

HEADER_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """A file that differs; ``rows`` is None where it is no table, or only one side has it."""

    path: str
    state: str
    """``added``, ``removed`` or ``changed``."""

    a: Entry | None
    b: Entry | None
    rows: TableDiff | None = None
    are_bars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDiff:
    """Everything that differs between two snapshots."""

    a: Snapshot
    b: Snapshot
    files: tuple[FileDiff, ...]
    details: Mapping[str, tuple[Any, Any]]
    """What is told of the data beside its content: source, schema, created_at, parser."""

    bars: TableDiff | None
    """The bars that a run is given, by time; None where not both have some, or they are one."""

    @property
    def is_same_data(self) -> bool:
        """Whether they hold the same files and bars."""
        return not self.files and self.a.bars == self.b.bars


def diff_snapshots(
    store: Store,
    a: Snapshot,
    b: Snapshot,
    *,
    key: Sequence[str] = (),
    tolerance: Tolerance = EXACT,
    samples: int = SAMPLES,
    reads_files: bool = True,
) -> SnapshotDiff:
    """Compare two snapshots.

    ``key`` names the columns by which rows are matched, in every table that has them all. Without
    ``reads_files``, rows are those of the bars alone.

    Raises: BadInput if no table that differs has such a key; ObjectMissing, ObjectCorrupt.
    """
    ours, theirs = files_below(store, a.files), files_below(store, b.files)
    keyed = _Keyed(key, tolerance, samples)
    bars = None
    if a.bars is not None and b.bars is not None and a.bars != b.bars:
        bars = keyed.diff(BARS, store.get_table(a.bars), store.get_table(b.bars))
    files = []
    for path in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(path), theirs.get(path)
        if mine is not None and other is not None and mine.link == other.link:
            continue
        state = "removed" if other is None else "added" if mine is None else "changed"
        rows, are_bars = None, False
        if mine is not None and other is not None:
            are_bars = bars is not None and _are_bars_alone(store, path, (ours, theirs))
            if are_bars:
                rows = bars
            elif reads_files:
                rows = _rows(store, path, mine, other, keyed)
        files.append(
            FileDiff(path=path, state=state, a=mine, b=other, rows=rows, are_bars=are_bars)
        )
    keyed.check()
    names = ("source", "created_at", "schema", "parser")
    return SnapshotDiff(
        a=a,
        b=b,
        files=tuple(files),
        details={n: (a.fields[n], b.fields[n]) for n in names if a.fields[n] != b.fields[n]},
        bars=bars,
    )


class _Keyed:
    """The comparison of tables by one key, and the memory of whether any had it."""

    def __init__(self, key: Sequence[str], tolerance: Tolerance, samples: int) -> None:
        self._key = tuple(key)
        self._tolerance = tolerance
        self._samples = samples
        self._has_fit = False
        self._reason = ""

    def diff(self, path: str, a: Any, b: Any) -> TableDiff:
        key = self._key if all(name in a.dtypes and name in b.dtypes for name in self._key) else ()
        if not key:
            return diff_tables(a, b, tolerance=self._tolerance, samples=self._samples)
        try:
            found = diff_tables(a, b, key=key, tolerance=self._tolerance, samples=self._samples)
        except NoKey as error:
            self._reason = f"{path}: {' and '.join(key)} is no key in {error.side}: {error.reason}"
            return diff_tables(a, b, tolerance=self._tolerance, samples=self._samples)
        self._has_fit = True
        return found

    def check(self) -> None:
        """Refuse a key that was named and fits nowhere."""
        if self._reason:
            raise BadInput(self._reason)
        if self._key and not self._has_fit:
            raise BadInput(f"no table that differs has a column {' and '.join(self._key)}")


def files_below(store: Store, tree_id: ObjectId, prefix: str = "") -> dict[str, Entry]:
    """Return the files of a tree by their path, subfolders walked."""
    found: dict[str, Entry] = {}
    for name, entry in store.get_tree(tree_id).items():
        if entry.kind == "tree":
            found |= files_below(store, entry.link, f"{prefix}{name}/")
        else:
            found[prefix + name] = entry
    return found


def _are_bars_alone(store: Store, path: str, sides: Sequence[Mapping[str, Entry]]) -> bool:
    """Tell whether a file is the one that the bars are from, and holds nothing beside them."""
    # It imports numpy, which a dataset without bars has no use for.
    from research.datasets.bars_file import holds_bars_alone

    for files in sides:
        if [each for each in files if each.lower().endswith(".csv")] != [path]:
            return False
        with store.open_blob(files[path].link) as file:
            if not holds_bars_alone(file.read(HEADER_BYTES_MAX)):
                return False
    return True


def _rows(store: Store, path: str, a: Entry, b: Entry, keyed: _Keyed) -> TableDiff | None:
    """Compare two versions of a file row by row, if it is a table in both."""
    # It imports numpy, which a file that is no table has no use for.
    from research.datasets.file_table import is_table_name, read_table

    if not is_table_name(path) or max(a.size, b.size) > TABLE_BYTES_MAX:
        return None
    tables = [read_table(path, store.get_blob(each.link)) for each in (a, b)]
    if tables[0] is None or tables[1] is None:
        return None
    return keyed.diff(path, tables[0], tables[1])
