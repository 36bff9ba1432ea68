"""Entries of several assets that meet at one open: what each gets of what there is, by hand."""

import pytest

from research.simulation.chance import LATENCY_STREAM, uniform
from research.simulation.portfolio import simulate_portfolio
from research.simulation.session import asset_key


@pytest.fixture
def shared(make_bars, at):
    """Trade several assets, each by its opens and the bars of its signals, with 2048 of cash."""

    def trade(opens, entries, exits=None, **more):
        bars = {name: make_bars(each) for name, each in opens.items()}
        signals = [
            {name: at(len(opens[name]), *(given or {}).get(name, ())) for name in opens}
            for given in (entries, exits)
        ]
        return simulate_portfolio(bars, *signals, **{"size": 16.0, "cash": 2048.0, **more})

    return trade


def quantities(result):
    return dict(
        zip(result.trades["asset"].tolist(), result.trades["quantity"].tolist(), strict=True)
    )


def test_an_entry_under_way_does_not_fill_when_another_does(shared, seed_where, rows):
    """Even where its asset was entered before, so that a quantity of old stands about."""
    latency = dict.fromkeys(("p50", "p90", "p99"), 3.5 * 86_400_000.0)

    def holds(seed):
        alpha = [
            uniform(seed, LATENCY_STREAM, asset_key("alpha"), number, 0) for number in range(3)
        ]
        beta = uniform(seed, LATENCY_STREAM, asset_key("beta"), 0, 0)
        return max(alpha[:2]) < 0.14 and 0.5 <= alpha[2] < 0.99 and beta < 0.14

    flat = [64.0] * 12
    result = shared(
        {"alpha": flat, "beta": flat},
        {"alpha": (0, 4), "beta": (5,)},
        {"alpha": (2,)},
        size=8.0,
        execution={"latency": latency},
        seed=seed_where(holds),
    )
    assert rows(result.trades, "asset", "entry_bar", "exit_bar") == [
        ("alpha", 1, 3),
        ("beta", 6, -1),
        ("alpha", 8, -1),
    ]


def test_exposure_is_shared_by_one_factor(shared, rows):
    flat = [64.0] * 4
    result = shared(
        {"alpha": flat, "beta": flat},
        {"alpha": (0,), "beta": (0,)},
        risk={"max_exposure": 0.75},
    )
    # Each is 1024 worth and allowed alone; together they may be 1536.
    assert quantities(result) == pytest.approx({"alpha": 12.0, "beta": 12.0}, rel=1e-11)
    assert rows(result.events, "asset", "kind", "reason")[2:] == [
        ("alpha", "partial", "signal"),
        ("alpha", "cancelled", "limit"),
        ("beta", "partial", "signal"),
        ("beta", "cancelled", "limit"),
    ]
    assert result.exposure[1] <= 0.75


def test_cash_is_shared_by_one_factor(shared, rows):
    flat = [64.0] * 4
    result = shared(
        {"alpha": flat, "beta": flat},
        {"alpha": (0,), "beta": (0,)},
        cash=1540.0,
        costs={"priority_fee": 2.0},
    )
    # 4 of fees are paid in full; what is left, 1536, is three quarters of 2048.
    assert quantities(result) == pytest.approx({"alpha": 12.0, "beta": 12.0}, rel=1e-11)
    assert rows(result.events, "kind", "reason")[3] == ("cancelled", "insufficient_cash")
    assert result.equity[1] == pytest.approx(1536.0, rel=1e-11)


def test_of_two_fees_that_do_not_shrink_the_larger_is_set_aside(shared):
    flat = [64.0] * 4
    result = shared(
        {"alpha": flat, "beta": flat},
        {"alpha": (0,), "beta": (0,)},
        cash=1544.0,
        costs={"fixed_fee": 2.0, "minimum_fee": 4.0},
    )
    # Twice 4 are paid, not twice 6; what is left, 1536, is three quarters of 2048.
    assert quantities(result) == pytest.approx({"alpha": 12.0, "beta": 12.0}, rel=1e-11)


def test_entries_that_no_limit_leaves_room_for_are_all_rejected(shared, rows):
    # Gamma doubles: 1024 of 2560, where a quarter is allowed.
    flat, up = [64.0] * 6, [64.0, 64.0, 128.0, 128.0, 128.0, 128.0]
    result = shared(
        {"alpha": flat, "beta": flat, "gamma": up},
        {"alpha": (2,), "beta": (2,), "gamma": (0,)},
        size=8.0,
        risk={"max_exposure": 0.25},
    )
    assert rows(result.events, "asset", "bar", "kind", "reason")[4:] == [
        ("alpha", 3, "rejected", "limit"),
        ("beta", 3, "rejected", "limit"),
    ]
    assert result.trades["asset"].tolist() == ["gamma"]


@pytest.mark.parametrize(("price", "kind"), [(64.0, "fill"), (64.125, "rejected")])
def test_what_a_short_sale_brought_in_and_as_much_again_is_not_free(make_bars, at, price, kind):
    # 1024 sold short of 2048: 3072 of cash, of which 2048 is bound. The rest buys 16 at 64.
    bars = {"alpha": make_bars([64.0] * 5), "beta": make_bars([price] * 5)}
    result = simulate_portfolio(
        bars,
        {"beta": at(5, 2)},
        {},
        short_entries={"alpha": at(5, 0)},
        size=16.0,
        cash=2048.0,
    )
    assert result.events["kind"].tolist() == ["order", "fill", "order", kind]
