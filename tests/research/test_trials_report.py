"""What `ros trials` reports: the count, the effective count, the distribution, the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics
from research.errors import NotThere
from research.experiments import curves, ledger
from research.experiments.ledger import Family, count_trials
from research.promotion import trials
from research.promotion.trials import histogram, quantiles
from rosdb import TrialColumns

CURVE = """
import numpy as np
random = np.random.default_rng(spec.parameters['group'])
r = 0.01 * random.normal(size=200)
r = r + 0.001 * np.random.default_rng(spec.parameters['draw']).normal(size=200)
equity = np.concatenate([[1.0], np.cumprod(1.0 + r)])
save_table(output_dir, 'equity', {'at_ns': np.arange(201), 'equity': equity})
return {'sharpe': float(r.mean() / r.std(ddof=1))}
"""


@pytest.fixture(scope="module")
def groups(benches):
    """Give six trials that are two strategies, a failed one, and one on no curve."""
    bench = benches()
    bench.experiment(
        "groups",
        CURVE,
        head="from research import save_table",
        spec="parameters={'group': 0, 'draw': 0}",
    )
    for group in (1, 2):
        for draw in (3, 4, 5):
            bench.run("groups", parameters={"group": group, "draw": draw})
    bench.failure("groups", parameters={"draw": -1})
    yield bench
    bench.store.close()


def test_trials_that_move_together_are_one(groups):
    found = trials.report(groups.context, "groups")

    assert (found.count, found.failed_count) == (7, 1)
    assert (found.effective.count, found.effective.sample_count, found.effective.total) == (2, 6, 6)
    assert found.family.label == "groups"
    assert found.best.sharpe == found.sharpes[-1] == max(found.sharpes)
    assert found.best.deflated.trial_count == 7


def test_the_best_whose_run_is_gone_still_stands(groups):
    report = trials.report(groups.context, "groups")
    ledger.remove_runs(groups.store, [report.best.run_id])
    groups.store.plan_collection(grace_seconds=0).execute()

    found = trials.report(groups.context, "groups")

    assert (found.count, found.sharpes) == (report.count, report.sharpes)
    assert found.best.run_id == report.best.run_id
    assert found.best.deflated is None
    assert found.best.reason == "its run is not stored any more"
    assert found.effective.sample_count == 5


def test_what_was_not_tried_is_not_there(groups):
    with pytest.raises(NotThere) as caught:
        trials.report(groups.context, "group")
    assert caught.value.near == ("groups",)
    with pytest.raises(NotThere, match="no tried dataset is called 'prices'"):
        trials.report(groups.context, "groups", "prices")


def test_of_many_curves_a_sample_is_taken_that_is_the_same_each_time(groups, monkeypatch):
    (family,) = ledger.read_trials(groups.store, "groups")
    monkeypatch.setattr(curves, "CURVES_MAX", 3)
    own = groups.manifest(groups.store.resolve("groups@~1")).outcome_id

    one = curves.sample_returns(groups.store, family.outcomes)
    same = curves.sample_returns(groups.store, frozenset(family.outcomes))
    with_own = curves.sample_returns(groups.store, family.outcomes, own)

    assert one.total == 6
    assert one.count <= 3
    assert np.array_equal(one.returns, same.returns)
    equity = curves.read_curve(groups.store, own).equity()
    assert np.array_equal(with_own.returns[:, 0], statistics.returns_from_equity(equity))


RATIOS = st.lists(st.floats(-10, 10), max_size=300).map(sorted)


@given(RATIOS)
def test_a_histogram_counts_each_ratio_once(ratios):
    bins = histogram(ratios)

    assert sum(each.count for each in bins) == len(ratios)
    for place, each in enumerate(bins):
        is_last = place == len(bins) - 1
        inside = [r for r in ratios if each.low <= r < each.high or (is_last and r == each.high)]
        if len(bins) > 1:
            assert each.count == len(inside)
    if ratios:
        assert (bins[0].low, bins[-1].high) == (ratios[0], ratios[-1])
        assert quantiles(ratios)["minimum"] == ratios[0]
        assert quantiles(ratios)["maximum"] == ratios[-1]
        assert quantiles(ratios)["median"] in ratios


RUNS = st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2)), max_size=12)


@given(RUNS)
def test_the_count_is_recipes_and_each_further_outcome(runs):
    columns = TrialColumns(
        run=[bytes([place]) for place in range(len(runs))],
        recipe=[bytes([recipe]) for recipe, _ in runs],
        outcome=[None if outcome is None else bytes([outcome]) for _, outcome in runs],
        version=[""] * len(runs),
        sharpe=[None if outcome is None else float(outcome) for _, outcome in runs],
        has_no_end=[0] * len(runs),
    )
    found = count_trials(Family(experiment="a", dataset=""), columns)

    asked = {}
    for recipe, outcome in runs:
        asked.setdefault(recipe, set()).update([] if outcome is None else [outcome])
    assert found.count == sum(max(1, len(outcomes)) for outcomes in asked.values())
    assert found.failed_count == sum(not outcomes for outcomes in asked.values())
    assert len(found.ratios) == found.count - found.failed_count
