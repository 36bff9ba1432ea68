"""The standard normal distribution, to the precision of a float in both tails.

Owns the three functions that the other rooms need. The standard library's `NormalDist` loses the
lower tail before Python 3.12, and its module takes 50 ms to load and draws chance while it does.
"""

import math
from typing import Final

_ROOT_TWO: Final = math.sqrt(2.0)
_ROOT_TWO_PI: Final = math.sqrt(2.0 * math.pi)

_STEPS: Final = 3
"""Each step of Halley's cubes the error: 4.5e-4, 1e-11, none; the third costs nothing."""


def density(x: float) -> float:
    """Return the density at x."""
    return math.exp(-0.5 * x * x) / _ROOT_TWO_PI


def cumulative(x: float) -> float:
    """Return the probability of a draw of at most x."""
    return 0.5 * math.erfc(-x / _ROOT_TWO)


def quantile(probability: float) -> float:
    """Return the x that a draw stays below with a probability, which is above 0 and below 1.

    A first guess by a fraction of polynomials, then Halley's method on the error function.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.2.23 (the guess).
    """
    assert 0.0 < probability < 1.0
    # In the lower half, where a probability near its end loses no digit; 1 - p is exact here.
    if probability > 0.5:
        return -_lower_quantile(1.0 - probability)
    return _lower_quantile(probability) if probability < 0.5 else 0.0


def _lower_quantile(probability: float) -> float:
    t = math.sqrt(-2.0 * math.log(probability))
    above = 2.515517 + t * (0.802853 + t * 0.010328)
    below = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    x = above / below - t
    for _ in range(_STEPS):
        # Near the middle the distance from it is what is small, in the tail the probability.
        if probability > 0.25:
            error = 0.5 * math.erf(x / _ROOT_TWO) - (probability - 0.5)
        else:
            error = cumulative(x) - probability
        step = error / density(x)
        x -= step / (1.0 + 0.5 * x * step)
    return x
