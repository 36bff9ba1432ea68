"""The ledger of trials: what was tried of an experiment on a dataset, for good.

Owns the record ``trials/v1`` and what counts. As a run ends, a line of it goes into a record that a
ref of its own leads to, in the same transaction; the store refuses to move such a ref. So a run may
be removed and all that it had collected, and its trial still stands. A line holds ids as text and
no links: it keeps nothing of the run::

    fields: experiment "sma", dataset {"name": "prices", "version": "1"}
            lines [{run "5f…", recipe "08…", outcome "c1…", status "completed", sharpe 0.71}]

A trial is a question that was asked of the data. The same question asked again is no new one: of
several runs of one recipe each other outcome counts, and one at least. A replay asks nothing, and
an answer from the store runs nothing: neither has a line.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research.datasets.snapshot import Snapshot
from research.errors import BadInput
from research.experiments import runs
from rosdb import RUNS, TRIALS, ObjectId, Store, Transaction, TrialColumns, errors

SCHEMA: Final = "trials/v1"
SHARPE: Final = "sharpe"
_ENDED: Final = ("completed", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What trials are counted by: an experiment, and the name of the dataset that it is shown."""

    experiment: str
    dataset: str
    """Empty for none."""

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.experiment} on {self.dataset}" if self.dataset else self.experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run that has ended, as the ledger has it."""

    run_id: ObjectId
    recipe_id: ObjectId
    status: str
    outcome_id: ObjectId | None = None
    sharpe: float | None = None

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields: the ids as text, so that nothing is kept by them."""
        return {
            "run": str(self.run_id),
            "recipe": str(self.recipe_id),
            "outcome": None if self.outcome_id is None else str(self.outcome_id),
            "status": self.status,
            "sharpe": self.sharpe,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The trials of a family, from one look at the ledger.

    ``runs`` are all its runs; ``answered`` those with an outcome, each outcome of a recipe once.
    """

    family: Family
    runs: TrialColumns
    answered: TrialColumns
    failed_count: int
    """How many questions have no answer."""

    @property
    def count(self) -> int:
        """How many questions were asked: recipes, and each further outcome that one has had."""
        return len(self.answered.run) + self.failed_count

    @property
    def outcomes(self) -> set[bytes]:
        """What the questions were answered with."""
        return {outcome for outcome in self.answered.outcome if outcome is not None}

    @property
    def ratios(self) -> list[float]:
        """The Sharpe ratios that were told."""
        return [ratio for ratio in self.answered.sharpe if ratio is not None]

    def best(self) -> tuple[float, bytes] | None:
        """Return the highest ratio that was told, and the run that told it."""
        told = zip(self.answered.sharpe, self.answered.run, strict=True)
        return max(((ratio, run) for ratio, run in told if ratio is not None), default=None)

    def of_version(self, version: str) -> "Trials":
        """Return the trials on one version of the dataset."""
        is_wanted = [each == version for each in self.runs.version]
        return count_trials(self.family, self.runs.only(is_wanted))


def count_trials(family: Family, columns: TrialColumns) -> Trials:
    """Count runs of a family as trials."""
    asked = list(zip(columns.recipe, columns.outcome, strict=True))
    if None not in columns.outcome and len(set(asked)) == len(asked):
        # As it mostly is, and quick where there are a hundred thousand.
        return Trials(family=family, runs=columns, answered=columns, failed_count=0)
    seen: set[tuple[bytes, bytes | None]] = set()
    is_answer = []
    for question in asked:
        is_answer.append(question[1] is not None and question not in seen)
        seen.add(question)
    failed = {recipe for recipe, outcome in seen if outcome is None}
    failed.difference_update(recipe for recipe, outcome in seen if outcome is not None)
    answered = columns.only(is_answer)
    return Trials(family=family, runs=columns, answered=answered, failed_count=len(failed))


def enter(
    tx: Transaction, experiment: str, dataset: Mapping[str, str] | None, lines: Sequence[Line]
) -> None:
    """Enter runs that end with this transaction, all of one experiment and snapshot."""
    if not lines:
        return
    fields = {
        "experiment": experiment,
        "dataset": None if dataset is None else dict(dataset),
        "lines": [line.to_fields() for line in lines],
    }
    # Of its own name: runs that end at the same time wait for nobody, and race with nobody.
    tx.move_ref(f"{TRIALS}{lines[0].run_id}", tx.put_record(SCHEMA, fields), expected=None)


def line_of(
    run_id: ObjectId,
    recipe_id: ObjectId,
    status: str,
    outcome_id: ObjectId | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Line:
    """Return the line of a run that ends; a metric that is no number is no Sharpe ratio."""
    told = None if outcome_id is None else told_ratio(metrics or {})
    return Line(
        run_id=run_id,
        recipe_id=recipe_id,
        status=status,
        outcome_id=outcome_id,
        sharpe=told,
    )


def told_ratio(metrics: Mapping[str, Any]) -> float | None:
    """Return the Sharpe ratio that a run has told; None where it is no finite number."""
    value: Any = metrics.get(SHARPE)
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def dataset_of(snapshot: Snapshot | None) -> dict[str, str] | None:
    """Return how a run names its dataset."""
    return None if snapshot is None else {"name": snapshot.name, "version": snapshot.version}


def read_trials(store: Store, experiment: str, dataset: str | None = None) -> list[Trials]:
    """Return the trials of an experiment by family; of one dataset if it is named.

    A run that is under way is none yet; one whose process died is.
    """
    found = []
    for name, columns in store.trials(experiment, dataset).items():
        if any(columns.has_no_end):
            ends = zip(columns.run, columns.has_no_end, strict=True)
            is_over = [not (open_ and store.is_leased(ObjectId(run))) for run, open_ in ends]
            columns = columns.only(is_over)
        if columns.run:
            found.append(count_trials(Family(experiment=experiment, dataset=name), columns))
    return found


def remove_runs(store: Store, run_ids: Iterable[ObjectId]) -> None:
    """Remove runs by their refs; what only they lead to is for the next collection.

    One that the ledger has not is entered on the way: it is from before there was one, came from
    another store, or its process died. Names that lead to a run go on doing so.

    Raises: RefMissing if a run is not there; BadInput if one is under way.
    """
    for run_id in dict.fromkeys(run_ids):
        state_id = store.ref(f"{RUNS}{run_id}")
        if state_id is None:
            raise errors.RefMissing(str(run_id))
        manifest = runs.read_run(store, run_id)
        if manifest.status not in _ENDED:
            raise BadInput(f"run {str(run_id)[:12]} is {manifest.status}; it can go once it ended")
        with store.transaction(f"remove run {str(run_id)[:12]}") as tx:
            if manifest.replay_of is None and store.ref(f"{TRIALS}{run_id}") is None:
                line = line_of(
                    run_id,
                    manifest.recipe_id,
                    manifest.status,
                    manifest.outcome_id,
                    manifest.metrics,
                )
                enter(tx, manifest.experiment, manifest.run.fields["dataset"], [line])
            tx.move_ref(f"{RUNS}{run_id}", None, expected=state_id)
