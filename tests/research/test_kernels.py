"""The compiled engine in runs: the same answers, and nothing of it in any fingerprint."""

from importlib.util import find_spec

import pytest

from research.experiments import kernels
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis
from research.simulation import compiled
from research.simulation.engine import compile_engine

pytestmark = pytest.mark.skipif(
    find_spec("numba") is None, reason="numba is not installed: there is nothing compiled"
)

TRADES = """
bars = spec.bars()
ups = bars["close"] > bars["open"]
result = simulate(bars, ups, ~ups, size=float(spec.parameters["n"]))
save_table(output_dir, "equity", {"equity": result.equity})
print("compiled" if compiled.functions.cache_info().currsize else "python")
return {"total_return": result.metrics["total_return"]}
"""
HEAD = """
from research import save_table, simulate
from research.simulation import compiled
"""
SPEC = "parameters={'n': 0}, input_dataset='sp500-daily'"


@pytest.fixture(scope="module")
def engine():
    """Have the engine compiled, which takes twenty seconds once."""
    compile_engine()


def said(bench, manifest):
    return bench.store.get_blob(manifest.log).split()[-1].decode()


def test_where_it_is_worth_it_is_said_alike_by_both():
    assert kernels.WORTH_FROM == compiled.WARM_FROM


def test_copies_play_compiled_what_a_lone_child_plays_in_python(
    bench, new_bench, engine, monkeypatch
):
    monkeypatch.setattr(kernels, "WORTH_FROM", 1)
    bench.experiment("trades", TRADES, head=HEAD, spec=SPEC)
    axes = [Axis(path="n", values=(1, 2, 3, 4, 5))]

    found = sweep(bench.context, SweepRequest(request=bench.request("trades"), axes=axes))

    manifests = [point.manifest for point in found.points]
    assert [each.status for each in manifests] == ["completed"] * 5
    assert said(bench, manifests[-1]) == "compiled"
    monkeypatch.setattr(kernels, "WORTH_FROM", 10**9)
    other = new_bench("other")
    other.experiment("trades", TRADES, head=HEAD, spec=SPEC)
    for each in manifests:
        alone = other.run("trades", parameters=each.parameters, seed=each.seed).manifest
        assert said(other, alone) == "python"
        assert (alone.recipe_id, alone.outcome_id) == (each.recipe_id, each.outcome_id)


def test_an_engine_that_is_not_the_installed_one_is_not_helped(bench, engine, monkeypatch):
    monkeypatch.setattr(kernels, "WORTH_FROM", 1)
    bench.experiment("trades", TRADES, head=HEAD, spec=SPEC)
    recipe = bench.run("trades", parameters={"n": 1}).manifest.recipe
    assert kernels.kernels_for(bench.context, recipe) == compiled.kept_files() != []

    with bench.store.transaction() as tx:
        tree = dict(bench.store.get_tree(recipe.links["code"]))
        package = dict(bench.store.get_tree(tree["research"].link))
        engine_tree = dict(bench.store.get_tree(package["simulation"].link))
        engine_tree["slots.py"] = replaced(engine_tree["slots.py"], tx.put_blob(b"# other"))
        package["simulation"] = replaced(package["simulation"], tx.put_tree(engine_tree))
        tree["research"] = replaced(tree["research"], tx.put_tree(package))
        links = {**recipe.links, "code": tx.put_tree(tree)}
        changed = tx.put_record(recipe.schema, recipe.fields, links)

    assert kernels.kernels_for(bench.context, bench.store.get_record(changed)) == []


def replaced(entry, link):
    return type(entry)(kind=entry.kind, link=link, size=entry.size, mode=entry.mode)


def test_few_bars_or_none_are_played_in_python(bench, engine, monkeypatch):
    bench.experiment("plain", "return {}")
    assert kernels.kernels_for(bench.context, bench.run("plain").manifest.recipe, 10**9) == []
    bench.experiment("trades", TRADES, head=HEAD, spec=SPEC)
    recipe = bench.run("trades", parameters={"n": 1}).manifest.recipe
    assert kernels.kernels_for(bench.context, recipe) == []
    assert kernels.kernels_for(bench.context, recipe, 10**6) != []
