"""What makes a module an experiment.

Owns the protocol ``Experiment``. Where experiments are found is the registry's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from research.experiments.spec import ExperimentSpec


@runtime_checkable
class Experiment(Protocol):
    """A module with a default spec and a function that runs it.

    import research.experiments.builtin.breakout as breakout
    isinstance(breakout, Experiment)              # True
    """

    DEFAULT_SPEC: ExperimentSpec

    def run(self, spec: ExperimentSpec, output_dir: Path) -> Mapping[str, Any]:
        """Run it: artifacts go below the folder, metrics are returned."""
        ...
