"""Instants as people write them: a date, a time, or an age such as ``7d``."""

import re
from datetime import UTC, datetime
from typing import Final

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1

_AGE_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_instant(text: str, now_ns: int) -> int | None:
    """Read a date, a time (UTC unless it says otherwise) or an age such as ``7d``.

    Units: returns nanoseconds since 1970 UTC, within 64 bits; None if it is none of these.
    """
    age = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if age:
        return bounded(now_ns - int(age[1]) * _AGE_SECONDS[age[2]] * 1_000_000_000)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86_400 + since.seconds
    return bounded(seconds * 1_000_000_000 + since.microseconds * 1000)


def bounded(integer: int) -> int:
    """Return the integer of 64 bits that is nearest."""
    return max(INTEGER_MIN, min(integer, INTEGER_MAX))
