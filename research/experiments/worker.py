"""A warm worker, seen from outside: a child from which runs are copied.

Owns its folder and the words of the socket between us (``child/worker.py`` is the other end). In
``shared/`` lies what the child sees: code and input, once for all runs, and of the runs no more
than it has at hand; what has ended is taken out of its sight at once.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.experiments import capsule, environment, limits
from research.experiments.answer import read_answer, read_result
from research.experiments.child_error import ChildError
from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Job
from research.experiments.kernels import lay_beside
from rosdb import Record, Store, remove_folder

_SCRIPT: Final = Path(__file__).parent / "child" / "worker.py"
_READ_BYTES: Final = 65536
_SHARED: Final = ("code", "input")
_FOLDERS: Final = ("output", "home")
_FILES: Final = ("request.json", "result.json", "log")
_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_FOLDER_BYTES: Final = 4096


@dataclass(slots=True)
class _Begun:
    job: Job
    folder: Path
    at: float


class WorkerLost(Exception):
    """The worker has ended by itself; ``status`` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a worker ended with {status}")
        self.status = status


class Worker:
    """A child that stays, for the runs of one code and one input."""

    def __init__(
        self,
        folder: Path,
        recipe: Record,
        conditions: Conditions,
        *,
        is_shared: bool,
        has_kernels: bool,
        preloads: bool,
    ) -> None:
        """Start it; ``folder/shared`` has its code and its input already."""
        self.begun: dict[str, _Begun] = {}
        self._folder, self._shared = folder, folder / "shared"
        self._conditions = conditions
        self.is_importing = False
        """It was told to import beforehand, and no run has ended since."""
        self._is_shared, self._preloads = is_shared, preloads and not is_shared
        self._left, self._count = b"", 0
        self._spare: list[Path] = []
        asked = {
            **capsule.question(recipe),
            **capsule.surroundings(conditions),
            "shares": is_shared,
            "warms": has_kernels,
        }
        capsule.write_request(self._shared, asked, "worker.json")
        self._socket, theirs = socket.socketpair()
        with theirs, (self._folder / "log").open("ab") as log:
            python = sys.executable
            self._child = subprocess.Popen(
                [python, "-P", "-s", "-B", "-u", _SCRIPT, self._shared, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # never written to: the child ends when it is closed
                stdout=log,
                stderr=subprocess.STDOUT,
                env=capsule.variables(self._shared, conditions),
                cwd=self._shared,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )

    @staticmethod
    def fill(store: Store, folder: Path, recipe: Record, kernels: Sequence[Path]) -> None:
        """Write the code and the input into the folder of a worker to be."""
        shared = folder / "shared"
        shared.mkdir(parents=True)
        capsule.Capsule(shared).fill(store, recipe)
        _make_own(folder)
        lay_beside(kernels, shared / "code")

    @staticmethod
    def fill_like(other: Path, folder: Path) -> None:
        """Fill a worker's folder like another's: the same files, so that memory holds them once."""
        for name in ("code", "input"):
            shutil.copytree(
                other / "shared" / name, folder / "shared" / name, copy_function=os.link
            )
        (folder / "shared/home").mkdir()
        _make_own(folder)

    def fileno(self) -> int:
        """Return the socket's number, to wait at."""
        return self._socket.fileno()

    def begin(self, job: Job, now: float) -> None:
        """Hand out a run."""
        self._count += 1
        name = str(self._count)
        folder = self._shared / "runs" / name
        if self._spare:
            self._spare.pop().rename(folder)
        else:
            _lay_out(folder)
        asked: dict[str, Any] = capsule.question(job.recipe)
        if self._preloads:
            asked["lists"] = True
        capsule.write_request(folder, asked)
        self.begun[name] = _Begun(job, folder, now)
        self._send(name)

    def take(self, now: float) -> list[Ended]:
        """Return the runs that have ended since; the socket has something to read.

        Raises: WorkerLost.
        """
        try:
            more = self._socket.recv(_READ_BYTES)
        except ConnectionError:
            more = b""
        if not more:
            raise WorkerLost(self._child.wait())
        *lines, self._left = (self._left + more).split(b"\n")
        ended = []
        if lines:
            self.is_importing = False
        for line in lines:
            name, status = line.decode().split(" ")
            begun = self.begun.pop(name)
            ended.append(self._end(begun, int(status), None, now))
            for other in self.begun.values():
                other.at = max(other.at, now)  # it waited for this one
        return ended

    @property
    def deadline(self) -> float:
        """When the run under way will have taken as long as it may."""
        return min(each.at for each in self.begun.values()) + (self._conditions.limits.seconds or 0)

    def reached(self, now: float) -> limits.Reached | None:
        """Tell which limit the run under way has reached."""
        wanted = self._conditions.limits
        if wanted.seconds is not None and self.begun and now >= self.deadline:
            return "TimedOut"
        if wanted.memory_bytes is None:
            return None
        used = limits.memory_below(self._child.pid)
        return "OutOfMemory" if used > wanted.memory_bytes else None

    def lose(self, status: int, reached: limits.Reached | None, now: float) -> list[Ended]:
        """Return what was begun as ended, by the worker's death or by a limit."""
        error = None
        if reached is not None:
            message = limits.message_of(reached, self._conditions.limits)
            error = ChildError(kind=reached, message=message, where="")
        begun, self.begun = list(self.begun.values()), {}
        return [self._end(each, status, error, now) for each in begun]

    def kill(self) -> int:
        """End it with all that it has started."""
        # A copy may have left the group.
        for process_id in limits.family(self._child.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process_id, signal.SIGKILL)
        capsule.kill_group(self._child.pid)
        self._socket.close()
        if self._child.stdin is not None:
            self._child.stdin.close()
        return self._child.wait()

    def _end(self, begun: _Begun, status: int, error: ChildError | None, now: float) -> Ended:
        folder = self._folder / "done" / f"{begun.job.number}"
        begun.folder.rename(folder)
        _set_back(begun.folder.parent)
        answer = read_answer(folder, status, begun.job.recipe, self._conditions, error)
        if self._preloads and answer.error is None:
            self._preloads = False
            self._preload(folder, begun.job.recipe)
        return Ended(
            number=begun.job.number,
            answer=answer,
            seconds=now - begun.at,
            release=lambda: self._release(folder),
        )

    def _release(self, folder: Path) -> None:
        """Empty a run's folder for another run, unless the run has made something else of it."""
        # What a run has made of its folder may be anything; then it is removed as far as it can be.
        with contextlib.suppress(OSError, RecursionError):
            if _is_as_laid_out(folder):
                for part in _FOLDERS:
                    _empty(folder / part)
                for name in _FILES:
                    os.truncate(folder / name, 0)
                self._spare.append(folder)
                return
        remove_folder(folder)

    def _preload(self, folder: Path, recipe: Record) -> None:
        """Have imported what a run has imported, but for the experiment's own modules."""
        told = (read_result(folder) or {}).get("modules")
        named = [name for name in told if isinstance(name, str)] if isinstance(told, list) else []
        known = environment.top_levels(recipe.fields["environment"]) | sys.stdlib_module_names
        names = [
            name
            for name in named
            if name.partition(".")[0] in known | {"research"}
            and all(part.isidentifier() for part in name.split("."))
        ]
        if names:
            self.is_importing = True
            self._send("+" + ",".join(names))

    def _send(self, line: str) -> None:
        with contextlib.suppress(ConnectionError):  # whoever waits for it learns of it
            self._socket.sendall(f"{line}\n".encode())


def _make_own(folder: Path) -> None:
    """Make what a worker has besides code and input: a place for runs, and one where they end."""
    for name in ("shared/runs", "done"):
        (folder / name).mkdir(_MODE)
    _set_back(folder / "shared/runs")


def _set_back(runs: Path) -> None:
    """Take from the folder of runs what one of them may have marked it with."""
    runs.chmod(_MODE)
    os.utime(runs, (0, 0))


def _lay_out(folder: Path) -> None:
    """Make a run's folder: its own output, home and files, and what it shares."""
    folder.mkdir()
    for name in _FOLDERS:
        (folder / name).mkdir(_MODE)
    for name in _SHARED:
        (folder / name).symlink_to(f"../../{name}")
    for name in _FILES:
        (folder / name).touch(_FILE_MODE)


def _is_as_laid_out(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        found = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
    kinds = dict.fromkeys(_FOLDERS, stat.S_ISDIR) | dict.fromkeys(_FILES, stat.S_ISREG)
    kinds |= dict.fromkeys(_SHARED, stat.S_ISLNK)
    if found.keys() != kinds.keys() or not all(kinds[name](found[name]) for name in found):
        return False
    modes = dict.fromkeys(_FOLDERS, _MODE) | dict.fromkeys(_FILES, _FILE_MODE)
    if any(stat.S_IMODE(found[name]) != mode for name, mode in modes.items()):
        return False
    # A folder that held much stays large when it is emptied.
    return all((folder / name).stat().st_size <= _FOLDER_BYTES for name in _FOLDERS)


def _empty(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
