"""What differs between two runs: in the question, and in the answer.

Owns the whole of the comparison; its parts are ``input_diff.py``, ``artifact_diff.py`` and
``trade_diff.py``. Both runs come from the store, verified. Why a figure moved is not asked here but
in ``because.py``, which runs things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.context import Context
from research.experiments import runs
from research.experiments.artifact_diff import Outputs, diff_outputs
from research.experiments.input_diff import Change, Inputs, diff_inputs
from research.experiments.metric_directions import Side, better_side
from research.experiments.runs import RunManifest
from research.table_diff import EXACT, SAMPLES, Tolerance
from rosdb import ObjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange(Change):
    """A metric here and there, and on which side it is better; None where nobody can tell."""

    better: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything that differs between two runs."""

    a: RunManifest
    b: RunManifest
    inputs: Inputs
    metrics: Mapping[str, MetricChange]
    outputs: Outputs

    @property
    def same_inputs(self) -> bool:
        """Whether they ask one question."""
        return self.a.recipe_id == self.b.recipe_id

    @property
    def same_outcome(self) -> bool:
        """Whether they give one answer."""
        return self.a.outcome_id == self.b.outcome_id

    @property
    def identical(self) -> bool:
        """Whether they ask one question and give one answer."""
        return self.same_inputs and self.same_outcome


def diff(
    context: Context,
    a_id: ObjectId,
    b_id: ObjectId,
    *,
    key: Sequence[str] = (),
    tolerance: Tolerance = EXACT,
    samples: int = SAMPLES,
) -> Difference:
    """Compare two runs.

    Of the tables, ``key`` names the columns by which rows are matched; ``samples`` is how many rows
    of each kind are kept to be shown.

    Raises: BadInput if the key is none; ObjectMissing, ObjectCorrupt.
    """
    store = context.store
    a, b = runs.read_run(store, a_id), runs.read_run(store, b_id)
    return Difference(
        a=a,
        b=b,
        inputs=diff_inputs(store, a, b, samples=samples),
        metrics=_metric_changes(a.metrics, b.metrics),
        outputs=diff_outputs(store, a, b, key=key, tolerance=tolerance, samples=samples),
    )


def _metric_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, MetricChange]:
    """Return every metric in its declared order, changed or not: what stayed is an answer too."""
    return {
        name: MetricChange(
            a=a.get(name), b=b.get(name), better=better_side(name, a.get(name), b.get(name))
        )
        for name in dict.fromkeys([*a, *b])
    }
