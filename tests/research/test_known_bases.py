"""What questions share is known again within a process, and made anew once anything changed."""

import os
import time

import pytest

from research.experiments import known_bases, registry
from research.experiments import run as runner
from research.experiments.recipe import Request

SPEC = "parameters={'a': 1}, input_dataset='prices'"
BODY = "return {'fee': fee(spec.parameters['a']), 'last': spec.bars()['close'][-1].item()}"


@pytest.fixture(autouse=True)
def trusting(monkeypatch):
    """Trust what was written a moment ago: a test does not wait for it to grow old."""
    monkeypatch.setattr(known_bases, "_COARSE_NS", -(10**18))


@pytest.fixture
def priced(bench):
    """Give a workspace with a helper and prices, and a run that was answered."""
    bench.write("fees.py", "def fee(a):\n    return a * 2\n")
    bench.experiment("priced", BODY, head="from fees import fee", spec=SPEC)
    add(bench, 100.0, "1")
    bench.run("priced")
    return bench


def add(bench, close, version):
    from research.datasets.snapshot import add_snapshot

    path = bench.folder / "prices.csv"
    rows = [f"2020-01-0{day},{close},{close},{close},{close},1.0" for day in (1, 2, 3)]
    path.write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n", "utf-8")
    add_snapshot(bench.context, path, name="prices", version=version)


def recalled(bench):
    time.sleep(0.02)  # the clock of the file system ticks
    return known_bases.recall(bench.context, "priced", None)


def test_what_has_not_changed_is_known(priced, monkeypatch):
    assert recalled(priced) is not None
    monkeypatch.setattr(registry, "find", None)

    assert priced.run("priced").is_cached
    found = priced.run("priced", parameters={"a": 1})
    assert (found.is_cached, found.manifest.metrics) == (True, {"fee": 2, "last": 100.0})


def test_the_recipe_is_the_same_as_anew(priced):
    known = priced.run("priced").manifest

    assert priced.fingerprint("priced") == known.recipe_id


def edit(bench):
    bench.write("fees.py", "def fee(a):\n    return a * 3\n")


def shadow(bench):
    (bench.context.experiments_folder / "fees").mkdir()
    bench.write("fees/__init__.py", "def fee(a):\n    return a * 3\n")


CHANGES = {"an edit of the same length": edit, "a package that shadows": shadow}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_code_is_another_question(priced, change):
    time.sleep(0.02)
    change(priced)

    assert recalled(priced) is None
    found = priced.run("priced")
    assert (found.is_cached, found.manifest.metrics["fee"]) == (False, 3)


def test_an_edit_that_hides_its_time_is_seen(priced):
    path = priced.context.experiments_folder / "fees.py"
    before = path.stat()
    time.sleep(0.02)
    edit(priced)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert priced.run("priced").manifest.metrics["fee"] == 3


def test_another_version_of_the_dataset_is_another_question(priced):
    add(priced, 200.0, "2")

    assert recalled(priced) is None
    assert priced.run("priced").manifest.metrics["last"] == 200.0


def test_options_of_the_workspace_count(priced):
    (priced.folder / "ros.toml").write_text('[cache]\ncode = "syntax"\n')
    assert recalled(priced) is None

    (priced.folder / "ros.toml").write_text('[run]\nforbidden = ["fees"]\n')
    with pytest.raises(Exception, match="fees"):
        priced.run("priced")


def test_an_experiment_of_the_workspace_hides_a_built_in_one(bench):
    bench.run("sma_crossover")
    assert bench.run("sma_crossover").is_cached
    time.sleep(0.02)
    bench.experiment("sma_crossover", "return {'mine': 1}")

    assert bench.run("sma_crossover").manifest.metrics == {"mine": 1}


def test_what_was_written_a_moment_ago_is_not_trusted(priced, monkeypatch):
    monkeypatch.setattr(known_bases, "_COARSE_NS", 2 * 10**9)
    edit(priced)
    priced.run("priced")

    assert recalled(priced) is None


def test_bad_parameters_are_refused_as_ever(priced):
    with pytest.raises(Exception, match="no parameter"):
        runner.run(priced.context, Request(experiment_id="priced", overrides=[("b", 1)]))
    with pytest.raises(Exception, match="seed"):
        runner.run(priced.context, Request(experiment_id="priced", seed=2**70))
