"""The walls around the child: what the kernel refuses, whoever in the process asks.

Owns their order and the name of the level reached. It runs before any code of the experiment,
while the process has one thread, and takes the strongest that the machine allows: what cannot be
had is left out, with the reason. Nothing of it can be undone by the process. Of the standard
library it needs ``ctypes`` alone.

    python confine.py FOLDER    try it, and print what was reached as JSON
"""

import ctypes
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
WRITABLE: Final = ("output", "home")
_PR_SET_NO_NEW_PRIVS: Final = 38


class Reached:
    """Which walls stand, and why others do not."""

    def __init__(self) -> None:
        self.parts = ["hook"]
        self.absent: dict[str, str] = {}
        self.narrow: Callable[..., None] = lambda own, shared=(): None

    @property
    def level(self) -> str:
        """Name the strongest level whose walls all stand."""
        kinds = {part.partition(":")[0] for part in self.parts}
        if "sandbox-exec" in kinds:
            return "sandbox-exec"
        if "seccomp" not in kinds:
            return "hook"
        if {"namespaces:mounts", "namespaces:network"} <= set(self.parts):
            return "namespaces"
        return "landlock" if "landlock" in kinds else "seccomp"


def confine(
    folder: str,
    readable: Sequence[str],
    load: Callable[[str], ModuleType],
    *,
    is_wrapped: bool = False,
    writable: Sequence[str] = WRITABLE,
    is_worker: bool = False,
) -> Reached:
    """Put up every wall that the machine allows; the present folder is ``folder`` afterwards.

    What is readable may be read, ``folder`` too; written may be its ``writable`` folders.
    ``load`` loads a file that lies beside this one. Wrapped is who was started by ``sandbox-exec``.
    A worker's walls let it copy itself; each copy then calls ``narrow`` with its own folder, and
    what else it may read below ours: from then on it writes there alone, and starts nothing.
    Without a folder, what may be read and written stays.
    """
    reached = Reached()
    if is_wrapped:
        reached.parts.append("sandbox-exec")
        return reached
    if not sys.platform.startswith("linux"):
        reached.absent["kernel"] = f"{sys.platform} has none that are known here"
        return reached
    # All of them first: once the walls stand, no byte code of theirs could be kept.
    namespaces, landlock, seccomp = map(load, ("namespaces", "landlock", "seccomp"))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        reached.parts.append("no_new_privs")
    # A copy's /proc/self is another; what of /proc it may open, its own walls say.
    processes = "/proc" if is_worker else "/proc/self"
    # What runs share, none of them changes: not even the mode or the times of a file.
    own = writable if is_worker else None
    _leave_namespaces(libc, namespaces, folder, [*readable, processes], own, reached)
    _restrict_files(libc, landlock, [*readable, processes, folder], folder, writable, reached)
    if not is_worker:
        _filter_calls(libc, seccomp, reached)
        return reached

    def narrow(own: str | None, shared: Sequence[str] = ()) -> None:
        if own is not None:
            _restrict_files(libc, landlock, [*readable, *shared, own], own, WRITABLE, reached)
        _filter_calls(libc, seccomp, reached)

    reached.narrow = narrow
    return reached


def _leave_namespaces(
    libc: ctypes.CDLL,
    namespaces: ModuleType,
    folder: str,
    readable: Sequence[str],
    writable: Sequence[str] | None,
    reached: Reached,
) -> None:
    is_root = os.geteuid() == 0
    try:
        left = namespaces.leave(libc)
    except OSError as error:
        reached.absent["namespaces"] = error.strerror or str(error)
        left = []
    if "mounts" in left:
        left.remove("mounts")
        try:
            namespaces.change_root(libc, folder, readable, DEVICES, writable)
            left.append("mounts")
        except OSError as error:
            reached.absent["namespaces:mounts"] = error.strerror or str(error)
    reached.parts += [f"namespaces:{name}" for name in sorted(left)]
    try:
        namespaces.drop_capabilities(libc, keep_files=is_root and "user" not in left)
        reached.parts.append("no_capabilities")
    except OSError as error:
        reached.absent["no_capabilities"] = error.strerror or str(error)


def _restrict_files(
    libc: ctypes.CDLL,
    landlock: ModuleType,
    readable: Sequence[str],
    folder: str,
    writable: Sequence[str],
    reached: Reached,
) -> None:
    places = [os.path.join(folder, name) for name in writable]
    try:
        walls = landlock.restrict(libc, [*readable, *DEVICES[1:]], [*places, DEVICES[0]])
        parts = [f"landlock:{name}" for name in walls]
        reached.parts += [part for part in parts if part not in reached.parts]
    except OSError as error:
        reached.absent["landlock"] = error.strerror or str(error)


def _filter_calls(libc: ctypes.CDLL, seccomp: ModuleType, reached: Reached) -> None:
    try:
        seccomp.install(libc)
        reached.parts.append("seccomp")
    except OSError as error:
        reached.absent["seccomp"] = error.strerror or str(error)


def _load(name: str) -> ModuleType:
    """Load a file that lies beside this one, under no name that an experiment could import."""
    location = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_ros_{name}", location)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder: str, readable: Sequence[str]) -> int:
    """Try the walls in this process, and print what came of it."""
    reached = confine(folder, readable, _load)
    found = {"level": reached.level, "parts": reached.parts, "absent": reached.absent}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
