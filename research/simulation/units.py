"""Units: how many of one there are in another.

Owns the numbers, so that each stands in one place. Times in the engine are whole nanoseconds.
"""

from typing import Final

BPS: Final = 10_000.0
"""Basis points in one."""

MS_NS: Final = 10**6
MINUTE_NS: Final = 60 * 10**9
HOUR_NS: Final = 3600 * 10**9
DAY_NS: Final = 86_400 * 10**9

YEAR_NS: Final = 31_557_600 * 10**9
"""365.25 days."""
