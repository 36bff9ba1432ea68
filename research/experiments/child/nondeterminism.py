"""Sources of nondeterminism: where a run asked for what no recipe holds.

Owns the watch over the clock, the system's entropy and unseeded generators, and what it has seen,
by line. The interpreter has no event for these, so the functions are wrapped before the experiment
is imported; they answer as ever. What a library reads for itself while it is imported is not noted,
nor the clock read by a library: neither is the experiment's.
"""

import contextlib
import ctypes
import datetime
import gc
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

NOTES_MAX: Final = 50
_OURS: Final = os.path.dirname(__file__) + os.sep
_FRESH_NUMPY_POSITION: Final = 623  # where the generator that nobody has asked stands
_DRAWS: Final = """
    betavariate choice choices expovariate gammavariate gauss getrandbits lognormvariate
    normalvariate paretovariate randbytes randint random randrange sample shuffle triangular uniform
    vonmisesvariate weibullvariate
""".split()

notes: list[dict[str, str]] = []


class _State:
    """Whose lines count, and what a strict run does."""

    code = ""
    refuse: Callable[[str], Any] | None = None
    is_seeded = False


class _Watched:
    """A function that is watched. No descriptor, as the function it stands for is none."""

    def __init__(self, function: Any, watch: Callable[[tuple[Any, ...]], None]) -> None:
        self._function = function
        self.__module__, self.__doc__ = function.__module__, function.__doc__
        self._watch = watch

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._watch(arguments)
        return self._function(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __reduce__(self) -> str:
        return str(self._function.__name__)

    def __repr__(self) -> str:
        return repr(self._function)


def watch(code: str, refuse: Callable[[str], Any] | None) -> None:
    """Begin to watch the code below a folder; ``refuse`` is called instead of noting, if given."""
    _State.code, _State.refuse = code + os.sep, refuse
    for name in ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"):
        _wrap(time, name, _clock(f"time.{name}"))
    for name in ("clock_gettime", "clock_gettime_ns"):
        _wrap(time, name, _clock(f"time.{name}"))
    for name, given in {
        "localtime": 1,
        "gmtime": 1,
        "ctime": 1,
        "asctime": 1,
        "strftime": 2,
    }.items():
        _wrap(time, name, _clock(f"time.{name}", given))
    with contextlib.suppress(Exception):  # another interpreter keeps its types elsewhere
        _watch_datetime()
    for name in ("urandom", "getrandom"):
        _wrap(os, name, _entropy(name))
    if "random" in sys.modules:
        watch_random(sys.modules["random"])


def note(what: str, *, is_direct: bool = False) -> None:
    """Keep what was asked for, with the line of the experiment that asked.

    Asked directly, a library in between makes it the library's.
    """
    where = _place(is_direct)
    if where is None:
        return
    if _State.refuse is not None:
        _State.refuse(f"it used {what}, which a strict run may not")
    found = {"what": what, "where": where}
    if found not in notes and len(notes) < NOTES_MAX:
        notes.append(found)


def finish() -> str | None:
    """Look at what can only be seen at the end; return why a strict run fails by it."""
    module = sys.modules.get("numpy.random.mtrand")
    with contextlib.suppress(Exception):
        generator = module._rand._bit_generator  # type: ignore[union-attr]
        position = generator.state["state"]["pos"]
        if generator.seed_seq is not None and position != _FRESH_NUMPY_POSITION:
            what = "an unseeded generator (numpy.random)"
            notes.append({"what": what, "where": ""})
            if _State.refuse is not None:
                return f"it used {what}, which a strict run may not"
    return None


def forget() -> None:
    """Forget what a run that has ended asked for."""
    notes.clear()
    _State.is_seeded = False


def watch_random(module: ModuleType) -> None:
    """Watch the generator that a module shares, and those that are made without a seed."""
    seed = module.Random.seed

    def seeded(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None:
            note("an unseeded generator (random.Random)")
        seed(self, a, version)

    def shared(arguments: tuple[Any, ...]) -> None:
        _State.is_seeded = bool(arguments) and arguments[0] is not None

    seeded.__doc__ = seed.__doc__
    module.Random.seed = seeded
    for name in ("seed", "setstate"):
        _wrap(module, name, shared)
    for name in _DRAWS:
        if hasattr(module, name):
            _wrap(module, name, _draw(name))


def _draw(name: str) -> Callable[[tuple[Any, ...]], None]:
    def drawn(_: tuple[Any, ...]) -> None:
        if not _State.is_seeded:
            note(f"an unseeded generator (random.{name})")

    return drawn


def _entropy(name: str) -> Callable[[tuple[Any, ...]], None]:
    return lambda _: note(f"OS entropy (os.{name})")


def _watch_datetime() -> None:
    """Watch ``datetime.now``; the type stays itself, for others compare by it."""
    (methods,) = gc.get_referents(datetime.datetime.__dict__)
    for name in ("now", "utcnow"):
        methods[name] = classmethod(_asked(name, methods[name]))
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))


def _asked(name: str, original: Any) -> Any:
    def asked(cls: Any, *arguments: Any, **options: Any) -> Any:
        note(f"the clock (datetime.{name})", is_direct=True)
        return original.__get__(None, cls)(*arguments, **options)

    asked.__name__, asked.__qualname__ = name, f"datetime.{name}"
    asked.__doc__ = original.__doc__
    return asked


def _clock(name: str, given: int | None = None) -> Callable[[tuple[Any, ...]], None]:
    """Watch a reading of the clock; with so many arguments it reads none."""

    def read(arguments: tuple[Any, ...]) -> None:
        if given is None or len(arguments) < given:
            note(f"the clock ({name})", is_direct=True)

    return read


def _wrap(module: Any, name: str, watch: Callable[[tuple[Any, ...]], None]) -> None:
    function = getattr(module, name, None)
    if function is not None:
        setattr(module, name, _Watched(function, watch))


def _place(is_direct: bool) -> str | None:
    """Find the line of the experiment that asked; None if it was not the experiment."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_State.code):
            return f"{name[len(_State.code) :]}, line {frame.f_lineno}"
        is_between = not name.startswith(_OURS) and not name.endswith("/ctypes/__init__.py")
        if name.startswith("<frozen importlib") or (is_direct and is_between):
            return None
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None
