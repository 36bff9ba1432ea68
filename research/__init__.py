"""Research OS for notebooks, tests and experiments: the public names.

Owns no behaviour: it maps each name to the module that defines it and imports that when asked, so
that ``import research`` costs nothing. It is left out of every code tree (Law 8).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

HOMES: Final = {
    "BarByBar": "research.simulation.strategies",
    "BollingerReversion": "research.simulation.strategies",
    "BuyAndHold": "research.simulation.strategies",
    "CallEntries": "research.simulation.calls",
    "Calls": "research.simulation.calls",
    "CostModel": "research.simulation.costs",
    "Decision": "research.simulation.strategies",
    "DonchianBreakout": "research.simulation.strategies",
    "EmaCrossover": "research.simulation.strategies",
    "ExecutionModel": "research.simulation.execution",
    "Experiment": "research.experiments.experiment",
    "ExperimentSpec": "research.experiments.spec",
    "Indicators": "research.simulation.view",
    "ParameterError": "research.experiments.spec",
    "ParameterSweepRequest": "research.experiments.requests",
    "RiskModel": "research.simulation.risk",
    "RsiReversion": "research.simulation.strategies",
    "RunArtifact": "research.experiments.run_artifact",
    "RunConfig": "research.simulation.run_config",
    "RunManifest": "research.experiments.runs",
    "SimulationRequest": "research.experiments.requests",
    "SimulationResult": "research.simulation.result",
    "Sizing": "research.simulation.sizing",
    "SmaCrossover": "research.simulation.strategies",
    "Strategy": "research.simulation.strategies",
    "SweepPoint": "research.simulation.sweep",
    "TradeSignals": "research.simulation.strategies",
    "View": "research.simulation.view",
    "bollinger_bands": "research.simulation.indicators",
    "check_look_ahead": "research.experiments.look_ahead",
    "compile_engine": "research.simulation.engine",
    "create_experiment_context": "research.context",
    "crossovers": "research.simulation.indicators",
    "donchian_channel": "research.simulation.indicators",
    "exponential_moving_average": "research.simulation.indicators",
    "relative_strength_index": "research.simulation.indicators",
    "replay_simulation": "research.experiments.simulations",
    "run_batch_simulation": "research.experiments.simulations",
    "run_parameter_sweep": "research.experiments.simulations",
    "run_single_simulation": "research.experiments.simulations",
    "save_table": "research.experiments.output",
    "simple_moving_average": "research.simulation.indicators",
    "simulate": "research.simulation.engine",
    "simulate_many": "research.simulation.sweep",
    "simulate_portfolio": "research.simulation.portfolio",
}

# A package whose names stay together: `research.statistics.sharpe_ratio`.
ROOMS: Final = frozenset(["statistics"])

if TYPE_CHECKING:
    from research import statistics as statistics
    from research.context import create_experiment_context as create_experiment_context
    from research.experiments.experiment import Experiment as Experiment
    from research.experiments.look_ahead import check_look_ahead as check_look_ahead
    from research.experiments.output import save_table as save_table
    from research.experiments.requests import ParameterSweepRequest as ParameterSweepRequest
    from research.experiments.requests import SimulationRequest as SimulationRequest
    from research.experiments.run_artifact import RunArtifact as RunArtifact
    from research.experiments.runs import RunManifest as RunManifest
    from research.experiments.simulations import replay_simulation as replay_simulation
    from research.experiments.simulations import run_batch_simulation as run_batch_simulation
    from research.experiments.simulations import run_parameter_sweep as run_parameter_sweep
    from research.experiments.simulations import run_single_simulation as run_single_simulation
    from research.experiments.spec import ExperimentSpec as ExperimentSpec
    from research.experiments.spec import ParameterError as ParameterError
    from research.simulation.calls import CallEntries as CallEntries
    from research.simulation.calls import Calls as Calls
    from research.simulation.costs import CostModel as CostModel
    from research.simulation.engine import compile_engine as compile_engine
    from research.simulation.engine import simulate as simulate
    from research.simulation.execution import ExecutionModel as ExecutionModel
    from research.simulation.indicators import bollinger_bands as bollinger_bands
    from research.simulation.indicators import crossovers as crossovers
    from research.simulation.indicators import donchian_channel as donchian_channel
    from research.simulation.indicators import (
        exponential_moving_average as exponential_moving_average,
    )
    from research.simulation.indicators import relative_strength_index as relative_strength_index
    from research.simulation.indicators import simple_moving_average as simple_moving_average
    from research.simulation.portfolio import simulate_portfolio as simulate_portfolio
    from research.simulation.result import SimulationResult as SimulationResult
    from research.simulation.risk import RiskModel as RiskModel
    from research.simulation.run_config import RunConfig as RunConfig
    from research.simulation.sizing import Sizing as Sizing
    from research.simulation.strategies import BarByBar as BarByBar
    from research.simulation.strategies import BollingerReversion as BollingerReversion
    from research.simulation.strategies import BuyAndHold as BuyAndHold
    from research.simulation.strategies import Decision as Decision
    from research.simulation.strategies import DonchianBreakout as DonchianBreakout
    from research.simulation.strategies import EmaCrossover as EmaCrossover
    from research.simulation.strategies import RsiReversion as RsiReversion
    from research.simulation.strategies import SmaCrossover as SmaCrossover
    from research.simulation.strategies import Strategy as Strategy
    from research.simulation.strategies import TradeSignals as TradeSignals
    from research.simulation.sweep import SweepPoint as SweepPoint
    from research.simulation.sweep import simulate_many as simulate_many
    from research.simulation.view import Indicators as Indicators
    from research.simulation.view import View as View


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name in ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in HOMES:
        raise AttributeError(f"module 'research' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*HOMES, *ROOMS])
