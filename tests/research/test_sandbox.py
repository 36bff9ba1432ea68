"""The sandbox: what is asked for, what was reached, and that no outcome knows of either."""

import importlib.util
import struct
import sys
from pathlib import Path

import pytest

from research.errors import BadInput
from research.experiments import sandbox
from research.experiments.options import Options, read_options
from research.experiments.replay import replay
from research.experiments.sandbox import Machine

CHILD = Path(sandbox.__file__).parent / "child"
EPERM, ENOSYS = 1, 38
ALLOW, ERROR = 0x7FFF0000, 0x00050000


def load(name):
    spec = importlib.util.spec_from_file_location(f"tested_{name}", CHILD / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["best", "required", "hook"])
def test_a_workspace_asks_for_a_sandbox(bench, wanted):
    (bench.folder / "ros.toml").write_text(f'[run]\nsandbox = "{wanted}"\nstrict = true\n')

    assert read_options(bench.folder) == Options(sandbox=wanted, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[run]\nsandbox = "none"',
            r'\[run\] sandbox is "best", "required" or "hook", not \'none\'',
        ),
        ('[run]\nstrict = "yes"', r"\[run\] strict is true or false, not 'yes'"),
        ("[run]\nsandboxed = true", r"\[run\] has no option 'sandboxed'"),
        ("[sandbox]\nlevel = 1", "no section 'sandbox'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(bench, text, message):
    (bench.folder / "ros.toml").write_text(text)
    bench.experiment("simple")

    with pytest.raises(BadInput, match=message) as caught:
        bench.run("simple")

    assert "\n" not in str(caught.value)
    assert not list(bench.store.journal())


def test_less_than_required_is_refused_before_anything_is_recorded(bench, monkeypatch):
    machine = Machine(level="seccomp", parts=("hook", "seccomp"), absent={"landlock": "disabled"})
    monkeypatch.setattr(sandbox, "look", lambda: machine)
    (bench.folder / "ros.toml").write_text('[run]\nsandbox = "required"\n')
    bench.experiment("simple")

    with pytest.raises(BadInput, match=r"reaches only 'seccomp' \(landlock: disabled\)"):
        bench.run("simple")

    assert not list(bench.store.journal())


@pytest.mark.parametrize("level", ["landlock", "namespaces", "sandbox-exec"])
def test_walls_are_enough_where_they_are_required(monkeypatch, level):
    monkeypatch.setattr(sandbox, "look", lambda: Machine(level=level, parts=(), absent={}))

    sandbox.check("required")


def test_what_is_not_required_is_not_looked_for(monkeypatch):
    def look():
        raise AssertionError("it costs a process")

    monkeypatch.setattr(sandbox, "look", look)

    sandbox.check("best")
    sandbox.check("hook")


# --- what was reached ----------------------------------------------------------------------------


def test_the_level_is_kept_with_the_run(bench):
    bench.experiment("simple", "return {'a': 1}")

    manifest = bench.run("simple").manifest

    assert manifest.sandbox == {
        "level": sandbox.look().level,
        "parts": sorted(sandbox.look().parts),
    }


def test_a_failed_run_has_one_too(bench):
    bench.experiment("fails", "raise ValueError('no')")

    assert bench.failure("fails").sandbox["level"] == sandbox.look().level


def test_the_hook_alone_can_be_asked_for(bench):
    (bench.folder / "ros.toml").write_text('[run]\nsandbox = "hook"\n')
    bench.experiment("simple", "return {'a': 1}")

    assert bench.run("simple").manifest.sandbox == {"level": "hook", "parts": ["hook"]}


def test_no_outcome_and_no_fingerprint_knows_of_the_walls(bench):
    found = []
    for wanted in ("hook", "best"):
        (bench.folder / "ros.toml").write_text(f'[run]\nsandbox = "{wanted}"\n')
        performed = bench.run("sma_crossover", force=True)
        assert performed.contradicts is None
        found.append(performed.manifest)

    assert found[0].outcome_id == found[1].outcome_id
    assert found[0].recipe_id == found[1].recipe_id
    assert found[0].sandbox != found[1].sandbox or sandbox.look().level == "hook"


def test_a_replay_has_its_own_level(bench):
    bench.experiment("simple", "return {'a': 1}")
    first = bench.run("simple").manifest
    (bench.folder / "ros.toml").write_text('[run]\nsandbox = "hook"\n')

    found = replay(bench.context, first.run_id)

    assert found.verdict == "identical"
    assert found.replayed.sandbox["level"] == "hook"


def test_a_status_of_old_has_none(bench):
    bench.experiment("simple", "return {'a': 1}")
    manifest = bench.run("simple").manifest
    state = bench.store.ref(f"runs/{manifest.run_id}")
    old = bench.store.get_record(state)
    fields = {k: v for k, v in old.fields.items() if k not in ("sandbox", "nondeterminism")}
    with bench.store.transaction("as it was") as tx:
        link = tx.put_record(old.schema, fields, old.links)
        tx.move_ref(f"runs/{manifest.run_id}", link, expected=state)

    read = bench.manifest(manifest.run_id)

    assert (read.sandbox, read.nondeterminism) == (None, ())


@pytest.mark.parametrize(
    "value", [None, [], "namespaces", {"level": "perfect", "parts": []}, {"level": "hook"}]
)
def test_what_a_child_claims_is_not_trusted(value):
    assert sandbox.read_reached(value) is None


def test_nor_is_what_it_claims_of_its_sources():
    value = [{"what": "a" * 9999, "where": "\udcff"}, "text", {"where": "x"}, *[{"what": "b"}] * 99]

    found = sandbox.read_sources(value)

    assert len(found) <= 50
    assert len(found[0]["what"]) == 500
    assert found[0]["where"] == "\\udcff"
    assert sandbox.read_sources("text") == []


# --- sources of nondeterminism -------------------------------------------------------------------

SOURCES = {
    "time.time": ("import time\ntime.time()", "the clock (time.time)"),
    "from time": ("from time import time_ns\ntime_ns()", "the clock (time.time_ns)"),
    "perf_counter": ("import time\ntime.perf_counter()", "the clock (time.perf_counter)"),
    "strftime": ("import time\ntime.strftime('%Y')", "the clock (time.strftime)"),
    "now": ("import datetime\ndatetime.datetime.now()", "the clock (datetime.now)"),
    "now, elsewhere": (
        "from datetime import UTC, datetime\nassert datetime.now(tz=UTC).tzinfo is UTC",
        "the clock (datetime.now)",
    ),
    "today": ("import datetime\ndatetime.date.today()", "the clock (time.time)"),
    "urandom": ("os.urandom(3)", "OS entropy (os.urandom)"),
    "getrandom": ("os.getrandom(3)", "OS entropy (os.getrandom)"),
    "secrets": ("import secrets\nsecrets.token_hex()", "OS entropy (os.urandom)"),
    "uuid": ("import uuid\nuuid.uuid4()", "OS entropy (os.urandom)"),
    "random": ("import random\nrandom.random()", "an unseeded generator (random.random)"),
    "shuffle": ("import random\nrandom.shuffle([1])", "an unseeded generator (random.shuffle)"),
    "Random()": ("import random\nrandom.Random()", "an unseeded generator (random.Random)"),
    "default_rng": ("import numpy\nnumpy.random.default_rng()", "OS entropy (os.urandom)"),
    "ctypes": ("import ctypes\nctypes.CDLL(None)", "the C library (by ctypes)"),
}
NO_SOURCES = {
    "imports": "import random, numpy, numpy.random, uuid, secrets, tempfile, logging, sqlite3",
    "a seed": "import random\nrandom.seed(1)\nrandom.random()\nrandom.Random(2).random()",
    "numpy's seed": "import numpy\nnumpy.random.seed(1)\nnumpy.random.rand()\nnumpy.random.default_rng(3)",
    "a time that is given": "import time\ntime.gmtime(0)\ntime.strftime('%Y', time.gmtime(0))",
    "a date that is given": "import datetime\ndatetime.datetime.fromtimestamp(0)",
    "a library's clock": "import logging\nlogging.getLogger('a').warning('b')",
    "a pause": "import threading\nthreading.Event().wait(0.001)",
}


@pytest.mark.parametrize(("body", "what"), SOURCES.values(), ids=SOURCES)
def test_a_source_is_kept_with_its_line(bench, body, what):
    bench.experiment("asks", f"{body}\nreturn {{}}", head="import os, sys")

    manifest = bench.run("asks").manifest

    line = 7 + body.count("\n")
    assert {"what": what, "where": f"asks.py, line {line}"} in manifest.nondeterminism


def test_the_generator_that_numpy_shares_is_seen_at_the_end(bench):
    bench.experiment("asks", "import numpy\nreturn {'a': float(numpy.random.rand())}")

    manifest = bench.run("asks").manifest

    assert [each["what"] for each in manifest.nondeterminism] == [
        "an unseeded generator (numpy.random)"
    ]


@pytest.mark.parametrize("body", NO_SOURCES.values(), ids=NO_SOURCES)
def test_what_is_no_source_is_not_noted(bench, body):
    bench.experiment("asks", f"{body}\nreturn {{}}")

    assert bench.run("asks").manifest.nondeterminism == ()


@pytest.mark.parametrize(("body", "what"), SOURCES.values(), ids=SOURCES)
def test_a_strict_run_refuses_it(bench, body, what):
    (bench.folder / "ros.toml").write_text("[run]\nstrict = true\n")
    bench.experiment("asks", f"{body}\nreturn {{}}", head="import os, sys")

    error = bench.failure("asks").error

    assert error["kind"] == "Refused"
    assert what in error["message"]
    assert error["where"] == f"asks.py, line {7 + body.count(chr(10))}"


def test_a_strict_run_refuses_numpys_generator_too(bench):
    (bench.folder / "ros.toml").write_text("[run]\nstrict = true\n")
    bench.experiment("asks", "import numpy\nreturn {'a': float(numpy.random.rand())}")

    assert "numpy.random" in bench.failure("asks").error["message"]


def test_the_shipped_experiments_are_strict(bench):
    (bench.folder / "ros.toml").write_text("[run]\nstrict = true\n")
    for name in ("sma_crossover", "gamma_signal_sanity", "momentum_example"):
        assert bench.run(name).manifest.nondeterminism == ()


def test_what_is_watched_answers_as_ever(bench):
    body = """
    assert datetime.datetime is type(datetime.datetime.now())
    assert isinstance(datetime.datetime.now(), datetime.datetime)
    class Mine(datetime.datetime): pass
    assert type(Mine.now()) is Mine
    class Clock: read = time.time
    assert abs(Clock().read() - time.time()) < 60
    assert time.time.__name__ == "time" and callable(time.time)
    assert pickle.loads(pickle.dumps(time.time)) is time.time
    assert time.gmtime(0).tm_year == 1970 and time.gmtime().tm_year > 2000
    assert len(os.urandom(4)) == 4
    random.seed(7)
    first = random.random()
    random.seed(7)
    assert first == random.random() == random.Random(7).random()
    return {"first": first}
    """
    head = "import datetime, os, pickle, random, time"
    bench.experiment("asks", body, head=head)

    assert bench.run("asks").manifest.metrics == {"first": 0.32383276483316237}


# --- the program of the kernel's filter ----------------------------------------------------------


def judge(program, number, arguments=(), architecture=0xC000003E):
    """Run a filter's program as the kernel would."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *[v & 0xFFFFFFFFFFFFFFFF for v in values])
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            is_so = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += if_true if is_so else if_false


MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
OWN = 4321


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_refuses_its_list_and_nothing_else(machine):
    seccomp = load("seccomp")
    architecture, column = MACHINES[machine]
    program = seccomp.program(machine, OWN)
    refused = {numbers[column] for numbers in seccomp._REFUSED.values()} - {None}
    refused |= set(seccomp._REFUSED_X86) if machine == "x86_64" else set()
    judged = {numbers[column] for numbers in seccomp._JUDGED.values()}

    for number in range(seccomp._LAST_KNOWN + 1):
        if number not in judged:
            wanted = ERROR | EPERM if number in refused else ALLOW
            assert judge(program, number, architecture=architecture) == wanted, number


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("clone", (0x3D0F00,), ALLOW),  # a thread
        ("clone", (17,), ERROR | EPERM),  # a process
        ("clone", (0x4111,), ERROR | EPERM),
        ("clone3", (0, 88), ERROR | ENOSYS),
        ("socket", (1, 1), ALLOW),
        ("socket", (1, 1 | 0x80000 | 0x800), ALLOW),
        ("socket", (1, 2), ERROR | EPERM),
        ("socket", (1, 5), ERROR | EPERM),
        ("socket", (2, 1), ERROR | EPERM),
        ("socket", (10, 2), ERROR | EPERM),
        ("socket", (16, 3), ERROR | EPERM),
        ("socket", (40, 1), ERROR | EPERM),
        ("socketpair", (1, 1 | 0x80000), ALLOW),
        ("socketpair", (1, 2 | 0x80000), ERROR | EPERM),
        ("kill", (OWN, 15), ALLOW),
        ("kill", (0, 15), ERROR | EPERM),
        ("kill", (-1, 15), ERROR | EPERM),
        ("kill", (1, 0), ERROR | EPERM),
        ("tgkill", (OWN, 77, 6), ALLOW),
        ("tgkill", (OWN + 1, 77, 6), ERROR | EPERM),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (OWN, 7), ALLOW),
        ("prlimit64", (OWN - 1, 7), ERROR | EPERM),
    ],
)
def test_the_filter_looks_at_arguments(machine, name, arguments, answer):
    seccomp = load("seccomp")
    architecture, column = MACHINES[machine]
    program = seccomp.program(machine, OWN)

    number = seccomp._JUDGED[name][column]

    assert judge(program, number, arguments, architecture) == answer


def test_other_ways_to_call_the_kernel_are_refused():
    seccomp = load("seccomp")
    program = seccomp.program("x86_64", OWN)

    assert judge(program, 5, architecture=0x40000003) == ERROR | EPERM  # 32 bits
    assert judge(program, 0x40000000) == ERROR | EPERM  # x32
    assert judge(program, seccomp._LAST_KNOWN + 1) == ERROR | ENOSYS
    assert judge(program, 1 << 20) == ERROR | ENOSYS


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(OSError, match="no list of system calls for sparc"):
        load("seccomp").program("sparc", OWN)


def test_what_cannot_be_had_is_left_out_with_the_reason(tmp_path, monkeypatch):
    confine = load("confine")

    class Refuses:
        @staticmethod
        def no(*arguments, **options):
            raise OSError(1, "not here")

        leave = drop_capabilities = restrict = install = no

    class Libc:
        @staticmethod
        def prctl(*arguments):
            return -1

    monkeypatch.setattr(confine.ctypes, "CDLL", lambda *a, **k: Libc)
    monkeypatch.setattr(confine.sys, "platform", "linux")

    reached = confine.confine(str(tmp_path), [], lambda name: Refuses)

    assert (reached.level, reached.parts) == ("hook", ["hook"])
    assert set(reached.absent) == {"namespaces", "no_capabilities", "landlock", "seccomp"}


@pytest.mark.parametrize(
    ("parts", "level"),
    [
        ([], "hook"),
        (["landlock:files"], "hook"),
        (["seccomp"], "seccomp"),
        (["seccomp", "landlock:files"], "landlock"),
        (["seccomp", "namespaces:network", "landlock:files"], "landlock"),
        (["seccomp", "namespaces:network", "namespaces:mounts"], "namespaces"),
        (["namespaces:network", "namespaces:mounts", "landlock:files"], "hook"),
        (["sandbox-exec"], "sandbox-exec"),
    ],
)
def test_a_level_is_named_after_its_strongest_walls(parts, level):
    reached = load("confine").Reached()
    reached.parts += parts

    assert reached.level == level
    assert level in sandbox.LEVELS


# --- macOS ---------------------------------------------------------------------------------------


def test_the_profile_denies_all_but_what_a_run_needs():
    text = sandbox.profile(Path('/private/tmp/a "b'), ["/opt/python", "/opt/back\\slash"])
    lines = text.splitlines()

    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert "(deny network*)" in lines
    assert '    (subpath "/opt/python")' in lines
    assert '    (subpath "/opt/back\\\\slash")' in lines
    assert '    (subpath "/private/tmp/a \\"b/output")' in lines
    assert '    (subpath "/private/tmp/a \\"b/home")' + ")" in lines
    assert text.count("(") == text.count(")")
    written = text[text.index("(allow file-write*") : text.index("(deny network*)")]
    assert "/opt/python" not in written
    assert "network-outbound" not in text
    assert "process-fork" not in text


def test_only_macos_is_started_by_another_program(monkeypatch):
    monkeypatch.setattr(sandbox, "can_wrap", lambda: False)
    assert sandbox.wrapped(["python", "a"], Path("/f"), ["/r"]) == ["python", "a"]

    monkeypatch.setattr(sandbox, "can_wrap", lambda: True)
    found = sandbox.wrapped(["python", "a"], Path("/f"), ["/r"])

    assert found[:2] == ["/usr/bin/sandbox-exec", "-p"]
    assert found[2] == sandbox.profile(Path("/f"), ["/r"])
    assert found[3:] == ["python", "a"]


@pytest.mark.skipif(sys.platform != "darwin", reason="sandbox-exec is macOS's")
def test_macos_runs_an_experiment_in_it(bench):
    bench.experiment("simple", "return {'a': 1}")

    assert bench.run("simple").manifest.sandbox["level"] == "sandbox-exec"
