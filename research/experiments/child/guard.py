"""The guard: refuses, inside the child, what research code may not do, and names it.

An audit hook of the interpreter: no network, no other programs, no broker's software, no file
outside the capsule but the interpreter's own. A refusal is kept, so that code which swallows the
exception fails all the same. It sees what Python does, not what a C library does by itself: behind
it stand the kernel's walls, which ``confine.py`` puts up and which have no words.
"""

import _posixsubprocess
import errno
import fcntl
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Our own: an experiment may put something else in its place.
_realpath = os.path.realpath
_readlink = os.readlink
_F_GETPATH = 50

_LOCAL_FAMILY = 1  # AF_UNIX: a pair of them is how threads wake each other
_STREAM, _TYPE_MASK = 1, 0xF

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
    "nntplib.connect",
    "webbrowser.open",
    "syslog.openlog",
    "syslog.syslog",
)
# What finds the guard itself, and everybody's secrets.
_SEARCHES = (
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
    "sys._current_frames",
    "sys._current_exceptions",
)
_EXTENSIONS = ("sqlite3.enable_load_extension", "sqlite3.load_extension")
# Functions of the C library that ask the kernel for what a run may not have.
_C_DOORS = frozenset(
    """
    accept accept4 bind bpf chmod chown chroot clone connect creat dlmopen dlopen execl execle
    execlp execv execve execveat execvp execvpe fanotify_init fchmodat fexecve fopen fopen64 fork
    freopen freopen64 getaddrinfo gethostbyaddr gethostbyname getnameinfo inotify_add_watch
    inotify_init inotify_init1 io_uring_setup keyctl kill killpg lchown link linkat listen mkdir
    mkdirat mknod mknodat mount mq_open open open64 openat openat2 openat64 opendir
    perf_event_open pidfd_getfd pidfd_open pivot_root popen posix_spawn posix_spawnp prctl
    process_vm_readv process_vm_writev ptrace readlink remove rename renameat renameat2 rmdir
    sendmmsg sendmsg sendto setns setxattr shmat shmget shm_open shm_unlink socket symlink
    symlinkat syscall system tgkill truncate umount umount2 unlink unlinkat unshare utime utimes
    vfork _PySys_ClearAuditHooks
    """.split()
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
# event -> the arguments that are paths to be written: where each is, and where its folder's handle
_WRITES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
    "shutil.rmtree": ((0, 1),),
    "shutil.move": ((0, None), (1, None)),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READS = ("os.listdir", "os.scandir", "os.chdir", "os.getxattr", "os.listxattr")
# Below these two an experiment writes; the rest of its folder is the runner's.
_WRITABLE = ("output", "home")
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
    process_id = 0
    is_walled = False
    after_import: Mapping[str, Callable[[ModuleType], None]] = {}
    note: Callable[[str], None] = print


def install(
    folder: Path,
    readable: Sequence[str],
    loadable: Sequence[str],
    forbidden: Sequence[str],
    code: str,
    after_import: Mapping[str, Callable[[ModuleType], None]],
    note: Callable[[str], None],
    is_walled: bool,
) -> None:
    """Start to watch. What lies below ``readable`` may be read, and ``folder``.

    C libraries are loaded from below ``loadable``; modules of ours from ``code`` alone. A module
    named in ``after_import`` is shown to its function once it is loaded; ``note`` is told of a
    library that is taken hold of. Where the kernel's walls stand, it may be one of the system's.
    """
    _State.is_walled = is_walled
    _State.process_id = os.getpid()
    _State.after_import = {**after_import, "_posixshmem": _shut_shared_memory}
    _State.note = note
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
        if name in _State.after_import:
            return _shown(PathFinder.find_spec(name, path), _State.after_import[name])
        if name not in _OURS:
            return None
        found = PathFinder.find_spec(name, [_State.code])
        if found is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found


class _Shown:
    """A loader that shows the module to a function once it is loaded."""

    def __init__(self, loader: Any, show: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._show = show

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the loader make the module."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and show it."""
        self._loader.exec_module(module)
        self._show(module)


def _shown(spec: ModuleSpec | None, show: Callable[[ModuleType], None]) -> ModuleSpec | None:
    if spec is not None and spec.loader is not None:
        spec.loader = _Shown(spec.loader, show)  # type: ignore[assignment]
    return spec


def _shut_shared_memory(module: Any) -> None:
    """Refuse memory that other programs share: opening it has no event."""
    module.shm_open = module.shm_unlink = _refuse_shared_memory


def _refuse_shared_memory(*arguments: Any, **options: Any) -> NoReturn:
    name = arguments[0] if arguments else options.get("path", "")
    _refuse(f"it tried to share memory with other programs ({name!r})")


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
        if arguments[2] & _TYPE_MASK != _STREAM:
            _refuse("it tried to reach another program (a socket for messages)")
    elif event in ("os.kill", "os.killpg"):
        if event == "os.killpg" or arguments[0] != _State.process_id:
            _refuse(f"it tried to signal another process ({arguments[0]!r})")
    elif event in _PROGRAMS:
        _refuse_program(arguments[0] if arguments else event)
    elif event == "ctypes.dlopen":
        _check_library(arguments[0])
    elif event in ("ctypes.dlsym", "ctypes.dlsym/handle"):
        _check_function(arguments[0], arguments[1])
    elif event in _SEARCHES:
        _refuse(f"it tried to search the interpreter's memory ({event})")
    elif event in _EXTENSIONS:
        _refuse(f"it tried to load a library into a database ({event})")
    elif event == "resource.prlimit":
        if arguments[0] not in (0, _State.process_id):
            _refuse(f"it tried to limit another process ({arguments[0]!r})")
    elif event in _WRITES:
        for position, folder in _WRITES[event]:
            handle = arguments[folder] if folder is not None and folder < len(arguments) else None
            _check_path(_joined(arguments[position], handle), writes=True)
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
        is_allowed = any(_below(real, f"{_State.folder}/{name}") for name in _WRITABLE)
    else:
        is_allowed = is_readable(real) and not _is_memory(real)
    if not is_allowed and writes and "/__pycache__" in real and _below(real, _State.code):
        # Whoever caches what it compiles goes on without: no run writes to its own code.
        raise PermissionError(errno.EACCES, "the code tree is read-only", text)
    if not is_allowed:
        verb = "write" if writes else "read"
        own = "; write below output_dir" if writes and _below(real, _State.folder) else ""
        _refuse(f"it tried to {verb} {text!r}, which its run does not declare{own}")


def _joined(path: Any, handle: Any) -> Any:
    """Return a path that starts from a folder's handle, if it has one, as a whole path."""
    if not isinstance(handle, int) or handle < 0 or isinstance(path, int):
        return path
    if sys.platform == "darwin":
        folder = fcntl.fcntl(handle, _F_GETPATH, bytes(1024)).rstrip(b"\0")
        return os.path.join(os.fsdecode(folder), os.fsdecode(path))
    return os.path.join(_readlink(f"/proc/self/fd/{handle}"), os.fsdecode(path))


def _is_memory(real: str) -> bool:
    return real.startswith("/proc/") and real.endswith("/mem")


def _database(name: Any) -> Any:
    """Return the path in a database's name, which may be a URI."""
    text = os.fsdecode(name)
    return text.removeprefix("file:").partition("?")[0] if text.startswith("file:") else name


def _check_library(name: Any) -> None:
    """Note the system's libraries; refuse them where nothing else would see what they do."""
    if name is None:
        _State.note("the C library (by ctypes)")
        return
    text = os.fsdecode(name)
    real = _realpath(text)
    if "/" in text and any(_below(real, root) for root in _State.loadable):
        return
    if not _State.is_walled:
        _refuse(f"it tried to load the library {text!r}, which its run does not declare")
    _State.note(f"a library outside the packages ({text})")


def _check_function(library: Any, name: Any) -> None:
    """Refuse a function of the C library that would ask the kernel behind our back."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    place = getattr(library, "_name", None)
    is_packaged = isinstance(place, str) and any(
        _below(_realpath(place), root) for root in _State.loadable
    )
    if text in _C_DOORS and not is_packaged:
        _refuse(f"it tried to call {text!r} of the C library")


def refuse(message: str) -> NoReturn:
    """Refuse on behalf of somebody else who watches."""
    _refuse(message)


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
