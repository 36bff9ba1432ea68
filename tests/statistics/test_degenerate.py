"""What no figure can be had from is refused with its name, by a typed error that can be sent."""

import pickle

import numpy as np
import pytest

from research import statistics
from research.statistics import errors

NAN, INF = float("nan"), float("inf")
SOUND = np.random.default_rng(1).normal(0.001, 0.01, 64)
TABLE = np.random.default_rng(2).normal(0.001, 0.01, (64, 4))
FIVE = (0.1, 250, -0.5, 4.0)


def table(**changes):
    """Return sound trials with one value or column changed: `c1=0.0`, `r5c1=NaN`."""
    changed = TABLE.copy()
    for place, value in changes.items():
        row, _, column = place.partition("c")
        changed[int(row[1:]) if row else slice(None), int(column)] = value
    return changed


def series(row, value):
    changed = SOUND.copy()
    changed[row] = value
    return changed


def pbo(returns, blocks=4):
    return statistics.probability_of_backtest_overfitting(returns, blocks)


def drawdown(returns, **options):
    return statistics.drawdown_interval(returns, **{"seed": 1, "resamples": 100, **options})


DEGENERATE = {
    "sharpe of nothing": (lambda: statistics.sharpe_ratio([], 252), "returns: 0 of them, below 3"),
    "sharpe of two": (lambda: statistics.sharpe_ratio([0.1, 0.2], 252), "returns: 2 of them"),
    "sharpe of what stands still": (
        lambda: statistics.sharpe_ratio([0.1] * 9, 252),
        "returns: they do not vary: all 9 are 0.1",
    ),
    "sharpe of rounding": (
        lambda: statistics.sharpe_ratio(np.array([0.1, 0.1, 0.1]) + [0, 1e-17, 2e-17], 252),
        "do not vary",
    ),
    "sharpe of NaN": (lambda: statistics.sharpe_ratio(series(7, NAN), 1), "returns: row 7 is nan"),
    "sharpe of inf": (lambda: statistics.sharpe_ratio(series(7, -INF), 1), "row 7 is -inf"),
    "sharpe of a masked value": (
        lambda: statistics.sharpe_ratio(np.ma.masked_array(SOUND, np.arange(64) == 5), 1),
        "row 5 is nan",
    ),
    "equity of one": (lambda: statistics.returns_from_equity([100.0]), "equity: 1 values"),
    "equity of zero": (lambda: statistics.returns_from_equity([1.0, 0.0, 1.0]), "row 1 is 0"),
    "equity of NaN": (lambda: statistics.returns_from_equity([1.0, NAN]), "row 1 is nan"),
    "equity beyond floats": (
        lambda: statistics.returns_from_equity([1e-300, 1e300]),
        "row 0 is inf",
    ),
    "PSR of two": (lambda: statistics.probabilistic_sharpe_ratio(0.1, 2, 0, 3), "n: 2 returns"),
    "PSR without variance": (
        lambda: statistics.probabilistic_sharpe_ratio(1.0, 9, 2.0, 5.0),
        "the variance of the Sharpe ratio: it is 0",
    ),
    "PSR of a ratio beyond floats": (
        lambda: statistics.probabilistic_sharpe_ratio(1e200, 9, 0, 3.0),
        "the variance of the Sharpe ratio: it is inf",
    ),
    "luck of one trial": (lambda: statistics.expected_maximum_sharpe(1, 0.1), "trials: one trial"),
    "luck without variance": (
        lambda: statistics.expected_maximum_sharpe(9, 0.0),
        "sharpe_variance: it is 0",
    ),
    "DSR of one trial": (lambda: statistics.deflated_sharpe_ratio(*FIVE, 1, 0.1), "one trial"),
    "DSR without variance": (lambda: statistics.deflated_sharpe_ratio(*FIVE, 9, 0), "it is 0"),
    "length of one trial": (lambda: statistics.minimum_backtest_length(1), "one trial"),
    "PBO of one trial": (lambda: pbo(TABLE[:, :1]), "returns: one trial"),
    "PBO of no trial": (lambda: pbo(TABLE[:, :0]), "returns: no trial"),
    "PBO of two rows": (lambda: pbo(TABLE[:2], 2), "2 of them a trial, below 3"),
    "PBO of what stands still": (lambda: pbo(table(c2=0.0)), "trial 2: they do not vary"),
    "PBO of NaN": (lambda: pbo(table(r5c3=NAN)), "returns, trial 3: row 5 is nan"),
    "clusters of what stands still": (
        lambda: statistics.effective_trials(table(c1=0.01)),
        "returns, trial 1: they do not vary",
    ),
    "clusters of NaN": (lambda: statistics.effective_trials(table(r0c0=NAN)), "trial 0: row 0"),
    "no p-values": (lambda: statistics.holm([]), "p_values: there are none"),
    "a p-value of NaN": (lambda: statistics.holm([0.1, NAN]), "number 1 is nan"),
    "a p-value above 1": (lambda: statistics.benjamini_hochberg([1.1]), "number 0 is 1.1"),
    "a p-value below 0": (lambda: statistics.benjamini_hochberg([-1e-9]), "no probability"),
    "a block length of what stands still": (
        lambda: statistics.optimal_block_length([0.0] * 9),
        "do not vary",
    ),
    "a bootstrap of too little": (
        lambda: statistics.sharpe_interval([0.0, 0.0, 0.1], 1, seed=1, resamples=100),
        "a resample of them does not vary",
    ),
    "a loss of more than all": (lambda: drawdown(series(3, -1.5)), "row 3 is -1.5: it loses more"),
}

INVALID = {
    "no number": (lambda: statistics.sharpe_ratio(["a", "b", "c"], 1), "returns is list"),
    "complex numbers": (lambda: statistics.sharpe_ratio([1j, 2j, 3j], 1), "must be numbers"),
    "a table for a series": (lambda: statistics.sharpe_ratio(TABLE, 1), "of one dimension"),
    "ragged": (lambda: pbo([[1.0], [1.0, 2.0]]), "must be numbers"),
    "a series for a table": (lambda: pbo(SOUND), "of 1 dimensions; it must be a table"),
    "no periods": (lambda: statistics.sharpe_ratio(SOUND, 0), "periods_per_year is 0"),
    "NaN periods": (lambda: statistics.sharpe_ratio(SOUND, NAN), "periods_per_year is nan"),
    "a ratio of NaN": (
        lambda: statistics.probabilistic_sharpe_ratio(NAN, 9, 0, 3),
        "sharpe is nan",
    ),
    "a ratio of inf": (
        lambda: statistics.probabilistic_sharpe_ratio(INF, 9, 0, 3),
        "sharpe is inf",
    ),
    "a ratio of text": (lambda: statistics.probabilistic_sharpe_ratio("a", 9, 0, 3), "'a'"),
    "half an observation": (
        lambda: statistics.probabilistic_sharpe_ratio(0.1, 9.5, 0, 3),
        "n is 9.5; it must be a whole number",
    ),
    "excess kurtosis": (
        lambda: statistics.probabilistic_sharpe_ratio(0.1, 9, 0, 0.0),
        "at least 1 \\+ skew² = 1 \\(raw: a normal has 3, not 0\\)",
    ),
    "moments that no sample has": (
        lambda: statistics.minimum_track_record_length(0.1, 0, 3.0, 9.0),
        "kurtosis is 9.0; it must be at least 1 \\+ skew² = 10",
    ),
    "no ratio above the benchmark": (
        lambda: statistics.minimum_track_record_length(0.1, 0.1, 0, 3),
        "sharpe is 0.1; it must be above the benchmark, 0.1",
    ),
    "certainty": (
        lambda: statistics.minimum_track_record_length(0.1, 0, 0, 3, 1.0),
        "confidence is 1.0",
    ),
    "half a trial": (lambda: statistics.expected_maximum_sharpe(0.5, 0.1), "at least 2"),
    "a trial and a half": (lambda: statistics.expected_maximum_sharpe(1.5, 0.1), "at least 2"),
    "NaN trials": (lambda: statistics.expected_maximum_sharpe(NAN, 0.1), "trials is nan"),
    "a negative variance": (
        lambda: statistics.expected_maximum_sharpe(9, -0.1),
        "sharpe_variance is -0.1",
    ),
    "a length for no ratio": (lambda: statistics.minimum_backtest_length(9, 0.0), "above 0"),
    "a correlation of 2": (lambda: statistics.independent_trials(9, 2.0), "from 0 to 1"),
    "no trials": (lambda: statistics.independent_trials(0, 0.5), "at least 1"),
    "odd blocks": (lambda: pbo(TABLE, 5), "blocks is 5; it must be even"),
    "no blocks": (lambda: pbo(TABLE, 0), "from 2 to 24"),
    "many blocks": (lambda: pbo(TABLE, 26), "from 2 to 24"),
    "blocks of a row": (lambda: pbo(TABLE[:20], 12), "at most 10, for 20 rows"),
    "too many trials": (
        lambda: statistics.effective_trials(np.random.default_rng(1).random((3, 2001))),
        "of 2001 trials",
    ),
    "a level of 0": (lambda: statistics.holm([0.1], 0.0), "level is 0.0"),
    "a confidence of 1": (lambda: drawdown(SOUND, confidence=1.0), "confidence is 1.0"),
    "few resamples": (lambda: drawdown(SOUND, resamples=99), "resamples is 99"),
    "blocks of nothing": (lambda: drawdown(SOUND, block_length=0.5), "block_length is 0.5"),
    "blocks beyond the series": (lambda: drawdown(SOUND, block_length=65), "from 1 to 64"),
    "a negative seed": (lambda: drawdown(SOUND, seed=-1), "seed is -1"),
    "no seed": (lambda: drawdown(SOUND, seed=None), "seed is None"),
}


def sent(found):
    """Pickle and unpickle an error, as a process pool does; return it when it says the same."""
    again = pickle.loads(pickle.dumps(found))

    assert type(again) is type(found)
    assert vars(again) == vars(found)
    assert str(again) == str(found)
    return again


@pytest.mark.parametrize("case", DEGENERATE)
def test_a_degenerate_sample_is_refused_with_its_name(case):
    ask, message = DEGENERATE[case]

    with pytest.raises(errors.DegenerateSample, match=message) as caught:
        ask()
    sent(caught.value)


@pytest.mark.parametrize("case", INVALID)
def test_an_argument_out_of_bounds_is_refused_with_its_name(case):
    ask, message = INVALID[case]

    with pytest.raises(errors.InvalidArgument, match=message) as caught:
        ask()
    sent(caught.value)


def test_an_error_is_a_value_error_for_who_does_not_know_us():
    with pytest.raises(ValueError, match="returns"):
        statistics.sharpe_ratio([], 252)
