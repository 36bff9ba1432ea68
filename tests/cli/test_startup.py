"""Start-up: what a person feels. Nothing heavy is imported until it is needed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from cli.app import COMMANDS

HEAVY = ("numpy", "rich", "yaml", "numba", "pandas", "polars", "pyarrow", "ray", "scipy", "asyncio")
PROGRAM = """
import json, sys
sys.argv = ["ros", *{arguments!r}]
from cli.app import main
try:
    main()
except SystemExit as leaving:
    assert leaving.code == 0, leaving.code
print(json.dumps(sorted(name for name in {heavy!r} if name in sys.modules)), file=sys.stderr)
"""


def heavy_imports(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=arguments, heavy=HEAVY)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["log"],
        ["log", "--json", "--where", "sharpe > 0", "--sort", "-sharpe"],
        ["log", "--graph"],
        ["log", "--columns", "run,sharpe", "--format", "csv"],
        ["note", "sma"],
        ["show", "gamma"],
        ["promotions"],
        ["diff", "sma", "sma"],
        ["diff", "odd", "gamma"],
        ["run", "sma_crossover"],
        ["run", "gamma_signal_sanity"],
        ["refs"],
        ["journal"],
        ["stats"],
        ["fsck"],
        ["data", "list"],
        ["data", "show", "sp500-daily"],
        ["init"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(finished, arguments):
    assert heavy_imports(finished.folder, *arguments) == []


def test_a_command_imports_its_own_file_only(finished):
    program = PROGRAM.format(
        arguments=["log"], heavy=[f"cli.{name}" for name in COMMANDS if name != "log"]
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=finished.folder,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_every_command_is_a_file_with_a_docstring_and_a_function_of_its_name():
    folder = Path(cli.__file__).parent
    for name, summary in COMMANDS.items():
        tree = ast.parse((folder / f"{name}.py").read_text("utf-8"))
        functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        assert (ast.get_docstring(tree) or "").startswith(f"``ros {name}``: ")
        assert ast.get_docstring(functions[name])
        assert summary == summary.strip()
    rest = {"__init__", "app", "context", "exits", "graph", "limits", "look_ahead", "plot"}
    rest |= {"progress", "render", "swept"}
    rest |= {
        "because_page",
        "comparison",
        "data_changes",
        "diff_document",
        "diff_page",
        "table_changes",
    }
    assert {path.stem for path in folder.glob("*.py")} == set(COMMANDS) | rest


def test_the_version_is_told(finished):
    assert finished.ok("--version").text.startswith("ros ")
