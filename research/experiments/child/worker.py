"""The warm child: loads once what runs have in common, and runs each in a copy of itself.

It is told by a socket which run is next, and tells what became of it. The copy is made before
anything of the experiment is imported, and ends with the run: so a run sees what a child of its own
would see, and nothing that another has left. What is imported beforehand is of installed packages,
and of the simulation. Runs of the built-in experiments, which are pure, share this process.

    python -P -s worker.py FOLDER SOCKET

Read from the socket are lines: ``+NAMES``, modules to import; a run's folder below ``runs/``. Back
goes, for each run, its folder and how its process ended.
"""

import _random
import atexit
import contextlib
import ctypes
import dataclasses
import gc
import importlib
import importlib.util
import os
import select
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_ENGINE = "research.simulation.engine"
_OURS = "research"
_SHARED = ("code", "input")
# Before anyone watches them.
_entropy = os.urandom
_seed = _random.Random.seed  # not Python's own, which a watch wraps


def main(folder: str, handle: int) -> int:
    """Serve until the socket, or the parent, is gone."""
    os.chdir(folder)
    harness = _load_harness()
    request = harness.read_request("worker.json")
    worker = Worker(harness, request, folder, handle)
    if request["shares"]:
        worker.share()
    else:
        worker.copy()
    return 0


class Worker:
    """What all runs of this process have in common."""

    def __init__(
        self, harness: ModuleType, request: dict[str, Any], folder: str, handle: int
    ) -> None:
        self._harness, self._request = harness, request
        self._folder = os.path.realpath(folder)
        self._handle, self._read = handle, b""
        self._columns: dict[str, Any] | None = None
        self._watchers = harness.Watchers(request)
        self._prctl = ctypes.CDLL(None).prctl  # before the guard, which gives it to nobody
        self._walls = self._confine()
        # First of all, so that it is last: after what the packages, and then a run, have for it.
        self._at_exit: list[Any] = []
        atexit.register(lambda: [each() for each in self._at_exit])
        # The filter of calls comes with the copy, and is counted on.
        self._watchers.install({"level": "hook" if self._walls is None else "landlock"})

    def share(self) -> None:
        """Run what comes in this process, one after another."""
        self._harness.end_with_the_parent()
        if self._walls is not None:
            self._walls.narrow(None)
        importlib.import_module(self._request["entry"])
        self._warm_engine()
        while (line := self._next_line()) is not None:
            folder = f"{self._folder}/runs/{line}"
            with self._watchers.guard.between_runs():
                result = self._go_to(folder)
            found: dict[str, Any] = {}
            self._answer(found, self._harness.read_request(), self._bars())
            self._watchers.write(result, found, self._reached())
            self._watchers.forget()
            os.close(result)
            self._tell(line, 0)

    def copy(self) -> None:
        """Run each in a copy of this process; end when the parent does."""
        while (line := self._next_line(watched=0)) is not None:
            if line.startswith("+"):
                self._import(line[1:].split(","))
                continue
            with self._watchers.guard.between_runs():
                copied = os.fork()
                result = None if copied else self._be_copy(f"{self._folder}/runs/{line}")
            if result is not None:
                self._run_copy(result)
                return  # the interpreter goes down as any does: what is open is written
            status = self._wait(copied)
            if status is None:
                return
            self._tell(line, status)

    def _be_copy(self, folder: str) -> int:
        """Part from what was copied, and put up the walls of this run; return the result's file."""
        self._prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        os.close(self._handle)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        result = self._go_to(folder)
        if self._walls is not None:
            self._walls.narrow(folder, [f"{self._folder}/{name}" for name in _SHARED])
        _part_chance()
        return result

    def _run_copy(self, result: int) -> None:
        request = self._harness.read_request()
        found: dict[str, Any] = {}
        self._at_exit.append(lambda: self._write(result, found, request))
        self._answer(found, request)

    def _go_to(self, folder: str) -> int:
        """Make a run's folder, its log and its home those of the process; return its result."""
        os.chdir(folder)
        os.environ["HOME"] = os.environ["TMPDIR"] = f"{folder}/home"
        log = os.open("log", os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        self._watchers.guard.enter(folder, self._folder)
        result: int = self._harness.open_result(0)  # it lies ready
        return result

    def _write(self, result: int, found: dict[str, Any], request: dict[str, Any]) -> None:
        if request.get("lists"):
            found["modules"] = self._watchers.modules()
        self._watchers.write(result, found, self._reached())

    def _answer(self, found: dict[str, Any], request: dict[str, Any], bars: Any = None) -> None:
        asked = {**self._request, **request}
        code = self._watchers.code
        self._harness.answer(found, asked, "run", code, self._reached(), bars)

    def _bars(self) -> Any:
        """Return what gives the bars to runs that share this process: mapped once, read-only."""
        if self._columns is None and os.path.isdir("input/bars"):
            entry = sys.modules[self._request["entry"]]
            spec = dataclasses.replace(entry.DEFAULT_SPEC, input_folder=Path("input"))
            self._columns = spec.bars()
        columns = self._columns
        return None if columns is None else lambda: dict(columns)

    def _confine(self) -> Any:
        if self._request["sandbox"] == "hook":
            return None
        return self._harness.load("confine").confine(
            self._folder,
            self._request["readable"],
            self._harness.load,
            writable=("runs",),
            is_worker=True,
        )

    def _reached(self) -> dict[str, Any]:
        if self._walls is None:
            return {"level": "hook", "parts": ["hook"]}
        return {"level": self._walls.level, "parts": self._walls.parts}

    def _import(self, names: list[str]) -> None:
        """Import what runs import, but for the code of the experiment; one thread is left."""
        # Without the code on the path: what is imported may itself try names that lie there.
        code, path = self._watchers.code, list(sys.path)
        wanted = [name for name in names if not self._is_experiments(name)]
        sys.path[:] = [each for each in path if each != code]
        for name in wanted:
            try:
                importlib.import_module(name)
            except BaseException:
                sys.modules.pop(name, None)
        sys.path[:] = path
        files = {name: getattr(each, "__file__", None) for name, each in sys.modules.items()}
        has_own = any(
            str(file).startswith(code + os.sep) and name.partition(".")[0] != _OURS
            for name, file in files.items()
        )
        if has_own or self._watchers.guard.refusals or len(os.listdir("/proc/self/task")) > 1:
            sys.exit("what is imported leaves threads, is refused, or is the experiment's")
        importlib.invalidate_caches()
        self._warm_engine()
        self._watchers.remember_loaded()

    def _is_experiments(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top == _OURS:
            return False
        found = None
        with contextlib.suppress(Exception):  # a broker's, which is refused
            found = importlib.util.find_spec(top) if top not in sys.modules else None
        origin = getattr(sys.modules.get(top), "__file__", None) or getattr(found, "origin", None)
        return str(origin).startswith(self._watchers.code)

    def _warm_engine(self) -> None:
        engine = sys.modules.get(_ENGINE)
        if self._request["warms"] and engine is not None:
            engine.compile_engine()
        # What is here to stay is never searched for garbage: a copy would write to all of it.
        gc.collect()
        gc.freeze()

    def _next_line(self, watched: int | None = None) -> str | None:
        """Wait for a line; None if the other end, or the parent behind ``watched``, is gone."""
        while b"\n" not in self._read:
            waiting = select.poll()
            waiting.register(self._handle, select.POLLIN)
            if watched is not None:
                waiting.register(watched, select.POLLIN)
            if any(handle == watched for handle, _ in waiting.poll()):
                return None
            more = os.read(self._handle, 65536)
            if not more:
                return None
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def _wait(self, copied: int) -> int | None:
        """Wait for a copy to end, and return how; None if the parent ended before it."""
        ended = os.pidfd_open(copied)
        waiting = select.poll()
        waiting.register(ended, select.POLLIN)
        waiting.register(0, select.POLLIN)
        is_over = any(handle == 0 for handle, _ in waiting.poll())
        os.close(ended)
        if is_over:
            return None  # and the copy with us
        return os.waitstatus_to_exitcode(os.waitpid(copied, 0)[1])

    def _tell(self, line: str, status: int) -> None:
        os.write(self._handle, f"{line} {status}\n".encode())


def _part_chance() -> None:
    """Give the generators that nobody has seeded another start than the next run's."""
    # Not by their own functions: that would be noted as a draw.
    shared, numpy_random = map(sys.modules.get, ("random", "numpy.random"))
    if shared is not None:
        _seed(shared._inst, int.from_bytes(_entropy(32)))
    if numpy_random is not None:
        numpy_random.set_bit_generator(numpy_random.MT19937())


def _load_harness() -> ModuleType:
    location = Path(__file__).with_name("harness.py")
    spec = importlib.util.spec_from_file_location("_ros_harness", location)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _main() -> NoReturn:
    sys.exit(main(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    _main()
