"""Why a figure moved: two runs, and all that lies between them.

Owns ``ros diff --because``. A is run again with inputs of B swapped in, and each metric's change is
shared out among the inputs. Up to six inputs are swapped in all orders, and the shares are exact;
of more, each is swapped alone, and what that leaves is told as the remainder. A run in between is a
run like any other: it is recorded, its move in the journal says what it is for, and it answers its
question the next time.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

from research.context import Context
from research.errors import BadInput
from research.experiments import run, runs
from research.experiments.replay import check_closure
from research.experiments.runs import RunManifest
from research.experiments.shapley import Swapped, all_sets, shapley_shares
from research.experiments.swaps import Input, Swaps
from rosdb import ObjectId

INPUTS_MAX: Final = 6
"""So many inputs are swapped in all orders, which takes 2^6 runs."""

Method = Literal["all orders", "one at a time", "none"]
Values = dict[Swapped, Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A run with some inputs of B in A."""

    swapped: tuple[str, ...]
    manifest: RunManifest
    is_cached: bool

    @property
    def is_completed(self) -> bool:
        """Whether it has metrics."""
        return self.manifest.status == "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """A metric's change, and what of it is due to what; the parts add up to it exactly.

    ``alone`` is what an input changes if nothing else is swapped. A share is None where it cannot
    be told: a run in between failed, or leaves the metric undefined.
    """

    a: float | int
    b: float | int
    change: Fraction
    shares: Mapping[str, Fraction | None]
    alone: Mapping[str, Fraction | None]
    environment: Fraction
    """What is due to the environments, which cannot be swapped here."""

    remainder: Fraction
    """What is due to inputs together and to none alone; nothing where the shares are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """What the change of each metric is due to."""

    a: RunManifest
    b: RunManifest
    inputs: tuple[Input, ...]
    method: Method
    between: tuple[Between, ...]
    drift: tuple[str, ...]
    """What of the environment they were made in is not today's."""

    metrics: Mapping[str, Attribution]
    unexplained: Mapping[str, str]
    """Metrics that changed and cannot be shared out, and why not."""

    @property
    def failed(self) -> tuple[Between, ...]:
        """The runs in between that failed."""
        return tuple(each for each in self.between if not each.is_completed)


def explain_change(
    context: Context,
    a_id: ObjectId,
    b_id: ObjectId,
    tell: Callable[[int, int, int], None] = lambda done, failed, total: None,
) -> Because:
    """Run what lies between two runs, and share out the change of each metric.

    ``tell`` is told how many runs are done, how many of them failed, and how many there are.

    Raises: BadInput if one of them did not complete; ObjectMissing, ObjectCorrupt if the store does
        not hold all that they were made of; KeyboardInterrupt: what was run is kept.
    """
    a, b = (runs.read_run(context.store, each) for each in (a_id, b_id))
    for manifest in (a, b):
        if manifest.outcome is None:
            told = f"run {str(manifest.run_id)[:12]} is {manifest.status}"
            raise BadInput(f"--because explains the change between two completed runs: {told}")
        check_closure(context, manifest)
    swaps = Swaps(context.store, a, b)
    names = swaps.names
    sets: list[Swapped] = []
    if 0 < len(names) <= INPUTS_MAX:
        sets = all_sets(names)
    elif names:
        sets = [frozenset(), *(frozenset([name]) for name in names), frozenset(names)]
    between: dict[Swapped, Between] = {}
    for swapped in sets:
        between[swapped] = _perform(context, swaps, swapped, a, b)
        failed = sum(not each.is_completed for each in between.values())
        tell(len(between), failed, len(sets))
    is_whole = all(each.is_completed for each in between.values())
    method: Method = "none"
    if names:
        method = "all orders" if is_whole and len(names) <= INPUTS_MAX else "one at a time"
    metrics, unexplained = _attribute(a, b, names, between, method)
    return Because(
        a=a,
        b=b,
        inputs=swaps.inputs,
        method=method,
        between=tuple(between.values()),
        drift=tuple(swaps.drift()),
        metrics=metrics,
        unexplained=unexplained,
    )


def _perform(
    context: Context, swaps: Swaps, swapped: Swapped, a: RunManifest, b: RunManifest
) -> Between:
    """Run A with some inputs of B, unless the store has the answer."""
    names = tuple(name for name in swaps.names if name in swapped)
    made = swaps.recipe(swapped)
    store = context.store
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until the run leads to its recipe
        with store.transaction("recipe of a run between two") as tx:
            recipe_id = tx.put_record(made.schema, made.fields, made.links)
            known = [each for each in (a, b) if each.recipe_id == recipe_id]
            earlier = known[0] if known else run.find_answer(context, recipe_id)
            if earlier is not None:
                tx.abandon()
        if earlier is not None:
            return Between(swapped=names, manifest=earlier, is_cached=True)
        run_id = run.execute(
            context,
            recipe_id,
            kept,
            snapshot=made.snapshot,
            metrics=made.metric_names,
            why=_purpose(a, b, names),
        )
    return Between(swapped=names, manifest=runs.read_run(store, run_id), is_cached=False)


def _purpose(a: RunManifest, b: RunManifest, names: tuple[str, ...]) -> str:
    """Say what a run in between is for."""
    ours, theirs = (str(manifest.run_id)[:12] for manifest in (a, b))
    swapped = f"with {', '.join(names)} of {theirs}" if names else "in today's environment"
    return f"diff {ours} {theirs} --because: {ours} {swapped}"


def _attribute(
    a: RunManifest,
    b: RunManifest,
    names: list[str],
    between: Mapping[Swapped, Between],
    method: Method,
) -> tuple[dict[str, Attribution], dict[str, str]]:
    """Share out each metric that is a number in both runs."""
    found, unexplained = {}, {}
    for name in dict.fromkeys([*a.metrics, *b.metrics]):
        ours, theirs = _exact(a.metrics.get(name)), _exact(b.metrics.get(name))
        if ours is None or theirs is None:
            if a.metrics.get(name) != b.metrics.get(name):
                unexplained[name] = "not both runs have it as a finite number"
            continue
        values = {}
        for swapped, each in between.items():
            value = _exact(each.manifest.metrics.get(name))
            if value is not None:
                values[swapped] = value
        if method == "all orders" and len(values) < len(between):
            missing = len(between) - len(values)
            if ours != theirs:
                unexplained[name] = _without(missing)
        ends = (values.get(frozenset(), ours), values.get(frozenset(names), theirs))
        is_exact = method == "all orders" and len(values) == len(between)
        alone = {
            each: values[frozenset([each])] - ends[0] if frozenset([each]) in values else None
            for each in names
        }
        shares: Mapping[str, Fraction | None] = shapley_shares(names, values) if is_exact else alone
        drifted = (theirs - ends[1]) - (ours - ends[0])
        if method == "none" and a.recipe_id != b.recipe_id:
            drifted = theirs - ours  # two questions that no input tells apart
        told = sum((each for each in shares.values() if each is not None), Fraction(0))
        found[name] = Attribution(
            a=a.metrics[name],
            b=b.metrics[name],
            change=theirs - ours,
            shares=shares,
            alone=alone,
            environment=drifted,
            remainder=theirs - ours - drifted - told,
        )
    return found, unexplained


def _without(count: int) -> str:
    return (
        "a run in between is without it"
        if count == 1
        else f"{count} runs in between are without it"
    )


def _exact(value: Any) -> Fraction | None:
    """Return a number as it is, to the bit; None if it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return Fraction(value)
