"""The surroundings of a command: the terminal, the arguments, the environment's variables.

Owns their reading for the command line; ``research.context`` owns the workspace's.
"""

import os
import shutil
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from research.context import Context, create_experiment_context

PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What standard output and standard error are connected to."""

    width: int
    is_terminal: bool
    has_color: bool
    shows_progress: bool


@cache
def terminal() -> Terminal:
    """Look at the terminal, once."""
    is_terminal = sys.stdout.isatty()
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Terminal(
        # A pipe has no width: whoever reads it wants whole values.
        width=shutil.get_terminal_size().columns if is_terminal else PIPE_WIDTH,
        is_terminal=is_terminal,
        has_color=is_terminal and not is_plain,
        shows_progress=sys.stderr.isatty() and not is_plain,
    )


def arguments() -> list[str]:
    """Return the command line without the program's name."""
    return sys.argv[1:]


def wants_traceback() -> bool:
    """Tell whether errors are to be shown with their traceback."""
    return os.environ.get("ROS_TRACEBACK", "") not in ("", "0")


def enter(folder: Path) -> None:
    """Run as if started in a folder."""
    os.chdir(folder)


def monotonic() -> float:
    """Return a clock that only goes forward, in seconds."""
    return time.monotonic()


def present_folder() -> Path:
    """Return the folder that the command works in."""
    return Path.cwd()


def open_context() -> Context:
    """Open the workspace at or above the present folder.

    Raises: WorkspaceMissing, NotAStore, UnsupportedFormat.
    """
    return create_experiment_context(say=say)


def say(text: str) -> None:
    """Tell people something; scripts read standard output only."""
    print(text, file=sys.stderr)
