"""The guard: refuses, inside the child, what research code may not do.

An audit hook of the interpreter: no network, no other programs, no broker's software, no file
outside the capsule but the interpreter's own. A refusal is kept, so that code which swallows the
exception fails all the same. It sees what Python does, not what a C library does by itself: it is
one level of protection, and ``docs/safety.md`` says what it does not stop.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

refusals: list[str] = []
places: list[str] = []

_NETWORK = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.getnameinfo",
    "socket.getservbyname",
    "urllib.Request",
    "http.client.connect",
    "ftplib.connect",
    "smtplib.connect",
    "imaplib.open",
    "poplib.connect",
    "telnetlib.Telnet.open",
)
_PROGRAMS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
)
# event -> positions of its arguments that are paths to be written
_WRITES = {
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "os.setxattr": (0,),
    "os.removexattr": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
}
_READS = {"os.listdir": (0,), "os.scandir": (0,), "os.chdir": (0,), "sqlite3.connect": (0,)}
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class RefusedAction(PermissionError):
    """What the code tried is not allowed in a run."""


class _State:
    """What the hook consults; a hook cannot be removed, so it can be told to rest."""

    folder = ""
    code = ""
    readable: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()
    is_awake = False


def install(folder: Path, readable: Sequence[str], forbidden: Sequence[str], code: str) -> None:
    """Start to watch. What lies below ``readable`` may be read, below ``folder`` written too."""
    _State.folder = os.path.realpath(folder)
    _State.code = code
    _State.readable = tuple(os.path.realpath(path) for path in readable)
    _State.forbidden = frozenset(forbidden)
    _State.is_awake = True
    sys.addaudithook(_hook)


def rest() -> None:
    """Stop to watch: the experiment is over and the harness writes its result."""
    _State.is_awake = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _State.is_awake:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(mode, str) and any(c in mode for c in "wax+")
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            writes = True
        _check_path(path, writes=writes)
    elif event == "import":
        _check_import(arguments[0])
    elif event in _NETWORK:
        target = arguments[1] if len(arguments) > 1 and event.startswith("socket.") else arguments
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            target = arguments[0]
        _refuse(f"it tried to reach the network ({event}: {target!r})")
    elif event in _PROGRAMS:
        _refuse(f"it tried to start another program ({arguments[0]!r})")
    elif event == "ctypes.dlopen":
        if arguments[0] is not None:
            _check_path(arguments[0], writes=False, what="load")
    elif event in _WRITES:
        for position in _WRITES[event]:
            _check_path(arguments[position], writes=True)
    elif event in _READS:
        for position in _READS[event]:
            _check_path(arguments[position], writes=False)


def _check_path(path: Any, *, writes: bool, what: str = "read") -> None:
    if path is None or isinstance(path, int):
        return  # the present folder, or a handle that passed when it was opened
    text = os.fsdecode(path)
    real = os.path.realpath(text)
    if _below(real, _State.folder) or real in _DEVICES or text in ("", ":memory:"):
        return
    if not writes and any(_below(real, root) for root in _State.readable):
        return
    verb = "write" if writes else what
    _refuse(f"it tried to {verb} {text!r}, which its run does not declare")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _check_import(module: str) -> None:
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        if ".".join(parts[:count]) in _State.forbidden:
            _refuse(f"it tried to import {module!r}, which research code may not")


def _refuse(message: str) -> None:
    refusals.append(message)
    places.append(_place())
    raise RefusedAction(message)


def _place() -> str:
    """Find the line of the experiment that asked."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_State.code):
            return f"{name[len(_State.code) + 1 :]}, line {frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""
