"""The escape suite: experiments that try a way out each. None gets anything, and each is named.

Three kinds. What Python does is refused by the hook, which names what was tried and the line. What
goes by the C library is refused by name where it looks a function up, and by the kernel where it
does not. What goes to the kernel by machine code, or after the guard was disarmed, is the kernel's
alone: those are skipped on a machine whose kernel has no walls.
"""

import importlib.util
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from research.experiments import sandbox
from research.experiments.sandbox import look
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis

SECRET = "a secret of the workspace"
CHILD = Path(sandbox.__file__).parent / "child"

# Everything that reads returns what it has read; {store}, {data}, {secret} and {outside} are paths.
NETWORK = {
    "tcp": "import socket\nsocket.socket().connect(('127.0.0.1', 9))",
    "tcp over ipv6": "import socket\nsocket.socket(socket.AF_INET6).connect(('::1', 9))",
    "udp": "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "raw packets": "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "the C module": "import _socket\n_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)",
    "a server": "import socket\nsocket.create_server(('127.0.0.1', 0))",
    "a name": "import socket\nsocket.getaddrinfo('example.org', 443)",
    "a name, the old way": "import socket\nsocket.gethostbyname_ex('example.org')",
    "an address": "import socket\nsocket.getnameinfo(('127.0.0.1', 9), 0)",
    "urllib": "import urllib.request\nurllib.request.urlopen('http://example.org')",
    "http": "import http.client\nhttp.client.HTTPSConnection('example.org').request('GET', '/')",
    "ftp": "import ftplib\nftplib.FTP('example.org')",
    "mail": "import smtplib\nsmtplib.SMTP('example.org')",
    "asyncio": "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', 9))",
    "a remote call": "import xmlrpc.client\nxmlrpc.client.ServerProxy('http://example.org').a()",
    "a local socket outside": "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
    "an abstract socket": "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0other')",
    "a socket by asyncio": "import asyncio\nasyncio.run(asyncio.open_unix_connection('/run/x'))",
}
PROGRAMS = {
    "curl": "import subprocess\nsubprocess.run(['curl', 'http://example.org'])",
    "a shell": "os.system('cat /etc/passwd')",
    "a pipe from a shell": "os.popen('cat /etc/passwd').read()",
    "exec": "os.execv('/bin/cat', ['cat', '/etc/passwd'])",
    "exec with variables": "os.execve(sys.executable, ['python'], {{}})",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "a terminal": "import pty\npty.spawn('true')",
    "below subprocess": "import _posixsubprocess\n_posixsubprocess.fork_exec([b'true'], [b'/bin/true'])",
    "a fork that outlives the run": "if os.fork() == 0:\n    os.setsid()",
    "a process": "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
    "a spawned one": "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()",
}
READS = {
    "passwd": "return {{'a': open('/etc/passwd').read()}}",
    "by the kernel's names": "return {{'a': str(os.read(os.open('/etc/passwd', os.O_RDONLY), 9))}}",
    "by way of the root": "return {{'a': open('/proc/self/root/etc/passwd').read()}}",
    "a folder's handle": "at = os.open('/etc', os.O_RDONLY)\nreturn {{'a': str(os.read(os.open('passwd', os.O_RDONLY, dir_fd=at), 9))}}",
    "the home folder": f"return {{{{'a': str(os.listdir({str(Path.home())!r}))}}}}",
    "the store": "return {{'a': str(open('{store}/journal', 'rb').read())}}",
    "the store's objects": "return {{'a': str(os.listdir('{store}'))}}",
    "another dataset": "return {{'a': open('{data}').read()}}",
    "a file of the workspace": "return {{'a': open('{secret}').read()}}",
    "variables of the first process": "return {{'a': open('/proc/1/environ').read()}}",
    "variables of the parent": "return {{'a': open(f'/proc/{{os.getppid()}}/environ').read()}}",
    "its own memory": "return {{'a': str(open('/proc/self/mem', 'rb').read(1))}}",
    "a symbolic link": "os.symlink('{secret}', output_dir / 'a')\nreturn {{'a': (output_dir / 'a').read_text()}}",
    "a mapping": "import mmap\nreturn {{'a': str(mmap.mmap(open('{secret}').fileno(), 0, prot=mmap.PROT_READ)[:])}}",
    "sendfile": "to = os.open(output_dir / 'a', os.O_WRONLY | os.O_CREAT)\nos.sendfile(to, os.open('{secret}', os.O_RDONLY), 0, 99)\nreturn {{}}",
    "copyfile": "import shutil\nshutil.copyfile('{secret}', output_dir / 'a')\nreturn {{}}",
    "sqlite": "import sqlite3\nsqlite3.connect('{secret}')\nreturn {{}}",
    "numpy.memmap": "import numpy\nreturn {{'a': str(numpy.memmap('{secret}', mode='r').tobytes())}}",
    "numpy.fromfile": "import numpy\nreturn {{'a': str(numpy.fromfile('{secret}', 'u1').tobytes())}}",
    "numpy.load": "import numpy\nreturn {{'a': str(numpy.load('{secret}'))}}",
    "runpy": "import runpy\nreturn {{'a': str(runpy.run_path('{secret}'))}}",
}
WRITES = {
    "a file outside": "open('{outside}', 'w')",
    "through a link": "os.symlink('{outside}', output_dir / 'a')\nopen(output_dir / 'a', 'w')",
    "a hard link in": "os.link('{secret}', output_dir / 'a')",
    "a hard link out": "(output_dir / 'a').touch()\nos.link(output_dir / 'a', '{outside}')",
    "a move out": "(output_dir / 'a').touch()\nos.rename(output_dir / 'a', '{outside}')",
    "removing": "os.remove('{secret}')",
    "permissions": "os.chmod('{secret}', 0)",
    "times": "os.utime('{secret}', (0, 0))",
    "a folder's handle": "at = os.open('.', os.O_RDONLY)\nos.mkdir('{outside}', dir_fd=at)",
    "its own code": "open(__file__, 'a')",
    "its own result": "open('result.json', 'w')",
    "the guard": f"open({str(CHILD / 'guard.py')!r}, 'a')",
    "its memory": "open('/proc/self/mem', 'r+b')",
}
C_LIBRARY = {
    "open": "ctypes.CDLL(None).open(b'/etc/passwd', 0)",
    "fopen": "ctypes.CDLL(None).fopen(b'/etc/passwd', b'r')",
    "socket": "ctypes.CDLL(None).socket(2, 1, 0)",
    "connect": "ctypes.CDLL(None).connect(3, None, 0)",
    "syscall": "ctypes.CDLL(None).syscall(57)",
    "system": "ctypes.CDLL(None).system(b'true')",
    "fork": "ctypes.CDLL(None).fork()",
    "execv": "ctypes.CDLL(None).execv(b'/bin/true', None)",
    "ptrace": "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "kill": "ctypes.CDLL(None).kill(os.getppid(), 0)",
    "inotify_init": "ctypes.CDLL(None).inotify_init()",
    "shm_open": "ctypes.CDLL(None).shm_open(b'/a', 66, 384)",
    "getaddrinfo": "ctypes.CDLL(None).getaddrinfo(b'example.org', None, None, None)",
    "dlopen": "ctypes.CDLL(None).dlopen(b'libc.so.6', 2)",
    "_PySys_ClearAuditHooks": "ctypes.pythonapi._PySys_ClearAuditHooks()",
    "mount": "ctypes.CDLL('libc.so.6').mount(None, None, None, 0, None)",
    "openat": "import _ctypes\n_ctypes.dlsym(ctypes.CDLL(None)._handle, 'openat')",
}
OTHERS = {
    "a signal to the parent": ("os.kill(os.getppid(), 0)", "signal another process"),
    "a signal to the group": ("os.killpg(0, 0)", "signal another process"),
    "the parent's limits": ("import resource\nresource.prlimit(os.getppid(), 7)", "limit another process"),
    "shared memory": ("from multiprocessing import shared_memory as s\ns.SharedMemory('a', True, 9)", "share memory"),
    "the system's log": ("import syslog\nsyslog.syslog('a')", "reach the network"),
    "every object": ("import gc\ngc.get_objects()", "search the interpreter's memory"),
    "who refers to the hook": ("import gc\ngc.get_referrers(print)", "search the interpreter's memory"),
    "the stacks": ("sys._current_frames()", "search the interpreter's memory"),
    "a broker, without the gate": ("sys.meta_path.clear()\n__import__('cc' + 'xt')", "import 'ccxt'"),
    "a broker, computed": ("import importlib\nimportlib.import_module(''.join(['cc', 'xt']))", "import 'ccxt'"),
    "a broker, by its specification": ("from importlib import util\nutil.find_spec('cc' + 'xt')", "import 'ccxt'"),
    "a broker, by eval": ("eval('__imp' + 'ort__(\"cc\" + \"xt\")')", "import 'ccxt'"),
    "a guard of its own": ("sys.modules['os'].open = print\nos.path.realpath = lambda p: '.'\nopen('/etc/passwd')", "passwd"),
    "new modules for old": ("for n in ('socket', '_socket'): sys.modules.pop(n, None)\nimport socket\nsocket.socket()", "reach the network"),
    "the module once more": ("import importlib, socket\nimportlib.reload(socket).socket()", "reach the network"),
}  # fmt: skip

# Machine code: the experiment asks the kernel, and nobody in between can know.
RAW = """
import ctypes, mmap, os, platform, struct, sys
CODE = {
    "x86_64": "4889f84889f74889d64889ca4d89c24d89c84c8b4c24080f05c3",
    "aarch64": "e80300aae00301aae10302aae20303aae30304aae40305aae50306aa010000d4c0035fd6",
}
MACHINE = os.uname().machine
PAGE = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
PAGE.write(bytes.fromhex(CODE[MACHINE]))
ADDRESS = ctypes.addressof(ctypes.c_char.from_buffer(PAGE))
CALL = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(ADDRESS)
KEPT = []

def call(x86, arm, *arguments):
    values = []
    for each in arguments:
        if isinstance(each, bytes):
            KEPT.append(ctypes.create_string_buffer(each))
            each = ctypes.addressof(KEPT[-1])
        values.append(each)
    number = x86 if MACHINE == "x86_64" else arm
    found = CALL(number, *values, *[0] * (6 - len(values)))
    if found < 0:
        raise OSError(-found, os.strerror(-found))
    return found

def read(path):
    return os.read(call(257, 56, -100, path, 0), 4096).decode()
"""
# body -> the errors of the kernel that are a no; a file that is not there is none to be read.
NOT_THERE = ("PermissionError", "FileNotFoundError")
REFUSED = ("PermissionError",)
KERNEL = {
    "reading passwd": ("return {{'a': read(b'/etc/passwd')}}", NOT_THERE),
    "reading a secret": ("return {{'a': read(b'{secret}')}}", NOT_THERE),
    "reading the store": ("return {{'a': read(b'{store}/journal')}}", NOT_THERE),
    "reading another dataset": ("return {{'a': read(b'{data}')}}", NOT_THERE),
    "reading the first process": ("return {{'a': read(b'/proc/1/environ')}}", NOT_THERE),
    "reading the parent": ("return {{'a': read(b'/proc/%d/environ' % os.getppid())}}", NOT_THERE),
    "reading through a link": ("os.symlink('{secret}', output_dir / 'a')\nreturn {{'a': read(bytes(output_dir / 'a'))}}", NOT_THERE),
    "openat2": ("return {{'a': str(os.read(call(437, 437, -100, b'{secret}', struct.pack('QQQ', 0, 0, 0), 24), 99))}}", NOT_THERE),
    "writing outside": ("call(257, 56, -100, b'{outside}', 0o101, 0o600)", (*NOT_THERE, "OSError")),
    "emptying a file": ("call(257, 56, -100, b'{secret}', 0o1001)", (*NOT_THERE, "OSError")),
    "truncating by name": ("call(76, 45, b'{secret}', 0)", (*NOT_THERE, "OSError")),
    "removing": ("call(263, 35, -100, b'{secret}', 0)", (*NOT_THERE, "OSError")),
    "a hard link": ("call(265, 37, -100, b'{secret}', -100, bytes(output_dir / 'a'), 0)", (*NOT_THERE, "OSError")),
    "moving out": ("(output_dir / 'a').touch()\ncall(316, 276, -100, bytes(output_dir / 'a'), -100, b'{outside}', 0)", (*NOT_THERE, "OSError")),
    "its memory, to write": ("call(257, 56, -100, b'/proc/self/mem', 2)", (*NOT_THERE, "OSError")),
    "a network socket": ("call(41, 198, 2, 1, 0)", REFUSED),
    "a datagram to a local socket": ("call(41, 198, 1, 2, 0)", REFUSED),
    "a netlink socket": ("call(41, 198, 16, 3, 0)", REFUSED),
    "a vsock": ("call(41, 198, 40, 1, 0)", REFUSED),
    "an abstract socket": ("s = call(41, 198, 1, 1, 0)\ncall(42, 203, s, b'\\x01\\x00\\x00other', 8)", REFUSED),
    "a fork": ("call(56, 220, 17, 0, 0, 0, 0)", REFUSED),
    "another program": ("call(59, 221, b'/bin/true', 0, 0)", REFUSED),
    "another program, by handle": ("call(322, 281, -100, b'/bin/true', 0, 0, 0)", REFUSED),
    "ptrace": ("call(101, 117, 16, os.getppid(), 0, 0)", REFUSED),
    "the parent's memory": ("call(310, 270, os.getppid(), 0, 0, 0, 0, 0)", REFUSED),
    "a signal": ("call(62, 129, os.getppid(), 0)", REFUSED),
    "a signal to all": ("call(62, 129, -1, 0)", REFUSED),
    "a handle of the parent": ("call(434, 434, os.getppid(), 0)", REFUSED),
    "the parent's limits": ("call(302, 261, os.getppid(), 7, 0, 0)", REFUSED),
    "a mount": ("call(165, 40, b'tmpfs', b'/', b'tmpfs', 0, 0)", REFUSED),
    "a user of its own": ("call(272, 97, 0x10000000)", REFUSED),
    "io_uring": ("call(425, 425, 8, bytes(120))", REFUSED),
    "bpf": ("call(321, 280, 0, 0, 0)", REFUSED),
    "keys": ("call(250, 219, 0, -3, 0)", REFUSED),
    "a new kernel": ("call(246, 104, 0, 0, 0, 0)", REFUSED),
    "watching a file": ("call(294, 26, 0)", REFUSED),
    "a file by handle": ("call(304, 265, -100, bytes(24), 0)", REFUSED),
    "shared memory": ("call(29, 194, 1, 4096, 0o1666)", REFUSED),
    "a queue": ("call(240, 180, b'a', 0o102, 0o600, 0)", REFUSED),
    "events of the processor": ("call(298, 241, bytes(128), 0, -1, -1, 0)", REFUSED),
    "a session of its own": ("call(112, 157)", REFUSED),
    "a group of its own": ("call(109, 154, 0, 0)", REFUSED),
    "a life beyond the parent's": ("call(157, 167, 1, 0)", REFUSED),
    "where another runs": ("call(203, 122, os.getppid(), 8, bytes(128))", REFUSED),
    "how another runs": ("call(144, 119, os.getppid(), 3, bytes(4))", REFUSED),
    "another personality": ("call(135, 92, 0)", REFUSED),
    "a database attached": ("import sqlite3\nc = sqlite3.connect(':memory:')\nc.execute(\"ATTACH '{database}' AS other\")\nreturn {{'a': str(c.execute('SELECT * FROM other.a').fetchall())}}", ("OperationalError", "DatabaseError")),
    "the guard found by the frames": ("f = sys._getframe()\nwhile not hasattr(f.f_locals.get('self'), '_watchers') and 'watchers' not in f.f_locals: f = f.f_back\nw = f.f_locals.get('watchers') or f.f_locals['self']._watchers\nw.guard._State.readable = w.guard._State.plainly_readable = ('/',)\nreturn {{'a': open('{secret}').read()}}", NOT_THERE),
    "the guard found by a refusal": ("try:\n    open('/etc/passwd')\nexcept OSError as e:\n    t = e.__traceback__\n    while t.tb_next: t = t.tb_next\n    g = t.tb_frame.f_globals\n    g['refusals'].clear()\n    g['_State'].readable = ('/',)\nreturn {{'a': open('{secret}').read()}}", NOT_THERE),
    "datagrams": ("import socket\nsocket.socketpair(type=socket.SOCK_DGRAM)", REFUSED),
    "a process's handle": ("os.pidfd_open(os.getppid())", REFUSED),
}  # fmt: skip
# What needs a root folder of the child's own: Landlock does not judge these.
NAMESPACED = {
    "whether a file is there": ("os.stat('{secret}')", NOT_THERE),
    "how large the store is": ("os.stat('{store}/journal')", NOT_THERE),
    "changing permissions": ("call(268, 53, -100, b'{secret}', 0)", NOT_THERE),
    "changing times": ("call(280, 88, -100, b'{secret}', 0, 0)", NOT_THERE),
    "permissions of the interpreter": ("call(268, 53, -100, sys.executable.encode(), 0o777)", ("OSError",)),
}  # fmt: skip

LEVEL = look().level if sys.platform.startswith("linux") else "hook"
by_the_kernel = pytest.mark.skipif(
    LEVEL not in ("landlock", "namespaces") or os.uname().machine not in ("x86_64", "aarch64"),
    reason=f"only the kernel stops it, and this machine reaches {LEVEL!r}: see ros doctor",
)
by_a_root = pytest.mark.skipif(
    LEVEL != "namespaces",
    reason=f"only namespaces stop it, and this machine reaches {LEVEL!r}: see ros doctor",
)


@pytest.fixture(params=["cold", "warm"])
def tried(request, bench, tmp_path):
    """Give a function that runs an attempt, and checks that nothing was read or written.

    In a child of its own, or in a copy of a warm one that has had a run before.
    """
    secret, outside = bench.folder / "secret.txt", tmp_path / "outside"
    secret.write_text(SECRET)
    database = bench.folder / "secret.db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE a AS SELECT 'a secret of the workspace' AS b")
    made.close()
    places = {
        "store": bench.store.path,
        "data": CHILD.parents[1] / "datasets/sp500-daily/1999-2018/bars.csv",
        "secret": secret,
        "outside": outside,
        "database": database,
    }
    before = secret.stat()

    def attempt(body, head="import os, sys"):
        text = body.format(**places)
        if request.param == "warm":
            failed = in_a_copy(bench, text, head)
        else:
            bench.experiment("escapes", text, head=head)
            failed = bench.failure("escapes")
        assert failed.outcome is None
        assert secret.read_text() == SECRET
        after = secret.stat()
        assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
            before.st_mode,
            before.st_mtime_ns,
            before.st_nlink,
        )
        assert not outside.exists()
        log = b"" if failed.log is None else bench.store.get_blob(failed.log)
        assert SECRET.encode() not in log
        return failed.error

    return attempt


def in_a_copy(bench, body, head):
    """Run an attempt as the last of three runs of one worker; the first does nothing."""
    body = f"if spec.parameters['n'] == 1:\n    return {{}}\n{body}"
    bench.experiment("escapes", body, head=head, spec="parameters={'n': 0}")
    points = (Axis(path="n", values=(1, 2, 3)),)
    asked = SweepRequest(request=bench.request("escapes"), axes=points)
    first, *_, last = sweep(bench.context, asked).points
    assert first.manifest.status == "completed"
    assert first.manifest.sandbox["level"] == LEVEL
    return last.manifest


def each(attempts):
    return pytest.mark.parametrize("attempt", attempts.values(), ids=attempts.keys())


@each(NETWORK)
def test_the_network_is_out_of_reach(tried, attempt):
    error = tried(attempt)

    assert error["kind"] == "Refused"
    assert error["where"].startswith("escapes.py, line ")
    assert "reach the network" in error["message"] or "start another program" in error["message"]


@each(PROGRAMS)
def test_no_other_program_starts(tried, attempt):
    error = tried(attempt)

    assert error["kind"] == "Refused"
    assert "start another program" in error["message"]
    assert error["where"].startswith("escapes.py, line ")


@each(READS)
def test_nothing_undeclared_is_read(tried, attempt):
    error = tried(attempt)

    assert error["kind"] == "Refused"
    assert "tried to read" in error["message"]
    assert error["where"].startswith("escapes.py, line ")


@each(WRITES)
def test_nothing_outside_is_written(tried, attempt):
    error = tried(attempt)

    assert error["kind"] == "Refused"
    assert "tried to write" in error["message"]
    assert error["where"].startswith("escapes.py, line ")


@pytest.mark.parametrize(("name", "attempt"), C_LIBRARY.items(), ids=C_LIBRARY)
def test_the_c_library_is_no_way_out(tried, name, attempt):
    error = tried(attempt, head="import ctypes, os, sys")

    assert error["kind"] == "Refused"
    wanted = f"tried to call {name!r} of the C library"
    assert wanted in error["message"] or "load the library" in error["message"]
    assert error["where"].startswith("escapes.py, line ")


@each(OTHERS)
def test_nor_is_anything_else(tried, attempt):
    body, message = attempt

    error = tried(body)

    assert error["kind"] == "Refused"
    assert message in error["message"]
    assert error["where"].startswith("escapes.py, line ")


# Where the file is not there at all, these ask before they open, and there is nothing to name.
QUIET = {
    "linecache": "import linecache\nreturn {{'a': linecache.getline('{secret}', 1)}}",
    "numpy.loadtxt": "import numpy\nreturn {{'a': str(numpy.loadtxt('{secret}', dtype=str))}}",
    "a pool": "from concurrent.futures import ProcessPoolExecutor as P\nP(1).submit(print).result()",
    "glob": "import glob\nreturn {{'a': ''.join(glob.glob('{secret}*'))}}",
    "the names of users": "import pwd\nreturn {{'a': str(pwd.getpwall())}}",
}


@each(QUIET)
def test_what_asks_before_it_opens_gets_nothing(tried, attempt):
    if "return" in attempt:
        attempt = attempt.replace("return ", "found = ")
        attempt += "\nassert found['a'] not in ('', '[]')\nreturn found"

    error = tried(attempt)

    kinds = ("Refused", "AssertionError", "FileNotFoundError", "PermissionError", "OSError")
    assert error["kind"] in kinds
    assert error["where"].startswith("escapes.py, line ")


@by_the_kernel
@each(KERNEL)
def test_the_kernel_stops_what_the_hook_cannot_see(tried, attempt):
    body, kinds = attempt

    error = tried(body, head=RAW)

    assert error["kind"] in kinds, error
    assert error["where"].startswith("escapes.py, line ")


@by_a_root
@each(NAMESPACED)
def test_what_lies_outside_is_not_even_there(tried, attempt):
    body, kinds = attempt

    error = tried(body, head=RAW)

    assert error["kind"] in kinds, error


@by_a_root
def test_other_processes_are_not_even_there(bench):
    # A copy of a warm child sees which numbers are taken, and nothing else of them.
    bench.experiment("escapes", "os.stat('/proc/1')", head="import os")

    assert bench.failure("escapes").error["kind"] in NOT_THERE


@by_the_kernel
@pytest.mark.parametrize("name", ["environ", "maps", "fd/0", "root/etc/passwd", "mem", "cwd/a"])
@pytest.mark.parametrize("process", ["1", "self/../{parent}"])
def test_what_started_a_copy_cannot_be_read(tried, process, name):
    path = f"/proc/{process}/{name}".format(parent="' + str(os.getppid()) + '")
    # Around the hook, whose own answer is tested above.
    read = f"f = call(257, 56, -100, ('{path}').encode() + b'\\0', 0)"

    error = tried(f"{read}\nraise ValueError(f)", head=RAW)

    assert error["kind"] in (*NOT_THERE, *REFUSED), error


@by_a_root
def test_no_run_changes_what_it_shares_with_others(bench):
    body = """
    changed = []
    for name in ("code/shares.py", "code", "input/bars/table.json", "input", "..", "../..", "../../worker.json"):
        path = os.fsencode(os.path.realpath(name))
        for what, number in (("mode", (268, 53, -100, path, 0o777)), ("times", (280, 88, -100, path, 0, 0))):
            try:
                call(*number)
            except OSError:
                continue
            changed.append(f"{what} of {name}")
    return {"changed": " ".join(changed)}
    """
    spec = "parameters={'n': 0}, input_dataset='sp500-daily'"
    bench.experiment("shares", body, head=RAW, spec=spec)

    axes = (Axis(path="n", values=(1, 2, 3)),)
    points = sweep(bench.context, SweepRequest(request=bench.request("shares"), axes=axes)).points

    # The folder above its own is all that it could change, and is set back: see the next.
    assert {each.manifest.metrics["changed"] for each in points} == {"mode of .. times of .."}


@by_the_kernel
def test_no_run_tells_the_next_by_the_folder_above_its_own(bench):
    body = """
    above = os.fsencode(os.path.realpath(".."))
    seen = os.stat(above)
    call(268, 53, -100, above, 0o777)
    call(280, 88, -100, above, bytes(32), 0)
    try:
        call(188, 5, above, b"user.told", b"1", 1, 0)
    except OSError:
        return {"seen": f"{seen.st_mode} {seen.st_atime_ns}"}
    return {"seen": "an attribute was set"}
    """
    bench.experiment("tells", body, head=RAW, spec="parameters={'n': 0}")
    axes = (Axis(path="n", values=(1, 2, 3, 4)),)

    points = sweep(bench.context, SweepRequest(request=bench.request("tells"), axes=axes)).points

    assert len({each.manifest.metrics["seen"] for each in points}) == 1
    assert points[0].manifest.metrics["seen"].startswith(str(0o40700))


@by_the_kernel
def test_the_machine_code_of_this_suite_works(bench):
    # Or every attempt above would fail for a reason of its own.
    bench.experiment("asks", "return {'own': call(39, 172) == os.getpid()}", head=RAW)

    assert bench.run("asks").manifest.metrics == {"own": True}


@by_the_kernel
def test_every_call_of_the_list_is_refused(bench):
    location = CHILD / "seccomp.py"
    spec = importlib.util.spec_from_file_location("seccomp_list", location)
    seccomp = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seccomp)
    body = f"""
    passed = []
    for name, (x86, arm) in {seccomp._REFUSED!r}.items():
        try:
            call(x86, arm)
        except PermissionError:
            continue
        except OSError as error:
            passed.append(f"{{name}}: {{error}}")
        else:
            passed.append(name)
    return {{"passed": " ".join(passed)}}
    """
    bench.experiment("asks", body, head=RAW)

    assert bench.run("asks").manifest.metrics == {"passed": ""}


def test_a_variable_of_the_parent_is_not_there(bench, monkeypatch):
    monkeypatch.setenv("BROKER_TOKEN", SECRET)
    body = """
    found = dict(os.environ)
    found.update(l.split("=", 1) for l in open("/proc/self/environ").read().split("\\0") if l)
    return {"a": " ".join(map(str, found.items()))}
    """
    bench.experiment("looks", body, head="import os")

    assert SECRET not in bench.run("looks").manifest.metrics["a"]


@by_the_kernel
def test_what_a_run_needs_still_works(bench):
    body = """
    with ThreadPoolExecutor(4) as pool:
        squares = sum(pool.map(lambda n: n * n, range(100)))
    a = np.random.default_rng(1).normal(size=(300, 300))
    np.linalg.svd(a @ a)
    asyncio.run(asyncio.sleep(0.001))
    ours, theirs = socket.socketpair()
    ours.sendall(b"x")
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    signal.raise_signal(signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_text("a")
    (output_dir / "deep").mkdir()
    (output_dir / "a").write_text("a")
    os.rename(output_dir / "a", output_dir / "deep" / "a")
    os.chmod(output_dir / "deep" / "a", 0o755)
    r, w = os.pipe()
    os.write(w, b"ok")
    shutil.copy2(output_dir / "deep" / "a", output_dir / "b")
    return {"squares": squares, "heard": len(heard), "socket": theirs.recv(1).decode(),
            "pipe": os.read(r, 2).decode(), "processors": os.cpu_count() > 0}
    """
    head = """
    import asyncio, os, shutil, signal, socket, tempfile
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import numpy as np
    """
    bench.experiment("works", body, head=head)

    assert bench.run("works").manifest.metrics == {
        "heard": 2,
        "pipe": "ok",
        "processors": True,
        "socket": "x",
        "squares": 328350,
    }


@by_the_kernel
def test_a_crash_is_told_as_one(bench):
    bench.experiment("dies", "import os\nos.abort()")

    assert "SIGABRT" in bench.failure("dies").error["message"]
