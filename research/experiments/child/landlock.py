"""Landlock: which files the kernel lets this process open, whoever in it asks.

Owns the rules of one process: folders to read, folders to write, nothing else; no connection, no
signal and no abstract socket beyond itself where the kernel knows how. Needs no privilege. No rule
allows a program to be executed.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_FIFO, _MAKE_SYM = 1 << 7, 1 << 8, 1 << 10, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_READ: Final = _READ_FILE | _READ_DIR
_CHANGE: Final = (
    _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_FIFO | _MAKE_SYM
) | (_REFER | _TRUNCATE)
_OF_A_FILE: Final = _WRITE_FILE | _READ_FILE | _TRUNCATE
# What a kernel of each version knows: rights to files, to TCP, and what ends at the process.
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_SINCE, _TCP = 4, 0b11
_SCOPE_SINCE, _SCOPE = 6, 0b11


def version(libc: ctypes.CDLL) -> int:
    """Return the kernel's version of Landlock; 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def restrict(libc: ctypes.CDLL, readable: Sequence[str], writable: Sequence[str]) -> list[str]:
    """Let this thread, and those it starts, open what lies below these paths alone.

    Returns the names of what is walled in. A path that is not there has no rule.

    Raises: OSError.
    """
    known = version(libc)
    if known == 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    files = (1 << _FILE_RIGHTS[min(known, max(_FILE_RIGHTS))]) - 1
    tcp = _TCP if known >= _TCP_SINCE else 0
    scope = _SCOPE if known >= _SCOPE_SINCE else 0
    sizes = {True: 24, known < _SCOPE_SINCE: 16, known < _TCP_SINCE: 8}
    attributes = struct.pack("=QQQ", files, tcp, scope)
    ruleset = _checked(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(sizes[True]), 0))
    try:
        for path in readable:
            _add(libc, ruleset, path, _READ & files)
        for path in writable:
            _add(libc, ruleset, path, (_READ | _CHANGE) & files)
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return ["files", *(["tcp"] if tcp else []), *(["signals"] if scope else [])]


def _add(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, handle)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(handle)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
