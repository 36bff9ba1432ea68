"""Follow calls that are given as data, and sell what they bought in steps, by a ladder.

The calls beside this file are the days from 1999 to 2018 on which the Federal Reserve lowered its
target for the federal funds rate, as its page "Open Market Operations" lists them. Each was made
public before the close of its day, so an order given at that close knew of it.
"""

from pathlib import Path

from research import CallEntries, Calls, ExperimentSpec
from research.experiments.builtin.backtest import backtest

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="call_ladder",
    name="Calls with a ladder",
    description=(
        "Buy at the open after each call (the days on which the Federal Reserve lowered its rate), "
        "and sell by a take-profit ladder, a stop or a time limit; a call while a position is held "
        "is passed over. Starts with 1,000,000 in cash, and every entry spends all of it, fees "
        "included."
    ),
    parameters={
        "asset": "SP500",
        "cash": 1_000_000.0,
        "size": {"kind": "equity_fraction", "value": 1.0},
        "execution": {
            "latency": {"p50": 0.0, "p90": 0.0, "p99": 0.0, "jitter": 0.0},
            "slippage": {
                "base": 0.0005,
                "volume_impact": 0.0,
                "max": None,
                "kind": "linear",
                "impact_of": "volume_share",
            },
            "failures": {
                "base_rate": 0.0,
                "congestion_multiplier": 1.0,
                "retries": 0,
                "backoff_bars": 1,
            },
            "partial_fills": {"probability": 0.0, "fill_range": [1.0, 1.0], "volume_share": None},
        },
        "costs": {
            "taker_fee_bps": 10.0,
            "maker_fee_bps": 5.0,
            "fixed_fee": 0.0,
            "minimum_fee": 0.0,
            "priority_fee": 0.0,
            "priority_fee_max": None,
            "borrow_bps_per_year": 0.0,
        },
        "risk": {
            "stop_loss": {"initial": -0.05, "trailing": None, "activation": None},
            "take_profit": [
                {"multiple": 1.02, "fraction": 0.5},
                {"multiple": 1.05, "fraction": 0.25},
                {"multiple": 1.1, "fraction": 0.25},
            ],
            "time_limit": {"bars": 60, "hours": None},
            "max_drawdown": None,
            "max_daily_loss": None,
            "max_consecutive_losses": None,
            "max_position": None,
            "max_exposure": None,
            "throttle": {"max_trades": None, "window_minutes": None},
            "re_entry": {
                "cooldown_bars": 0,
                "cooldown_after_loss_bars": None,
                "max_entries": None,
            },
        },
    },
    metrics=[
        "sharpe",
        "total_return",
        "cagr",
        "max_drawdown",
        "sortino",
        "profit_factor",
        "hit_rate",
        "trade_count",
        "average_bars_held",
        "exposure",
        "turnover",
        "fees",
    ],
    input_dataset="sp500-daily",
    input_kind="bars",
    include=["rate_cuts.csv"],
    constraints=[
        "0 < cash",
        "0 <= execution.slippage.base",
        "execution.slippage.base < 1",
        "0 <= costs.taker_fee_bps",
        "costs.taker_fee_bps <= 10000",
    ],
)


def run(spec: ExperimentSpec, output_dir: Path) -> dict[str, float]:
    """Simulate the calls of one asset over the bars of the dataset."""
    text = Path(__file__).with_name("rate_cuts.csv").read_text("utf-8")
    strategy = CallEntries(calls=Calls.from_csv(text), asset=spec.parameters["asset"])
    return backtest(spec, output_dir, strategy)
