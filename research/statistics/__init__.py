"""Statistics of luck: how sure a Sharpe ratio is, and what a search for it was worth.

This floor is pure: numbers in, numbers out, numpy alone, and no chance without a seed. Formulas,
sources and worked examples are in `docs/statistics.md`. The rooms, from the ground up:

    errors        what is refused
    normal        the normal distribution
    samples       what a sound sample is, and its moments
    sharpe        Sharpe ratio, PSR, minimum track record length
    deflation     expected maximum of many trials, DSR, minimum backtest length
    overfitting   PBO by combinatorially symmetric cross-validation
    families      Benjamini-Hochberg and Holm over a sweep's p-values
    clusters      the effective number of correlated trials
    bootstrap     confidence intervals from resampled returns; block_length: how long the blocks are
"""

from research.statistics.block_length import optimal_block_length as optimal_block_length
from research.statistics.bootstrap import Interval as Interval
from research.statistics.bootstrap import drawdown_interval as drawdown_interval
from research.statistics.bootstrap import sharpe_interval as sharpe_interval
from research.statistics.clusters import TrialClusters as TrialClusters
from research.statistics.clusters import effective_trials as effective_trials
from research.statistics.deflation import deflated_sharpe_ratio as deflated_sharpe_ratio
from research.statistics.deflation import expected_maximum_sharpe as expected_maximum_sharpe
from research.statistics.deflation import independent_trials as independent_trials
from research.statistics.deflation import minimum_backtest_length as minimum_backtest_length
from research.statistics.errors import DegenerateSample as DegenerateSample
from research.statistics.errors import InvalidArgument as InvalidArgument
from research.statistics.errors import StatisticsError as StatisticsError
from research.statistics.families import Adjusted as Adjusted
from research.statistics.families import benjamini_hochberg as benjamini_hochberg
from research.statistics.families import holm as holm
from research.statistics.overfitting import Overfitting as Overfitting
from research.statistics.overfitting import (
    probability_of_backtest_overfitting as probability_of_backtest_overfitting,
)
from research.statistics.samples import Moments as Moments
from research.statistics.samples import moments as moments
from research.statistics.samples import returns_from_equity as returns_from_equity
from research.statistics.sharpe import minimum_track_record_length as minimum_track_record_length
from research.statistics.sharpe import probabilistic_sharpe_ratio as probabilistic_sharpe_ratio
from research.statistics.sharpe import sharpe_ratio as sharpe_ratio
