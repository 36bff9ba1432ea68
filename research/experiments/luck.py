"""Luck: what a Sharpe ratio is worth, given all that was tried to find it.

Owns the deflation of one run by the ledger of its family. A run's own returns give its ratio per
period, their number, skew and kurtosis; the ledger gives how many trials there were and how their
ratios vary. The ledger has the metric ``sharpe`` as each run has told it, mostly per year, so it is
brought to periods by what the judged run has told of itself: its ratio per period over its metric.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from research import statistics
from research.context import Context
from research.errors import Untold
from research.experiments import ledger
from research.experiments.curves import Curve, read_curve
from research.experiments.ledger import SHARPE, Trials, count_trials
from research.experiments.runs import RunManifest
from research.statistics.samples import is_flat, total
from rosdb import Store, TrialColumns, errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """A Sharpe ratio, and what is left of it.

    Units: sharpe, expected_maximum per period; probabilistic, deflated are probabilities that the
        true ratio is above 0, and above what the best of so many worthless trials shows.
    """

    sharpe: float
    return_count: int
    skew: float
    kurtosis: float
    trial_count: int
    sharpe_variance: float | None
    """Of the trials' ratios, per period; None where there is one trial, or they do not vary."""

    expected_maximum: float
    probabilistic: float
    deflated: float
    per_year: float | None = None
    """What a ratio per period is multiplied by to be as the metric is; None without a metric."""

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a document."""
        return asdict(self)


def deflated_sharpe_of(context: Context, manifest: RunManifest) -> Deflated:
    """Deflate a run's Sharpe ratio by the trials of its family.

    Raises: Untold if it cannot be told, with the reason.
    """
    try:
        return deflate(context.store, manifest, family_of(context.store, manifest))
    except (errors.ObjectMissing, errors.ObjectCorrupt) as error:
        raise Untold(str(error)) from None


def deflated_column(store: Store) -> Callable[[RunManifest], float | None]:
    """Return what reads the deflated ratio of one run after another; None where none is told.

    Each family's trials are counted once.
    """
    families: dict[tuple[str, str], Trials] = {}

    def read(manifest: RunManifest) -> float | None:
        if ledger.told_ratio(manifest.metrics) is None:
            return None
        key = manifest.experiment, (manifest.dataset or "").partition("@")[0]
        try:
            if key not in families:
                families[key] = family_of(store, manifest)
            return deflate(store, manifest, families[key]).deflated
        except (Untold, errors.ObjectMissing, errors.ObjectCorrupt):
            return None

    return read


def family_of(store: Store, manifest: RunManifest) -> Trials:
    """Return the trials of a run's family.

    A replay's is that of the run that it replays.
    """
    dataset = (manifest.run.fields["dataset"] or {"name": ""})["name"]
    for trials in ledger.read_trials(store, manifest.experiment, dataset):
        return trials
    family = ledger.Family(experiment=manifest.experiment, dataset=dataset)
    return count_trials(family, TrialColumns())


def deflate(
    store: Store, manifest: RunManifest, trials: Trials, curve: Curve | None = None
) -> Deflated:
    """Deflate a run's Sharpe ratio by some trials.

    Raises: Untold; ObjectMissing, ObjectCorrupt.
    """
    if manifest.outcome_id is None:
        raise Untold(f"the run {manifest.status}: it has no returns")
    curve = read_curve(store, manifest.outcome_id) if curve is None else curve
    try:
        return _deflate(manifest.metrics.get(SHARPE), trials, curve)
    except statistics.StatisticsError as error:
        raise Untold(str(error)) from None


def _deflate(told: Any, trials: Trials, curve: Curve) -> Deflated:

    own = statistics.moments(curve.returns())
    shape = (own.count, own.skew, own.kurtosis)
    probabilistic = statistics.probabilistic_sharpe_ratio(own.sharpe, *shape)
    # A run that is in no ledger, of a bundle that was only looked at, was tried all the same.
    count = max(1, trials.count)
    scale = _per_year(told, own.sharpe)
    variance = _variance(trials.ratios, scale, own.count) if count > 1 else None
    expected, deflated = 0.0, probabilistic
    if variance is not None:
        expected = statistics.expected_maximum_sharpe(count, variance)
        deflated = statistics.deflated_sharpe_ratio(own.sharpe, *shape, count, variance)
    return Deflated(
        sharpe=own.sharpe,
        return_count=own.count,
        skew=own.skew,
        kurtosis=own.kurtosis,
        trial_count=count,
        sharpe_variance=variance,
        expected_maximum=expected,
        probabilistic=probabilistic,
        deflated=deflated,
        per_year=scale,
    )


def _per_year(told: Any, sharpe: float) -> float | None:
    """Return by what a ratio per period is multiplied to be as the run has told it."""
    if type(told) not in (int, float) or not math.isfinite(told) or sharpe == 0.0:
        return None
    scale = told / sharpe
    return scale if scale > 0.0 and math.isfinite(scale) else None


def _variance(ratios: Sequence[float], scale: float | None, return_count: int) -> float | None:
    """Return the variance of the trials' ratios per period; None if they do not vary.

    Where fewer than two are known, the others having failed, it is that of the ratio of worthless
    returns, 1 / n: the trials were that uncertain at least.

    Raises: Untold if the ledger's figures cannot be brought to periods.
    """
    if len(ratios) < 2:
        return 1.0 / return_count
    if scale is None:
        raise Untold(
            f"its metric {SHARPE!r} is not a multiple of the ratio of its equity curve, and so"
            " the trials' cannot be compared with it"
        )
    told = np.array(ratios)
    if is_flat(float(told.min()), float(told.max())):
        # It is one strategy that was tried in vain to vary: nothing was chosen.
        return None
    around = told - total(told) / len(told)
    return total(around * around) / (len(told) - 1) / (scale * scale)
