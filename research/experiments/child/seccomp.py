"""A filter of system calls: what no experiment has a use for is refused by the kernel.

Owns the list and the program (classic BPF) that the kernel runs before each call. It says no with
an error and ends nothing, so that a library which only asks goes on without. Threads, memory,
files, pipes and a local pair of sockets pass; programs, other processes, the network and the
machine's settings do not.
"""

import ctypes
import errno
import os
import struct
from typing import Final

# The name of each call, and its number on x86-64 and on AArch64 (None: it has none there).
_REFUSED: Final[dict[str, tuple[int | None, int]]] = {
    # another process
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # another program
    "execve": (59, 221),
    "execveat": (322, 281),
    # the network, and the sockets of other programs
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    # memory and messages that others share
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # other walls, and ways around these
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # what others do with files
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # the kernel and the machine
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
}
# Numbers that only x86-64 has: fork, vfork, inotify_init, chown, lchown, iopl, ioperm, modify_ldt.
_REFUSED_X86: Final = (57, 58, 253, 92, 94, 172, 173, 154)
# Calls that pass with some arguments only.
_JUDGED: Final[dict[str, tuple[int, int]]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "prctl": (157, 167),
}
# Later calls are unknown to this list: the kernel says that it does not have them.
_LAST_KNOWN: Final = 462

_MACHINES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_CLONE_THREAD: Final = 0x10000
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_TYPE_MASK: Final = 0xF
_PR_SET_PDEATHSIG: Final = 1
_X32: Final = 0x40000000

# Instructions of classic BPF.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _IF_ANY = 0x15, 0x25, 0x35, 0x45
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

_Instruction = tuple[int, int, int, int]


def install(libc: ctypes.CDLL) -> None:
    """Have the kernel judge every call from now on, in this thread and those it starts.

    Raises: OSError if the kernel or the machine cannot.
    """
    instructions = program(os.uname().machine, os.getpid())
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(kept))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(head), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def program(machine: str, process_id: int) -> list[_Instruction]:
    """Write the program for a machine and a process, which may signal itself alone.

    Raises: OSError if the machine's calls are not known here.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    architecture, column = _MACHINES[machine]
    refused = [numbers[column] for numbers in _REFUSED.values()]
    refused += _REFUSED_X86 if column == 0 else ()
    no, unknown = _error(errno.EPERM), _error(errno.ENOSYS)
    lines: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        no,
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        no,
        (_IF_ABOVE, 0, 1, _LAST_KNOWN),
        unknown,
    ]
    for name, block in _judgements(process_id).items():
        lines += [(_IF_EQUAL, 0, len(block), _JUDGED[name][column]), *block]
    for left, number in zip(range(len(refused), 0, -1), sorted(filter(None, refused)), strict=True):
        lines.append((_IF_EQUAL, left, 0, number))
    return [*lines, (_RETURN, 0, 0, _ALLOW), no]


def _judgements(process_id: int) -> dict[str, list[_Instruction]]:
    """Write the blocks that look at a call's arguments; each ends with an answer."""
    yes, no = (_RETURN, 0, 0, _ALLOW), _error(errno.EPERM)
    # A local stream has no peer by name; a datagram could be addressed to anybody's socket.
    local = [
        (_LOAD, 0, 0, _FIRST),
        (_IF_EQUAL, 0, 4, _AF_UNIX),
        (_LOAD, 0, 0, _SECOND),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_IF_EQUAL, 0, 1, _SOCK_STREAM),
        yes,
        no,
    ]
    own = [(_LOAD, 0, 0, _FIRST), (_IF_EQUAL, 0, 1, process_id), yes, no]
    itself = [(_LOAD, 0, 0, _FIRST), (_IF_EQUAL, 1, 0, 0), *own[1:]]
    return {
        "clone": [(_LOAD, 0, 0, _FIRST), (_IF_ANY, 0, 1, _CLONE_THREAD), yes, no],
        # Its flags lie in memory, which no filter can read; C libraries fall back to clone.
        "clone3": [_error(errno.ENOSYS)],
        "socket": local,
        "socketpair": local,
        "kill": own,
        "tgkill": own,
        # Of itself by its number, or by none.
        "prlimit64": itself,
        "sched_setparam": itself,
        "sched_setscheduler": itself,
        "sched_setaffinity": itself,
        "sched_setattr": itself,
        # Not what ends it with its parent.
        "prctl": [(_LOAD, 0, 0, _FIRST), (_IF_EQUAL, 0, 1, _PR_SET_PDEATHSIG), no, yes],
    }


def _error(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERROR | number)
