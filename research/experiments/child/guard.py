"""The guard: refuses, inside the child, what research code may not do, and names it.

An audit hook of the interpreter: no network, no other programs, no broker's software, no file
outside the capsule but the interpreter's own. A refusal is kept, so that code which swallows the
exception fails all the same. It sees what Python does, not what a C library does by itself: behind
it stand the kernel's walls, which ``confine.py`` puts up and which have no words.
"""

import _posixsubprocess
import contextlib
import errno
import fcntl
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Our own: an experiment may put something else in its place.
_realpath = os.path.realpath
_readlink = os.readlink
_getcwd = os.getcwd
_F_GETPATH = 50

_LOCAL_FAMILY = 1  # AF_UNIX: a pair of them is how threads wake each other
_STREAM, _TYPE_MASK = 1, 0xF

refusals: list[str] = []
places: list[str] = []

# Below these two an experiment writes; the rest of its folder is the runner's.
_WRITABLE = ("output", "home")
_OURS = ("cli", "research", "rosdb")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def _load_lists() -> Any:
    """Load the file beside this one, under no name that an experiment could import."""
    location = Path(__file__).with_name("refused.py")
    spec = importlib.util.spec_from_file_location("_ros_refused", location)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_refused = _load_lists()


class RefusedAction(PermissionError):
    """What the code tried is not allowed in a run."""


class _State:
    """What the hook consults; a hook cannot be removed."""

    folder = ""
    code = ""
    given: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    loadable: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()
    process_id = 0
    writable: tuple[str, ...] = ()
    plainly_readable: tuple[str, ...] = ()
    is_walled = False
    has_links = False
    is_between = False
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
    _State.given = tuple(readable)
    _State.readable = tuple(_realpath(path) for path in readable)
    _State.loadable = tuple(_realpath(path) for path in loadable)
    _learn_names()
    _State.forbidden = frozenset(forbidden)
    sys.meta_path.insert(0, _Gate())
    sys.addaudithook(_hook)
    # Starting a program has an event of the interpreter, but for this one door.
    _posixsubprocess.fork_exec = _refuse_program


@contextlib.contextmanager
def between_runs() -> Iterator[None]:
    """Sleep while nothing of an experiment runs: the process is copied, a run's files opened."""
    _State.is_between = True
    try:
        yield
    finally:
        _State.is_between = False


def enter(folder: str, shared: str) -> None:
    """Go on with another folder, in a copy of the process or for the next run.

    Of the folder that is shared, what all runs have in common may be read.
    """
    _State.folder = _realpath(folder)
    _State.process_id = os.getpid()
    common = [f"{shared}/{name}" for name in ("code", "input")]
    _State.readable = tuple(map(_realpath, (*_State.given, *common)))  # /proc/self is another
    _learn_names()


def _learn_names() -> None:
    own = [f"{_State.folder}/{name}/" for name in _WRITABLE]
    _State.writable = tuple(own)
    roots = (_State.folder, *_State.readable)
    _State.plainly_readable = tuple(f"{root}/" for root in roots if not root.startswith("/proc"))


def forget() -> None:
    """Forget the refusals of a run that has ended."""
    refusals.clear()
    places.clear()


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
    if _State.is_between:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(mode, str) and any(c in mode for c in "wax+")
        if isinstance(flags, int) and flags & _refused.WRITING:
            writes = True
        _check_path(path, writes=writes)
    elif event == "import":
        _check_import(arguments[0])
    elif event in _refused.NETWORK:
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
    elif event in _refused.PROGRAMS:
        _refuse_program(arguments[0] if arguments else event)
    elif event == "ctypes.dlopen":
        _check_library(arguments[0])
    elif event in ("ctypes.dlsym", "ctypes.dlsym/handle"):
        _check_function(arguments[0], arguments[1])
    elif event in _refused.SEARCHES:
        _refuse(f"it tried to search the interpreter's memory ({event})")
    elif event in _refused.EXTENSIONS:
        _refuse(f"it tried to load a library into a database ({event})")
    elif event == "resource.prlimit":
        if arguments[0] not in (0, _State.process_id):
            _refuse(f"it tried to limit another process ({arguments[0]!r})")
    elif event in _refused.WRITES:
        _State.has_links = _State.has_links or event in ("os.symlink", "os.link")
        for position, folder in _refused.WRITES[event]:
            handle = arguments[folder] if folder is not None and folder < len(arguments) else None
            _check_path(_joined(arguments[position], handle), writes=True)
    elif event == "sqlite3.connect":
        _check_path(_database(arguments[0]), writes=False)
    elif event in _refused.READS:
        _check_path(arguments[0], writes=False)


def _check_path(path: Any, *, writes: bool) -> None:
    if path is None or isinstance(path, int):
        return  # the present folder, or a handle that passed when it was opened
    text = os.fsdecode(path)
    if _is_plainly_allowed(text, writes):
        return
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


def _is_plainly_allowed(text: str, writes: bool) -> bool:
    """Tell by its name alone that a path may be opened, where the kernel sees to what it leads to.

    Looking at each folder on the way costs more than opening a file.
    """
    if not _State.is_walled or _State.has_links or ".." in text or text.startswith("/proc"):
        return False
    whole = text if text.startswith("/") else f"{_getcwd()}/{text}"
    if writes:
        return whole.startswith(_State.writable)
    return whole.startswith(_State.plainly_readable)


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
    if text in _refused.C_DOORS and not is_packaged:
        _refuse(f"it tried to call {text!r} of the C library")


def refuse(message: str) -> NoReturn:
    """Refuse on behalf of somebody else who watches."""
    _refuse(message)


def _refuse_program(*arguments: Any) -> NoReturn:
    _refuse(f"it tried to start another program ({arguments[0] if arguments else ''!r})")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


@functools.cache
def is_forbidden(module: str) -> bool:
    """Tell whether a module, or a package that it is in, is on the list."""
    parts = module.split(".")
    return any(".".join(parts[:count]) in _State.forbidden for count in range(1, len(parts) + 1))


def _check_import(module: str) -> None:
    if is_forbidden(module):
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
