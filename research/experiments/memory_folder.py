"""A private folder in memory, for files that are read once and removed.

Owns where it is and who clears away what a dead process has left. On a disk each new file costs
more than what stands in it: ext4 looks past every inode that was freed in the last minute.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rosdb import remove_folder

_ROOT: Final = Path("/dev/shm")
_PREFIX: Final = "ros-"
_NEW_NS: Final = 60 * 10**9


@contextlib.contextmanager
def memory_folder(size_bytes: int, now_ns: int) -> Iterator[Path | None]:
    """Give a folder in memory, gone at the end; None where so much does not fit twice over."""
    if not _has_room(2 * size_bytes):
        yield None
        return
    _sweep(now_ns)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_ROOT)).resolve()
    # The lock ends with the process, however that ends; by it others know.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        remove_folder(folder)
        os.close(handle)


def _has_room(size_bytes: int) -> bool:
    try:
        found = os.statvfs(_ROOT)
    except OSError:
        return False
    return os.access(_ROOT, os.W_OK) and found.f_bavail * found.f_frsize >= size_bytes


def _sweep(now_ns: int) -> None:
    for folder in _ROOT.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.geteuid() or now_ns - status.st_mtime_ns < _NEW_NS:
                continue  # another's; or not locked yet
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_folder(folder)
            finally:
                os.close(handle)
