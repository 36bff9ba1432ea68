"""Our figures beside those of libraries that people keep, where `make check-statistics` has them."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import statistics
from research.statistics import bootstrap, clusters, normal

OTHERS = ("arch", "jsharpe", "scipy", "skfolio", "sklearn", "statsmodels")
if any(find_spec(name) is None for name in OTHERS):
    pytest.skip("no other libraries here: make check-statistics", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")  # what their own packages warn of

SHAPES = st.tuples(st.floats(-3.0, 3.0), st.floats(0.01, 20.0)).map(
    lambda drawn: (drawn[0], 1.0 + drawn[0] ** 2 + drawn[1])
)


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_t(4, shape) * 0.01 + 0.0004


@given(st.floats(1e-300, 1.0 - 1e-15), st.floats(-37.0, 37.0))
def test_the_normal_distribution_is_scipy_s(probability, x):
    from scipy.stats import norm

    assert normal.quantile(probability) == pytest.approx(
        norm.ppf(probability), rel=2e-15, abs=1e-15
    )
    assert normal.cumulative(x) == pytest.approx(norm.cdf(x), rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_moments_are_scipy_s(seed):
    from scipy import stats

    returns = noise(seed, 300)
    found = statistics.moments(returns)

    assert found.skew == pytest.approx(stats.skew(returns), rel=1e-10)
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_psr_dsr_and_the_expected_maximum_are_skfolio_s(seed):
    from skfolio import measures

    trials = noise(seed, 750, 40)
    each = [statistics.moments(column) for column in trials.T]
    ratios = np.array([m.sharpe for m in each])
    best = each[int(ratios.argmax())]
    returns = trials[:, int(ratios.argmax())]
    variance = ratios.var(ddof=1)
    shape = best.sharpe, best.count, best.skew, best.kurtosis

    assert statistics.probabilistic_sharpe_ratio(*shape, 0.01) == pytest.approx(
        measures.probabilistic_sharpe_ratio(returns, 0.01), rel=1e-11
    )
    assert statistics.deflated_sharpe_ratio(*shape, 40, variance) == pytest.approx(
        measures.deflated_sharpe_ratio(returns, ratios), rel=1e-11
    )
    assert statistics.expected_maximum_sharpe(40, variance) == pytest.approx(
        measures.expected_max_sharpe_ratio(40, math.sqrt(variance)), rel=1e-12
    )


@given(st.floats(0.01, 1.0), st.integers(3, 5000), SHAPES, st.floats(-0.9, 0.9))
def test_psr_and_the_track_record_are_jsharpe_s(sharpe, n, shape, part):
    from jsharpe import probabilistic_sharpe_ratio, sharpe_ratio_variance

    skew, kurtosis = shape
    benchmark = sharpe * part
    # By default it takes the variance at the benchmark, and of n; the paper at the ratio, of n - 1.
    variance = sharpe_ratio_variance(sharpe, n - 1, gamma3=skew, gamma4=kurtosis)
    theirs = probabilistic_sharpe_ratio(sharpe, benchmark, variance=variance)
    length = statistics.minimum_track_record_length(sharpe, benchmark, *shape, 0.95)
    there = sharpe_ratio_variance(sharpe, length - 1, gamma3=skew, gamma4=kurtosis)

    assert statistics.probabilistic_sharpe_ratio(sharpe, n, *shape, benchmark) == pytest.approx(
        theirs, rel=1e-9
    )
    assert probabilistic_sharpe_ratio(sharpe, benchmark, variance=there) == pytest.approx(0.95)


@pytest.mark.parametrize("trials", [2, 10, 100, 10_000])
def test_the_expected_maximum_is_jsharpe_s(trials):
    from jsharpe import expected_maximum_sharpe_ratio

    assert statistics.expected_maximum_sharpe(trials, 0.5) == pytest.approx(
        expected_maximum_sharpe_ratio(trials, 0.5), rel=1e-9
    )


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40), st.floats(0.01, 0.3))
def test_families_are_statsmodels_s(p_values, level):
    from statsmodels.stats.multitest import multipletests

    for ours, theirs in ((statistics.benjamini_hochberg, "fdr_bh"), (statistics.holm, "holm")):
        found = ours(p_values, level)
        rejected, adjusted, _, _ = multipletests(p_values, level, theirs)
        np.testing.assert_allclose(found.p_values, adjusted, rtol=1e-12, atol=1e-300)
        is_clear = np.abs(adjusted - level) > 1e-12
        np.testing.assert_array_equal(found.is_rejected[is_clear], rejected[is_clear])


@pytest.mark.parametrize("seed", range(10))
def test_silhouettes_are_sklearn_s(seed):
    from sklearn.metrics import silhouette_samples

    points = np.random.default_rng(seed).normal(size=(30, 4))
    apart = np.sqrt(((points[:, None] - points) ** 2).sum(2))
    labels = np.append(np.arange(29) % (2 + seed % 5), 99)
    labels = clusters._in_order(labels)

    np.testing.assert_allclose(
        clusters._silhouettes(apart, labels), silhouette_samples(points, labels), atol=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_hierarchy_is_scipy_s(seed):
    from scipy.cluster.hierarchy import fcluster, linkage

    points = np.random.default_rng(seed).normal(size=(40, 3))
    squares = ((points[:, None] - points) ** 2).sum(2)
    theirs = linkage(points, "ward")

    for labels in clusters._hierarchy(squares, 39):
        cut = clusters._in_order(fcluster(theirs, int(labels.max()) + 1, "maxclust"))
        np.testing.assert_array_equal(labels, cut)


@pytest.mark.parametrize(("cluster_count", "trial_count"), [(3, 24), (4, 20), (6, 30)])
def test_clusters_are_jsharpe_s_where_it_looks_no_further(cluster_count, trial_count):
    from jsharpe import number_of_clusters

    chance = np.random.default_rng(cluster_count)
    ideas = chance.normal(0, 0.01, (600, cluster_count))
    trials = ideas[:, np.arange(trial_count) % cluster_count]
    trials = trials + chance.normal(0, 0.005, trials.shape)
    np.random.seed(1)

    # It may look among few clusters only: it takes trials that are alone for perfect clusters.
    count, _, labels = number_of_clusters(
        clusters.correlations(trials), max_clusters=trial_count // 3
    )
    found = statistics.effective_trials(trials)

    assert found.count == count == cluster_count
    np.testing.assert_array_equal(found.labels, clusters._in_order(labels))


def test_the_block_length_is_near_arch_s():
    """It counts covariances up to one lag more, so the two are near, and equal where none matter."""
    from arch.bootstrap import optimal_block_length

    for owed in (0.0, 0.5, 0.8):
        ours, theirs = [], []
        for seed in range(20):
            chance, returns = np.random.default_rng(seed), [0.0]
            for news in chance.normal(0, 0.01, 1000):
                returns.append(owed * returns[-1] + news)
            ours.append(statistics.optimal_block_length(returns))
            theirs.append(
                max(1.0, float(optimal_block_length(np.array(returns))["stationary"].iloc[0]))
            )
        assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.15)


def test_the_interval_is_arch_s():
    from arch.bootstrap import StationaryBootstrap

    returns = noise(3, 1000)
    theirs = StationaryBootstrap(10, returns, seed=1).conf_int(
        lambda r: r.mean() / r.std(ddof=1) * math.sqrt(252), 4000, method="percentile", size=0.9
    )
    ours = statistics.sharpe_interval(
        returns, 252, seed=1, confidence=0.9, resamples=4000, block_length=10.0
    )

    width = ours.high - ours.low
    assert [ours.low, ours.high] == pytest.approx(theirs.ravel().tolist(), abs=0.05 * width)


def test_blocks_are_as_long_as_arch_s():
    from arch.bootstrap import StationaryBootstrap

    rows = np.arange(300)
    theirs = np.array([d[0][0] for d in StationaryBootstrap(12, rows, seed=1).bootstrap(400)]).T
    ours = np.hstack(list(bootstrap._resampled_places(300, 400, 12.0, 1)))

    one, other = (((each[1:] - each[:-1]) % 300 == 1).mean() for each in (ours, theirs))
    assert one == pytest.approx(other, abs=0.004)
