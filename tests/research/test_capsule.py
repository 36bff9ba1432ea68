"""What the child sees: its code tree, the interpreter, and nothing else of ours (Law 8)."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rosdb
from research.errors import BrokenExperiment
from research.experiments import capsule, environment

HARNESS = Path(capsule.__file__).parent / "child" / "harness.py"
PATIENCE_SECONDS = 30


@pytest.mark.parametrize(
    "module", ["rosdb", "cli", "cli.app", "research.promotion", "research.context", "helper"]
)
def test_a_computed_import_is_absent_by_name(bench, module):
    bench.write("helper.py", "")
    name = f"''.join({list(module)})"
    bench.experiment("computed", f"import importlib\nimportlib.import_module({name})")

    error = bench.failure("computed").error

    absent = module if module.startswith("research.") else module.split(".")[0]
    assert error["kind"] == "ModuleNotFoundError"
    assert f"No module named '{absent}'" in error["message"]
    assert "include" in error["message"]
    assert error["where"] == "computed.py, line 8"


def test_a_declared_one_is_there(bench):
    bench.write("helper.py", "FEE = 3\n")
    body = "import importlib\nreturn {'fee': importlib.import_module(''.join('helper')).FEE}"
    bench.experiment("computed", body, spec="include=['helper']")

    assert bench.run("computed").manifest.metrics == {"fee": 3}
    bench.write("helper.py", "FEE = 4\n")
    assert bench.run("computed").manifest.metrics == {"fee": 4}


def test_the_facade_of_the_tree_has_only_what_is_used(bench):
    body = "import research\nreturn {'found': hasattr(research, ''.join('simulate'))}"
    bench.experiment("looks", body)

    assert bench.run("looks").manifest.metrics == {"found": False}


def test_the_child_gets_neither_our_variables_nor_our_folder(bench, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "not for you")
    monkeypatch.setenv("PYTHONPATH", str(bench.folder))
    bench.experiment(
        "surroundings",
        """
        import os, stat, sys
        home = os.path.realpath(os.environ["HOME"])
        return {
            "variables": " ".join(sorted(os.environ)),
            "is_at_home": home.startswith(os.getcwd()),
            "argv": len(sys.argv),
            "stdin": stat.S_ISCHR(os.fstat(0).st_mode) and sys.stdin.read() == "",
            "path": " ".join(p for p in sys.path if "workspace" in p and p != os.getcwd() + "/code"),
        }
        """,
    )

    metrics = bench.run("surroundings").manifest.metrics

    assert metrics["variables"].split() == sorted([*environment.VARIABLES, "HOME", "TMPDIR"])
    assert metrics["is_at_home"] is True
    assert (metrics["stdin"], metrics["path"]) == (True, "")


def test_a_folder_that_may_not_be_read_is_not_searched_for_modules(tmp_path):
    # Every `import` of something that is not there searches the whole path, and one entry of it
    # (a package that somebody installed in place) would be an undeclared read.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "found.py").write_text("")
    answer = perform(
        tmp_path,
        "try:\n    import found\n    FOUND = True\nexcept ImportError:\n    FOUND = False\n"
        "class Spec:\n    pass\n",
        {"PYTHONPATH": str(tmp_path / "elsewhere")},
    )

    assert "refus" not in answer["error"]["message"].lower()
    assert answer["error"]["kind"] == "AttributeError"


@pytest.mark.parametrize("name", ["rosdb", "cli", "research"])
def test_what_is_installed_of_ours_is_not_found(tmp_path, name):
    # As in a wheel: beside the libraries, in a folder that may be read.
    root = Path(rosdb.__file__).parents[1]
    entry = f"import importlib\nimportlib.import_module({name!r})\n"

    answer = perform(tmp_path, entry, {"PYTHONPATH": str(root)}, readable=[str(root)])

    assert answer["error"]["kind"] == "ModuleNotFoundError"
    assert f"No module named '{name}'" in answer["error"]["message"]


def perform(tmp_path: Path, entry: str, variables: dict[str, str], readable=()) -> dict:
    """Run the harness by hand, as the runner would."""
    box = start(tmp_path, entry, variables, readable)
    with box:
        box.wait(PATIENCE_SECONDS)
    return json.loads((tmp_path / "box" / "result.json").read_text())


def start(tmp_path: Path, entry: str, variables: dict[str, str], readable=()) -> subprocess.Popen:
    folder = tmp_path / "box"
    for name in ("code", "input", "output", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "code" / "entry.py").write_text(entry)
    request = {
        "capsule": 1,
        "entry": "entry",
        "experiment": "x",
        "parameters": {},
        "seed": 0,
        "forbidden": [],
        "readable": [sys.prefix, sys.base_prefix, str(HARNESS.parent), *readable],
        "loadable": [],
    }
    (folder / "request.json").write_text(json.dumps(request))
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-B", str(HARNESS), str(folder), "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder / "home"), **variables},
    )


def test_the_child_ends_with_its_parent(tmp_path):
    entry = "open('output/started', 'w').close()\nwhile True:\n    pass\n"
    box = start(tmp_path, entry, {})
    with box:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (tmp_path / "box" / "output" / "started").exists():
            assert box.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert box.stdin is not None
        box.stdin.close()  # as the kernel does when the parent is gone, however it went
        try:
            assert box.wait(PATIENCE_SECONDS) == 1
        finally:
            box.kill()
    assert (tmp_path / "box" / "result.json").read_bytes() == b""


def test_the_capsule_leaves_nothing_behind(bench, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    bench.experiment("fine")
    bench.experiment("bad", "raise ValueError")

    bench.run("fine")
    bench.failure("bad")

    assert os.listdir(tmp_path / "temporary") == []


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("raise ValueError('at import')", r"ValueError: at import \(odd.py, line 2\)"),
        ("import os\nos._exit(3)", "status 3 and no result"),
        ("exit(4)", r"it called exit\(4\)"),
        ("open('/etc/passwd')", "it tried to read '/etc/passwd'"),
        ("import helper_that_is_not_there", "No module named"),
        ("DEFAULTS = {'a': {1, 2}}", "TypeError"),
    ],
)
def test_a_declaration_that_cannot_be_had_says_why(bench, head, reason):
    # Not of literals, so it is asked of a child.
    bench.write(
        "odd.py",
        "from research import ExperimentSpec\n"
        f"{head}\n"
        "DEFAULTS = globals().get('DEFAULTS', {})\n"
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='odd', parameters=dict(DEFAULTS))\n"
        "def run(spec, output_dir): return {}\n",
    )

    with pytest.raises(BrokenExperiment, match=reason):
        bench.run("odd")

    assert not list(bench.store.journal())


def test_floats_that_json_lacks_travel_both_ways(bench):
    defaults = "parameters=dict(nan=float('nan'), down=float('-inf'), text={'float': 'f8'})"
    bench.experiment("odd", "return {k: v for k, v in spec.parameters.items() if k != 'text'} | {"
                     "'text': repr(spec.parameters['text']), 'zero': -0.0}", spec=defaults)  # fmt: skip

    metrics = bench.run("odd").manifest.metrics

    assert metrics["nan"] != metrics["nan"]
    assert metrics["down"] == float("-inf")
    assert metrics["text"] == "{'float': 'f8'}"
    assert str(metrics["zero"]) == "-0.0"
