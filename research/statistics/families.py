"""Many p-values at once: how many of a sweep's points would be called real by chance.

Owns the two adjustments. Holm's bounds the chance of a single false call, Benjamini and Hochberg's
the share of false ones among those that are called.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.statistics.errors import DegenerateSample, InvalidArgument
from research.statistics.samples import Floats, finite, one_dimensional


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """The p-values of a family after adjustment, in the order in which they came.

    Shapes: p_values, is_rejected (N,).
    """

    p_values: Floats
    is_rejected: NDArray[np.bool_]
    """Whether the null hypothesis, that there is nothing, is rejected at the level."""

    @property
    def rejected_count(self) -> int:
        """The number of rejected null hypotheses."""
        return int(np.count_nonzero(self.is_rejected))


def benjamini_hochberg(p_values: ArrayLike, level: float = 0.05) -> Adjusted:
    """Bound the expected share of false rejections, for tests that are independent or alike.

    Shapes: p_values (N,), N >= 1.
    Raises: DegenerateSample if there are none or one is not a probability; InvalidArgument if the
            level is not above 0 and below 1.
    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate", J. Royal Statistical
            Society B 57(1), 1995.
    """

    def adjust(ascending: Floats) -> Floats:
        count = len(ascending)
        scaled = ascending * (count / np.arange(1, count + 1))
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjusted(p_values, level, adjust)


def holm(p_values: ArrayLike, level: float = 0.05) -> Adjusted:
    """Bound the probability of one false rejection or more, however the tests depend.

    Shapes: p_values (N,), N >= 1.
    Raises: as `benjamini_hochberg`.
    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian J.
            Statistics 6(2), 1979.
    """

    def adjust(ascending: Floats) -> Floats:
        return np.maximum.accumulate(ascending * np.arange(len(ascending), 0, -1))

    return _adjusted(p_values, level, adjust)


def _adjusted(p_values: ArrayLike, level: float, adjust: Callable[[Floats], Floats]) -> Adjusted:
    bound = finite("level", level)
    if not 0.0 < bound < 1.0:
        raise InvalidArgument("level", repr(level), "above 0 and below 1")
    found = _probabilities(p_values)
    order = np.argsort(found, kind="stable")
    adjusted = np.empty(len(found))
    adjusted[order] = np.minimum(adjust(found[order]), 1.0)
    return Adjusted(p_values=adjusted, is_rejected=adjusted <= bound)


def _probabilities(p_values: ArrayLike) -> Floats:
    found = one_dimensional(p_values, "p_values")
    if not len(found):
        raise DegenerateSample("p_values", "there are none")
    is_sound = (found >= 0.0) & (found <= 1.0)
    if not is_sound.all():
        place = int(np.argmin(is_sound))
        raise DegenerateSample("p_values", f"number {place} is {found[place]}, no probability")
    return found
