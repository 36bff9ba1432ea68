"""One backtest of an experiment: the models that its parameters name, and what is kept of it.

Owns what the built-in experiments that trade have in common. The parameters `execution`, `costs`,
`risk` and `size` hold every field of the models of those names; `cash` is the account's start.
Each experiment spells them out, though they are mostly alike: a spec of literals is read without
executing anything, and a test holds each against the models.
Money is called USD: one point of an index counts as one dollar.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from research import (
    CostModel,
    ExecutionModel,
    ExperimentSpec,
    Indicators,
    ParameterError,
    RiskModel,
    SimulationResult,
    Sizing,
    Strategy,
    save_table,
    simulate,
)
from research.simulation.errors import InvalidField, UnknownField

_TRADE_UNITS = dict.fromkeys(("entry_price", "exit_price", "fees", "pnl"), "USD")
_EVENT_UNITS = dict.fromkeys(("price", "fee", "reference_price"), "USD")


@contextmanager
def fields_as_parameters() -> Iterator[None]:
    """Refuse as a parameter what a model or a strategy refuses as a field.

    Raises: ParameterError.
    """
    try:
        yield
    except (InvalidField, UnknownField) as error:
        raise ParameterError(str(error)) from None


def backtest(
    spec: ExperimentSpec, output_dir: Path, strategy: Strategy, *, keeps_events: bool = True
) -> dict[str, float]:
    """Play a strategy over the bars of the dataset, save its tables, return the spec's metrics.

    Raises: ParameterError if a model cannot be as the parameters have it.
    """
    bars, parameters = spec.bars(), spec.parameters
    signals = strategy.signals(Indicators(bars))
    with fields_as_parameters():
        result = simulate(
            bars,
            signals.entries,
            signals.exits,
            short_entries=signals.short_entries,
            short_exits=signals.short_exits,
            size=Sizing.from_parameters(parameters["size"]),
            cash=parameters["cash"],
            execution=ExecutionModel.from_parameters(parameters["execution"]),
            costs=CostModel.from_parameters(parameters["costs"]),
            risk=RiskModel.from_parameters(parameters["risk"]),
            seed=spec.seed,
        )
    save_table(output_dir, "trades", result.trades, units={"quantity": "units"} | _TRADE_UNITS)
    save_table(
        output_dir,
        "equity",
        {"at_ns": bars["at_ns"], "equity": result.equity},
        units={"at_ns": "ns", "equity": "USD"},
    )
    if keeps_events:
        _save_events(output_dir, result)
    # One that is undefined for this sample is absent.
    return {name: result.metrics[name] for name in spec.metrics if name in result.metrics}


def check_window(spec: ExperimentSpec, name: str) -> None:
    """Refuse a window that the data are too short for.

    Raises: ParameterError.
    """
    window, bar_count = spec.parameters[name], len(spec.bars()["close"])
    if window >= bar_count:
        raise ParameterError(
            f"{name} is {window}; it must be below the number of bars, {bar_count}"
        )


def _save_events(output_dir: Path, result: SimulationResult) -> None:
    units = {"at_ns": "ns", "quantity": "units", "latency_ms": "ms"} | _EVENT_UNITS
    save_table(output_dir, "events", result.events, units=units)
