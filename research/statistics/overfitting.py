"""The probability of backtest overfitting, by combinatorially symmetric cross-validation.

Owns the split of a sweep's returns into blocks, and what the best half of the blocks says about the
other half. A Sharpe ratio over some blocks follows from sums that are taken once for each block;
the sums over every half of the blocks come from two tables of all subsets of eight blocks each, by
one addition. Additions of whole columns round alike on every machine, and alike for equal trials,
which a product of matrices does not.
"""

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.statistics.errors import DegenerateSample, InvalidArgument
from research.statistics.samples import Floats, is_flat, moments, total, varied_trials, whole

BLOCKS_MAX: Final = 24
"""2.7 million splits. The paper takes 16, which are 12,870."""

_SLAB: Final = 2**17
"""So many ratios are worked on at a time: they stay in the processor's cache."""

_CANCELLED: Final = 1e-9
"""A variance that is so small a part of the squares it was made of is computed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """What became out of sample of the trial that was best in sample, split by split.

    A split takes half of the blocks in sample. `logits` are ln(w / (1 - w)), where w is the chosen
    trial's rank out of sample over N + 1; below 0 it was worse than the median trial.

    Shapes: logits, in_sample, out_of_sample, chosen (splits,).
    Units:  in_sample, out_of_sample Sharpe ratios per period.
    """

    pbo: float
    logits: Floats
    in_sample: Floats
    out_of_sample: Floats
    chosen: NDArray[np.int64]
    slope: float
    """Of the chosen trial's ratio out of sample over that in sample; NaN if the latter is one."""
    intercept: float
    r_squared: float
    probability_of_loss: float
    """The share of splits in which the chosen trial's ratio out of sample is below 0."""


def probability_of_backtest_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """Ask how often the trial that is best in half of the time is below the median in the rest.

    Blocks that cannot be equally long differ by one row. Where a trial's returns are all 0 in a
    half, its ratio there is 0: it held nothing. Of trials that are equal in sample the first is
    chosen; those equal out of sample share their mean rank.

    Shapes: returns (T, N), a trial a column, T >= 2 * blocks, N >= 2.
    Raises: DegenerateSample, naming the trial, if one does not vary or is not finite, in all or,
            but for 0, in a half; if there is one trial. InvalidArgument if blocks is odd, below 2,
            above 24, or too many for the rows.
    Source: Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest Overfitting",
            J. Computational Finance 20(4), 2017.
    """
    count = whole("blocks", blocks, 2, BLOCKS_MAX)
    if count % 2:
        raise InvalidArgument("blocks", repr(blocks), "even: half of them are in sample")
    table = varied_trials(returns)
    rows, trials = table.shape
    if trials < 2:
        raise DegenerateSample("returns", "one trial, of which none can be chosen")
    if rows < 2 * count:
        raise InvalidArgument("blocks", repr(blocks), f"at most {rows // 2}, for {rows} rows")
    splits = _splits(count)
    sums = _BlockSums(table, count)
    logits, in_sample, out_of_sample = (np.empty(len(splits)) for _ in range(3))
    chosen = np.empty(len(splits), np.int64)
    # The complement of a split is a split: of the first half of the list, the last half backwards.
    half = len(splits) // 2
    step = max(1, _SLAB // trials)
    for start in range(0, half, step):
        there = np.arange(start, min(start + step, half))
        back = len(splits) - 1 - there
        one, other = sums.ratios(splits[there]), sums.ratios(splits[back])
        for places, inside, outside in ((there, one, other), (back, other, one)):
            best = inside.argmax(1)
            turn = np.arange(len(best))
            chosen[places] = best
            in_sample[places] = inside[turn, best]
            out_of_sample[places] = outside[turn, best]
            logits[places] = _logits(outside, outside[turn, best])
    return _summary(logits, in_sample, out_of_sample, chosen)


def _splits(blocks: int) -> NDArray[np.int64]:
    """List every half of the blocks as a number whose bits are the blocks in sample."""
    bits = [1 << block for block in range(blocks)]
    return np.array([sum(chosen) for chosen in combinations(bits, blocks // 2)], np.int64)


def _logits(ratios: Floats, theirs: Floats) -> Floats:
    """Return the logit of the rank that one ratio of each row has in it, the least being 1."""
    below = np.count_nonzero(ratios < theirs[:, None], axis=1)
    equal = np.count_nonzero(ratios == theirs[:, None], axis=1)
    rank = below + (equal + 1) / 2
    logits: Floats = np.log(rank / (ratios.shape[1] + 1 - rank))
    return logits


def _summary(
    logits: Floats, in_sample: Floats, out_of_sample: Floats, chosen: NDArray[np.int64]
) -> Overfitting:
    count = len(logits)
    mean_in, mean_out = total(in_sample) / count, total(out_of_sample) / count
    left, right = in_sample - mean_in, out_of_sample - mean_out
    spread, joint, rest = total(left * left), total(left * right), total(right * right)
    is_varied = spread > 0.0
    slope = joint / spread if is_varied else math.nan
    return Overfitting(
        pbo=float(np.count_nonzero(logits <= 0.0)) / count,
        logits=logits,
        in_sample=in_sample,
        out_of_sample=out_of_sample,
        chosen=chosen,
        slope=slope,
        intercept=mean_out - slope * mean_in,
        r_squared=joint * joint / (spread * rest) if is_varied and rest > 0.0 else math.nan,
        probability_of_loss=float(np.count_nonzero(out_of_sample < 0.0)) / count,
    )


class _BlockSums:
    """The sums of each block and trial, and the Sharpe ratios over any set of blocks."""

    def __init__(self, table: Floats, blocks: int) -> None:
        rows, trials = table.shape
        edges = [rows * block // blocks for block in range(blocks + 1)]
        self._parts = [table[first:last] for first, last in pairwise(edges)]
        # Around each trial's mean: the squares of what is left hardly cancel.
        self._centre = np.add.reduce(table, axis=0) / rows
        counts, sums, squares = (np.empty((blocks, width)) for width in (1, trials, trials))
        for block, part in enumerate(self._parts):
            around = part - self._centre
            counts[block] = len(part)
            sums[block] = np.add.reduce(around, axis=0)
            squares[block] = np.add.reduce(around * around, axis=0)
        self._low_count = blocks // 2
        self._tables = [
            (_subset_sums(each[: self._low_count]), _subset_sums(each[self._low_count :]))
            for each in (counts, sums, squares)
        ]

    def ratios(self, splits: NDArray[np.int64]) -> Floats:
        """Return the Sharpe ratio of each trial over the blocks of each split.

        Shapes: splits (K,); returns (K, N).
        """
        lower, upper = splits & ((1 << self._low_count) - 1), splits >> self._low_count
        counts, sums, squares = (low[lower] + high[upper] for low, high in self._tables)
        means = sums / counts
        sums *= means
        left = squares - sums
        is_doubtful = left <= _CANCELLED * squares
        left /= counts - 1.0
        means += self._centre
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios: Floats = means / np.sqrt(left, out=left)
        for trial in np.flatnonzero(is_doubtful.any(0)):
            places = np.flatnonzero(is_doubtful[:, trial])
            ratios[places, trial] = self._looked_at(splits[places], int(trial))
        return ratios

    def _looked_at(self, splits: NDArray[np.int64], trial: int) -> Floats:
        """Return a trial's ratios from its returns themselves; 0 where all of them are 0."""
        parts = [part[:, trial] for part in self._parts]
        is_inside = (splits[:, None] >> np.arange(len(parts)) & 1).astype(bool)
        lows = np.where(is_inside, [part.min() for part in parts], np.inf).min(1)
        highs = np.where(is_inside, [part.max() for part in parts], -np.inf).max(1)
        ratios = np.zeros(len(splits))
        for place, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
            if not is_flat(low, high):
                inside = [
                    part for part, is_in in zip(parts, is_inside[place], strict=True) if is_in
                ]
                ratios[place] = moments(np.concatenate(inside)).sharpe
            elif not is_flat(min(low, 0.0), max(high, 0.0)):
                raise DegenerateSample(
                    f"returns, trial {trial}", f"in half of the blocks all of them are {low:g}"
                )
        return ratios


def _subset_sums(rows: Floats) -> Floats:
    """Return the sums of all subsets of some rows; the bits of a place say which are in it."""
    sums = np.zeros((1, rows.shape[1]))
    for row in rows:
        sums = np.concatenate([sums, sums + row])
    return sums
