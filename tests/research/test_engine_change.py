"""What a change of our own code does to old and new runs (Law 8).

A copy of the packages is changed, never the packages: in this process the runner is pointed at the
copy; in another process the copy is what runs.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from research.experiments import closure, registry

ROOT = Path(closure.__file__).parents[2]
BUILT_IN = ("sma_crossover", "gamma_signal_sanity", "momentum_example")


@pytest.fixture
def copy(tmp_path):
    """Give a copy of the packages, to be changed."""
    for name in ("cli", "research", "rosdb"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=ignored)
    return tmp_path / "copy"


@pytest.fixture
def ask(bench, copy, monkeypatch):
    """Give a function that fingerprints every built-in experiment, with the copy's code."""
    monkeypatch.setattr(closure, "_RESEARCH_ROOT", copy)
    monkeypatch.setattr(registry, "_PACKAGE_FOLDER", copy)
    return lambda: {name: bench.fingerprint(name) for name in BUILT_IN}


def append(copy, path, text="\n# Changed.\n"):
    with (copy / path).open("a") as handle:
        handle.write(text)


def test_a_copy_asks_the_same_question(bench, ask):
    copied = ask()
    here = {name: bench.fingerprint(name) for name in BUILT_IN}

    assert copied == here


@pytest.mark.parametrize(
    "path",
    [
        "research/simulation/chance.py",
        "research/simulation/compiled.py",
        "research/simulation/costs.py",
        "research/simulation/decisions.py",
        "research/simulation/engine.py",
        "research/simulation/entries.py",
        "research/simulation/execution.py",
        "research/simulation/exits.py",
        "research/simulation/kernel.py",
        "research/simulation/metrics.py",
        "research/simulation/orders.py",
        "research/simulation/plan.py",
        "research/simulation/positions.py",
        "research/simulation/protection.py",
        "research/simulation/result.py",
        "research/simulation/risk.py",
        "research/simulation/run_config.py",
        "research/simulation/attempts.py",
        "research/simulation/desk.py",
        "research/simulation/equity_figures.py",
        "research/simulation/inputs.py",
        "research/simulation/notes.py",
        "research/simulation/sound.py",
        "research/simulation/units.py",
        "research/simulation/session.py",
        "research/simulation/sizing.py",
        "research/simulation/slots.py",
        "research/bars.py",
    ],
)
def test_a_changed_engine_is_a_miss_of_the_runs_that_use_it(ask, copy, path):
    before = ask()
    append(copy, path)

    after = ask()

    assert after["sma_crossover"] != before["sma_crossover"]
    assert after["momentum_example"] != before["momentum_example"]
    assert after["gamma_signal_sanity"] == before["gamma_signal_sanity"]


def test_a_changed_indicator_is_a_miss_of_the_experiment_that_uses_it(ask, copy):
    before = ask()
    append(copy, "research/simulation/indicators.py")

    after = ask()

    assert {name for name in BUILT_IN if after[name] != before[name]} == {"sma_crossover"}


def test_what_travels_in_every_tree_is_a_miss_of_every_run(ask, copy):
    before = ask()
    append(copy, "research/experiments/spec.py")

    assert not set(before.values()) & set(ask().values())


def test_what_does_not_act_on_an_outcome_is_a_miss_of_none(ask, copy):
    before = ask()
    spared = [
        *(copy / "cli").glob("*.py"),
        *(copy / "rosdb").glob("*.py"),
        *(copy / "research/promotion").glob("*.py"),
        *(copy / "research/datasets").glob("*.py"),
        *(copy / "research/experiments/child").iterdir(),
        *(copy / "research" / name for name in ("__init__.py", "context.py", "workspace.py")),
        *(copy / "research/experiments" / f"{name}.py" for name in ("capsule", "run", "recipe")),
    ]
    for path in spared:
        append(copy, path)
    append(copy, "research/__init__.py", '\nHOMES["later"] = "research.later"\n')

    assert ask() == before


def ros(copy: Path, folder: Path, *arguments: str) -> dict:
    """Run the command line of the copy."""
    done = subprocess.run(
        [sys.executable, "-c", "from cli.app import main; main()", *arguments, "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_old_run_replays_identically_under_a_changed_engine(copy, tmp_path):
    ros(copy, tmp_path, "init", "--bare")
    old = ros(copy, tmp_path, "run", "sma_crossover")
    append(
        copy,
        "research/simulation/engine.py",
        "\n_simulate = simulate\n\n\ndef simulate(*a, cash=0.0, **k):\n"
        "    return _simulate(*a, cash=2 * cash, **k)\n",
    )

    new = ros(copy, tmp_path, "run", "sma_crossover")
    replayed = ros(copy, tmp_path, "replay", old["run"])

    # Or the change would prove nothing.
    assert new["cached"] is False
    assert new["outcome"] != old["outcome"]
    assert replayed["verdict"] == "identical"
    assert ros(copy, tmp_path, "run", "gamma_signal_sanity")["metrics"]
