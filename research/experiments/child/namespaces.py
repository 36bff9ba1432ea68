"""Namespaces: a world of the child's own, with no network and no file but those it may use.

Owns the making of it: a network without an interface, a queue and a host name of its own, and a
root folder in memory in which only the given paths are there, read-only but for the run's own. As
root nothing else is needed; anybody else needs a user namespace, which some systems refuse.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Final

_NEWNS, _NEWUTS, _NEWIPC = 0x00020000, 0x04000000, 0x08000000
_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_NAMES: Final = {_NEWNET: "network", _NEWNS: "mounts", _NEWIPC: "ipc", _NEWUTS: "hostname"}

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 1 << 14, 1 << 18
_MNT_DETACH: Final = 2
_CAPABILITIES_V3: Final = 0x20080522
_DAC_OVERRIDE: Final = 1 << 1


def leave(libc: ctypes.CDLL) -> list[str]:
    """Leave the namespaces that others are in; return the names of those left.

    Raises: OSError if none may be left. Needs a process of one thread.
    """
    wanted = _NEWNET | _NEWNS | _NEWIPC | _NEWUTS
    if libc.unshare(wanted) == 0:
        return sorted(_NAMES.values())
    user, group = os.getuid(), os.getgid()
    _checked(libc.unshare(_NEWUSER | wanted))
    # The same numbers inside as outside. Where they may not be written, files still know us.
    with contextlib.suppress(OSError):
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    return sorted([*_NAMES.values(), "user"])


def drop_capabilities(libc: ctypes.CDLL, *, keep_files: bool) -> None:
    """Give up every privilege; root may keep the one to open files that belong to others.

    Raises: OSError.
    """
    kept = _DAC_OVERRIDE if keep_files else 0
    head = struct.pack("=Ii", _CAPABILITIES_V3, 0)
    _checked(libc.capset(head, struct.pack("=6I", kept, kept, 0, 0, 0, 0)))


def change_root(
    libc: ctypes.CDLL,
    folder: str,
    readable: Sequence[str],
    devices: Sequence[str],
    writable: Sequence[str] | None = None,
) -> None:
    """Make a root in which there are ``folder``, and read-only what is readable; go there.

    Every path keeps its name. Without an exception, the present folder is ``folder``. Below it all
    may be written, or no more than the ``writable`` folders.

    Raises: OSError; then everything is as it was.
    """
    _checked(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    links: dict[str, str] = {}
    places = [_resolved(path, links) for path in readable if os.path.exists(path)]
    handles: list[tuple[str, int, bool]] = []
    try:
        for path in _topmost(places):
            handles.append((path, _clone(libc, path), os.path.isdir(path)))
            _seal(libc, handles[-1][1], _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
        for path in devices:
            handles.append((path, _clone(libc, path), False))
            _seal(libc, handles[-1][1], _ATTR_NOSUID)
        real = _resolved(folder, links)
        handles.append((real, _clone(libc, folder), True))
        own = _ATTR_NOSUID | _ATTR_NODEV
        _seal(libc, handles[-1][1], own if writable is None else own | _ATTR_RDONLY)
        for name in writable or ():
            handles.append((f"{real}/{name}", _clone(libc, f"{folder}/{name}"), True))
            _seal(libc, handles[-1][1], own)
        _checked(
            libc.mount(b"ros", os.fsencode(folder), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755")
        )
        try:
            _furnish(libc, folder, handles, links)
            os.chdir(folder)
            _checked(libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."))
        except BaseException:
            libc.umount2(os.fsencode(folder), _MNT_DETACH)
            os.chdir(folder)
            raise
    finally:
        for _, handle, _ in handles:
            os.close(handle)
    _checked(libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")
    libc.mount(None, b"/", None, _REMOUNT_READ_ONLY, None)
    os.chdir(folder)


_REMOUNT_READ_ONLY: Final = 32 | 1 | 4096 | _MS_NOSUID | _MS_NODEV  # remount, read-only, bind


def _furnish(
    libc: ctypes.CDLL, root: str, handles: list[tuple[str, int, bool]], links: dict[str, str]
) -> None:
    """Put the trees and the symbolic links where they belong below a new root."""
    for path, handle, is_folder in handles:
        place = root + path
        if is_folder:
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if not os.path.lexists(place):
                os.close(os.open(place, os.O_CREAT | os.O_CLOEXEC, 0o600))
        _checked(
            libc.syscall(
                _MOVE_MOUNT, handle, b"", _AT_FDCWD, os.fsencode(place), _MOVE_MOUNT_F_EMPTY_PATH
            )
        )
    for path, target in links.items():
        place = root + path
        if not os.path.lexists(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.symlink(target, place)


def _resolved(path: str, links: dict[str, str]) -> str:
    """Return the real path; note every symbolic link on the way to it."""
    waiting = [part for part in reversed(path.split("/")) if part]
    real = ""
    while waiting:
        part = waiting.pop()
        if part == "..":
            real = os.path.dirname(real).rstrip("/")
            continue
        here = f"{real}/{part}"
        if part == "." or not os.path.islink(here):
            real = real if part == "." else here
            continue
        links[here] = target = os.readlink(here)
        if target.startswith("/"):
            real = ""
        waiting.extend(part for part in reversed(target.split("/")) if part)
    return real or "/"


def _topmost(paths: Sequence[str]) -> list[str]:
    """Leave out what lies below another path."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(other.rstrip("/") + "/") for other in kept):
            kept.append(path)
    return kept


def _clone(libc: ctypes.CDLL, path: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    return _checked(libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags))


def _seal(libc: ctypes.CDLL, handle: int, attributes: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    size = ctypes.c_size_t(len(wanted))
    _checked(libc.syscall(_MOUNT_SETATTR, handle, b"", flags, wanted, size))


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
