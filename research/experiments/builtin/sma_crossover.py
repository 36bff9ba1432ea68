"""Buy when a fast moving average of the close crosses above a slow one; sell when it falls below.

The plainest strategy that exercises all of the engine: signals known at the close, fills at the
next open, slippage and fees on both sides. Money is called USD: one point of an index counts as
one dollar.
"""

from pathlib import Path

from research import (
    CostModel,
    ExecutionModel,
    ExperimentSpec,
    ParameterError,
    Sizing,
    crossovers,
    save_table,
    simple_moving_average,
    simulate,
)

CASH = 1_000_000.0
SIZE = Sizing(kind="equity_fraction", value=1.0)

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="sma_crossover",
    name="Moving-average crossover",
    description=(
        "Hold while a fast simple moving average of the close is above a slow one, bought and sold "
        "at the open after each crossing. Long only; starts with 1,000,000 in cash, and every "
        "entry spends all of it, fees included."
    ),
    parameters={
        "fast": 20,
        "slow": 100,
        "execution": {"slippage": {"base": 0.0005}},
        "costs": {"taker_fee_bps": 10.0},
    },
    metrics=[
        "sharpe",
        "total_return",
        "max_drawdown",
        "sortino",
        "profit_factor",
        "hit_rate",
        "trade_count",
        "exposure",
        "fees",
    ],
    input_dataset="sp500-daily",
    input_kind="bars",
    constraints=[
        "1 <= fast",
        "fast < slow",
        "0 <= execution.slippage.base",
        "execution.slippage.base < 1",
        "0 <= costs.taker_fee_bps",
        "costs.taker_fee_bps <= 10000",
    ],
)


def run(spec: ExperimentSpec, output_dir: Path) -> dict[str, float]:
    """Simulate the crossings of the two averages over the bars of the dataset."""
    bars = spec.bars()
    fast, slow = spec.parameters["fast"], spec.parameters["slow"]
    bar_count = len(bars["close"])
    if slow >= bar_count:
        raise ParameterError(f"slow is {slow}; it must be below the number of bars, {bar_count}")
    entries, exits = crossovers(
        simple_moving_average(bars["close"], fast), simple_moving_average(bars["close"], slow)
    )
    result = simulate(
        bars,
        entries,
        exits,
        size=SIZE,
        cash=CASH,
        execution=ExecutionModel.from_parameters(spec.parameters["execution"]),
        costs=CostModel.from_parameters(spec.parameters["costs"]),
    )
    save_table(
        output_dir,
        "trades",
        result.trades,
        units={
            "quantity": "units",
            "entry_price": "USD",
            "exit_price": "USD",
            "fees": "USD",
            "pnl": "USD",
        },
    )
    save_table(
        output_dir,
        "equity",
        {"at_ns": bars["at_ns"], "equity": result.equity},
        units={"at_ns": "ns", "equity": "USD"},
    )
    return dict(result.metrics)
