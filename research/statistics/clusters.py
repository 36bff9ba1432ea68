"""The effective number of trials: how many different things a search has tried.

A hundred points of a grid may be five strategies. Owns the clustering of return series by their
correlation, made without chance: where the paper begins k-means at random many times, this begins
it at Ward's hierarchy, which is nearer the optimum than most of the draws. Distances are rounded,
so that the order in which a machine adds up products decides nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.statistics.deflation import independent_trials
from research.statistics.errors import InvalidArgument
from research.statistics.samples import Floats, varied_trials

Labels = NDArray[np.int64]

TRIALS_MAX: Final = 2000
"""Most of a minute. Of more, take a sample, or `independent_trials` of their correlation."""

CLUSTERS_MAX: Final = 100

STRUCTURE_LEAST: Final = 0.25
"""A mean silhouette up to here is no substantial structure, say Kaufman and Rousseeuw."""

_DIGITS: Final = 10
_SPREAD_MIN: Final = 1e-6
"""The least deviation that silhouettes are divided by: those of equal trials do not vary."""

_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialClusters:
    """Trials by likeness; clusters are numbered by their first trial.

    Shapes: labels, silhouettes (N,).
    """

    count: int
    """The effective number of trials: of clusters, where there are any."""
    has_structure: bool
    """Whether trials fall into clusters; if not, the labels mean little."""
    labels: Labels
    silhouettes: Floats
    """How much nearer a trial is to its own cluster than to the next, from -1 to 1."""
    mean_correlation: float
    """Of any two trials; of a single one, 1."""


def effective_trials(returns: ArrayLike) -> TrialClusters:
    """Count the clusters of trials whose returns move together.

    The number of clusters is the one at which the silhouettes are highest for how much they vary;
    clusters that are worse than the average are then taken apart again, as long as that helps. That
    finds a partition of anything. Where it has no substantial structure, be it that the trials have
    nothing in common or all the same, the number follows from their mean correlation, rounded up.

    Shapes: returns (T, N), a trial a column, T >= 3.
    Raises: DegenerateSample, naming the trial, if one does not vary or is not finite;
            InvalidArgument if there are more than 2,000 trials.
    Source: López de Prado and Lewis, "Detection of False Investment Strategies Using Unsupervised
            Learning Methods", Quantitative Finance 19(9), 2019; Kaufman and Rousseeuw, "Finding
            Groups in Data", 1990 (what is structure).
    """
    table = varied_trials(returns)
    trials = table.shape[1]
    if trials > TRIALS_MAX:
        raise InvalidArgument("returns", f"of {trials} trials", f"of at most {TRIALS_MAX}")
    alike = correlations(table)
    distances = np.sqrt(np.maximum(0.0, 0.5 * (1.0 - alike)))
    labels = _in_order(_clustered(distances))
    silhouettes = _silhouettes(_between_rows(distances), labels)
    has_structure = bool(silhouettes.mean() > STRUCTURE_LEAST)
    pairs = trials * (trials - 1)
    mean = float(np.round((alike.sum() - trials) / pairs, _DIGITS)) if pairs else 1.0
    alone = independent_trials(trials, min(max(mean, 0.0), 1.0))
    return TrialClusters(
        count=int(labels.max()) + 1 if has_structure else math.ceil(round(alone, 6)),
        has_structure=has_structure,
        labels=labels,
        silhouettes=silhouettes,
        mean_correlation=mean,
    )


def correlations(table: Floats) -> Floats:
    """Return the correlation of each two columns, rounded to ten digits.

    Shapes: table (T, N), every column varied; returns (N, N).
    """
    around = table - np.add.reduce(table, axis=0) / len(table)
    around /= np.abs(around).max(0)
    around /= np.sqrt(np.add.reduce(around * around, axis=0))
    found: Floats = np.clip(np.round(around.T @ around, _DIGITS), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def _clustered(distances: Floats) -> Labels:
    """Cluster trials; take the clusters below the average apart again, as long as that helps."""
    apart = _between_rows(distances)
    labels = _best_partition(apart)
    count = int(labels.max()) + 1
    if count == 1:
        return labels
    qualities = _qualities(apart, labels)
    is_poor = qualities < qualities.mean()
    again = np.flatnonzero(is_poor[labels])
    if np.count_nonzero(is_poor) < 2 or len(again) == len(labels):
        return labels
    inner = _clustered(distances[np.ix_(again, again)])
    renewed = labels.copy()
    renewed[again] = count + inner
    renewed = _in_order(renewed)
    return renewed if _qualities(apart, renewed).mean() > qualities.mean() else labels


def _best_partition(apart: Floats) -> Labels:
    """Return the partition whose silhouettes are highest for how much they vary."""
    trials = len(apart)
    squares = apart * apart
    if not apart.any():
        return np.zeros(trials, np.int64)
    if trials == 2:
        return np.arange(2)
    best, highest = np.zeros(trials, np.int64), -math.inf
    for start in reversed(_hierarchy(squares, min(trials - 1, CLUSTERS_MAX))):
        labels = _settled(squares, start)
        silhouettes = _silhouettes(apart, labels)
        quality = float(silhouettes.mean()) / max(float(silhouettes.std()), _SPREAD_MIN)
        if quality > highest + 10.0**-_DIGITS:
            best, highest = labels, quality
    return best


def _hierarchy(squares: Floats, most: int) -> list[Labels]:
    """Merge the two clusters that add least to the variance within, until two are left.

    Source: Ward, "Hierarchical Grouping to Optimize an Objective Function", J. American Statistical
            Association 58(301), 1963; the update by Lance and Williams, 1967.
    """
    count = len(squares)
    cost = squares.copy()
    np.fill_diagonal(cost, np.inf)
    sizes = np.ones(count)
    labels = np.arange(count)
    found = []
    for left in range(count - 1, 1, -1):
        one, other = sorted(divmod(int(cost.argmin()), count))
        both, between = sizes[one] + sizes[other], cost[one, other]
        merged = (sizes + sizes[one]) * cost[one] + (sizes + sizes[other]) * cost[other]
        with np.errstate(invalid="ignore"):
            merged = (merged - sizes * between) / (sizes + both)
        merged[~np.isfinite(merged)] = np.inf
        cost[one], cost[:, one] = merged, merged
        cost[other], cost[:, other] = np.inf, np.inf
        cost[one, one] = np.inf
        sizes[one], sizes[other] = both, 0.0
        labels[labels == other] = one
        if left <= most:
            found.append(_in_order(labels))
    return found


def _settled(squares: Floats, labels: Labels) -> Labels:
    """Move each trial to the nearest mean until none moves: Lloyd's k-means."""
    for _ in range(_ROUNDS):
        member = _membership(labels)
        sizes = member.sum(0)
        mean = squares @ member / sizes
        within = 0.5 * (member * mean).sum(0) / sizes
        moved = np.argmin(np.round(mean - within, _DIGITS), axis=1)
        if (moved == labels).all() or len(np.unique(moved)) < len(sizes):
            break
        labels = moved
    return labels


def _silhouettes(apart: Floats, labels: Labels) -> Floats:
    """Return each trial's silhouette; 0 for one that is alone.

    Source: Rousseeuw, "Silhouettes", J. Computational and Applied Mathematics 20, 1987.
    """
    member = _membership(labels)
    sizes = member.sum(0)
    if len(sizes) == 1:
        return np.zeros(len(labels))
    turn = np.arange(len(labels))
    sums = apart @ member
    own = sums[turn, labels] / np.maximum(sizes[labels] - 1.0, 1.0)
    means = sums / sizes
    means[turn, labels] = np.inf
    nearest = means.min(1)
    largest = np.maximum(own, nearest)
    is_alone = (sizes[labels] == 1.0) | (largest == 0.0)
    found: Floats = np.where(is_alone, 0.0, (nearest - own) / np.where(is_alone, 1.0, largest))
    return found


def _qualities(apart: Floats, labels: Labels) -> Floats:
    """Return each cluster's mean silhouette over their deviation."""
    silhouettes = _silhouettes(apart, labels)
    groups = [silhouettes[labels == label] for label in range(int(labels.max()) + 1)]
    return np.array([group.mean() / max(float(group.std()), _SPREAD_MIN) for group in groups])


def _between_rows(distances: Floats) -> Floats:
    """Return how far apart any two trials are in their distances to all trials."""
    squares = [np.square(distances - row).sum(1) for row in distances]
    found: Floats = np.round(np.sqrt(np.array(squares)), _DIGITS)
    return found


def _membership(labels: Labels) -> Floats:
    found: Floats = (labels[:, None] == np.arange(int(labels.max()) + 1)).astype(np.float64)
    return found


def _in_order(labels: Labels) -> Labels:
    """Renumber labels from 0 in the order in which they first come."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
