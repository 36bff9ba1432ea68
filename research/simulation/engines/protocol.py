"""An engine: its name, its version, what it can act on, and its answer.

Owns the protocol, the list of engines, and the refusal of what one cannot do. A part of a model
that an engine does not know is refused by name, never left out: an answer to another question would
look like an answer to this one.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from research.simulation.engines.errors import CannotActOn, UnknownEngine
from research.simulation.engines.native import NativeEngine
from research.simulation.engines.question import Question, asked
from research.simulation.engines.raptorbt import RaptorbtEngine
from research.simulation.engines.vectorbt import VectorbtEngine
from research.simulation.inputs import Bars, Signals
from research.simulation.result import SimulationResult


class Engine(Protocol):
    """Answers questions with the result that `simulate` gives."""

    @property
    def name(self) -> str:
        """Return the word that a recipe has for it."""

    @property
    def acts_on(self) -> frozenset[str]:
        """Return the dotted paths of what it can act on, as `Question.parts` gives them."""

    def version(self) -> str:
        """Return which release would answer.

        Raises: EngineMissing.
        """

    def answer(self, question: Question) -> SimulationResult:
        """Answer a question all of whose parts it can act on.

        Raises: EngineMissing; CannotActOn where only the course of the simulation shows it.
        """


def engine_names() -> tuple[str, ...]:
    """Return the names of the engines, installed or not."""
    return tuple(engine.name for engine in _engines())


def engine_named(name: str) -> Engine:
    """Return an engine by its name.

    Raises: UnknownEngine.
    """
    for engine in _engines():
        if engine.name == name:
            return engine
    raise UnknownEngine(name, engine_names())


def simulate_with(
    engine: Engine | str, bars: Bars, entries: Signals, exits: Signals, **options: Any
) -> SimulationResult:
    """Ask an engine what `simulate` is asked, with the same options.

    Raises: what `simulate` raises; UnknownEngine, EngineMissing, CannotActOn.
    """
    if isinstance(engine, str):
        engine = engine_named(engine)
    question = asked(bars, entries, exits, **options)
    refuse_what_it_cannot(engine, question)
    return engine.answer(question)


def refuse_what_it_cannot(engine: Engine, question: Question) -> None:
    """Refuse a question some part of which an engine cannot act on.

    Raises: CannotActOn.
    """
    lacking = tuple(part for part in question.parts() if part not in engine.acts_on)
    if lacking:
        raise CannotActOn(engine.name, lacking)


def identity(engine: Engine) -> Mapping[str, str]:
    """Return an engine as a recipe holds it: its name and its version.

    Raises: EngineMissing.
    """
    return {"name": engine.name, "version": engine.version()}


def _engines() -> tuple[Engine, ...]:
    return (NativeEngine(), RaptorbtEngine(), VectorbtEngine())
