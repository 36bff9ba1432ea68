"""The same question, the same bits: twice, in other processes, without the vector units."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

from research.simulation.costs import CostModel
from research.simulation.engine import simulate
from research.simulation.execution import ExecutionModel
from research.simulation.indicators import crossovers, simple_moving_average
from research.simulation.result import SimulationResult
from research.simulation.risk import RiskModel
from research.simulation.sizing import Sizing

ROOT = Path(__file__).parents[2]
EVERY_EXECUTION = ExecutionModel(
    latency={"p50": 10_000, "p90": 60_000, "p99": 300_000, "jitter": 1000},
    slippage={"base": 0.0005, "volume_impact": 1e-7, "kind": "square_root"},
    failures={"base_rate": 0.1, "congestion_multiplier": 1.5, "retries": 2},
    partial_fills={"probability": 0.25, "fill_range": (0.25, 0.75)},
)


def walk(bar_count: int) -> dict[str, np.ndarray]:
    """Prices by plain arithmetic: neither a logarithm nor numpy's own chance is in them."""
    source = random.Random(7)
    price, opens, closes = 100.0, [], []
    for _ in range(bar_count):
        opens.append(price)
        price *= 1.0 + (source.random() - 0.499) * 0.02
        closes.append(price)
    first, last = np.array(opens), np.array(closes)
    return {
        "at_ns": np.arange(bar_count, dtype=np.int64) * 60 * 10**9,
        "open": first,
        "high": np.maximum(first, last),
        "low": np.minimum(first, last),
        "close": last,
        "volume": np.ones(bar_count),
    }


def simulated() -> SimulationResult:
    bars = walk(3001)
    entries, exits = crossovers(
        simple_moving_average(bars["close"], 7), simple_moving_average(bars["close"], 31)
    )
    return simulate(
        bars,
        entries,
        exits,
        size=Sizing(kind="equity_fraction", value=1.0),
        execution=EVERY_EXECUTION,
        costs=CostModel(taker_fee_bps=10.0, fixed_fee=1.0, priority_fee=0.5),
        risk=RiskModel(
            stop_loss={"initial": -0.05, "trailing": -0.05, "activation": 0.01},
            take_profit=[{"multiple": 1.03, "fraction": 0.5}, {"multiple": 1.06, "fraction": 0.5}],
            time_limit={"bars": 200},
        ),
        seed=20_261_122,
    )


def digest(result: SimulationResult) -> str:
    """Hash every bit of a result."""
    state = hashlib.sha256()
    for table in (result.trades, result.events):
        for name, column in table.items():
            state.update(name.encode() + str(column.dtype).encode() + column.tobytes())
    state.update(result.equity.tobytes() + result.exposure.tobytes() + result.drawdown.tobytes())
    state.update(
        repr([(name, float(value).hex()) for name, value in result.metrics.items()]).encode()
    )
    return state.hexdigest()


def digest_elsewhere(**environment: str) -> str:
    """Return the digest that a new interpreter finds under other variables."""
    inherited = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    finished = subprocess.run(
        [sys.executable, str(Path(__file__))],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.strip()


def test_twice_in_one_process():
    result = simulated()
    assert len(result.trades["trade_id"]) > 20
    assert {"partial", "failed", "cancelled"} <= set(result.events["kind"].tolist())
    assert digest(result) == digest(simulated())


def test_under_another_hash_seed_time_zone_and_thread_count():
    found = digest_elsewhere(PYTHONHASHSEED="12345", TZ="Asia/Kolkata", OMP_NUM_THREADS="7")
    assert found == digest(simulated())


def test_without_the_vector_units_of_this_machine():
    config: dict = np.show_config(mode="dicts")  # type: ignore[assignment]
    found_here = config["SIMD Extensions"].get("found", [])
    found = digest_elsewhere(NPY_DISABLE_CPU_FEATURES=" ".join(found_here))
    assert found == digest(simulated())


if __name__ == "__main__":
    print(digest(simulated()))
