"""The instruments: a clock around a process, a balance for a folder, a word on the machine.

Owns how a measurement is taken; knows nothing of stores and tools.
"""

import argparse
import contextlib
import datetime
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SEED: Final = 20_261_122
_TICKS_SECONDS: Final = 0.2
BLOCK_BYTES: Final = 16 * 1024 * 1024

# A caller's settings of Python or of a tool must not decide what is measured.
_DROPPED: Final = ("PYTHON", "PIP_", "GIT_", "RESTIC_", "BORG_", "DVC_", "ROS_", "XDG_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One process of a tool."""

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a folder takes on disk: blocks, folders included, and regular files."""

    bytes: int
    files: int


class ToolFailed(Exception):
    """A tool did not do what it was asked for."""

    def __init__(self, command: str, status: int, output: str) -> None:
        super().__init__(command, status, output)
        self.command, self.status, self.output = command, status, output

    def __str__(self) -> str:
        return f"{self.command}: status {self.status}\n{self.output}"


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment without settings, with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", **more}


def our_environment(home: Path) -> dict[str, str]:
    """Return the environment of a Python that uses the store beside these benchmarks."""
    return clean_environment(home, PYTHONPATH=str(ROOT))


def seconds_of(command: Command) -> float:
    """Run a process; return its wall time, start-up included.

    Raises: ToolFailed if it ends with another status than 0.
    """
    # A file, not a pipe: a daemon that a tool leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        done = subprocess.run(
            command.words,
            cwd=command.folder,
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            output.seek(0)
            text = output.read()[-2000:].decode(errors="replace")
            raise ToolFailed(" ".join(command.words[:3]), done.returncode, text)
    return seconds


def answer_of(command: Command) -> str:
    """Run a process; return what it prints.

    Raises: ToolFailed if it ends with another status than 0.
    """
    done = subprocess.run(
        command.words,
        cwd=command.folder,
        env=command.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolFailed(" ".join(command.words[:3]), done.returncode, done.stderr[-2000:])
    return done.stdout


def seconds_each(count: int, act: Callable[[int], object]) -> list[float]:
    """Act so many times; return the wall time of each."""
    taken = []
    for number in range(count):
        started = time.perf_counter()
        act(number)
        taken.append(time.perf_counter() - started)
    return taken


def median_ms(seconds: list[float]) -> float:
    """Return the median in milliseconds."""
    return statistics.median(seconds) * 1000


def settle(*paths: Path) -> None:
    """Write out what is dirty and read files once: no step pays for another, or for a cold disk."""
    os.sync()
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                with file.open("rb", buffering=0) as handle:
                    while handle.read(BLOCK_BYTES):
                        pass
    # No tool may take a file for unchanged that was written in the same tick of the clock.
    time.sleep(_TICKS_SECONDS)


def usage_of(folder: Path) -> Usage:
    """Measure a folder on disk, dirty pages written out."""
    os.sync()
    taken, files = 0, 0
    for path in [folder, *folder.rglob("*")]:
        # A temporary file may go between the listing and the look.
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            taken += status.st_blocks * 512
            files += path.is_file()
    return Usage(bytes=taken, files=files)


def machine_line() -> str:
    """Say what was measured on, when, and what else was going on."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    load, _, _ = os.getloadavg()
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, {today}, load before {load:.1f}"
    )


def say(text: str) -> None:
    """Tell whoever waits how far it is; standard output has the tables only."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def workspace(asked: Path | None) -> Iterator[Path]:
    """Give a new folder for large data, gone at the end, and when we are asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="ros-bench-", dir=asked)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="large data goes below DIR")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all chance [{SEED}]")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--write-docs", action="store_true", help="fill docs/benchmarks.md")
    return parser
