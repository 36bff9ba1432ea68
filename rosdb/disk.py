"""Durability, locks, the clock and the name of the user.

Owns how bytes become durable (Law 5): write beside, sync, rename, sync the folder. Knows nothing
of what is written. What has to last goes through here, so that a test can count, refuse or tear
each call.
"""

import contextlib
import errno
import fcntl
import io
import itertools
import os
import pwd
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from rosdb.errors import StoreLocked, StoreUnreadable, StoreUnwritable

LOCK_SECONDS_MAX: Final = 60.0
_OURS_ALONE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
)
_WRITE_OUT_BYTES: Final = 16 * 1024 * 1024
_BEHIND_BYTES: Final = 48 * 1024 * 1024
_counter: Final = itertools.count()


def now_ns() -> int:
    """Return the wall clock, in nanoseconds since 1970 UTC."""
    return time.time_ns()


def core_count() -> int:
    """Return how many processors there are."""
    return os.cpu_count() or 1


def whoami() -> str:
    """Return ``user@host``, as claimed by the system."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid-{os.getuid()}"
    return f"{user}@{os.uname().nodename}"


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Translate the system's refusals to write, once, at the boundary.

    Raises: StoreUnwritable if the disk is full, read-only, or not ours to write.
    """
    try:
        yield
    except OSError as error:
        refuse(error, path)


def refuse(error: OSError, path: Path) -> NoReturn:
    """Translate one refusal to write.

    Raises: StoreUnwritable.
    """
    reason = error.strerror or type(error).__name__
    raise StoreUnwritable(str(error.filename or path), reason) from error


def refuse_to_guess(error: OSError, path: Path) -> None:
    """Raise if an error says nothing of what is stored, only of what we may do just now.

    Raises: StoreUnreadable.
    """
    if error.errno in _OURS_ALONE:
        reason = error.strerror or type(error).__name__
        raise StoreUnreadable(str(error.filename or path), reason) from error


def sync(handle: int) -> None:
    """Make a file's bytes durable."""
    if sys.platform == "darwin":
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)


def start_writing(handle: int, offset: int, size_bytes: int) -> None:
    """Ask the system to begin writing a part of a file; says nothing of when it is durable.

    And to let go of what it has written a little ahead of it: a long file is not to push out of
    memory what others have there, and memory that is used again costs a third of new memory.
    """
    if hasattr(os, "posix_fadvise"):
        start = max(0, offset - _BEHIND_BYTES)
        os.posix_fadvise(handle, start, offset + size_bytes - start, os.POSIX_FADV_DONTNEED)


def close_unwritten(handle: BinaryIO) -> None:
    """Close a file that is to be dropped: what a full disk refused must not be tried again."""
    with contextlib.suppress(OSError):
        handle.close()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def open_temporary(folder: Path, buffer_bytes: int = -1) -> tuple[BinaryIO, Path]:
    """Open a new file of our own in the folder, for writing and reading back."""
    while True:
        path = folder / f"{os.getpid()}-{next(_counter)}"
        try:
            return path.open("x+b", buffer_bytes), path
        except FileExistsError:
            continue  # left behind by a dead process with our number
        except FileNotFoundError:
            make_folder(folder)  # a copy of a store may have lost its empty folders


def open_existing(path: Path) -> BinaryIO:
    """Open a file for reading and writing in place, unbuffered.

    What a refused write leaves in a buffer would be written when the file is closed.
    """
    return path.open("r+b", buffering=0)


def write(handle: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write all of the data."""
    left = memoryview(data)
    while left:
        left = left[handle.write(left) :]


def write_parts(handle: BinaryIO, parts: Iterable[bytes | bytearray | memoryview]) -> None:
    """Write parts; of a long content begin early, and do not fill the memory of others."""
    begun = written = handle.tell()
    for part in parts:
        write(handle, part)
        written += len(part)
        if written - begun > _WRITE_OUT_BYTES:
            handle.flush()
            with contextlib.suppress(io.UnsupportedOperation):  # a file in memory
                start_writing(handle.fileno(), begun, written - begun)
            begun = written


def write_synced(handle: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of the data and make it durable."""
    write(handle, data)
    handle.flush()
    sync(handle.fileno())


def publish(temporary: Path, target: Path) -> None:
    """Give a written file its name, read-only. The caller syncs the folder."""
    temporary.chmod(0o444)
    temporary.replace(target)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, durably.

    Raises: FileExistsError.
    """
    os.link(source, target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there. Not synced: what comes back is garbage, and harmless."""
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as the system lets us.

    A run may have left folders within folders by thousands: deeper than a path or the stack may be.
    """
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.is_dir() and not folder.is_symlink():
        with contextlib.suppress(OSError):
            _flatten(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _flatten(folder: Path) -> None:
    """Move every folder below a folder to right below it, so that none lies deep."""
    waiting, count = _folders_in(folder), 0
    while waiting:
        outer = waiting.pop()
        for inner in _folders_in(outer):
            moved = folder / f"{outer.name[:8]}-{count}"
            count += 1
            inner.chmod(0o700)
            inner.rename(moved)
            waiting.append(moved)


def _folders_in(folder: Path) -> list[Path]:
    folder.chmod(0o700)
    with os.scandir(folder) as entries:
        return [Path(each) for each in entries if each.is_dir(follow_symlinks=False)]


def replace_file(target: Path, data: bytes, temporary_folder: Path) -> None:
    """Replace a file as a whole, durably: a reader sees the old or the new."""
    with refusals(target):
        handle, temporary = open_temporary(temporary_folder)
        try:
            with handle:
                write_synced(handle, data)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def create_file(target: Path, data: bytes, temporary_folder: Path) -> None:
    """Write a file that is not there yet, as a whole and durably.

    Raises: FileExistsError if somebody was faster; StoreUnwritable.
    """
    with refusals(target):
        handle, temporary = open_temporary(temporary_folder)
        try:
            with handle:
                write_synced(handle, data)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, target)
                sync_folder(target.parent)
                return
        finally:
            temporary.unlink(missing_ok=True)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def freshen(path: Path) -> bool:
    """Set a file's time to now; False if it is not there."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        # Somebody else's file, or a read-only disk: it is there, and that is the answer.
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return True
        raise
    return True


def set_time(path: Path, mtime_ns: int) -> None:
    """Set a file's time, where it is there and ours."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(mtime_ns, mtime_ns))


def exclusive_lock(
    path: Path, wait_seconds: float = LOCK_SECONDS_MAX
) -> contextlib.AbstractContextManager[None]:
    """Hold the kernel's lock on a file; it ends with the process, however that ends.

    Raises: StoreLocked if another process holds it for longer than ``wait_seconds``.
    """
    return _lock(path, fcntl.LOCK_EX, wait_seconds)


def shared_lock(
    path: Path, wait_seconds: float = LOCK_SECONDS_MAX
) -> contextlib.AbstractContextManager[None]:
    """Hold the kernel's lock on a file together with others who share it.

    Raises: StoreLocked if somebody holds it alone for longer than ``wait_seconds``.
    """
    return _lock(path, fcntl.LOCK_SH, wait_seconds)


@contextlib.contextmanager
def _lock(path: Path, operation: int, wait_seconds: float) -> Iterator[None]:
    with refusals(path):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # A store that is only read: its locks are there, and can be shared with who writes.
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise error from None
    try:
        deadline = time.monotonic() + wait_seconds
        pause = 0.0002
        while True:
            try:
                fcntl.flock(handle, operation | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreLocked(str(path.parent), wait_seconds) from None
                time.sleep(pause)
                pause = min(pause * 2, 0.002)
            except OSError as error:  # a file system without locks
                raise StoreUnwritable(str(path), error.strerror or "no locks") from error
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock on a file: whether that process lives."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
