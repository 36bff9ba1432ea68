"""The crossover experiment: golden figures on the bundled data, and what it writes."""

from typing import Any

import pytest

from research import ParameterError
from research.experiments.builtin import backtest
from research.experiments.builtin import sma_crossover as sma

CASH = 1_000_000.0
FREE = {
    "execution": {"slippage": {"base": 0.0}},
    "costs": {"taker_fee_bps": 0.0},
}


@pytest.fixture
def saved(monkeypatch):
    """What the experiment saves, by the name of the table."""
    tables: dict[str, Any] = {}

    def save(output_dir, name, columns, units=None):
        tables[name] = (columns, units)

    monkeypatch.setattr(backtest, "save_table", save)
    return tables


def test_declaration():
    spec = sma.DEFAULT_SPEC
    assert spec.experiment_id == "sma_crossover"
    assert spec.input_dataset == "sp500-daily"
    parameters = spec.parameters
    assert (parameters["fast"], parameters["slow"], parameters["direction"]) == (20, 100, "long")
    assert parameters["execution"]["slippage"]["base"] == 0.0005
    assert parameters["costs"]["taker_fee_bps"] == 10.0
    assert parameters["cash"] == CASH
    assert f"{CASH:,.0f}" in spec.description


def test_golden_figures(sp500, spec_over, saved, tmp_path):
    # To the bit: sums in order, divisions and square roots are the same on every machine.
    metrics = sma.run(spec_over(sma, sp500), tmp_path)
    assert metrics == {
        "total_return": 0.42563391823499575,
        "sharpe": 0.21701220320542508,
        "sortino": 0.29810353266793665,
        "max_drawdown": 0.34226702334089604,
        "hit_rate": 0.3870967741935484,
        "profit_factor": 1.5144689600076924,
        "trade_count": 31,
        "exposure": 0.6420194792287816,
        "fees": 59953.08014874459,
    }
    assert metrics.keys() == set(sma.DEFAULT_SPEC.metrics)


def test_tables(sp500, spec_over, saved, tmp_path):
    metrics = sma.run(spec_over(sma, sp500), tmp_path)
    assert list(saved) == ["trades", "equity"]
    trades, units = saved["trades"]
    assert len(trades["trade_id"]) == metrics["trade_count"]
    assert units.keys() <= trades.keys()
    equity, units = saved["equity"]
    assert list(equity) == list(units) == ["at_ns", "equity"]
    assert equity["at_ns"] is sp500["at_ns"]
    assert len(equity["equity"]) == len(sp500["close"]) == 5031
    assert equity["equity"][0] == CASH


def test_artifacts_are_the_same_bytes_twice(sp500, spec_over, tmp_path):
    def written(folder):
        sma.run(spec_over(sma, sp500), folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first = written(tmp_path / "first")
    assert first
    assert first == written(tmp_path / "again")


def test_trades_follow_the_crossings(sp500, spec_over, saved, tmp_path):
    """Each fill is at the open after a crossing, found here by means of whole windows."""
    sma.run(spec_over(sma, sp500), tmp_path)
    trades, _ = saved["trades"]
    closes = sp500["close"].tolist()

    def is_above(bar):
        fast, slow = closes[bar - 19 : bar + 1], closes[bar - 99 : bar + 1]
        return sum(fast) / 20 > sum(slow) / 100

    for entered, left in zip(trades["entry_bar"], trades["exit_bar"], strict=True):
        assert is_above(entered - 1)
        assert not is_above(entered - 2)
        if left >= 0:
            assert not is_above(left - 1)
            assert is_above(left - 2)


def test_costs_lower_the_return(sp500, spec_over, saved, tmp_path):
    free = spec_over(sma, sp500, **FREE)
    costly, gross = sma.run(spec_over(sma, sp500), tmp_path), sma.run(free, tmp_path)
    assert gross["fees"] == 0.0
    assert gross["total_return"] > costly["total_return"]
    assert gross["trade_count"] == costly["trade_count"]


@pytest.mark.parametrize("slow", [120, 121])
def test_slow_window_must_be_shorter_than_the_data(sp500, spec_over, saved, tmp_path, slow):
    bars = {name: column[:120] for name, column in sp500.items()}
    with pytest.raises(ParameterError, match=f"slow is {slow}; .* 120"):
        sma.run(spec_over(sma, bars, slow=slow), tmp_path)
    sma.run(spec_over(sma, bars, slow=119), tmp_path)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"costs": {"taker_fee_bps": 1.0, "make_fee_bps": 1.0}}, "make_fee_bps"),
        ({"direction": "up"}, "direction"),
        ({"fast": 100}, "slow"),
    ],
)
def test_what_the_engine_refuses_is_a_parameter_error(
    sp500, spec_over, saved, tmp_path, parameters, words
):
    with pytest.raises(ParameterError, match=words):
        sma.run(spec_over(sma, sp500, **parameters), tmp_path)
