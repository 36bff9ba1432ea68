"""The context: the workspace that a notebook or a command works in, and who works there.

Owns the reading of the surroundings for everything below the command line: the clock, the user,
the environment's variables, git. Nothing else in ``research`` reads them (one room, one seam).
"""

import functools
import os
import site
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from research.errors import WorkspaceMissing
from rosdb import FOLDER, Store

_GIT_SECONDS_MAX: Final = 10.0
_CPU_BYTES: Final = 8192
_DECIDING: Final = ("sse4_2", "avx", "fma", "avx2", "avx512f", "asimd", "sve")


def _ignore_status(text: str) -> None:
    """Drop a message: nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A workspace with its store, and the occasion's circumstances."""

    workspace: Path
    store: Store
    agent: str
    now_ns: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = field(default=_ignore_status)

    @property
    def user(self) -> str:
        """Who works here, as claimed."""
        return self.store.who.partition("@")[0]

    @property
    def host(self) -> str:
        """Where, as claimed."""
        return self.store.who.partition("@")[2]

    @property
    def process_id(self) -> int:
        """The process id."""
        return os.getpid()

    @property
    def core_count(self) -> int:
        """How many processors this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @property
    def experiments_folder(self) -> Path:
        """The workspace's own experiments."""
        return self.workspace / "research" / "experiments"

    @property
    def software(self) -> str:
        """The version of Research OS."""
        return software_version()

    def git(self) -> dict[str, Any] | None:
        """Return the workspace's commit, branch and whether it has changes; None without git."""
        if not any(
            (folder / ".git").exists() for folder in (self.workspace, *self.workspace.parents)
        ):
            return None
        text = _git(
            self.workspace, "status", "--porcelain=v2", "--branch", "--untracked-files=normal"
        )
        if text is None:
            return None
        head = dict(line[2:].split(" ", 1) for line in text.splitlines() if line.startswith("# "))
        commit = head.get("branch.oid", "")
        return {
            "commit": None if commit in ("", "(initial)") else commit,
            "branch": head.get("branch.head"),
            "dirty": any(not line.startswith("# ") for line in text.splitlines()),
        }


def create_experiment_context(
    folder: Path | str | None = None, say: Callable[[str], None] = _ignore_status
) -> Context:
    """Find the workspace at or above a folder (the present one), as the command line does.

    Raises: WorkspaceMissing, NotAStore, UnsupportedFormat.
    """
    store = Store.open(find_store(Path.cwd() if folder is None else Path(folder)))
    return Context(
        workspace=store.path.parent,
        store=store,
        agent=os.environ.get("ROS_AGENT", ""),
        say=say,
    )


def find_store(folder: Path) -> Path:
    """Return the store of the workspace at or above a folder; ``ROS_DIR`` overrides it.

    Raises: WorkspaceMissing.
    """
    override = os.environ.get("ROS_DIR")
    if override:
        return Path(override).absolute()
    here = folder.absolute()
    for candidate in (here, *here.parents):
        if (candidate / FOLDER).is_dir():
            return candidate / FOLDER
    raise WorkspaceMissing(str(folder))


def cache_folder() -> Path:
    """Return where things lie that can be made again, outside every store.

    ``ROS_CACHE_DIR``, else a folder below ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    own = os.environ.get("ROS_CACHE_DIR")
    if own:
        return Path(own).absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "research-os"


@functools.cache
def software_version() -> str:
    """Return the version of Research OS that runs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("research-os")
    except PackageNotFoundError:
        return "unknown"


def interpreter() -> Mapping[str, str]:
    """Describe the interpreter and the machine, as far as they decide an outcome."""
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "system": sys.platform,
        "libc": _libc(),
        "machine": os.uname().machine,
        "instructions": _instructions(),
    }


def _libc() -> str:
    """Name the system's C library, whose exp and log are Python's."""
    if "CS_GNU_LIBC_VERSION" in os.confstr_names:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    return f"{os.uname().sysname} {os.uname().release}"


def _instructions() -> str:
    """Name the processor's instructions by which libraries choose between two roundings."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            described = file.read(_CPU_BYTES)
    except OSError:
        return ""
    flags = set(described.partition(b"\nprocessor")[0].split())
    return " ".join(name for name in _DECIDING if name.encode() in flags)


def packages_path() -> list[str]:
    """Return where a child finds distributions: our path without what others put there.

    A folder within a package is on the path because the package has put it there.
    """
    added = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), site.getusersitepackages()]
    theirs = {os.path.realpath(entry) for entry in added if entry}
    return [
        entry
        for entry in sys.path
        if os.path.realpath(entry) not in theirs
        and not os.path.exists(os.path.join(os.path.dirname(entry), "__init__.py"))
    ]


def _git(folder: Path, *arguments: str) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
