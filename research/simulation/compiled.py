"""One source, two speeds: the kernel as Python, or the same functions compiled by numba.

Owns the choice between the two, which decides nothing but the time: no fast mathematics, no
parallel sums, so both give the same bits. numba is an extra. What it compiles is kept in its cache
beside this file, or in the user's; the name under which it is kept holds the hash of all sources of
the kernel, for numba itself looks at one file only.
"""

import contextlib
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

_BESIDE: Final = Path(__file__).parent / "__pycache__"
# Each uses those before it.
_INLINED: Final = ("mark", "limit", "begin_day", "touches")
# What Python calls. All else is compiled into these.
_DOORS: Final = ("run", "figures", "is_sound")
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


def kept_files() -> list[Path]:
    """Return what lies compiled beside this file, of these sources; none before the first use."""
    return sorted(_BESIDE.glob(f"*_{source_mark()}-*.nb[ic]"))


def _is_warm() -> bool:
    return bool(kept_files())


def _compiling(name: str) -> Callable[[Any], Any]:
    """Return numba's decorator for a function of the kernel.

    Without counting references (it makes no object), and with division as numpy has it: the models
    are checked so that nothing is divided by zero.
    """
    import numba

    inline = "always" if name in _INLINED else "never"
    options: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "inline": inline}

    def compiling(function: Any) -> Any:
        dispatcher = numba.njit(**options)(function)
        if name in _DOORS:
            _keep(dispatcher)
        return dispatcher

    return compiling


def _keep(dispatcher: Any) -> None:
    """Have numba keep what it compiles beside this file, or only look there if it is read-only."""
    from numba.core import caching

    class Beside(caching._CacheLocator):
        def get_cache_path(self) -> str:
            return str(_BESIDE)

        def get_source_stamp(self) -> str:
            return source_mark()

        def get_disambiguator(self) -> str:
            return ""

        @classmethod
        def from_function(cls, *_: Any) -> Any:
            return cls()

    try:
        Beside().ensure_cache_path()  # type: ignore[no-untyped-call]
        can_write = True
    except OSError:
        can_write = False
    if not can_write and not _is_warm():
        with contextlib.suppress(RuntimeError):  # there is nowhere to keep it
            dispatcher.enable_caching()
        return
    way = type("Way", (caching.CompileResultCacheImpl,), {"_locator_classes": [Beside]})
    kept: Any = type("Kept", (caching.FunctionCache,), {"_impl_class": way})
    dispatcher._cache = kept(dispatcher.py_func)
    if not can_write:
        dispatcher._cache.save_overload = lambda signature, data: None


def _copied(
    function: types.FunctionType, namespace: dict[str, Any], name: str
) -> Callable[..., Any]:
    copied = types.FunctionType(function.__code__, namespace, function.__name__)
    copied.__module__ = function.__module__
    copied.__qualname__ = name
    return copied
