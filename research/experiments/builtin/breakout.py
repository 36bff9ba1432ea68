"""Buy a close above all prices of some weeks; sell one below all prices of fewer."""

from pathlib import Path

from research import DonchianBreakout, ExperimentSpec
from research.experiments.builtin.backtest import backtest, check_window, fields_as_parameters

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="breakout",
    name="Donchian breakout",
    description=(
        "Buy at the open after a close above the highest high of the bars before, and sell at the "
        "open after one below the lowest low of fewer bars before; the reverse where shorts are "
        "asked for. Starts with 1,000,000 in cash, and every entry spends all of it, fees included."
    ),
    parameters={
        "entry_window": 55,
        "exit_window": 20,
        "direction": "long",
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
            "maker_fee_bps": 0.0,
            "fixed_fee": 0.0,
            "minimum_fee": 0.0,
            "priority_fee": 0.0,
            "priority_fee_max": None,
            "borrow_bps_per_year": 0.0,
        },
        "risk": {
            "stop_loss": {"initial": None, "trailing": None, "activation": None},
            "take_profit": [],
            "time_limit": {"bars": None, "hours": None},
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
    constraints=[
        "1 <= entry_window",
        "1 <= exit_window",
        "0 < cash",
        "0 <= execution.slippage.base",
        "execution.slippage.base < 1",
        "0 <= costs.taker_fee_bps",
        "costs.taker_fee_bps <= 10000",
    ],
)


def run(spec: ExperimentSpec, output_dir: Path) -> dict[str, float]:
    """Simulate the breaks out of the two channels over the bars of the dataset."""
    check_window(spec, "entry_window")
    check_window(spec, "exit_window")
    with fields_as_parameters():
        strategy = DonchianBreakout(
            entry_window=spec.parameters["entry_window"],
            exit_window=spec.parameters["exit_window"],
            direction=spec.parameters["direction"],
        )
    return backtest(spec, output_dir, strategy)
