"""The import closure: every way of importing, and what is not followed (Law 8)."""

import ast
import sysconfig
from pathlib import Path

import pytest

from research.errors import BrokenExperiment, ForbiddenImport
from research.experiments import closure, imports, registry
from research.experiments.registry import Registration


def registered(root: Path, module: str = "entry", origin: registry.Origin = "workspace"):
    return Registration(experiment_id="x", module=module, origin=origin, root=root)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def collected(root: Path, entry: str, files: dict[str, str] | None = None, include=()):
    write(root, {"entry.py": entry, **(files or {})})
    return closure.collect(registered(root), include)


PACKAGE = {
    "pkg/__init__.py": "from .first import *\n",
    "pkg/first.py": "from . import second\nfrom .deep.third import X\n",
    "pkg/second.py": "",
    "pkg/deep/__init__.py": "",
    "pkg/deep/third.py": "from ..fourth import Y\nX = 1\n",
    "pkg/fourth.py": "Y = 1\n",
    "pkg/unused.py": "",
}
WHOLE = sorted(set(PACKAGE) - {"pkg/unused.py"})


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("import helper", ["helper.py"]),
        ("import helper as h", ["helper.py"]),
        ("from helper import fee", ["helper.py"]),
        ("from helper import *", ["helper.py"]),
        ("def run():\n    def inner():\n        import helper", ["helper.py"]),
        ("class A:\n    from helper import fee", ["helper.py"]),
        ("try:\n    import helper\nexcept ImportError:\n    pass", ["helper.py"]),
        ("if False:\n    import helper", ["helper.py"]),
        ("f = lambda: __import__('helper')", ["helper.py"]),
        ("import importlib\nimportlib.import_module('helper')", ["helper.py"]),
        ("from importlib import import_module\nimport_module('helper')", ["helper.py"]),
        ("import importlib as il\nil.import_module('helper')", ["helper.py"]),
        ("from importlib import import_module as load\nload(name='helper')", ["helper.py"]),
        ("import importlib\nimportlib.import_module('.second', 'pkg')", WHOLE),
        ("__import__('pkg', fromlist=['unused'])", sorted(PACKAGE)),
        ("import pkgutil\npkgutil.resolve_name('helper:fee')", ["helper.py"]),
        ("from listed import *", ["listed/__init__.py", "listed/one.py"]),
        ("import pkg", WHOLE),
        ("import pkg.second", WHOLE),
        ("from pkg import unused", sorted(PACKAGE)),
        ("from pkg.deep.third import X", WHOLE),
        ("import importlib\nimportlib.import_module('pkg.unused')", sorted(PACKAGE)),
        ("import spaces.inside.module", ["spaces/inside/module.py"]),
        ("from spaces.inside import module", ["spaces/inside/module.py"]),
        ("from spaces import inside", []),
        ("name = 'helper'\n__import__(name)", []),
        ("import nothing.of.ours", []),
    ],
)
def test_every_way_of_importing_is_seen(tmp_path, entry, found):
    listed = {"listed/__init__.py": "__all__ = ['one', 'name']\nname = 1\n", "listed/one.py": ""}
    more = {"helper.py": "fee = 1\n", "spaces/inside/module.py": "", "listed/two.py": ""}
    files = {**PACKAGE, **listed, **more}

    assert sorted(collected(tmp_path, entry, files).files) == sorted(["entry.py", *found])


def test_an_import_circle_ends(tmp_path):
    found = collected(tmp_path, "import a", {"a.py": "import b", "b.py": "import a, entry"})

    assert sorted(found.files) == ["a.py", "b.py", "entry.py"]


def test_what_is_not_ours_is_named_and_not_taken(tmp_path):
    found = collected(tmp_path, "import numpy.linalg, json, os.path\nfrom yaml import safe_load")

    assert list(found.files) == ["entry.py"]
    assert found.foreign == {"numpy", "yaml"}


def test_a_folder_without_init_does_not_hide_a_distribution(tmp_path):
    # Python prefers the distribution, so its version has to stand in the environment.
    found = collected(tmp_path, "import numpy", {"numpy/script.py": ""})

    assert found.foreign == {"numpy"}


@pytest.mark.parametrize(
    "entry",
    [
        "from research import simulate",
        "import research\nresearch.simulate",
        "import research as r\ndef f():\n    return r.simulate",
        "from research.simulation.engine import simulate",
        "import research.simulation.engine",
        "from research.simulation import engine",
        "import importlib\nimportlib.import_module('research.simulation.engine')",
    ],
)
def test_the_engine_is_taken_in_and_what_it_imports(tmp_path, entry):
    found = collected(tmp_path, entry)

    assert {"research/simulation/engine.py", "research/simulation/kernel.py"} <= set(found.files)
    assert "research/__init__.py" not in found.files
    assert "research/simulation/__init__.py" in found.files
    assert not [path for path in found.files if "promotion" in path or "experiments/run" in path]
    compile(found.facade, "facade", "exec")


def test_the_facade_maps_just_the_names_in_use(tmp_path):
    found = collected(tmp_path, "from research import save_table, ExperimentSpec")
    space: dict = {"__name__": "research"}
    exec(found.facade, space)

    assert space["HOMES"] == {
        "ExperimentSpec": "research.experiments.spec",
        "save_table": "research.experiments.output",
    }
    with pytest.raises(AttributeError, match=r"research\.simulate is not in this run's code tree"):
        space["__getattr__"]("simulate")


@pytest.mark.parametrize(
    "name",
    [
        "import rosdb",
        "from rosdb import Store",
        "import cli.app",
        "import research.promotion.promote",
        "from research import promotion",
        "from research import context",
        "from research import create_experiment_context",
        "import research.datasets.snapshot",
        "from research.experiments import run",
        "def f():\n    __import__('rosdb')",
    ],
)
def test_what_runs_experiments_is_no_part_of_one(tmp_path, name):
    with pytest.raises(BrokenExperiment, match=r"line \d.*no part of an experiment"):
        collected(tmp_path, name)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("from research import *", "entry.py, line 1: name what you import"),
        ("from research import nonsense", "entry.py, line 1: research has no 'nonsense'"),
        ("from . import helper", "entry.py, line 1: a relative import"),
        ("import helper", "helper.py, line 2"),
        ("def (", "entry.py, line 1"),
        ("x = '\x00'", "entry.py"),
    ],
)
def test_code_that_cannot_be_read_is_named(tmp_path, entry, reason):
    with pytest.raises(BrokenExperiment, match=reason.replace("(", r"\(")):
        collected(tmp_path, entry, {"helper.py": "\ndef ("})


@pytest.mark.parametrize(
    "entry",
    [
        "import ccxt",
        "import ccxt.async_support as harmless",
        "from ccxt import binance",
        "from ib_insync import *",
        "def f():\n    import alpaca_trade_api",
        "def f():\n    __import__('ccxt')",
        "from importlib import import_module\nimport_module('ccxt.pro')",
        "try:\n    import ccxt\nexcept ImportError:\n    pass",
        "import helper",
        "from backtrader import brokers",
        "import backtrader.stores.ibstore",
        "from nautilus_trader.live import node",
    ],
)
def test_a_broker_is_refused_before_anything_runs(tmp_path, entry):
    with pytest.raises(ForbiddenImport, match=r"(entry|helper).py, line \d imports"):
        collected(tmp_path, entry, {"helper.py": "import web3"})


def test_a_name_like_a_brokers_is_not_refused(tmp_path):
    found = collected(tmp_path, "import backtrader, ccxt_notes, nautilus_trader.model")

    assert found.foreign == {"backtrader", "ccxt_notes", "nautilus_trader"}


def test_include_brings_what_no_import_shows(tmp_path):
    files = {"plugin.py": "import deeper", "deeper.py": "", "weights.json": "{}", "odd-name.py": "",
             "data/a.bin": "x"}  # fmt: skip
    include = ["plugin", "weights.json", "odd-name.py", "data/a.bin"]

    found = collected(tmp_path, "", files, include)

    assert sorted(found.files) == sorted(["entry.py", *files])


@pytest.mark.parametrize("name", ["nothing", "../outside.py", "data", "", "/etc/hostname"])
def test_include_of_what_is_not_there_is_refused(tmp_path, name):
    write(tmp_path, {"outside.py": "", "inside/data/a.bin": ""})

    with pytest.raises(BrokenExperiment, match="is not there"):
        collected(tmp_path / "inside", "", None, [name])


def test_of_an_installed_package_only_the_package_is_taken(tmp_path):
    write(tmp_path, {"single.py": "import neighbour", "neighbour.py": "", **PACKAGE})
    write(tmp_path, {"pkg/unused.py": "import neighbour"})

    single = closure.collect(registered(tmp_path, "single", "package"))
    package = closure.collect(registered(tmp_path, "pkg.unused", "package"))

    assert (list(single.files), single.foreign) == (["single.py"], {"neighbour"})
    assert sorted(package.files) == sorted(PACKAGE)
    assert package.foreign == {"neighbour"}


def read(path: Path, *, is_walked: bool) -> set:
    with pytest.MonkeyPatch.context() as patch:
        if is_walked:
            patch.setattr(imports, "_plain_imports", lambda text, tree: [])
        source = imports.read_source("x", path, "pkg")
        return set(imports.imports(source, "research"))


def test_a_plain_file_is_read_as_one_that_is_walked():
    own = sorted(Path(closure.__file__).parents[1].rglob("*.py"))
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    plain = 0
    for path in own + library:
        text = path.read_bytes()
        plain += bool(imports._plain_imports(text, ast.parse(text)))
        assert read(path, is_walked=False) == read(path, is_walked=True), path
    # Or the comparison would compare nothing.
    assert plain > len(own) / 3


@pytest.mark.parametrize(
    "text",
    [
        "import json\nx = __import__('helper')",
        "import json\ndef f():\n    import helper",
        "import json; x = 1; import helper",
        "import importlib\ngetattr(importlib, 'a')",
        "import pkgutil\npkgutil.resolve_name('helper:f')",
        "from runpy import run_module as r\nr('helper')",
        "import json, research as r\nr.simulate",
        "import research.simulation.engine\nresearch.simulate",
        "import json\nx = __\uff49mport__('helper')",
        "# coding: utf-7\nx = 1\n+AGk-mport helper",
        "import json\rimport helper",
        "import json\n\x0cimport helper",
        "import json\nif True:\n  import helper",
        "from json import (\n    dumps,\n    loads,\n)\nimport helper",
    ],
)
def test_nothing_hides_from_a_plain_reading(tmp_path, text):
    (tmp_path / "a.py").write_bytes(text.encode())

    assert read(tmp_path / "a.py", is_walked=False) == read(tmp_path / "a.py", is_walked=True)
