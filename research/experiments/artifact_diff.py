"""What differs between the artifacts of two runs: tables by row, text by line, the rest by id.

Owns the comparison of two sets of artifacts, and the two equity curves to be drawn. An artifact
that both runs have under one id is the same and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from research.errors import BadInput
from research.experiments import runs
from research.experiments.divergence import Divergence, compare_entries
from research.experiments.input_diff import text_of, unified
from research.experiments.runs import RunManifest
from research.experiments.trade_diff import TRADES, TradeDiff, are_trades, diff_trades
from research.row_match import NoKey
from research.table_diff import EXACT, SAMPLES, TableDiff, Tolerance, diff_tables
from research.tabular import HeldTable
from rosdb import Entry, Store

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

EQUITY: Final = "equity"
_AT_NS: Final = "at_ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactChange:
    """One artifact and what of it differs: rows of a table, lines of a text."""

    name: str
    state: str
    """``identical``, ``close`` (by the tolerance), ``changed``, ``only in a``, ``only in b``."""

    a: Entry | None
    b: Entry | None
    first: Divergence | None
    """The first difference by row number; None where one side is absent."""

    table: TableDiff | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """An equity curve; its times are bars where the run does not say when they were.

    Shapes: times, values (T,).
    """

    times: NDArray[numpy.int64]
    values: NDArray[numpy.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Everything that differs between two answers, but the metrics."""

    artifacts: tuple[ArtifactChange, ...]
    trades: TradeDiff | None
    """None where not both have a table of trades, or the two are one."""

    curves: tuple[Curve, Curve] | None
    """None where not both have an equity curve, or the two are one."""


def diff_outputs(
    store: Store,
    a: RunManifest,
    b: RunManifest,
    *,
    key: Sequence[str] = (),
    tolerance: Tolerance = EXACT,
    samples: int = SAMPLES,
) -> Outputs:
    """Compare the artifacts of two runs.

    ``key`` names the columns by which rows are matched, in every table that has them all.

    Raises: BadInput if no table has such a key, or it is none; ObjectMissing, ObjectCorrupt.
    """
    ours, theirs = runs.artifacts(store, a), runs.artifacts(store, b)
    tables = _Tables(store, ours, theirs)
    if key and not any(tables.have(name, key) for name in ours.keys() & theirs.keys()):
        raise BadInput(f"no table of both runs has a column {' and '.join(key)}")
    changes = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine is None or other is None or mine == other:
            state = "only in b" if mine is None else "only in a" if other is None else "identical"
            changes.append(ArtifactChange(name=name, state=state, a=mine, b=other, first=None))
        elif mine.kind == other.kind == "table" and mine.link != other.link:
            rows = _diff_table(tables, name, key, tolerance, samples)
            is_close = rows.is_identical and not tolerance.is_exact
            changes.append(
                ArtifactChange(
                    name=name,
                    state="close" if is_close else "changed",
                    a=mine,
                    b=other,
                    first=_first(store, name, mine, other, rows, tolerance),
                    table=rows,
                )
            )
        else:
            changes.append(_file_change(store, name, mine, other))
    return Outputs(
        artifacts=tuple(changes),
        trades=_trades(tables, tolerance, samples),
        curves=_curves(tables),
    )


class _Tables:
    """The tables of two runs, each column read once."""

    def __init__(
        self, store: Store, ours: Mapping[str, Entry], theirs: Mapping[str, Entry]
    ) -> None:
        self._store = store
        self._entries = (ours, theirs)
        self._held: dict[Any, HeldTable] = {}

    def pair(self, name: str) -> tuple[HeldTable, HeldTable] | None:
        """Return a table of both runs; None if not both have it as a table."""
        entries = [side.get(name) for side in self._entries]
        ours, theirs = (self._table(entry) for entry in entries)
        return None if ours is None or theirs is None else (ours, theirs)

    def are_same(self, name: str) -> bool:
        """Tell whether both runs have the artifact, and it is one object."""
        ours, theirs = (side.get(name) for side in self._entries)
        return ours is not None and theirs is not None and ours.link == theirs.link

    def have(self, name: str, key: Sequence[str]) -> bool:
        """Tell whether a table has these columns in both runs."""
        pair = self.pair(name)
        return pair is not None and all(set(key) <= set(each.dtypes) for each in pair)

    def _table(self, entry: Entry | None) -> HeldTable | None:
        if entry is None or entry.kind != "table":
            return None
        if entry.link not in self._held:
            self._held[entry.link] = HeldTable(self._store.get_table(entry.link))
        return self._held[entry.link]


def _diff_table(
    tables: _Tables, name: str, key: Sequence[str], tolerance: Tolerance, samples: int
) -> TableDiff:
    """Compare a table of both runs.

    Raises: BadInput if the key that was named is none in it.
    """
    pair = tables.pair(name)
    assert pair is not None
    named = key if tables.have(name, key) else ()
    try:
        return diff_tables(*pair, key=named, tolerance=tolerance, samples=samples)
    except NoKey as error:
        told = " and ".join(error.key)
        raise BadInput(f"{told} is no key of {name} in {error.side}: {error.reason}") from None


def _first(
    store: Store, name: str, a: Entry, b: Entry, rows: TableDiff, tolerance: Tolerance
) -> Divergence | None:
    """Return the first difference by row number.

    Where every row is matched by its place, it is known already.
    """
    is_in_place = rows.rows_a == rows.rows_b and not (
        rows.only_a_count or rows.only_b_count or rows.moved_count or rows.column_changes
    )
    if not (is_in_place and tolerance.is_exact and rows.columns):
        return compare_entries(store, name, a, b)
    column = min(rows.columns, key=lambda each: each.first.row_a)
    return Divergence(
        artifact=name,
        kind="table",
        column=column.name,
        row=column.first.row_a,
        expected=column.first.a,
        actual=column.first.b,
    )


def _file_change(store: Store, name: str, a: Entry, b: Entry) -> ArtifactChange:
    text = ""
    if a.kind == b.kind == "file" and a.link != b.link:
        text = unified(name, text_of(store, a), text_of(store, b))
    return ArtifactChange(
        name=name, state="changed", a=a, b=b, first=compare_entries(store, name, a, b), text=text
    )


def _trades(tables: _Tables, tolerance: Tolerance, samples: int) -> TradeDiff | None:
    pair = tables.pair(TRADES)
    if pair is None or tables.are_same(TRADES) or not all(map(are_trades, pair)):
        return None
    equity = tables.pair(EQUITY)
    at_ns = None
    if equity is not None and all(each.dtypes.get(_AT_NS) == "int64" for each in equity):
        at_ns = (equity[0][_AT_NS], equity[1][_AT_NS])
    try:
        return diff_trades(*pair, at_ns=at_ns, tolerance=tolerance, samples=samples)
    except NoKey:
        return None


def _curves(tables: _Tables) -> tuple[Curve, Curve] | None:
    pair = tables.pair(EQUITY)
    if pair is None or tables.are_same(EQUITY):
        return None
    if any(each.dtypes.get(EQUITY) != "float64" or each.rows < 2 for each in pair):
        return None
    if pair[0].rows == pair[1].rows and pair[0].parts(EQUITY) == pair[1].parts(EQUITY):
        return None
    import numpy as np

    has_times = all(each.dtypes.get(_AT_NS) == "int64" for each in pair)
    ours, theirs = (
        Curve(
            times=each[_AT_NS] if has_times else np.arange(each.rows, dtype=np.int64),
            values=np.ma.filled(each[EQUITY], np.nan),
        )
        for each in pair
    )
    return ours, theirs
