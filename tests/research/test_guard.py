"""The guard: what a run may not do is refused, named with the line, and cannot be swallowed."""

import contextlib
import json
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from research.errors import RunFailed
from research.experiments import capsule
from research.experiments.sandbox import WALLED, look, readable_folders


def last_line(body):
    """Name the place of a body's last line, which is the one that asks."""
    return f"tries.py, line {7 + body.count(chr(10))}"


def refused(bench, body, head="import os, sys", **options):
    bench.experiment("tries", body, head=head)
    failed = bench.failure("tries", **options)
    assert failed.error["kind"] == "Refused", failed.error
    return failed


NETWORK = {
    "connect": "import socket\nsocket.socket().connect(('127.0.0.1', 9))",
    "connect_ex": "import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))",
    "create_connection": "import socket\nsocket.create_connection(('localhost', 9))",
    "sendto": "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "bind": "import socket\nsocket.socket().bind(('127.0.0.1', 0))",
    "unix": "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/x')",
    "getaddrinfo": "import socket\nsocket.getaddrinfo('example.org', 80)",
    "gethostbyname": "import socket\nsocket.gethostbyname('example.org')",
    "gethostbyaddr": "import socket\nsocket.gethostbyaddr('127.0.0.1')",
    "urllib": "import urllib.request\nurllib.request.urlopen('http://example.org')",
    "http": "import http.client\nhttp.client.HTTPConnection('example.org').request('GET', '/')",
    "asyncio": "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', 9))",
}
PROGRAMS = {
    "subprocess": "import subprocess\nsubprocess.run(['true'])",
    "shell": "import subprocess\nsubprocess.getoutput('true')",
    "system": "os.system('true')",
    "popen": "os.popen('true').read()",
    "exec": "os.execv('/bin/true', ['true'])",
    "spawn": "os.spawnlp(os.P_WAIT, 'true', 'true')",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "fork": "os.fork()",
    "pty": "import pty\npty.spawn('true')",
    "multiprocessing": "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()",
    "forking": "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
    "by hand": "import _posixsubprocess\n_posixsubprocess.fork_exec([b'true'], [b'/bin/true'])",
}
READS = {
    "passwd": "open('/etc/passwd')",
    "os.open": "os.open('/etc/passwd', os.O_RDONLY)",
    "up and away": "open('../../../../../../etc/passwd')",
    "home": f"open({str(Path.home() / '.bashrc')!r})",
    "listing": "os.listdir('/etc')",
    "walking": "list(os.walk('/etc'))",
    "a link": "os.symlink('/etc/passwd', 'home/link')\nopen('home/link')",
    "pathlib": "import pathlib\npathlib.Path('/etc/passwd').read_text()",
    "numpy": "import numpy\nnumpy.fromfile('/etc/passwd')",
    "sqlite": "import sqlite3\nsqlite3.connect('/etc/data.db')",
    "sqlite by address": "import sqlite3\nsqlite3.connect('file:/etc/data.db?mode=ro', uri=True)",
    "a database of the system": "open('/usr/share/dict/words')",
    "another process": "open('/proc/1/environ')",
    "changing the folder": "os.chdir('/etc')",
}
WRITES = {
    "open": "open('/tmp/escape', 'w')",
    "append": "open('/tmp/escape', 'a')",
    "os.open": "os.open('/tmp/escape', os.O_CREAT | os.O_WRONLY)",
    "mkdir": "os.mkdir('/tmp/escape')",
    "remove": "os.remove('/tmp/escape')",
    "rename": "(output_dir / 'a').touch()\nos.rename(output_dir / 'a', '/tmp/escape')",
    "rename in": "os.rename('/tmp/escape', output_dir / 'a')",
    "link": "os.link('/etc/hostname', output_dir / 'a')",
    "rmtree": "import shutil\nshutil.rmtree('/tmp/escape')",
    "its interpreter": "open(os.path.join(sys.prefix, 'escape'), 'w')",
    "its own code": "open(__file__, 'w')",
    "its input": "open('input/a', 'w')",
    "its result": "open('result.json', 'w')",
    "its request": "os.remove('request.json')",
    "its folder": "open('scratch', 'w')",
}
LIBRARIES = {
    "by path": "import ctypes, glob\nctypes.CDLL('/lib/x86_64-linux-gnu/libc.so.6')",
    "by name": "import ctypes\nctypes.CDLL('libc.so.6')",
    "its own": "import ctypes\nctypes.CDLL(str(output_dir / 'lib.so'))",
}


@pytest.mark.parametrize("body", NETWORK.values(), ids=NETWORK)
def test_the_network_is_refused(bench, body):
    failed = refused(bench, body)

    assert "reach the network" in failed.error["message"]
    assert failed.error["where"] == last_line(body)


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS)
def test_other_programs_are_refused(bench, body):
    failed = refused(bench, body)

    assert "start another program" in failed.error["message"]
    assert failed.error["where"] == last_line(body)


@pytest.mark.parametrize("body", READS.values(), ids=READS)
def test_what_is_not_declared_is_not_read(bench, body):
    failed = refused(bench, body)

    assert "tried to read" in failed.error["message"]
    assert failed.error["where"] == last_line(body)


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
def test_nothing_is_written_but_outputs(bench, tmp_path, body):
    failed = refused(bench, body.replace("/tmp/escape", str(tmp_path / "escape")))

    assert "tried to write" in failed.error["message"]
    assert failed.error["where"] == last_line(body)
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("body", LIBRARIES.values(), ids=LIBRARIES)
def test_without_walls_c_libraries_are_not_loaded(bench, body):
    (bench.folder / "ros.toml").write_text('[run]\nsandbox = "hook"\n')
    failed = refused(bench, body)

    assert "tried to load the library" in failed.error["message"]
    assert failed.error["where"] == last_line(body)


def test_the_store_the_workspace_and_other_data_are_not_read(bench):
    paths = [
        bench.store.path / "journal",
        bench.store.path / "objects",
        bench.folder / "research" / "experiments" / "momentum_example.py",
        Path(__file__),
        Path(__file__).parents[2] / "research/datasets/sp500-daily/1999-2018/bars.csv",
        Path.home(),
    ]
    for path in paths:
        opens = "os.listdir" if path.is_dir() else "open"
        failed = refused(bench, f"{opens}({str(path)!r})")

        assert str(path) in failed.error["message"]


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    open('/etc/passwd')\nexcept Exception:\n    pass\nreturn {'a': 1}",
        "try:\n    open('/etc/passwd')\nexcept BaseException:\n    pass\nreturn {'a': 1}",
        "import contextlib\nwith contextlib.suppress(OSError):\n    open('/etc/passwd')\nreturn {}",
        "import threading\nt = threading.Thread(target=lambda: open('/etc/passwd'))\nt.start()\n"
        "t.join()\nreturn {}",
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2),"
        " open('/etc/passwd'))).start()\nreturn {}",
        "import atexit\natexit.register(lambda: open('/etc/passwd'))\nreturn {}",
        "try:\n    open('/etc/passwd')\nexcept OSError:\n    raise ValueError('another story')",
        "try:\n    open('/etc/passwd')\nexcept OSError:\n    raise SystemExit(0)",
        "class A:\n    def __del__(self):\n        open('/etc/passwd')\nA()\nreturn {}",
    ],
)
def test_a_refusal_cannot_be_swallowed(bench, body):
    failed = refused(bench, body)

    assert "'/etc/passwd'" in failed.error["message"]


def test_a_refusal_before_a_sudden_end_is_a_failure_all_the_same(bench):
    body = "try:\n    open('/etc/passwd')\nfinally:\n    os._exit(0)"
    bench.experiment("tries", body, head="import os")

    assert bench.failure("tries").error["kind"] == "Died"


def test_the_first_refusal_is_the_one_that_is_told(bench):
    body = "for path in ('/etc/first', '/etc/second'):\n    try:\n        open(path)\n    except OSError: pass"

    assert "/etc/first" in refused(bench, body).error["message"]


def test_a_refusal_while_it_is_imported_is_told(bench):
    failed = refused(bench, "return {}", head="import os\nFILES = os.listdir('/etc')")

    assert failed.error["where"] == "tries.py, line 3"


def test_the_line_of_a_helper_is_the_line_that_asked(bench):
    bench.write("helper.py", "def read():\n    return open('/etc/passwd')\n")

    failed = refused(bench, "helper.read()", head="import helper")

    assert failed.error["where"] == "helper.py, line 2"


@pytest.mark.parametrize(
    "statement",
    [
        "__import__(name)",
        "importlib.import_module(name)",
        "exec(f'import {name}')",
        "importlib.import_module(name + '.pro')",
        "importlib.util.find_spec(name)",
        "sys.modules.get(name) or importlib.__import__(name)",
    ],
)
def test_a_broker_is_not_imported_under_any_name(bench, statement):
    # It is there: on the code tree, where a computed import would find it.
    bench.write("ccxt/__init__.py", "LIVE = True\n")
    bench.write("ccxt/pro.py", "")
    bench.experiment(
        "trades",
        f"name = ''.join(['cc', 'xt'])\n{statement}\nreturn {{}}",
        head="import importlib\nimport importlib.util\nimport sys",
        spec="include=['ccxt/__init__.py', 'ccxt/pro.py']",
    )

    failed = bench.failure("trades")

    assert failed.error["kind"] == "Refused"
    assert "it tried to import 'ccxt" in failed.error["message"]
    assert failed.error["where"] == "trades.py, line 10"


@pytest.mark.skipif(look().level not in WALLED, reason="no walls: see ros doctor")
def test_within_walls_they_are_loaded_and_noted(bench):
    body = "import ctypes\nreturn {'a': ctypes.CDLL('libm.so.6').abs(-3)}"
    bench.experiment("tries", body)

    manifest = bench.run("tries").manifest

    assert manifest.metrics == {"a": 3}
    assert manifest.nondeterminism == (
        {"what": "a library outside the packages (libm.so.6)", "where": "tries.py, line 8"},
    )


def test_who_caches_what_it_compiles_goes_on_without(bench):
    body = """
    cache = os.path.join(os.path.dirname(__file__), "__pycache__")
    try:
        os.makedirs(cache)
    except OSError as error:
        return {"why": str(error.strerror)}
    """
    bench.experiment("tries", body, head="import os")

    assert bench.run("tries").manifest.metrics == {"why": "the code tree is read-only"}


def test_a_helper_that_imports_a_broker_by_name_is_refused_before_anything_runs(bench):
    from research.errors import ForbiddenImport

    bench.write("helper.py", "def f():\n    from ccxt import binance\n")
    bench.experiment("trades", "import helper")

    with pytest.raises(ForbiddenImport, match="helper.py, line 2 imports 'ccxt'"):
        bench.run("trades")

    assert not list(bench.store.journal())


def test_what_a_run_needs_is_not_refused(bench):
    bench.experiment(
        "works",
        """
        import ctypes, decimal, hashlib, random, sqlite3, tempfile, threading, time, zoneinfo
        import numpy as np
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "a"), "w").close()
        (output_dir / "a").mkdir()
        os.rename(output_dir / "a", output_dir / "b")
        scratch = os.path.join(os.environ["HOME"], "scratch/deep")
        os.makedirs(scratch)
        open(os.path.join(scratch, "a"), "w").close()
        db = sqlite3.connect(output_dir / "data.db")
        db.execute("CREATE TABLE a (b)")
        db.close()
        sqlite3.connect(":memory:").close()
        zoneinfo.ZoneInfo("UTC")
        np.save(output_dir / "a.npy", np.random.default_rng(1).normal(size=3))
        np.linalg.inv(np.eye(3))
        os.urandom(3)
        open(os.devnull, "w").close()
        try:
            import nothing_of_that_name
        except ImportError:
            pass
        return {"a": np.load(output_dir / "a.npy").sum()}
        """,
        head="import os",
    )

    assert bench.run("works").manifest.status == "completed"


def test_an_experiment_in_many_threads_is_fine(bench):
    bench.experiment(
        "threads",
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            return {"a": sum(pool.map(abs, range(100)))}
        """,
    )

    assert bench.run("threads").manifest.metrics == {"a": 4950}


LATE = {
    "finalizer": "class Late:\n    def __del__(self): escape()\nlate = Late()",
    "exit handler": "import atexit\natexit.register(escape)",
    "thread": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), escape())).start()",
    "daemon": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.01), escape()), daemon=True).start()",
}


@pytest.mark.parametrize("head", LATE.values(), ids=LATE.keys())
def test_the_guard_never_sleeps(bench, tmp_path, head):
    escaped = tmp_path / "escaped"
    escape = f"open_ = open\ndef escape(): open_({str(escaped)!r}, 'w').write('out')"
    bench.experiment("late", head=f"{escape}\n{head}")

    with contextlib.suppress(RunFailed):
        bench.run("late")

    assert not escaped.exists()


def test_a_refusal_in_an_exit_handler_fails_the_run(bench):
    head = "import atexit\natexit.register(lambda: open('/etc/passwd'))"

    assert "passwd" in refused(bench, "return {}", head=head).error["message"]


MORE = {
    "a signal": ("os.kill(1, 0)", "signal another process"),
    "a port": ("import socket\nsocket.socket().listen()", "reach the network"),
    "emptying": ("os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)", "tried to write"),
    "another realpath": (
        "os.path.realpath = lambda path: os.getcwd()\nopen('/etc/passwd')",
        "passwd",
    ),
}


@pytest.mark.parametrize(("body", "message"), MORE.values(), ids=MORE.keys())
def test_more_is_refused(bench, body, message):
    assert message in refused(bench, body).error["message"]


def test_a_distribution_that_no_import_shows_fails_the_run_by_name(bench):
    bench.experiment(
        "computed", "importlib.import_module('m' + 'durl')\nreturn {}", head="import importlib"
    )

    failed = bench.failure("computed")

    assert failed.error["kind"] == "UndeclaredImport"
    assert "include=['mdurl']" in failed.error["message"]


def test_a_declared_one_is_in_the_recipe_and_runs(bench):
    bench.experiment(
        "computed",
        "importlib.import_module('m' + 'durl')\nreturn {}",
        head="import importlib",
        spec="include=['mdurl']",
    )

    recipe = bench.run("computed").manifest.recipe

    assert "mdurl" in recipe.fields["environment"]["distributions"]


def perform(folder, entry, **changes):
    """Run the harness by hand, on an entry module; return what it wrote."""
    for name in ("code", "input", "output", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "code" / "entry.py").write_text(entry)
    request = {
        "capsule": capsule.VERSION,
        "entry": "entry",
        "experiment": "entry",
        "parameters": {},
        "seed": 0,
        "forbidden": [],
        "readable": readable_folders(),
        "loadable": site.getsitepackages(),
        **changes,
    }
    (folder / "request.json").write_text(json.dumps(request))
    harness = Path(capsule.__file__).parent / "child" / "harness.py"
    with subprocess.Popen(
        [sys.executable, "-P", "-s", "-B", "-u", harness, folder, "describe"],
        stdin=subprocess.PIPE,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    ) as child:
        child.wait(30)
    return json.loads((folder / "result.json").read_text())


SPEC = "import dataclasses\n@dataclasses.dataclass\nclass Spec:\n    a: int = 1\nDEFAULT_SPEC = Spec()\n"


def test_an_installed_broker_is_found_by_its_place(tmp_path):
    packages = tmp_path / "packages"
    (packages / "ccxt").mkdir(parents=True)
    (packages / "ccxt" / "__init__.py").write_text("LIVE = True\n")
    entry = (
        f"{SPEC}from importlib import util\n"
        f"spec = util.spec_from_file_location('harmless', {str(packages / 'ccxt' / '__init__.py')!r})\n"
        "module = util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
        "import sys\nsys.modules['harmless'] = module\n"
    )
    folders = {"readable": [*readable_folders(), str(packages)], "loadable": [str(packages)]}

    assert perform(tmp_path / "free", entry, **folders)["ok"] is True
    result = perform(tmp_path / "listed", entry, forbidden=["ccxt"], **folders)

    assert result["error"]["kind"] == "Refused"
    assert "tried to import 'ccxt'" in result["error"]["message"]


def test_a_child_that_has_less_than_required_runs_nothing(tmp_path, monkeypatch):
    child = tmp_path / "child"
    shutil.copytree(Path(capsule.__file__).parent / "child", child)
    confine = child / "confine.py"
    confine.write_text(confine.read_text().replace('sys.platform.startswith("linux")', "False"))
    monkeypatch.setattr(capsule, "__file__", str(tmp_path / "capsule.py"))
    readable = [*readable_folders(), str(child)]

    ran = perform(tmp_path / "best", SPEC, sandbox="best", readable=readable)
    result = perform(tmp_path / "required", SPEC, sandbox="required", readable=readable)

    assert (ran["ok"], ran["sandbox"]["level"]) == (True, "hook")
    assert result["ok"] is False
    assert "the sandbox is required, and only hook was had" in result["error"]["message"]
