"""Samples of returns: the checks that every statistic makes of them, and their moments.

Owns what a sound sample is. Sums are taken from left to right: numpy promises no order for its own,
and a figure that stands in a promotion may not depend on the machine.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.statistics.errors import DegenerateSample, InvalidArgument

Floats = NDArray[np.float64]

COUNT_MIN: Final = 3
"""With fewer returns no figure here means anything: two always have a skew of 0."""

ROUNDING: Final = 2.0**-50
"""How far the ratio of two equities may be off by rounding alone; as in `docs/metrics.md`.

Returns that differ by less do not vary: a deviation of theirs would measure the float.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What the Sharpe ratio's own distribution depends on.

    Units: mean, deviation as the returns; sharpe per period; kurtosis raw (a normal has 3).
    """

    count: int
    mean: float
    deviation: float
    sharpe: float
    skew: float
    kurtosis: float


def moments(returns: ArrayLike) -> Moments:
    """Measure a sample: the deviation with n - 1, skew and kurtosis with n.

    Shapes: returns (T,), T >= 3.
    Units:  simple returns per period, as fractions.
    Raises: DegenerateSample if there are fewer, one is not finite, or they do not vary.
    """
    sample = varied_returns(returns)
    count = len(sample)
    # In units of the largest: the fourth power of a very small or large return is no float.
    unit = float(np.abs(sample).max())
    scaled = sample / unit
    mean = total(scaled) / count
    distances = scaled - mean
    squares = distances * distances
    spread = total(squares)
    second = spread / count
    deviation = math.sqrt(spread / (count - 1))
    return Moments(
        count=count,
        mean=mean * unit,
        deviation=deviation * unit,
        sharpe=mean / deviation,
        skew=total(squares * distances) / count / (second * math.sqrt(second)),
        kurtosis=total(squares * squares) / count / (second * second),
    )


def returns_from_equity(equity: ArrayLike) -> Floats:
    """Return the simple return of each period from the equity at its ends.

    Shapes: equity (T,), T >= 2; returns (T - 1,).
    Raises: DegenerateSample if there are fewer, or one is not finite and above 0.
    """
    series = one_dimensional(equity, "equity")
    if len(series) < 2:
        raise DegenerateSample("equity", f"{len(series)} values, of which no return can be made")
    refuse_unsound(series, "equity")
    if not (series > 0.0).all():
        row = int(np.argmin(series > 0.0))
        raise DegenerateSample("equity", f"row {row} is {series[row]:g}; no return follows from it")
    with np.errstate(over="ignore"):
        returns: Floats = series[1:] / series[:-1] - 1.0
    refuse_unsound(returns, "returns")
    return returns


def sound_returns(returns: ArrayLike, what: str = "returns") -> Floats:
    """Return a sample as an array of at least 3 finite numbers.

    Raises: DegenerateSample if it is not one.
    """
    sample = one_dimensional(returns, what)
    if len(sample) < COUNT_MIN:
        raise DegenerateSample(what, f"{len(sample)} of them, below {COUNT_MIN}")
    refuse_unsound(sample, what)
    return sample


def varied_returns(returns: ArrayLike, what: str = "returns") -> Floats:
    """Return a sound sample that varies by more than rounding does.

    Raises: DegenerateSample if it is not one.
    """
    sample = sound_returns(returns, what)
    low, high = float(sample.min()), float(sample.max())
    if is_flat(low, high):
        raise DegenerateSample(what, f"they do not vary: all {len(sample)} are {low:g}")
    return sample


def varied_trials(returns: ArrayLike) -> Floats:
    """Return the returns of several trials, a column each, every one of them varied.

    Raises: DegenerateSample, naming the trial by its column, if they are not that.
    """
    table = _floats(returns, "returns")
    if table.ndim != 2:
        raise InvalidArgument("returns", f"of {table.ndim} dimensions", "a table, a trial a column")
    count, trials = table.shape
    if count < COUNT_MIN:
        raise DegenerateSample("returns", f"{count} of them a trial, below {COUNT_MIN}")
    if trials < 1:
        raise DegenerateSample("returns", "no trial")
    is_finite = np.isfinite(table)
    if not is_finite.all():
        row, trial = (int(place) for place in np.argwhere(~is_finite)[0])
        raise DegenerateSample(f"returns, trial {trial}", f"row {row} is {table[row, trial]}")
    for trial, (low, high) in enumerate(zip(table.min(0), table.max(0), strict=True)):
        if is_flat(float(low), float(high)):
            raise DegenerateSample(
                f"returns, trial {trial}", f"they do not vary: all {count} are {low:g}"
            )
    return table


def is_flat(low: float, high: float) -> bool:
    """Tell whether returns between two bounds vary by no more than rounding."""
    return high - low <= ROUNDING * max(1.0, abs(low), abs(high))


def total(values: Floats) -> float:
    """Return the sum taken from left to right."""
    return float(np.add.accumulate(values)[-1])


def finite(name: str, value: float) -> float:
    """Return a number as a float.

    Raises: InvalidArgument if it is none, or not a finite one.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(name, repr(value), "a finite number") from None
    if not math.isfinite(number):
        raise InvalidArgument(name, f"{number}", "a finite number")
    return number


def positive(name: str, value: float) -> float:
    """Return a number above 0.

    Raises: InvalidArgument if it is not one.
    """
    number = finite(name, value)
    if number <= 0.0:
        raise InvalidArgument(name, f"{value!r}", "above 0")
    return number


def whole(name: str, value: int, least: int, most: int | None = None) -> int:
    """Return a whole number within its bounds.

    Raises: InvalidArgument if it is not one.
    """
    number = finite(name, value)
    exact = int(value)  # not by way of the float: a seed has more digits
    if number != int(number) or exact < least or (most is not None and exact > most):
        bound = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidArgument(name, repr(value), f"a whole number, {bound}")
    return exact


def _floats(values: ArrayLike, what: str) -> Floats:
    try:
        # A masked value is none: filled with NaN, it is refused by its row.
        if isinstance(values, np.ma.MaskedArray):
            return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
        raw = np.asarray(values)
        if raw.dtype.kind in "cSUMmV":
            raise TypeError
        return raw.astype(np.float64, order="C")
    except (TypeError, ValueError):
        raise InvalidArgument(what, type(values).__name__, "numbers") from None


def one_dimensional(values: ArrayLike, what: str) -> Floats:
    """Return numbers as an array of floats.

    Raises: InvalidArgument if they are no numbers, or not of one dimension.
    """
    sample = _floats(values, what)
    if sample.ndim != 1:
        raise InvalidArgument(what, f"of {sample.ndim} dimensions", "of one dimension")
    return sample


def refuse_unsound(sample: Floats, what: str) -> None:
    """Refuse a sample of which one is not finite.

    Raises: DegenerateSample, naming the row.
    """
    is_finite = np.isfinite(sample)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise DegenerateSample(what, f"row {row} is {sample[row]}")
