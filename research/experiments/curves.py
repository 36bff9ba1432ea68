"""Equity curves: the returns that the statistics are told of.

Owns where a run keeps its curve: a table ``equity`` with a column ``equity``, and a column
``at_ns`` where it is dated. Experiments that simulate save it; a run without it has no returns.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research import statistics
from research.errors import Untold
from research.statistics.samples import is_flat
from rosdb import Kind, Link, ObjectId, Store, Table, errors

TABLE: Final = "equity"
COLUMN: Final = "equity"
TIME: Final = "at_ns"

CURVES_MAX: Final = 64
"""So many curves are read and compared of a family with more, in a tenth of a second."""

VALUES_MAX: Final = 16_000_000
"""So many returns are held at a time: 128 MB."""

_NO_CURVE: Final = "the run saves no equity curve: a table 'equity' with a column 'equity'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A stored curve, read when it is asked for.

    ``axis`` is equal for curves whose rows are at the same times.
    """

    table: Table

    @property
    def axis(self) -> tuple[Any, ...]:
        """What says when its rows are, cheap to compare."""
        times = self.table.parts(TIME) if TIME in self.table.dtypes else ()
        return (self.table.rows, *times)

    def equity(self) -> NDArray[np.float64]:
        """Return the equity at each row; where one is missing, NaN.

        Shapes: returns (T,).
        """
        return np.asarray(np.ma.filled(self.table[COLUMN], np.nan))

    def returns(self) -> NDArray[np.float64]:
        """Return the simple returns from row to row.

        Shapes: returns (T - 1,).
        Raises: DegenerateSample if an equity is not finite and above 0.
        """
        return statistics.returns_from_equity(self.equity())

    def drawdown(self) -> float:
        """Return the largest fall from an earlier peak, as a fraction of it.

        Raises: Untold if the equity is not finite and above 0 at its peaks.
        """
        equity = self.equity()
        if not len(equity) or not np.isfinite(equity).all() or not equity[0] > 0.0:
            raise Untold("the equity is not finite, or does not start above 0")
        peaks = np.maximum.accumulate(equity)
        return float(((peaks - equity) / peaks).max())

    def total_return(self) -> float:
        """Return the gain from the first row to the last, as a fraction.

        Raises: DegenerateSample if an equity is not finite and above 0.
        """
        self.returns()
        equity = self.equity()
        return float(equity[-1] / equity[0] - 1.0)


def read_curve(store: Store, outcome_id: ObjectId) -> Curve:
    """Return the curve of an outcome.

    Raises: Untold if it has none; ObjectMissing, ObjectCorrupt.
    """
    tree = store.get_tree(store.get_record(outcome_id).links["artifacts"])
    entry = tree.get(TABLE)
    if entry is None or entry.kind != "table":
        raise Untold(_NO_CURVE)
    table = store.get_table(entry.link)
    if table.dtypes.get(COLUMN) != "float64":
        raise Untold(_NO_CURVE)
    return Curve(table=table)


def read_curves(store: Store, outcome_ids: Iterable[ObjectId]) -> list[Curve | None]:
    """Return the curves of outcomes in their order; None where there is none any more, or ever."""
    found: list[Curve | None] = []
    for outcome_id in outcome_ids:
        try:
            found.append(read_curve(store, outcome_id))
        except (Untold, errors.ObjectMissing, errors.ObjectCorrupt, errors.NotCanonical):
            found.append(None)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The returns of some of many trials, at the same times.

    Shapes: returns (T, N), a trial a column.
    """

    returns: NDArray[np.float64]
    total: int
    """How many trials there are to choose from."""

    @property
    def count(self) -> int:
        """How many trials were taken."""
        return int(self.returns.shape[1])


def sample_returns(
    store: Store, outcomes: Set[bytes], own: ObjectId | None = None
) -> Sample | None:
    """Return the returns of trials whose curves are at the same times; None of fewer than two.

    They are at the times of ``own``, an outcome that is always among them, or of most. Of many, as
    many are taken as `CURVES_MAX` and `VALUES_MAX` allow, those with the smallest ids, which are
    chance. Left out is what the store has no more, and what never moved.
    """
    chosen: list[ObjectId] = [Link(each, Kind.RECORD) for each in nsmallest(CURVES_MAX, outcomes)]
    if own is not None:
        chosen = [own, *(each for each in chosen if each != own)]
    read = read_curves(store, chosen)
    curves = [curve for curve in read if curve is not None]
    if not curves or (own is not None and read[0] is None):
        return None
    counts = Counter(curve.axis for curve in curves)
    axis = curves[0].axis if own is not None else max(counts, key=counts.__getitem__)
    alike = [curve for curve in curves if curve.axis == axis]
    series = []
    for curve in alike[: max(2, VALUES_MAX // max(1, axis[0]))]:
        try:
            returns = curve.returns()
        except (statistics.StatisticsError, errors.ObjectMissing, errors.ObjectCorrupt):
            continue
        if not is_flat(float(returns.min()), float(returns.max())):
            series.append(returns)
    if len(series) < 2:
        return None
    return Sample(returns=np.stack(series, axis=1), total=len(outcomes))
