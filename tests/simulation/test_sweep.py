"""Sweeps in one go: each point as if it were alone."""

import itertools
import random

import numpy as np
import pytest

from research.simulation import compiled
from research.simulation.engine import simulate
from research.simulation.errors import InvalidBars, InvalidField
from research.simulation.indicators import crossovers, simple_moving_average
from research.simulation.run_config import RunConfig
from research.simulation.sweep import SweepPoint, simulate_many


def walk(count):
    chance = random.Random(9)
    price, opens, closes = 100.0, [], []
    for _ in range(count):
        opens.append(price)
        price *= 1 + (chance.random() - 0.499) * 0.03
        closes.append(price)
    first, last = np.array(opens), np.array(closes)
    return {
        "at_ns": np.arange(count, dtype=np.int64) * 3600 * 10**9,
        "open": first,
        "high": np.maximum(first, last),
        "low": np.minimum(first, last),
        "close": last,
        "volume": np.full(count, 500.0),
    }


BARS = walk(800)


def points():
    for fast, fee, base in itertools.product((3, 7), (0.0, 7.0), (0.0, 0.001)):
        entries, exits = crossovers(
            simple_moving_average(BARS["close"], fast), simple_moving_average(BARS["close"], 20)
        )
        yield SweepPoint(
            entries=entries,
            exits=exits,
            execution={"slippage": {"base": base}, "failures": {"base_rate": 0.1}},
            costs={"taker_fee_bps": fee},
        )


def alone(point):
    return simulate(BARS, point.entries, point.exits, execution=point.execution, costs=point.costs)


def test_each_point_is_as_if_it_were_alone():
    found = list(simulate_many(BARS, points()))

    assert len(found) == 8
    for swept, point in zip(found, points(), strict=True):
        single = alone(point)
        assert dict(swept.metrics) == dict(single.metrics)
        assert swept.equity.tobytes() == single.equity.tobytes()
        for table in ("trades", "events"):
            for name, column in getattr(single, table).items():
                np.testing.assert_array_equal(getattr(swept.result, table)[name], column)
    assert len({swept.metrics["final_equity"] for swept in found}) == 8


@pytest.mark.skipif(not compiled.is_available(), reason="numba is not installed")
def test_jobs_change_nothing(monkeypatch):
    monkeypatch.setattr(compiled, "is_worth_it", lambda count: True)

    one = [dict(each.metrics) for each in simulate_many(BARS, points())]
    two = [dict(each.metrics) for each in simulate_many(BARS, points(), jobs=2)]

    monkeypatch.undo()
    assert one == two == [dict(alone(point).metrics) for point in points()]


def test_a_sweep_of_nothing_is_nothing():
    assert list(simulate_many(BARS, [])) == []


def test_a_point_that_is_wrong_is_refused_when_it_is_reached():
    good, bad = next(points()), SweepPoint(entries=[True], exits=[False])
    found = simulate_many(BARS, [good, bad])

    assert next(found).metrics["trade_count"] > 0
    with pytest.raises(ValueError, match="entries: has 1 rows"):
        next(found)


def test_a_volume_that_a_model_needs_is_asked_for_by_the_point_that_needs_it():
    bars = {**BARS, "volume": np.where(np.arange(800) == 5, 0.0, BARS["volume"])}
    plain = next(points())
    needs = SweepPoint(
        entries=plain.entries,
        exits=plain.exits,
        execution={"partial_fills": {"volume_share": 0.1}},
    )

    assert len(list(simulate_many(bars, [plain]))) == 1
    with pytest.raises(InvalidBars, match="volume, row 5"):
        list(simulate_many(bars, [needs]))
    with pytest.raises(InvalidField, match="cash"):
        list(simulate_many(BARS, [SweepPoint(entries=plain.entries, exits=plain.exits, cash=0.0)]))


def test_a_point_takes_a_seed_and_a_config_as_simulate_does():
    plain = next(points())
    partly = {"partial_fills": {"probability": 1.0, "fill_range": [0.1, 0.9]}}

    def final(**more):
        point = SweepPoint(entries=plain.entries, exits=plain.exits, execution=partly, **more)
        return next(simulate_many(BARS, [point])).metrics["final_equity"]

    assert final(seed=7) == final(config={"seed": 7}) == final(config=RunConfig(seed=7))
    assert final(seed=7) != final(seed=8)
    with pytest.raises(InvalidField, match="seed"):
        final(seed=7, config={"seed": 8})


def test_points_compare_by_identity():
    assert next(points()) != next(points())
    assert len({next(points()), next(points())}) == 2


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True, None])
def test_jobs_that_are_no_count_are_refused_by_name(jobs):
    with pytest.raises(InvalidField, match="simulate_many: jobs is"):
        simulate_many(BARS, points(), jobs=jobs)


def test_equity_is_read_only_at_once():
    swept = next(simulate_many(BARS, points()))
    with pytest.raises(ValueError, match="read-only"):
        swept.equity[0] = 0.0


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (lambda each: each, [800 * 70, 800 * 70]),  # a list: all of them are known of
        (iter, [800 * 64, 800 * 70]),  # others: as many as have come
    ],
)
def test_all_points_say_whether_to_compile(monkeypatch, given, asked):
    found = []

    def says_no(bar_count):
        found.append(bar_count)
        return False

    monkeypatch.setattr(compiled, "is_worth_it", says_no)
    monkeypatch.setattr(compiled, "is_available", lambda: True)
    assert len(list(simulate_many(BARS, given([next(points())] * 70)))) == 70
    assert found == asked


@pytest.mark.skipif(not compiled.is_available(), reason="numba is not installed")
def test_compiling_on_the_way_changes_nothing(monkeypatch):
    monkeypatch.setattr(compiled, "is_worth_it", lambda bar_count: bar_count > 800 * 64)
    given = [*points()] * 9

    found = [dict(each.metrics) for each in simulate_many(BARS, iter(given), jobs=2)]

    monkeypatch.undo()
    assert found == [dict(alone(point).metrics) for point in given]
