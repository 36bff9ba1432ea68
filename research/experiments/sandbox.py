"""The sandbox, seen from outside: what this machine can do, and what a workspace asks for.

Owns the question whether a run may start (``sandbox = "required"``), the look at the machine that
``ros doctor`` shows, and the profile that macOS is given. The walls themselves stand in ``child/``
and are put up by the child, which says in its result which of them it has.
"""

import json
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from research.errors import BadInput

Wanted = Literal["best", "required", "hook"]
WANTED: Final = ("best", "required", "hook")

# Weakest first. From the third on, a run counts as walled in: files and calls, or more.
LEVELS: Final = ("hook", "seccomp", "landlock", "namespaces", "sandbox-exec")
WALLED: Final = frozenset(LEVELS[2:])
PARTS: Final = (
    "no_new_privs",
    "namespaces:user",
    "namespaces:mounts",
    "namespaces:network",
    "namespaces:ipc",
    "namespaces:hostname",
    "no_capabilities",
    "landlock:files",
    "landlock:tcp",
    "landlock:signals",
    "seccomp",
)

_CONFINE: Final = Path(__file__).parent / "child" / "confine.py"
_SANDBOX_EXEC: Final = Path("/usr/bin/sandbox-exec")
_TEXT_MAX: Final = 500
_SOURCES_MAX: Final = 50
_SECONDS_MAX: Final = 30.0


# What an interpreter and its libraries read by themselves: their own files, the time zones, the
# machine's description. Nothing that a dataset could be.
_SYSTEM_READABLE: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/sys/devices/system/cpu",
    "/System/Library",
)
# Where a system's own interpreter lives there is more than interpreters.
_SHARED_PREFIXES: Final = frozenset({"/", "/usr", "/usr/local"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a child reaches on this machine: the level, its parts, and why others are absent."""

    level: str
    parts: tuple[str, ...]
    absent: Mapping[str, str]


def check(wanted: Wanted) -> None:
    """Let a run start, unless more is required than this machine has.

    Raises: BadInput.
    """
    if wanted != "required":
        return
    machine = look()
    if machine.level not in WALLED:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in machine.absent.items())
        raise BadInput(
            f'sandbox = "required", and this machine reaches only {machine.level!r} ({reasons}):'
            " ros doctor says more"
        )


@cache
def look() -> Machine:
    """Put up the walls in a child that does nothing else, and say which stand."""
    readable = readable_folders()
    with tempfile.TemporaryDirectory(prefix="ros-") as name:
        folder = Path(name).resolve()
        for part in ("output", "home"):
            (folder / part).mkdir()
        command = [sys.executable, "-P", "-s", "-B", str(_CONFINE), str(folder), *readable]
        done = subprocess.run(
            wrapped(command, folder, readable),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS_MAX,
            check=False,
        )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        reason = " ".join(done.stderr.split())[-_TEXT_MAX:] or f"it ended with {done.returncode}"
        return Machine(level="hook", parts=("hook",), absent={"probe": reason})
    parts = tuple(found["parts"])
    if can_wrap():
        return Machine(level="sandbox-exec", parts=(*parts, "sandbox-exec"), absent={})
    return Machine(level=found["level"], parts=parts, absent=found["absent"])


def readable_folders() -> list[str]:
    """Return what a child may read besides its folder: the interpreter and its distributions."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix} - _SHARED_PREFIXES
    return sorted({*prefixes, *site.getsitepackages(), str(_CONFINE.parent), *_SYSTEM_READABLE})


def can_wrap() -> bool:
    """Tell whether the child has to be started by macOS's ``sandbox-exec``."""
    return sys.platform == "darwin" and _SANDBOX_EXEC.exists()


def wrapped(command: Sequence[str], folder: Path, readable: Sequence[str]) -> list[str]:
    """Return the command that starts a child, by way of the system's sandbox where it has one."""
    if not can_wrap():
        return list(command)
    return [str(_SANDBOX_EXEC), "-p", profile(folder, readable), *command]


def profile(folder: Path, readable: Sequence[str]) -> str:
    """Write macOS's profile: everything is denied but what a run needs.

    The names of files may be looked at everywhere, or no path could be resolved.
    """
    reads = "\n".join(f"    (subpath {_quoted(path)})" for path in [*readable, str(folder)])
    writes = "\n".join(f"    (subpath {_quoted(folder / name)})" for name in ("output", "home"))
    return f"""\
(version 1)
(deny default)
(allow process-exec (subpath {_quoted(sys.base_prefix)}) (subpath {_quoted(sys.prefix)}))
(allow signal (target self))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow file-read-metadata)
(allow file-read*
    (literal "/")
    (subpath "/usr/lib")
    (subpath "/System/Library")
    (subpath "/private/var/db/dyld")
    (literal "/dev/null")
    (literal "/dev/zero")
    (literal "/dev/random")
    (literal "/dev/urandom")
{reads})
(allow file-write*
    (literal "/dev/null")
    (literal {_quoted(folder / "result.json")})
    (literal {_quoted(folder / "log")})
{writes})
(deny network*)
"""


def read_reached(value: Any) -> dict[str, Any] | None:
    """Read the level that a child wrote down; what a child wrote is not trusted."""
    if not isinstance(value, dict) or value.get("level") not in LEVELS:
        return None
    parts = value.get("parts")
    if not isinstance(parts, list):
        return None
    return {"level": value["level"], "parts": sorted({str(p)[:_TEXT_MAX] for p in parts[:50]})}


def read_sources(value: Any) -> list[dict[str, str]]:
    """Read the sources of nondeterminism that a child wrote down, as text that a record holds."""
    found = []
    for each in value[:_SOURCES_MAX] if isinstance(value, list) else ():
        if isinstance(each, dict) and each.get("what"):
            found.append({key: _plain(each.get(key, "")) for key in ("what", "where")})
    return found


def _plain(value: Any) -> str:
    return str(value)[:_TEXT_MAX].encode("utf-8", "backslashreplace").decode("utf-8")


def _quoted(path: Path | str) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
