"""How the statistics are reached, and what it costs not to."""

import subprocess
import sys

from research import statistics

CONTRACT = """
sharpe_ratio(returns, periods_per_year)
probabilistic_sharpe_ratio(sharpe, n, skew, kurtosis, benchmark=0.0)
deflated_sharpe_ratio(sharpe, n, skew, kurtosis, trials, sharpe_variance)
expected_maximum_sharpe(trials, sharpe_variance)
minimum_track_record_length(sharpe, benchmark, skew, kurtosis, confidence=0.95)
probability_of_backtest_overfitting(returns, blocks=16)
"""


def said(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_signatures_are_those_of_the_contract():
    import inspect

    for line in CONTRACT.split("\n")[1:-1]:
        name, _, rest = line.partition("(")
        found = inspect.signature(getattr(statistics, name))
        plain = found.replace(
            parameters=[p.replace(annotation=p.empty) for p in found.parameters.values()],
            return_annotation=found.empty,
        )
        assert f"{name}{plain}" == line, rest


def test_research_alone_loads_no_numpy_and_knows_the_statistics():
    assert said("import research, sys; print('numpy' in sys.modules)") == "False"
    assert (
        said("import research; print(research.statistics.sharpe_ratio.__name__)") == "sharpe_ratio"
    )
    assert said("import research; print('statistics' in dir(research))") == "True"


def test_the_statistics_load_neither_the_standard_library_s_nor_chance():
    loaded = said(
        "from research import statistics; import sys; print(*sorted(sys.modules))"
    ).split()

    assert "research.statistics.overfitting" in loaded
    assert not {"statistics", "random", "numba", "scipy", "rosdb"} & set(loaded)
