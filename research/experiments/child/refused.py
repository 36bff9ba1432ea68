"""What the guard refuses, by the interpreter's names for it.

Owns the lists of events and functions, and of each that writes, which of its arguments are paths.
"""

import os

NETWORK = (
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
SEARCHES = (
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
    "sys._current_frames",
    "sys._current_exceptions",
)
EXTENSIONS = ("sqlite3.enable_load_extension", "sqlite3.load_extension")
# Functions of the C library that ask the kernel for what a run may not have.
C_DOORS = frozenset(
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
PROGRAMS = (
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
WRITES: dict[str, tuple[tuple[int, int | None], ...]] = {
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
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READS = ("os.listdir", "os.scandir", "os.chdir", "os.getxattr", "os.listxattr")
