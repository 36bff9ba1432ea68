"""What holds for every simulation that only buys, whatever the bars, the signals and the costs.

Without chance and without stops, so that an account in exact fractions can say what is right;
`test_every_model` has the rest.
"""

import math
import random
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research.simulation.costs import CostModel
from research.simulation.engine import simulate
from research.simulation.execution import ExecutionModel, Slippage
from research.simulation.sizing import Sizing

PRICES = st.integers(1, 8000).map(lambda eighths: eighths / 8)
SIZINGS = st.one_of(
    st.integers(1, 4000).map(lambda eighths: Sizing(value=eighths / 8)),
    st.integers(1, 20_000).map(lambda money: Sizing(kind="cash", value=float(money))),
    st.integers(1, 64).map(lambda part: Sizing(kind="equity_fraction", value=part / 64)),
)
EXECUTIONS = st.builds(
    lambda base, cap: ExecutionModel(slippage=Slippage(base=base / 64, max=cap)),
    st.integers(0, 20),
    st.sampled_from([None, 0.0, 1 / 16]),
)
COSTS = st.builds(
    lambda rate, fixed, minimum: CostModel(
        taker_fee_bps=rate * 10_000 / 1024, fixed_fee=fixed / 4, minimum_fee=minimum / 4
    ),
    st.integers(0, 40),
    st.sampled_from([0, 0, 5, 4000]),
    st.sampled_from([0, 0, 9, 400]),
)


@dataclass(frozen=True)
class Scenario:
    opens: list[float]
    closes: list[float]
    entries: list[bool]
    exits: list[bool]
    size: Sizing
    cash: float
    execution: ExecutionModel
    costs: CostModel

    @property
    def slippage(self):
        """By what fraction every fill is worse than the market."""
        model = self.execution.slippage
        return model.base if model.max is None else min(model.base, model.max)

    def simulate(self, make_bars):
        return simulate(
            make_bars(self.opens, self.closes),
            self.entries,
            self.exits,
            size=self.size,
            cash=self.cash,
            execution=self.execution,
            costs=self.costs,
        )


@st.composite
def scenarios(draw):
    count = draw(st.integers(2, 24))

    def of(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    return Scenario(
        opens=of(PRICES),
        closes=of(PRICES),
        entries=of(st.booleans()),
        exits=of(st.booleans()),
        size=draw(SIZINGS),
        cash=float(draw(st.integers(1, 20_000))),
        execution=draw(EXECUTIONS),
        costs=draw(COSTS),
    )


@given(scenario=scenarios())
def test_cash_and_position_rebuilt_from_the_events_make_the_equity(make_bars, scenario):
    result = scenario.simulate(make_bars)
    events = {name: column.tolist() for name, column in result.events.items()}
    cash, held = scenario.cash, 0.0
    row = 0
    for bar, close in enumerate(scenario.closes):
        while row < len(events["bar"]) and events["bar"][row] <= bar:
            if events["kind"][row] == "fill":
                quantity, price = events["quantity"][row], events["price"][row]
                if events["side"][row] == "buy":
                    cash -= quantity * price + events["fee"][row]
                    held += quantity
                else:
                    cash += quantity * price - events["fee"][row]
                    held -= quantity
                assert cash >= 0.0
                assert held >= 0.0
            row += 1
        assert cash + held * close == pytest.approx(result.equity[bar], rel=1e-12)
        assert result.exposure[bar] == pytest.approx(
            held * close / (cash + held * close) if held else 0.0, rel=1e-9
        )
        assert (result.exposure[bar] > 0.0) == (held > 0.0)


@given(scenario=scenarios())
def test_start_and_profits_make_the_final_equity(make_bars, scenario):
    result = scenario.simulate(make_bars)
    total = scenario.cash + math.fsum(result.trades["pnl"])
    scale = max(scenario.cash, float(result.equity.max()))
    assert total == pytest.approx(result.equity[-1], abs=1e-11 * scale)


@given(scenario=scenarios())
def test_fees_add_up(make_bars, scenario):
    result = scenario.simulate(make_bars)
    by_event, by_trade = math.fsum(result.events["fee"]), math.fsum(result.trades["fees"])
    assert by_event == pytest.approx(by_trade, rel=1e-12)
    assert result.metrics["fees"] == pytest.approx(by_trade, rel=1e-12)
    assert (result.events["fee"][result.events["kind"] != "fill"] == 0.0).all()


@given(scenario=scenarios())
def test_events_pair_with_trades(make_bars, scenario):
    result = scenario.simulate(make_bars)
    events, trades = result.events, result.trades
    assert events["event_id"].tolist() == list(range(len(events["event_id"])))
    assert trades["trade_id"].tolist() == list(range(len(trades["trade_id"])))
    # An order, then what became of it.
    assert (events["kind"][0::2] == "order").all()
    assert np.isin(events["kind"][1::2], ["fill", "rejected"]).all()
    assert (events["side"][0::2] == events["side"][1::2]).all()
    assert (events["trade_id"][0::2] == events["trade_id"][1::2]).all()

    fills = events["kind"] == "fill"
    for name, side in (("entry", "buy"), ("exit", "sell")):
        chosen = fills & (events["side"] == side)
        done = trades[f"{name}_bar"] >= 0
        for of_event, of_trade in (
            ("trade_id", "trade_id"),
            ("bar", f"{name}_bar"),
            ("price", f"{name}_price"),
            ("quantity", "quantity"),
        ):
            assert events[of_event][chosen].tolist() == trades[of_trade][done].tolist()
    strays = events["trade_id"] == -1
    assert (events["side"][strays] == "buy").all()
    assert not (strays & fills).any()


@given(scenario=scenarios())
def test_positions_do_not_overlap_and_only_the_last_may_be_open(make_bars, scenario):
    trades = scenario.simulate(make_bars).trades
    bounds = np.stack([trades["entry_bar"], trades["exit_bar"]], axis=1).ravel().tolist()
    if bounds and bounds[-1] == -1:
        bounds[-1] = len(scenario.opens)
    assert all(before < after for before, after in pairwise(bounds))


@given(scenario=scenarios())
def test_every_fill_has_its_signal_at_the_close_before(make_bars, scenario):
    events = scenario.simulate(make_bars).events
    for bar, kind, side, price in zip(
        *(events[name].tolist() for name in ("bar", "kind", "side", "price")), strict=True
    ):
        signals = scenario.entries if side == "buy" else scenario.exits
        if kind == "order":
            assert signals[bar]
        elif kind == "fill":
            assert signals[bar - 1]
            part = scenario.slippage
            factor = 1.0 + part if side == "buy" else 1.0 - part
            assert price == scenario.opens[bar] * factor


@given(scenario=scenarios(), data=st.data())
def test_no_look_ahead(make_bars, scenario, data):
    """Change every bar and signal after one, and what stood up to it stands."""
    last = data.draw(st.integers(0, len(scenario.opens) - 2))
    chance = data.draw(st.randoms(use_true_random=False))

    def changed(values, draw):
        return values[: last + 1] + [draw(chance) for _ in values[last + 1 :]]

    def price(source: random.Random) -> float:
        return source.randint(1, 8000) / 8

    def signal(source: random.Random) -> bool:
        return source.random() < 0.5

    other = Scenario(
        opens=changed(scenario.opens, price),
        closes=changed(scenario.closes, price),
        entries=changed(scenario.entries, signal),
        exits=changed(scenario.exits, signal),
        size=scenario.size,
        cash=scenario.cash,
        execution=scenario.execution,
        costs=scenario.costs,
    )
    before, after = scenario.simulate(make_bars), other.simulate(make_bars)
    assert before.equity[: last + 1].tobytes() == after.equity[: last + 1].tobytes()
    assert before.exposure[: last + 1].tobytes() == after.exposure[: last + 1].tobytes()
    seen = [events["bar"] <= last for events in (before.events, after.events)]
    assert seen[0].sum() == seen[1].sum()
    for name in before.events:
        first, second = before.events[name][seen[0]], after.events[name][seen[1]]
        if name == "trade_id":
            # The order at the last close seen has a trade once it fills, at an open still to come.
            pending = before.events["bar"][seen[0]] == last
            pending &= before.events["kind"][seen[0]] == "order"
            first, second = first[~pending], second[~pending]
        assert first.tobytes() == second.tobytes()


def exact_account(scenario):
    """Walk the bars one by one in exact fractions; return trades, equity, and the least margin.

    Written another way than the engine: a pending order, then the close, at every bar.
    """
    rate = Fraction(scenario.costs.fee_rate)
    fixed, minimum = Fraction(scenario.costs.fixed_fee), Fraction(scenario.costs.minimum_fee)
    slip, size = Fraction(scenario.slippage), Fraction(scenario.size.value)
    cash, held = Fraction(scenario.cash), Fraction(0)
    trades: list[list[Any]] = []
    equity, margins = [], [Fraction(1)]
    pending = None
    for bar, (market, close) in enumerate(zip(scenario.opens, scenario.closes, strict=True)):
        if pending == "buy":
            price = Fraction(market) * (1 + slip)
            quantity = size
            if scenario.size.kind != "units":
                budget = size if scenario.size.kind == "cash" else size * cash
                quantity = min((budget - fixed) / (price * (1 + rate)), (budget - minimum) / price)
            fee = max(minimum, fixed + rate * quantity * price)
            left = cash - quantity * price - fee
            margins += [abs(quantity)] + ([abs(left)] if left else [])
            if quantity > 0 and left >= 0:
                trades.append([bar, -1, quantity, price, None, fee, None])
                cash, held = left, quantity
        elif pending == "sell":
            price = Fraction(market) * (1 - slip)
            fee = max(minimum, fixed + rate * held * price)
            left = cash + held * price - fee
            margins.append(abs(left))
            if left >= 0:
                _, _, _, paid, _, entry_fee, _ = trades[-1]
                pnl = held * (price - paid) - entry_fee - fee
                trades[-1][1:2], trades[-1][4:] = [bar], [price, entry_fee + fee, pnl]
                cash, held = left, Fraction(0)
        equity.append(cash + held * Fraction(close))
        signal = scenario.exits[bar] if held else scenario.entries[bar]
        pending = ("sell" if held else "buy") if signal else None
    if held:
        _, _, quantity, paid, _, fee, _ = trades[-1]
        trades[-1][6] = quantity * (Fraction(scenario.closes[-1]) - paid) - fee
    return trades, equity, min(margins)


@settings(max_examples=200)
@given(scenario=scenarios())
def test_agrees_with_an_account_in_exact_fractions(make_bars, scenario):
    trades, equity, margin = exact_account(scenario)
    assume(margin > Fraction(1, 10**6))  # a tie that rounding may settle either way is no test
    result = scenario.simulate(make_bars)
    names = ("entry_bar", "exit_bar", "quantity", "entry_price", "exit_price", "fees", "pnl")
    found = zip(*(result.trades[name].tolist() for name in names), strict=True)
    scale = float(max(equity))
    for expected, row in zip(trades, found, strict=True):
        assert list(row[:2]) == expected[:2]
        for value, exact in zip(row[2:], expected[2:], strict=True):
            if exact is None:
                assert math.isnan(value)
            else:
                assert value == pytest.approx(float(exact), rel=1e-11, abs=1e-11 * scale)
    assert result.equity == pytest.approx([float(value) for value in equity], rel=1e-10)


@settings(max_examples=200)
@given(
    price=st.floats(1e-3, 1e6),
    cash=st.floats(1e-2, 1e12),
    slippage=st.floats(0.0, 0.5),
    bps=st.floats(0.0, 10_000.0),
    fixed=st.sampled_from([0.0, 0.01, 1.0 / 3.0]),
)
def test_the_whole_equity_never_overdraws_and_leaves_only_rounding(
    make_bars, price, cash, slippage, bps, fixed
):
    assume(cash > 2.0 * fixed)
    result = simulate(
        make_bars([price, price]),
        [True, False],
        [False, False],
        size=Sizing(kind="equity_fraction", value=1.0),
        cash=cash,
        execution=ExecutionModel(slippage={"base": slippage}),
        costs=CostModel(taker_fee_bps=bps, fixed_fee=fixed),
    )
    (quantity,), (paid,), (fee,) = (
        result.trades[name].tolist() for name in ("quantity", "entry_price", "fees")
    )
    left = cash - (quantity * paid + fee)
    assert 0.0 <= left <= 1e-14 * cash
