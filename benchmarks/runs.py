"""Made-up runs: what a backtest leaves behind, as records and artifacts.

Owns their shape, which is that of ``research/experiments/`` (schemas: ``docs/format.md`` section
3), and how one lands in a transaction. Nothing is executed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.workloads import ticks
from rosdb import RUNS, Link, Store, Transaction, put_files

EXPERIMENT: Final = "made_up"
START_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01
_EQUITY_ROWS: Final = 10_000
_TRADE_COUNT: Final = 500
_REPORT_BYTES: Final = 500
ARTIFACT_BYTES: Final = _EQUITY_ROWS * 8 + _TRADE_COUNT * 8 * 8 + _REPORT_BYTES

_ENVIRONMENT: Final[Mapping[str, Any]] = {
    "python": "3.11.9",
    "implementation": "cpython",
    "system": "linux",
    "libc": "glibc 2.36",
    "machine": "x86_64",
    "instructions": "avx2 fma",
    "variables": {
        "LC_ALL": "C.UTF-8",
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "0",
        "TZ": "UTC",
    },
    "distributions": {"numpy": {"version": "2.4.6", "record_hash": "5e" * 32}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRun:
    """What one run asked and answered."""

    parameters: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, float | int]
    artifacts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all runs of an experiment link: its code and its data."""

    code: Link
    bars: Link


def put_shared(store: Store) -> Shared:
    """Put a code tree and a table of bars."""
    close = 100 + np.cumsum(np.random.default_rng(0).normal(size=5000))
    with store.transaction("shared") as tx:
        code = put_files(tx, {f"{EXPERIMENT}.py": b"def run(spec, output_dir): ...\n"})
        return Shared(code=code, bars=tx.put_table({"close": close}, {"close": "USD"}))


def make_run(rng: np.random.Generator) -> MadeRun:
    """Make a run of 20 parameters, 30 metrics and three artifacts of 112,500 bytes together."""
    fast, slow = int(rng.integers(2, 50)), int(rng.integers(50, 400))
    drawn = rng.random(16).round(4).tolist()
    parameters = {
        "fast": fast,
        "slow": slow,
        "side": "long" if drawn[0] < 0.5 else "both",
        "is_hedged": drawn[1] < 0.5,
        "costs": {f"cost_{number}_bps": value for number, value in enumerate(drawn[:8])},
        "limits": {f"limit_{number}": value for number, value in enumerate(drawn[8:])},
    }
    returns = rng.normal(2e-5, 1e-3, _EQUITY_ROWS)
    equity = 100_000 * np.cumprod(1 + returns)
    trades = next(ticks(rng, _TRADE_COUNT))
    metrics: dict[str, float | int] = {
        "sharpe": float(returns.mean() / returns.std(ddof=1) * 252**0.5),
        "total_return": float(equity[-1] / equity[0] - 1),
        "trade_count": _TRADE_COUNT,
    }
    metrics |= {
        f"metric_{number:02}": value for number, value in enumerate(rng.random(27).tolist())
    }
    report = json.dumps(metrics).encode()[:_REPORT_BYTES].ljust(_REPORT_BYTES)
    artifacts = {
        "equity.bin": equity.tobytes(),
        "trades.bin": trades.tobytes(),
        "report.json": report,
    }
    assert sum(map(len, artifacts.values())) == ARTIFACT_BYTES
    seed = int(rng.integers(2**31))
    return MadeRun(parameters=parameters, seed=seed, metrics=metrics, artifacts=artifacts)


def make_small_run(rng: np.random.Generator) -> MadeRun:
    """Make a run of 20 parameters and 30 metrics, without artifacts."""
    drawn = rng.random(45).round(6).tolist()
    parameters = {
        "fast": int(rng.integers(2, 50)),
        "slow": int(rng.integers(50, 400)),
        "side": "long" if drawn[0] < 0.5 else "both",
        "costs": {"maker_bps": drawn[0], "taker_bps": drawn[1], "slippage_bps": drawn[2]},
        "limits": {f"limit_{number:02}": value for number, value in enumerate(drawn[3:17])},
    }
    metrics = {"sharpe": drawn[17] * 4 - 1, "total_return": drawn[18], "max_drawdown": drawn[19]}
    extra = [*drawn[20:], *drawn[:2]]
    metrics |= {f"metric_{number:02}": value for number, value in enumerate(extra)}
    seed = int(rng.integers(2**31))
    return MadeRun(parameters=parameters, seed=seed, metrics=metrics, artifacts={})


def put_run(tx: Transaction, shared: Shared, made: MadeRun, number: int) -> Link:
    """Put a completed run, all that belongs to it, and move its ref; return its id."""
    created_at_ns = START_NS + number * 1_000_000_000
    question = {
        "capsule": 1,
        "experiment": EXPERIMENT,
        "entry": EXPERIMENT,
        "parameters": made.parameters,
        "seed": made.seed,
        "environment": _ENVIRONMENT,
    }
    links = {"code": shared.code, "bars": shared.bars}
    recipe = tx.put_record("recipe/v1", question, links)
    artifacts = put_files(tx, made.artifacts)
    outcome = tx.put_record("outcome/v1", {"metrics": made.metrics}, {"artifacts": artifacts})
    occasion = {
        "created_at_ns": created_at_ns,
        "process_id": 4711,
        "kind": "run",
        "user": "somebody",
        "host": "somewhere",
        "agent": None,
        "ros": "0.1.0",
        "git": {"commit": "c0" * 20, "branch": "main", "dirty": False},
        "dataset": {"name": "sp500-daily", "version": "1999-2018"},
        "metric_names": list(made.metrics),
    }
    run = tx.put_record("run/v1", occasion, {"recipe": recipe})
    standing = {
        "status": "completed",
        "at_ns": created_at_ns + 250_000_000,
        "seconds": 0.25,
        "error": None,
        "log_bytes_cut": 0,
    }
    status = tx.put_record("status/v1", standing, {"run": run, "outcome": outcome})
    tx.move_ref(f"{RUNS}{run}", status, expected=None)
    return run
