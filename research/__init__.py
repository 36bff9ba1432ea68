"""Research OS for notebooks, tests and experiments: the public names.

Owns no behaviour: it maps each name to the module that defines it and imports that when asked, so
that ``import research`` costs nothing. It is left out of every code tree (Law 8).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

HOMES: Final = {
    "CostModel": "research.simulation.models",
    "ExecutionModel": "research.simulation.models",
    "ExperimentSpec": "research.experiments.spec",
    "ParameterError": "research.experiments.spec",
    "SimulationResult": "research.simulation.result",
    "Sizing": "research.simulation.models",
    "create_experiment_context": "research.context",
    "crossovers": "research.simulation.indicators",
    "save_table": "research.experiments.output",
    "simple_moving_average": "research.simulation.indicators",
    "simulate": "research.simulation.engine",
}

if TYPE_CHECKING:
    from research.context import create_experiment_context as create_experiment_context
    from research.experiments.output import save_table as save_table
    from research.experiments.spec import ExperimentSpec as ExperimentSpec
    from research.experiments.spec import ParameterError as ParameterError
    from research.simulation.engine import simulate as simulate
    from research.simulation.indicators import crossovers as crossovers
    from research.simulation.indicators import simple_moving_average as simple_moving_average
    from research.simulation.models import CostModel as CostModel
    from research.simulation.models import ExecutionModel as ExecutionModel
    from research.simulation.models import Sizing as Sizing
    from research.simulation.result import SimulationResult as SimulationResult


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module 'research' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(HOMES)
