"""What an engine is asked: the bars, the signals and the models, checked and in one piece.

Owns the checks before any engine runs, and which parts of the models a question uses. It answers
nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.costs import CostModel
from research.simulation.execution import ExecutionModel
from research.simulation.inputs import (
    AT_THE_OPEN,
    FREE,
    UNLIMITED,
    Bars,
    Signals,
    as_config,
    as_model,
    as_sizing,
    check_bars,
    planned,
    signal_bits,
)
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.sizing import Sizing

SHORT: Final = "signals.short"
"""The part of a question that asks for short positions."""

REVERSAL: Final = "signals.reversal"
"""The part that asks for an exit and the opposite entry at one open."""

_SHORT_BITS: Final = slots.ENTER_SHORT | slots.EXIT_SHORT
_TURNS: Final = (
    slots.EXIT_LONG | slots.ENTER_SHORT,
    slots.EXIT_SHORT | slots.ENTER_LONG,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Hold what `simulate` takes, with every model made and checked.

    Shapes: every column of bars (T,), T >= 2; signals (T,), the bits of `slots`.
    Units:  cash in money.
    """

    bars: Bars
    signals: NDArray[np.int64]
    sizing: Sizing
    cash: float
    execution: ExecutionModel
    costs: CostModel
    risk: RiskModel
    config: RunConfig

    @property
    def bar_count(self) -> int:
        """Return T."""
        return len(self.signals)

    def says(self, bit: int) -> NDArray[np.bool_]:
        """Return at which bars a signal says so, by its bit in `slots`.

        Shapes: returns (T,).
        """
        return np.asarray((self.signals & bit) != 0, np.bool_)

    def parts(self) -> tuple[str, ...]:
        """Return the dotted paths of what is asked for, beyond what does nothing by default."""
        used = [f"sizing.{self.sizing.kind}"]
        if (self.signals & _SHORT_BITS).any():
            used.append(SHORT)
        if any((self.signals & turn == turn).any() for turn in _TURNS):
            used.append(REVERSAL)
        for name, model, default in (
            ("execution", self.execution, AT_THE_OPEN),
            ("costs", self.costs, FREE),
            ("risk", self.risk, UNLIMITED),
            ("config", self.config, RunConfig(seed=self.config.seed)),
        ):
            plain = dict(_leaves(name, default.to_parameters()))
            for path, value in _leaves(name, model.to_parameters()):
                if value != plain[path]:
                    used.append(path)
        return tuple(used)


def asked(
    bars: Bars,
    entries: Signals,
    exits: Signals,
    *,
    short_entries: Signals | None = None,
    short_exits: Signals | None = None,
    size: float | Sizing = 10.0,
    cash: float = 1_000_000.0,
    execution: ExecutionModel | Mapping[str, Any] = AT_THE_OPEN,
    costs: CostModel | Mapping[str, Any] = FREE,
    risk: RiskModel | Mapping[str, Any] = UNLIMITED,
    seed: int = 0,
    config: RunConfig | None = None,
) -> Question:
    """Return the question that these are, or refuse it as `simulate` would.

    Raises: InvalidBars, InvalidSignals, InvalidField, UnknownField.
    """
    sizing, config = as_sizing(size), as_config(config, seed)
    execution = as_model(ExecutionModel, execution)
    costs, risk = as_model(CostModel, costs), as_model(RiskModel, risk)
    plan = planned("simulate", sizing, cash, execution, costs, risk, seed, config)
    check_bars(bars, plan.needs_volume, is_compiled=False)
    return Question(
        bars=bars,
        signals=signal_bits(len(bars["at_ns"]), entries, exits, short_entries, short_exits),
        sizing=sizing,
        cash=float(cash),
        execution=execution,
        costs=costs,
        risk=risk,
        config=config,
    )


def leaf_paths(name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return the dotted path of every value of a model, as recipes spell it."""
    return [path for path, _ in _leaves(name, parameters)]


def _leaves(above: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give every value of a model by its dotted path; a list is one value."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{above}.{name}", value)
        else:
            yield f"{above}.{name}", value
