"""The effective number of trials: planted clusters are found, and nothing but likeness counts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research import statistics
from research.statistics import clusters


def planted(seed, cluster_count, trial_count, correlation, rows=750):
    """Return trials of so many ideas, and which idea each is of."""
    chance = np.random.default_rng(seed)
    ideas = chance.normal(0, 0.01, (rows, cluster_count))
    owner = np.arange(trial_count) % cluster_count
    own = chance.normal(0, 0.01, (rows, trial_count))
    return correlation**0.5 * ideas[:, owner] + (1 - correlation) ** 0.5 * own, owner


@pytest.mark.parametrize(
    ("cluster_count", "trial_count", "correlation"),
    [(2, 20, 0.7), (3, 30, 0.6), (5, 100, 0.8), (10, 100, 0.5), (8, 64, 0.9)],
)
def test_what_was_planted_is_found(cluster_count, trial_count, correlation):
    returns, owner = planted(1, cluster_count, trial_count, correlation)

    found = statistics.effective_trials(returns)

    assert found.count == cluster_count
    assert found.has_structure
    np.testing.assert_array_equal(found.labels, owner)
    assert found.silhouettes.min() > 0.0


def test_clusters_are_taken_apart_again_where_that_makes_the_average_better():
    """Tight clusters beside loose ones: the second look changes some, and never for the worse."""
    changed = 0
    for seed in range(8):
        tight, _ = planted(10 * seed, 3, 30, 0.9)
        loose, _ = planted(10 * seed + 1, 10, 20, 0.6)
        table = np.hstack([tight, loose])
        distances = np.sqrt(0.5 * (1.0 - clusters.correlations(table)))
        apart = clusters._between_rows(distances)
        first = clusters._best_partition(apart)

        found = statistics.effective_trials(table)

        before, after = (clusters._qualities(apart, each).mean() for each in (first, found.labels))
        assert after >= before
        changed += not np.array_equal(first, found.labels)
    assert changed >= 1


@pytest.mark.parametrize("seed", range(20))
def test_a_second_look_that_makes_the_average_worse_is_dropped(seed):
    noise = np.random.default_rng(seed).normal(size=(200, 12 + seed))
    distances = np.sqrt(0.5 * (1.0 - clusters.correlations(noise)))
    apart = clusters._between_rows(distances)
    first = clusters._best_partition(apart)

    found = statistics.effective_trials(noise)

    before, after = (clusters._qualities(apart, each).mean() for each in (first, found.labels))
    assert after > before or np.array_equal(found.labels, first)


def test_the_hierarchy_merges_the_two_clusters_that_add_least_to_the_variance_within():
    points = np.random.default_rng(3).normal(size=(14, 2))
    squares = ((points[:, None] - points) ** 2).sum(2)

    def within(groups):
        return sum(((points[g] - points[g].mean(0)) ** 2).sum() for g in groups)

    groups = [[each] for each in range(14)]
    for labels in clusters._hierarchy(squares, 13):
        pairs = itertools.combinations(groups, 2)
        merged = [[g for g in groups if g not in (a, b)] + [a + b] for a, b in pairs]
        groups = min(merged, key=within)
        expected = np.empty(14, np.int64)
        for which, group in enumerate(groups):
            expected[group] = which
        np.testing.assert_array_equal(labels, clusters._in_order(expected))


@pytest.mark.parametrize("trial_count", [3, 20, 100, 300])
def test_trials_that_have_nothing_in_common_all_count(trial_count):
    found = statistics.effective_trials(np.random.default_rng(1).normal(size=(750, trial_count)))

    assert not found.has_structure
    assert trial_count * 0.98 <= found.count <= trial_count
    assert found.mean_correlation == pytest.approx(0.0, abs=0.02)


def test_variants_of_one_idea_count_for_few():
    returns, _ = planted(2, 1, 100, 0.9)

    found = statistics.effective_trials(returns)

    assert not found.has_structure
    assert found.mean_correlation == pytest.approx(0.9, abs=0.02)
    assert found.count == math.ceil(statistics.independent_trials(100, found.mean_correlation))


def test_equal_trials_are_one():
    one = np.random.default_rng(5).normal(0, 0.01, (250, 1))

    assert statistics.effective_trials(np.repeat(one, 12, axis=1)).count == 1
    assert statistics.effective_trials(one).count == 1
    assert statistics.effective_trials(one @ [[1.0, 3.0]]).count == 1  # a larger position
    two = np.random.default_rng(6).normal(0, 0.01, (250, 2))
    assert statistics.effective_trials(two).count == 2
    assert statistics.effective_trials(np.repeat(two, 9, axis=1)).count == 2


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_order_and_the_units_of_the_trials_do_not_matter(seed):
    returns, _ = planted(seed, 4, 20, 0.8, rows=300)
    order = np.random.default_rng(seed).permutation(20)

    one = statistics.effective_trials(returns)
    other = statistics.effective_trials(returns[:, order] * np.linspace(0.5, 3.0, 20))

    assert other.count == one.count
    together = one.labels[order][:, None] == one.labels[order]
    np.testing.assert_array_equal(other.labels[:, None] == other.labels, together)


def test_silhouettes_are_those_of_the_definition():
    chance = np.random.default_rng(7)
    points = chance.normal(size=(12, 3))
    apart = np.sqrt(((points[:, None] - points) ** 2).sum(2))
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3])

    expected = []
    for i, label in enumerate(labels):
        if (labels == label).sum() == 1:
            expected.append(0.0)
            continue
        others = (labels == label) & (np.arange(12) != i)
        a = apart[i, others].mean()
        b = min(apart[i, labels == other].mean() for other in set(labels) - {label})
        expected.append((b - a) / max(a, b))

    np.testing.assert_allclose(clusters._silhouettes(apart, labels), expected, atol=1e-12)


def test_k_means_ends_where_no_trial_is_nearer_to_another_mean():
    points = np.random.default_rng(8).normal(size=(40, 2))
    squares = ((points[:, None] - points) ** 2).sum(2)

    for start in clusters._hierarchy(squares, 6):
        labels = clusters._settled(squares, start)
        means = np.array([points[labels == k].mean(0) for k in range(labels.max() + 1)])
        nearest = ((points[:, None] - means) ** 2).sum(2).argmin(1)
        np.testing.assert_array_equal(labels, nearest)


def test_correlations_are_numpy_s():
    table = np.random.default_rng(9).normal(0.01, 0.02, (300, 6))

    np.testing.assert_allclose(clusters.correlations(table), np.corrcoef(table.T), atol=1e-10)
