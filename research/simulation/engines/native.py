"""Our own engine, as one engine among others.

Owns the list of what it acts on, which is everything; `simulate` answers.
"""

from dataclasses import dataclass
from typing import Final

from research.simulation import compiled, slots
from research.simulation.engine import simulate
from research.simulation.engines.question import REVERSAL, SHORT, Question, leaf_paths
from research.simulation.inputs import AT_THE_OPEN, FREE, UNLIMITED
from research.simulation.result import SimulationResult
from research.simulation.run_config import RunConfig
from research.simulation.sizing import SIZING_KINDS

NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class NativeEngine:
    """The engine of this package: it acts on every part of every model."""

    @property
    def name(self) -> str:
        """Return the word that a recipe has for it."""
        return NATIVE

    @property
    def acts_on(self) -> frozenset[str]:
        """Return every path that there is."""
        return frozenset(
            [
                SHORT,
                REVERSAL,
                *(f"sizing.{kind}" for kind in SIZING_KINDS),
                *leaf_paths("execution", AT_THE_OPEN.to_parameters()),
                *leaf_paths("costs", FREE.to_parameters()),
                *leaf_paths("risk", UNLIMITED.to_parameters()),
                *leaf_paths("config", RunConfig().to_parameters()),
            ]
        )

    def version(self) -> str:
        """Return the hash of the kernel's sources: two that differ may answer otherwise."""
        return compiled.source_mark()

    def answer(self, question: Question) -> SimulationResult:
        """Answer as `simulate` does.

        Raises: OrderRefused, NonFiniteEquity.
        """
        return simulate(
            question.bars,
            question.says(slots.ENTER_LONG),
            question.says(slots.EXIT_LONG),
            short_entries=question.says(slots.ENTER_SHORT),
            short_exits=question.says(slots.EXIT_SHORT),
            size=question.sizing,
            cash=question.cash,
            execution=question.execution,
            costs=question.costs,
            risk=question.risk,
            config=question.config,
        )
