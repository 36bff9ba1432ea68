"""Markets, signals and cases for every other engine, and the count of trades that agree.

Signals are given: no two engines compute an average themselves, for rounding at a tie flips a
crossing. What is counted is printed at the end; the figures of docs/engines.md are these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.datasets import bars_file
from research.simulation.indicators import crossovers, simple_moving_average
from research.simulation.result import SimulationResult

ROOT = Path(__file__).parents[2]
SP500 = ROOT / "research" / "datasets" / "sp500-daily" / "1999-2018" / "bars.csv"
MARKET_COUNT = 100
BAR_COUNT = 250
DAY_NS = 86_400 * 10**9
WINDOWS = ((5, 20), (10, 50), (20, 100), (3, 7))
TOLERANCE = 1e-9
COUNTED: dict[tuple[str, str], tuple[int, int]] = {}

STOP = {"stop_loss": {"initial": -0.03}}
TARGET = {"take_profit": [{"multiple": 1.05, "fraction": 1.0}]}
FEE = {"taker_fee_bps": 10.0, "maker_fee_bps": 10.0}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "proportional fee": {"costs": FEE},
    "fixed fee": {"costs": {"fixed_fee": 2.5}},
    "both fees": {"costs": {**FEE, "fixed_fee": 2.5}},
    "slippage on both sides": {"execution": {"slippage": {"base": 0.0005}}, "costs": FEE},
    "stop-loss": {"risk": STOP},
    "stop-loss, slippage, fee": {
        "risk": STOP,
        "execution": {"slippage": {"base": 0.0005}},
        "costs": FEE,
    },
    "take-profit": {"risk": TARGET, "costs": FEE},
    "stop-loss and take-profit": {"risk": {**STOP, **TARGET}, "costs": FEE},
    "trailing stop": {"risk": {"stop_loss": {"trailing": -0.04}}, "costs": FEE},
}


@dataclass(frozen=True)
class Task:
    """One market, and the signals of one strategy on it."""

    bars: dict[str, np.ndarray]
    entries: np.ndarray
    exits: np.ndarray
    short_entries: np.ndarray | None = None
    short_exits: np.ndarray | None = None

    @property
    def shorts(self) -> dict[str, np.ndarray | None]:
        return {"short_entries": self.short_entries, "short_exits": self.short_exits}


@dataclass
class Agreement:
    """How many trades of ours another engine has as well, and those that differ."""

    agreed: int = 0
    total: int = 0
    theirs: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)

    def compare(self, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
        """Compare trade by trade: same bars, and prices, sizes and pnl within the tolerance."""
        rows = {int(bar): row for row, bar in enumerate(theirs["entry_bar"])}
        self.total += len(ours["entry_bar"])
        self.theirs += len(rows)
        for row, bar in enumerate(ours["entry_bar"]):
            other = rows.get(int(bar))
            if other is not None and _agree(ours, row, theirs, other):
                self.agreed += 1
            else:
                self.differing.append(
                    {
                        name: (column[row], None if other is None else theirs[name][other])
                        for name, column in ours.items()
                        if name in theirs
                    }
                )

    def __str__(self) -> str:
        return f"{self.agreed} of {self.total}; they have {self.theirs}; {self.differing[:3]}"


def _agree(ours: Any, row: int, theirs: Any, other: int) -> bool:
    if ours["exit_bar"][row] != theirs["exit_bar"][other]:
        return False
    if ours["side"][row] != theirs["side"][other]:
        return False
    worth = ours["quantity"][row] * ours["entry_price"][row]
    # A pnl is a difference of two worths, and is as exact as they are.
    for name, size in (
        ("entry_price", 0.0),
        ("exit_price", 0.0),
        ("quantity", 0.0),
        ("pnl", worth),
    ):
        mine, its = float(ours[name][row]), float(theirs[name][other])
        if np.isnan(mine) and np.isnan(its):
            continue
        if not abs(mine - its) <= TOLERANCE * max(abs(mine), size):
            return False
    return True


def closed(trades: Any) -> dict[str, np.ndarray]:
    """Keep the trades that are over: an engine may not report those that are not."""
    is_closed = trades["exit_bar"] >= 0
    return {name: column[is_closed] for name, column in trades.items()}


def make_market(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Make a random walk with gaps between a close and the next open."""
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, BAR_COUNT)))
    opened = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0.0, 0.005, BAR_COUNT))
    up, down = np.abs(rng.normal(0.0, 0.01, (2, BAR_COUNT)))
    return {
        "at_ns": np.arange(BAR_COUNT, dtype=np.int64) * DAY_NS,
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(up),
        "low": np.minimum(opened, close) * np.exp(-down),
        "close": close,
        "volume": rng.uniform(1e5, 1e6, BAR_COUNT),
    }


def make_tasks(bars: dict[str, np.ndarray], entries: np.ndarray, exits: np.ndarray) -> list[Task]:
    """Make a long, a short, and a turning strategy of one pair of signals."""
    never = np.zeros(len(entries), np.bool_)
    return [
        Task(bars, entries, exits),
        Task(bars, never, never, entries, exits),
        Task(bars, entries, exits, exits, entries),
    ]


@pytest.fixture(scope="session")
def random_tasks(seed: int) -> list[Task]:
    """A hundred markets; long, short and turning strategies in turns; signals that repeat."""
    tasks = []
    for number in range(MARKET_COUNT):
        rng = np.random.default_rng([seed, number])
        bars = make_market(rng)
        entries, exits = rng.random((2, BAR_COUNT)) < 0.08
        exits &= ~entries
        entries[0] = exits[0] = False  # backtesting.py decides from its second bar on
        tasks.append(make_tasks(bars, entries, exits)[number % 3])
    return tasks


@pytest.fixture(scope="session")
def sp500_tasks() -> list[Task]:
    """Crossings of averages, computed once, on the S&P 500 as it ships."""
    bars = bars_file.read_bars(SP500)
    tasks = []
    for fast, slow in WINDOWS:
        averages = (simple_moving_average(bars["close"], window) for window in (fast, slow))
        tasks += make_tasks(bars, *crossovers(*averages))
    return tasks


@pytest.fixture
def count() -> Callable[[str, str, Agreement], None]:
    """Note how many trades agree, for the lines at the end."""

    def note(engine: str, case: str, found: Agreement) -> None:
        agreed, total = COUNTED.get((engine, case), (0, 0))
        COUNTED[engine, case] = (agreed + found.agreed, total + found.total)

    return note


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["random markets", "S&P 500"])
def tasks(request: pytest.FixtureRequest) -> list[Task]:
    name = "random_tasks" if request.param == "random markets" else "sp500_tasks"
    return request.getfixturevalue(name)


@pytest.fixture
def options(case: str) -> dict[str, Any]:
    return CASES[case]


@pytest.fixture
def agreement() -> Agreement:
    return Agreement()


@pytest.fixture(scope="session")
def only_closed() -> Callable[[SimulationResult], dict[str, np.ndarray]]:
    return lambda result: closed(result.trades)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _lines():
        terminalreporter.write_line(line)


def _lines() -> Iterator[str]:
    if COUNTED:
        yield "trades that agree:"
    for (engine, case), (agreed, total) in sorted(COUNTED.items()):
        yield f"  {engine:15} {case:28} {agreed:>6,} of {total:>6,}"
