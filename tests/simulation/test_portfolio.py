"""Several assets with one account: what they share, and that their order decides nothing."""

import random

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.errors import InvalidBars, InvalidSignals
from research.simulation.portfolio import simulate_portfolio
from research.simulation.sizing import Sizing

DAY_NS = 86_400 * 10**9


def bars_of(opens, *, start=0, step=1, closes=None):
    first = np.array(opens, dtype=np.float64)
    last = first if closes is None else np.array(closes, dtype=np.float64)
    return {
        "at_ns": (start + step * np.arange(len(first), dtype=np.int64)) * DAY_NS,
        "open": first,
        "high": np.maximum(first, last),
        "low": np.minimum(first, last),
        "close": last,
        "volume": np.full(len(first), 1e6),
    }


def at(count, *bars):
    signals = np.zeros(count, np.bool_)
    signals[list(bars)] = True
    return signals


def walk(seed, count=200, start=0, step=1):
    chance = random.Random(seed)
    price, opens, closes = 100.0, [], []
    for _ in range(count):
        opens.append(price)
        price *= 1 + (chance.random() - 0.499) * 0.03
        closes.append(price)
    return bars_of(opens, closes=closes, start=start, step=step)


def test_one_asset_alone_is_simulate():
    bars = walk(1)
    entries, exits = at(200, 3, 50, 90, 140), at(200, 20, 70, 120)

    alone = simulate(bars, entries, exits, costs={"taker_fee_bps": 10.0})
    together = simulate_portfolio(
        {"a": bars}, {"a": entries}, {"a": exits}, costs={"taker_fee_bps": 10.0}
    )

    assert dict(together.metrics) == dict(alone.metrics)
    for name, column in alone.trades.items():
        np.testing.assert_array_equal(together.trades[name], column)


def test_assets_share_the_cash_by_one_factor():
    """Two want 600 each of a cash of 1,000: each gets 500, and neither is first."""
    flat = {"a": bars_of([10.0] * 4), "b": bars_of([20.0] * 4)}
    entries = {name: at(4, 0) for name in flat}

    result = simulate_portfolio(
        flat, entries, {}, size=Sizing(kind="cash", value=600.0), cash=1000.0
    )

    assert list(result.trades["asset"]) == ["a", "b"]
    np.testing.assert_allclose(result.trades["quantity"], [50.0, 25.0], rtol=1e-11)
    assert result.equity[-1] == pytest.approx(1000.0, rel=1e-12)
    assert result.exposure[-1] <= 1.0


def test_what_is_sold_pays_for_what_is_bought_at_the_same_open():
    flat = {"a": bars_of([10.0] * 6), "b": bars_of([10.0] * 6)}
    entries = {"a": at(6, 0), "b": at(6, 2)}
    exits = {"a": at(6, 2)}
    size = Sizing(kind="equity_fraction", value=1.0)

    result = simulate_portfolio(flat, entries, exits, size=size, cash=1000.0)

    assert list(result.trades["entry_bar"]) == [1, 3]
    np.testing.assert_allclose(result.trades["quantity"], [100.0, 100.0])


def test_the_order_of_the_assets_decides_nothing():
    names = ["x", "a", "m"]
    bars = {name: walk(number) for number, name in enumerate(names)}
    chance = random.Random(4)
    entries = {n: np.array([chance.random() < 0.1 for _ in range(200)]) for n in names}
    exits = {n: np.array([chance.random() < 0.1 for _ in range(200)]) for n in names}

    def played(order):
        return simulate_portfolio(
            {name: bars[name] for name in order},
            {name: entries[name] for name in order},
            {name: exits[name] for name in order},
            size=Sizing(kind="equity_fraction", value=0.6),
            execution={
                "failures": {"base_rate": 0.2, "retries": 1},
                "partial_fills": {"probability": 0.3, "fill_range": [0.5, 0.9]},
            },
            costs={"taker_fee_bps": 5.0, "fixed_fee": 1.0},
            risk={"max_exposure": 0.9},
            seed=3,
        )

    one, other = played(names), played(names[::-1])

    assert one.equity.tobytes() == other.equity.tobytes()
    assert list(one.trades["asset"]) == list(other.trades["asset"])
    assert len(one.trades["pnl"]) > 10
    assert (one.exposure <= 0.9 + 0.2).all()  # what prices add after an entry is not sold


def test_assets_have_bars_at_times_of_their_own():
    """Where one has none, its last close counts, and its order waits for its next open."""
    bars = {
        "daily": bars_of([10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]),
        "slow": bars_of([50.0, 60.0, 70.0], step=3),
    }
    entries = {"slow": at(3, 0)}

    result = simulate_portfolio(bars, entries, {}, size=1.0, cash=1000.0)

    assert list(result.trades["entry_bar"]) == [3]
    assert list(result.trades["entry_price"]) == [60.0]
    np.testing.assert_array_equal(result.equity, [1000.0] * 6 + [1010.0])


def test_a_draw_belongs_to_its_asset():
    """Another asset beside it leaves an asset's failures and partial fills as they were."""
    models = {
        "execution": {
            "failures": {"base_rate": 0.3, "retries": 2},
            "partial_fills": {"probability": 0.5, "fill_range": [0.2, 0.8]},
        },
        "seed": 11,
    }
    bars = {"a": walk(1), "b": walk(2)}
    signals = {name: at(200, *range(2, 190, 12)) for name in bars}
    exits = {name: at(200, *range(8, 190, 12)) for name in bars}

    alone = simulate_portfolio({"a": bars["a"]}, {"a": signals["a"]}, {"a": exits["a"]}, **models)
    both = simulate_portfolio(bars, signals, exits, **models)

    is_a = both.trades["asset"] == "a"
    np.testing.assert_array_equal(both.trades["quantity"][is_a], alone.trades["quantity"])
    np.testing.assert_array_equal(both.trades["exit_bar"][is_a], alone.trades["exit_bar"])


def test_bad_input_names_the_asset():
    bars = {"a": walk(1), "b": walk(2)}
    bars["b"]["high"][7] = np.nan
    with pytest.raises(InvalidBars, match="bars of b: high, row 7"):
        simulate_portfolio(bars, {}, {})
    with pytest.raises(InvalidSignals, match="'c' has no bars; there are a"):
        simulate_portfolio({"a": walk(1)}, {"c": at(200)}, {})
    with pytest.raises(InvalidSignals, match="no asset"):
        simulate_portfolio({}, {}, {})
