"""One source, two speeds: the kernel as Python, or the same functions compiled by numba.

Owns the choice between the two, which decides nothing but the time: no fast mathematics, no
parallel sums, so both give the same bits. numba is an extra. What it compiles is kept in its cache
beside this file, or in the user's; the name under which it is kept holds the hash of all sources of
the kernel, for numba itself looks at one file only.
"""

import functools
import hashlib
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from research.simulation import (
    attempts,
    chance,
    decisions,
    desk,
    entries,
    equity_figures,
    exits,
    kernel,
    notes,
    orders,
    positions,
    protection,
    slots,
    sound,
    units,
)

WARM_FROM: Final = 200_000
"""From this many bars on numba is worth its start, of a second, where its cache has all."""

COLD_FROM: Final = 2_000_000
"""From this many bars on it is worth the ten seconds that compiling takes, too."""

# Each uses those before it.
_INLINED: Final = ("mark", "limit", "begin_day", "touches")
_ROOMS: Final = (
    *(chance, orders, notes, positions, attempts, protection, exits, decisions, entries, kernel),
    *(equity_figures, sound),
)


def is_available() -> bool:
    """Tell whether numba is installed, without importing it."""
    return find_spec("numba") is not None


def is_worth_it(bar_count: int) -> bool:
    """Tell whether so many bars are to be played compiled: it is there, and pays or is warm."""
    if functions.cache_info().currsize > 0:
        return True
    if bar_count < WARM_FROM:
        return False
    if not is_available():
        _say_slow()
        return False
    return bar_count >= COLD_FROM or _is_warm()


@functools.cache
def _say_slow() -> None:
    """Say once that it could be quicker."""
    import logging

    logging.getLogger(__name__).warning(
        "numba is not installed: a million bars take some seconds;"
        " pip install 'research-os[numba]' makes it some milliseconds"
    )


@functools.cache
def functions() -> types.SimpleNamespace:
    """Return the kernel's functions, compiled; the first call of each takes seconds, or its cache.

    Raises: ImportError if numba is not installed.
    """
    mark = source_mark()
    made: dict[str, Any] = {}
    for room in _ROOMS:
        namespace = {**vars(room), **made}
        for name, function in vars(room).items():
            if isinstance(function, types.FunctionType) and function.__module__ == room.__name__:
                copied = _copied(function, namespace, f"{name}_{mark}")
                made[name] = namespace[name] = _compiling(name)(copied)
    return types.SimpleNamespace(**made)


@functools.cache
def source_mark() -> str:
    """Return what the sources of the kernel, and of this room, are in a word."""
    rooms = (*_ROOMS, desk, slots, units)
    files = [Path(__file__), *(Path(room.__file__ or "") for room in rooms)]
    content = b"\0".join(file.read_bytes() for file in files)
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _is_warm() -> bool:
    """Tell whether the kernel lies compiled beside this file."""
    return any(Path(__file__).parent.glob(f"__pycache__/kernel.run_{source_mark()}-*.nbi"))


def _compiling(name: str) -> Callable[[Any], Any]:
    """Return numba's decorator for a function of the kernel.

    Without counting references (it makes no object), and with division as numpy has it: the models
    are checked so that nothing is divided by zero.
    """
    import numba

    inline = "always" if name in _INLINED else "never"
    options: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "inline": inline}

    def compiling(function: Any) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)  # there is nowhere to keep it

    return compiling


def _copied(
    function: types.FunctionType, namespace: dict[str, Any], name: str
) -> Callable[..., Any]:
    copied = types.FunctionType(function.__code__, namespace, function.__name__)
    copied.__module__ = function.__module__
    copied.__qualname__ = name
    return copied
