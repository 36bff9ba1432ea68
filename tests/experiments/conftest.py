"""The bundled bars, and an experiment's spec over them without a store."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from research import ExperimentSpec

BARS_CSV = Path(__file__).parents[2] / "research/datasets/sp500-daily/1999-2018/bars.csv"


@dataclass(frozen=True, kw_only=True)
class SpecOverBars(ExperimentSpec):
    """A spec whose run was given bars, without a store to give them."""

    given: Any = None

    def bars(self) -> dict[str, Any]:
        return dict(self.given)


@pytest.fixture(scope="session")
def sp500() -> dict[str, Any]:
    with BARS_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    bars = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("open", "high", "low", "close", "volume")
    }
    days = [datetime.fromisoformat(row["date"]).replace(tzinfo=UTC) for row in rows]
    bars["at_ns"] = np.array([int(day.timestamp()) * 10**9 for day in days], dtype=np.int64)
    for column in bars.values():
        column.setflags(write=False)
    return bars


@pytest.fixture(scope="session")
def spec_over() -> Callable[..., SpecOverBars]:
    """Give a function: an experiment's module, bars, and parameters in place of defaults."""

    def make(module: ModuleType, bars: Any, seed: int = 42, **parameters: Any) -> SpecOverBars:
        declared = {n: getattr(module.DEFAULT_SPEC, n) for n in ("experiment_id", "metrics")}
        merged = {**module.DEFAULT_SPEC.parameters, **parameters}
        return SpecOverBars(**declared, parameters=merged, seed=seed, given=bars)

    return make
