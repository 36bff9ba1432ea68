"""The synthetic experiment: its figures, its files, and what it does without."""

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from research import ParameterError
from research.experiments.builtin import gamma_signal_sanity as gamma

ROOT = Path(__file__).parents[2]


def spec_with(seed=42, **parameters):
    return replace(
        gamma.DEFAULT_SPEC, seed=seed, parameters={**gamma.DEFAULT_SPEC.parameters, **parameters}
    )


def test_declaration():
    spec = gamma.DEFAULT_SPEC
    assert spec.experiment_id == "gamma_signal_sanity"
    assert spec.parameters == {
        "n_days": 252,
        "start_price": 100.0,
        "drift": 0.0002,
        "vol": 0.01,
        "ma_window": 20,
    }
    assert (spec.seed, spec.input_dataset) == (42, None)


def test_golden_figures(tmp_path):
    # To 1e-12, not to the bit: exp, log and the sines of `gauss` are the C library's.
    metrics = gamma.run(gamma.DEFAULT_SPEC, tmp_path)
    assert metrics == pytest.approx(
        {
            "sharpe_like": 0.9524713279522482,
            "hit_rate": 120 / 252,
            "max_drawdown": 0.052617733922214374,
        },
        rel=1e-12,
    )
    summary = json.loads((tmp_path / "series_summary.json").read_text("utf-8"))
    assert summary == {
        "days_long": 179,
        "days_short": 54,
        "days_without_signal": 19,
        "first_price": pytest.approx(99.87598663063487, rel=1e-12),
        "highest_price": pytest.approx(140.63501348585055, rel=1e-12),
        "last_equity": pytest.approx(1.157049825665958, rel=1e-12),
        "last_price": pytest.approx(135.97975220351364, rel=1e-12),
        "lowest_price": pytest.approx(96.30569138339388, rel=1e-12),
        "mean_strategy_log_return": pytest.approx(0.0005788631421364801, rel=1e-12),
        "n_days": 252,
    }


@pytest.mark.parametrize(
    ("seed", "parameters"),
    [
        (42, {}),
        (7, {"n_days": 504, "ma_window": 30}),
        (0, {"n_days": 2, "ma_window": 1}),
        (1, {"n_days": 40, "vol": 0.05, "drift": -0.01, "start_price": 0.5, "ma_window": 39}),
    ],
)
def test_same_bits_as_one_plain_loop(tmp_path, seed, parameters):
    """The definition once more, day by day, in one piece."""
    spec = spec_with(seed, **parameters)
    p = spec.parameters
    source = random.Random(seed)
    closes, strategy, equity = [], [], [1.0]
    log_price, signal = math.log(p["start_price"]), 0
    for _ in range(p["n_days"]):
        daily = p["drift"] + p["vol"] * source.gauss(0, 1)
        log_price += daily
        closes.append(math.exp(log_price))
        strategy.append(signal * daily)
        equity.append(equity[-1] * math.exp(strategy[-1]))
        if len(closes) >= p["ma_window"]:
            total = 0.0
            for close in closes[-p["ma_window"] :]:
                total += close
            signal = 1 if closes[-1] > total / p["ma_window"] else -1
    total = 0.0
    for value in strategy:
        total += value
    mean, squares = total / len(strategy), 0.0
    for value in strategy:
        squares += (value - mean) ** 2
    deviation = math.sqrt(squares / (len(strategy) - 1))
    falls = [1.0 - value / max(equity[: day + 1]) for day, value in enumerate(equity)]

    metrics = gamma.run(spec, tmp_path)
    assert metrics["sharpe_like"] == mean / deviation * math.sqrt(252)
    assert metrics["hit_rate"] == len([v for v in strategy if v > 0]) / p["n_days"]
    assert metrics["max_drawdown"] == pytest.approx(max(falls), rel=1e-12)


def test_no_deviation_is_a_sharpe_of_zero(tmp_path):
    metrics = gamma.run(spec_with(drift=0.0, vol=0.0), tmp_path)
    assert metrics == {"sharpe_like": 0.0, "hit_rate": 0.0, "max_drawdown": 0.0}


def test_steady_growth_is_followed_the_day_after_the_average_exists(tmp_path):
    metrics = gamma.run(spec_with(drift=0.01, vol=0.0, n_days=10, ma_window=4), tmp_path)
    assert metrics["hit_rate"] == 6 / 10
    assert metrics["max_drawdown"] == 0.0


def test_seed_decides(tmp_path):
    first = gamma.run(spec_with(1), tmp_path / "first")
    assert first == gamma.run(spec_with(1), tmp_path / "again")
    assert first != gamma.run(spec_with(2), tmp_path / "other")


def test_artifacts_are_the_same_bytes_twice(tmp_path):
    def written(folder):
        gamma.run(gamma.DEFAULT_SPEC, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first = written(tmp_path / "first")
    assert first == written(tmp_path / "again")
    text = first["series_summary.json"].decode("utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_equity_starts_at_one_and_has_a_row_for_each_day(monkeypatch, tmp_path):
    saved = {}

    def save(output_dir, name, columns, units=None):
        saved[name] = (columns, units)

    monkeypatch.setattr(gamma, "save_table", save)
    gamma.run(gamma.DEFAULT_SPEC, tmp_path)
    ((columns, units),) = saved.values()
    assert list(columns) == ["t", "equity"]
    assert columns["t"] == list(range(253))
    assert columns["equity"][:21] == [1.0] * 21  # flat until the 20th close has been followed
    assert units.keys() == columns.keys()


@pytest.mark.parametrize("parameters", [{"drift": 10.0}, {"drift": 800.0, "n_days": 2}])
def test_parameters_past_every_float_are_refused(tmp_path, parameters):
    with pytest.raises(ParameterError, match="past every float"):
        gamma.run(spec_with(**{"ma_window": 1, **parameters}), tmp_path)


def test_equity_past_every_float_is_refused():
    with pytest.raises(ParameterError, match="past every float"):
        gamma.equity_path([700.0, 700.0])


def test_numpy_is_not_imported(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from research.experiments.builtin import gamma_signal_sanity as gamma\n"
        f"gamma.run(gamma.DEFAULT_SPEC, pathlib.Path({str(tmp_path)!r}))\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
