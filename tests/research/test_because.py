"""`ros diff --because`: what lies between two runs is run, recorded, and shared out exactly."""

from fractions import Fraction

import pytest

from research.datasets.snapshot import add_snapshot
from research.errors import BadInput
from research.experiments import environment
from research.experiments.because import explain_change

ADDS = """
p = spec.parameters
return {"sum": 2 * p["x"] + 0.5 * p["deep"]["y"] + spec.seed, "x": p["x"], "same": 1.0}
"""
PARAMETERS = 'parameters={"x": 1, "deep": {"y": 1.0, "z": 3}}, seed=1'


def because(bench, a, b):
    return explain_change(bench.context, a.manifest.run_id, b.manifest.run_id)


def count_runs(bench):
    return len(list(bench.store.runs()))


def test_each_input_has_its_exact_share(bench):
    bench.experiment("adds", ADDS, spec=PARAMETERS)
    a = bench.run("adds")
    b = bench.run("adds", parameters={"x": 11, "deep.y": 0.1}, seed=5)

    found = because(bench, a, b)

    assert [(each.name, each.a, each.b) for each in found.inputs] == [
        ("deep.y", 1.0, 0.1), ("x", 1, 11), ("seed", 1, 5),
    ]  # fmt: skip
    assert found.method == "all orders"
    whole = found.metrics["sum"]
    expected = {"deep.y": 0.5 * 0.1 - 0.5, "x": 20.0, "seed": 4.0}
    assert {name: float(share) for name, share in whole.shares.items()} == pytest.approx(
        expected, abs=1e-14
    )
    assert sum(whole.shares.values()) == whole.change == Fraction(whole.b) - Fraction(whole.a)
    assert whole.remainder == whole.environment == 0
    assert found.metrics["x"].shares == {"deep.y": 0, "x": 10, "seed": 0}
    assert found.metrics["same"].change == 0


def test_what_lies_between_is_recorded_and_answers_the_next_time(bench):
    bench.experiment("adds", ADDS, spec=PARAMETERS)
    a, b = bench.run("adds"), bench.run("adds", parameters={"x": 2, "deep.y": 9.0})

    first = because(bench, a, b)

    assert count_runs(bench) == 4
    assert [(each.swapped, each.is_cached) for each in first.between] == [
        ((), True), (("deep.y",), False), (("x",), False), (("deep.y", "x"), True),
    ]  # fmt: skip
    made = first.between[2].manifest
    (pending, *_) = bench.store.journal(f"runs/{made.run_id}")
    assert "--because" in pending.why
    assert "with x of" in pending.why
    # The very question: asked from the workspace, it is answered by the run in between.
    asked = bench.run("adds", parameters={"x": 2})
    assert asked.is_cached
    assert asked.manifest.run_id == made.run_id
    assert all(each.is_cached for each in because(bench, a, b).between)
    assert count_runs(bench) == 4


def test_interactions_are_shared_and_the_shares_add_up(bench):
    run = 'p = spec.parameters\nreturn {"product": p["u"] * p["v"] * p["w"]}'
    bench.experiment("times", run, spec='parameters={"u": 1.1, "v": 1.7, "w": 0.3}')
    a, b = bench.run("times"), bench.run("times", parameters={"u": 2.3, "v": 0.9, "w": 7.1})

    found = because(bench, a, b)

    each = found.metrics["product"]
    assert len(found.between) == 8
    assert sum(each.shares.values()) == each.change != 0
    assert sum(each.alone.values()) != each.change
    assert each.remainder == 0


def test_code_and_data_come_from_the_store(bench, tmp_path):
    for version, text in (("1", "3"), ("2", "8")):
        path = tmp_path / version / "n.txt"
        path.parent.mkdir()
        path.write_text(text)
        add_snapshot(bench.context, path, name="n", version=version)
    spec = 'parameters={"x": 1}, input_dataset="n", input_kind="files"'
    body = 'return {{"m": {} * spec.parameters["x"] + int((spec.files / "n.txt").read_text())}}'
    bench.experiment("both", body.format("helper.FACTOR"), "import helper", spec)
    bench.write("helper.py", "FACTOR = 10\n")
    a = bench.run("both", dataset="n@1")
    bench.write("helper.py", "FACTOR = 100\n")
    b = bench.run("both", dataset="n@2", parameters={"x": 3})
    (bench.context.experiments_folder / "helper.py").unlink()
    (bench.context.experiments_folder / "both.py").unlink()

    found = because(bench, a, b)

    assert [each.name for each in found.inputs] == ["x", "code", "dataset"]
    each = found.metrics["m"]
    assert (each.a, each.b) == (13, 308)
    # x and code: 10x1, 10x3, 100x1, 100x3; data adds up by itself.
    assert each.shares == {
        "x": Fraction(20 + 200, 2), "code": Fraction(90 + 270, 2), "dataset": 5,
    }  # fmt: skip
    between = {each.swapped: each.manifest for each in found.between}
    assert between["dataset",].dataset == "n@2"
    assert between["code",].recipe.links["code"] == b.manifest.recipe.links["code"]


def test_what_only_one_codes_parameters_know_goes_with_the_code(bench):
    bench.experiment(
        "e", 'return {"m": spec.parameters["x"]}', spec='parameters={"x": 1, "old": 0}'
    )
    a = bench.run("e")
    run = 'return {"m": spec.parameters["x"] + spec.parameters["new"]}'
    bench.experiment("e", run, spec='parameters={"x": 1, "new": 5}')
    b = bench.run("e", parameters={"x": 2, "new": 7})

    found = because(bench, a, b)

    assert [each.name for each in found.inputs] == ["x", "code"]
    assert found.metrics["m"].shares == {"x": 1, "code": 7}


def test_more_than_six_inputs_are_swapped_one_at_a_time(bench):
    names = "stuvwxy"
    run = 'p = spec.parameters\nreturn {"m": sum(p.values()) + p["s"] * p["t"]}'
    bench.experiment("many", run, spec=f"parameters={dict.fromkeys(names, 0)}")
    a, b = bench.run("many"), bench.run("many", parameters=dict.fromkeys(names, 2))

    found = because(bench, a, b)

    assert found.method == "one at a time"
    assert len(found.between) == 1 + 7 + 1
    each = found.metrics["m"]
    assert each.change == 18
    assert each.shares == dict.fromkeys(names, 2)
    assert each.remainder == 4


def test_a_run_in_between_that_fails_is_kept_and_said(bench):
    run = """
    x, y = spec.parameters["x"], spec.parameters["y"]
    if x and not y:
        raise ValueError("x needs y")
    return {"m": x + y}
    """
    bench.experiment("needs", run, spec='parameters={"x": 0, "y": 0}')
    a, b = bench.run("needs"), bench.run("needs", parameters={"x": 3, "y": 4})

    found = because(bench, a, b)

    (failed,) = found.failed
    assert failed.swapped == ("x",)
    assert failed.manifest.error["message"] == "x needs y"
    assert found.method == "one at a time"
    each = found.metrics["m"]
    assert each.shares == {"x": None, "y": 4}
    assert each.remainder == 3


def test_a_metric_that_is_undefined_in_between_is_not_shared(bench):
    run = """
    x, y = spec.parameters["x"], spec.parameters["y"]
    return {"m": 1.0 * x + y, **({} if x > y else {"sharpe": 1.0 * x}), "n": float("nan"), "t": "a"}
    """
    bench.experiment("odd", run, spec='parameters={"x": 0, "y": 0}')
    a, b = bench.run("odd"), bench.run("odd", parameters={"x": 3, "y": 4})

    found = because(bench, a, b)

    assert found.method == "all orders"
    assert found.metrics["m"].shares == {"x": 3, "y": 4}
    assert found.unexplained["sharpe"] == "a run in between is without it"
    assert (
        sum(s or 0 for s in found.metrics["sharpe"].shares.values())
        + (found.metrics["sharpe"].remainder)
        == 3
    )
    assert not {"n", "t"} & found.metrics.keys()


def test_what_todays_environment_changes_is_told_apart(bench, monkeypatch):
    head = "import time"
    run = 'return {"m": spec.parameters["x"] + time.localtime(0).tm_hour}'
    bench.experiment("zone", run, head, 'parameters={"x": 0}')
    before = dict(environment.VARIABLES)
    monkeypatch.setattr(environment, "VARIABLES", {**before, "TZ": "EST5"})
    a = bench.run("zone")
    monkeypatch.setattr(environment, "VARIABLES", before)
    b = bench.run("zone", parameters={"x": 2})

    found = because(bench, a, b)

    each = found.metrics["m"]
    assert (each.a, each.b) == (19, 2)
    assert each.shares == {"x": 2}
    assert each.environment == -19
    assert each.remainder == 0
    assert found.drift == ("TZ: EST5 then, UTC now",)


def test_there_has_to_be_something_to_explain(bench):
    bench.experiment("e", 'return {"m": 1.0}', spec='parameters={"x": 0}')
    a = bench.run("e")
    found = because(bench, a, a)
    assert (found.inputs, found.between, found.method) == ((), (), "none")
    bench.experiment("fails", "raise ValueError('no')")
    failed = bench.failure("fails")

    with pytest.raises(BadInput, match="is failed"):
        explain_change(bench.context, a.manifest.run_id, failed.run_id)
