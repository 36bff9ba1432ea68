"""The guard: refuses, inside the child, what research code may not do.

An audit hook of the interpreter: no network, no other programs, no broker's software, no file
outside the capsule but the interpreter's own. A refusal is kept, so that code which swallows the
exception fails all the same. It sees what Python does, not what a C library does by itself: it is
one level of protection, and ``docs/safety.md`` says what it does not stop.
"""

import _posixsubprocess
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Our own: an experiment may put something else in its place.
_realpath = os.path.realpath

_process_id = os.getpid()
_LOCAL_FAMILY = 1  # AF_UNIX: a pair of them is how threads wake each other

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
    "os.fork",  # what is refused in a copy of the process would not be known here
    "os.forkpty",
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
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READS = ("os.listdir", "os.scandir", "os.chdir")
# What the runner put into the folder; the rest of it is the experiment's to write.
_KEPT = ("code", "input", "log", "request.json", "result.json")
_OURS = ("cli", "research", "rosdb")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class RefusedAction(PermissionError):
    """What the code tried is not allowed in a run."""


class _State:
    """What the hook consults; a hook cannot be removed."""

    folder = ""
    code = ""
    readable: tuple[str, ...] = ()
    loadable: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()


def install(
    folder: Path,
    readable: Sequence[str],
    loadable: Sequence[str],
    forbidden: Sequence[str],
    code: str,
) -> None:
    """Start to watch. What lies below ``readable`` may be read, below ``folder`` written too.

    C libraries are loaded from below ``loadable``; modules of ours from ``code`` alone.
    """
    _State.folder = _realpath(folder)
    _State.code = code
    _State.readable = tuple(_realpath(path) for path in readable)
    _State.loadable = tuple(_realpath(path) for path in loadable)
    _State.forbidden = frozenset(forbidden)
    sys.meta_path.insert(0, _Gate())
    sys.addaudithook(_hook)
    # Starting a program has an event of the interpreter, but for this one door.
    _posixsubprocess.fork_exec = _refuse_program


def is_readable(path: str) -> bool:
    """Tell whether a file or folder may be read."""
    real = _realpath(path)
    return any(_below(real, root) for root in (_State.folder, *_State.readable))


class _Gate:
    """Stands before every import, those by ``importlib`` too, of which there is no event."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse a broker's module; find ours in the code tree or not at all."""
        _check_import(name)
        if name not in _OURS:
            return None
        found = PathFinder.find_spec(name, [_State.code])
        if found is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(mode, str) and any(c in mode for c in "wax+")
        if isinstance(flags, int) and flags & _WRITING:
            writes = True
        _check_path(path, writes=writes)
    elif event == "import":
        _check_import(arguments[0])
    elif event in _NETWORK:
        target = arguments[1] if len(arguments) > 1 and event.startswith("socket.") else arguments
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            target = arguments[0]
        _refuse(f"it tried to reach the network ({event}: {target!r})")
    elif event == "socket.__new__":
        if arguments[1] != _LOCAL_FAMILY:
            _refuse(f"it tried to reach the network (a socket of family {arguments[1]})")
    elif event in ("os.kill", "os.killpg"):
        if event == "os.killpg" or arguments[0] != _process_id:
            _refuse(f"it tried to signal another process ({arguments[0]!r})")
    elif event in _PROGRAMS:
        _refuse_program(arguments[0] if arguments else event)
    elif event == "ctypes.dlopen":
        _check_library(arguments[0])
    elif event in _WRITES:
        for position in _WRITES[event]:
            _check_path(arguments[position], writes=True)
    elif event == "sqlite3.connect":
        _check_path(_database(arguments[0]), writes=False)
    elif event in _READS:
        _check_path(arguments[0], writes=False)


def _check_path(path: Any, *, writes: bool) -> None:
    if path is None or isinstance(path, int):
        return  # the present folder, or a handle that passed when it was opened
    text = os.fsdecode(path)
    real = _realpath(text)
    if real in _DEVICES or text in ("", ":memory:"):
        return
    if writes:
        kept = (os.path.join(_State.folder, name) for name in _KEPT)
        is_allowed = _below(real, _State.folder) and not any(_below(real, name) for name in kept)
    else:
        is_allowed = is_readable(real)
    if not is_allowed:
        verb = "write" if writes else "read"
        _refuse(f"it tried to {verb} {text!r}, which its run does not declare")


def _database(name: Any) -> Any:
    """Return the path in a database's name, which may be a URI."""
    text = os.fsdecode(name)
    return text.removeprefix("file:").partition("?")[0] if text.startswith("file:") else name


def _check_library(name: Any) -> None:
    """Refuse the system's libraries: what they do by themselves is not seen."""
    if name is None:
        return  # the interpreter itself
    text = os.fsdecode(name)
    real = _realpath(text)
    if "/" not in text or not any(_below(real, root) for root in _State.loadable):
        _refuse(f"it tried to load the library {text!r}, which its run does not declare")


def _refuse_program(*arguments: Any) -> NoReturn:
    _refuse(f"it tried to start another program ({arguments[0] if arguments else ''!r})")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _check_import(module: str) -> None:
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        if ".".join(parts[:count]) in _State.forbidden:
            _refuse(f"it tried to import {module!r}, which research code may not")


def _refuse(message: str) -> NoReturn:
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
