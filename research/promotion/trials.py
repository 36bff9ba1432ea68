"""Trials: what was tried of an experiment, and where the best of it stands.

Owns the report of ``ros trials``: the count of the ledger, what it comes to when strategies that
move together are taken for one, how the Sharpe ratios are distributed, which maximum of them luck
alone would show, and what is left of the best.
"""

import contextlib
import difflib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from research import statistics
from research.context import Context
from research.datasets.holdout import holdouts
from research.errors import NotThere, Untold
from research.experiments import ledger, runs
from research.experiments.curves import sample_returns
from research.experiments.ledger import Family, Trials
from research.experiments.luck import Deflated, deflate
from rosdb import Kind, Link, Store, errors

BINS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """How many trials there are when those that move together are one.

    ``sample_count`` curves were compared, of ``total`` that have an outcome.
    """

    count: int
    sample_count: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The trial with the highest Sharpe ratio, as its run has told it.

    ``deflated`` is None where it cannot be told; then ``reason`` says why.
    """

    run_id: Link
    sharpe: float
    deflated: Deflated | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A holdout, and how many trials of the experiment have opened it."""

    dataset: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was tried of one family."""

    family: Family
    count: int
    failed_count: int
    sharpes: Sequence[float]
    """Ascending, of the trials that have told one."""

    effective: Effective | None
    best: Best | None
    openings: Sequence[Opening]
    others: Mapping[str, int]
    """The experiment's other datasets, and how often it was tried on each."""


def report(context: Context, experiment: str, dataset: str | None = None) -> Report:
    """Report the trials of an experiment on a dataset; on that of its newest run if none is said.

    Raises: NotThere if nothing was tried, with the names that are near.
    """
    store = context.store
    tried = {each.family.dataset: each for each in ledger.read_trials(store, experiment)}
    if not tried:
        raise _nothing(store, experiment)
    if dataset is None:
        dataset = _newest_dataset(store, experiment, tried)
    elif dataset not in tried:
        raise NotThere("tried dataset", dataset, [name for name in tried if name])
    trials = tried.pop(dataset)
    return Report(
        family=trials.family,
        count=trials.count,
        failed_count=trials.failed_count,
        sharpes=sorted(trials.ratios),
        effective=_effective(store, trials),
        best=_best(store, trials),
        openings=openings(store, [trials, *tried.values()]),
        others={name: each.count for name, each in tried.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A range of Sharpe ratios, its upper end left out but for the last, and how many lie there."""

    low: float
    high: float
    count: int


def histogram(ratios: Sequence[float], bins_max: int = BINS_MAX) -> list[Bin]:
    """Count ascending ratios in ranges of equal width; about as many ranges as the root of them."""
    if not ratios:
        return []
    low, high = ratios[0], ratios[-1]
    count = 1 if low == high else max(1, min(bins_max, math.isqrt(len(ratios)) + 1))
    edges = [low + (high - low) * place / count for place in range(count)] + [high]
    places = [0, *(bisect_left(ratios, edge) for edge in edges[1:-1]), len(ratios)]
    return [
        Bin(low=edges[place], high=edges[place + 1], count=places[place + 1] - places[place])
        for place in range(count)
    ]


def quantiles(ratios: Sequence[float]) -> dict[str, float]:
    """Return least, quartiles and most of ascending ratios, each one of them; none of none."""
    if not ratios:
        return {}
    last = len(ratios) - 1
    names = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
    return {name: ratios[last * place // 4] for place, name in enumerate(names)}


def openings(store: Store, tried: Sequence[Trials]) -> list[Opening]:
    """Count the trials that have opened each holdout; those that none has are left out."""
    marked = set(holdouts(store))
    found = []
    for trials in tried:
        name = trials.family.dataset
        for version in sorted(set(trials.runs.version)):
            if (name, version) in marked:
                count = trials.of_version(version).count
                found.append(Opening(dataset=f"{name}@{version}", count=count))
    return found


def _effective(store: Store, trials: Trials) -> Effective | None:
    """Count the clusters of the trials' returns; None where there are no two to compare."""
    sample = sample_returns(store, trials.outcomes)
    if sample is None:
        return None
    try:
        count = statistics.effective_trials(sample.returns).count
    except statistics.StatisticsError:
        return None
    return Effective(count=count, sample_count=sample.count, total=sample.total)


def _best(store: Store, trials: Trials) -> Best | None:
    """Return the best trial, and what is left of it."""
    best = trials.best()
    if best is None:
        return None
    ratio, digest = best
    run_id = Link(digest, Kind.RECORD)
    try:
        deflated = deflate(store, runs.read_run(store, run_id), trials)
    except (errors.ObjectMissing, errors.ObjectCorrupt):
        reason = "its run is not stored any more"
        return Best(run_id=run_id, sharpe=ratio, deflated=None, reason=reason)
    except Untold as untold:
        return Best(run_id=run_id, sharpe=ratio, deflated=None, reason=str(untold))
    return Best(run_id=run_id, sharpe=ratio, deflated=deflated)


def _newest_dataset(store: Store, experiment: str, tried: Mapping[str, Trials]) -> str:
    """Return the dataset of the experiment's newest run; of those that are gone, the first name."""
    for row in store.runs(conditions={"experiment": experiment, "kind": "run"}, limit=1):
        with contextlib.suppress(errors.ObjectMissing, errors.ObjectCorrupt):
            asked = store.get_record(row.run_id).fields["dataset"] or {"name": ""}
            if asked["name"] in tried:
                return str(asked["name"])
    return next(iter(tried))


def _nothing(store: Store, experiment: str) -> NotThere:
    known = sorted({row.experiment for row in store.runs(conditions={"kind": "run"}, limit=1000)})
    near = difflib.get_close_matches(experiment, known, n=3, cutoff=0.5)
    return NotThere("tried experiment", experiment, near)
