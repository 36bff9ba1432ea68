"""Bars and whole markets for the tests of the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from research.simulation.chance import uniform
from research.simulation.costs import CostModel
from research.simulation.execution import ExecutionModel
from research.simulation.plan import plan_of
from research.simulation.result import events_table, trades_table
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.session import Played, Session, asset_key
from research.simulation.sizing import Sizing

Bars = dict[str, NDArray]
DAY_NS = 86_400 * 10**9
HOUR_NS = 3600 * 10**9
START_NS = 915_408_000 * 10**9  # 1999-01-04, a midnight


def bars_from(
    opens: Sequence[float],
    closes: Sequence[float] | None = None,
    *,
    highs: Sequence[float] | None = None,
    lows: Sequence[float] | None = None,
    volume: float = 0.0,
    step_ns: int = DAY_NS,
) -> Bars:
    open_prices = np.array(opens, dtype=np.float64)
    close_prices = open_prices if closes is None else np.array(closes, dtype=np.float64)
    highest = np.maximum(open_prices, close_prices) if highs is None else np.array(highs, float)
    lowest = np.minimum(open_prices, close_prices) if lows is None else np.array(lows, float)
    return {
        "at_ns": START_NS + np.arange(len(opens), dtype=np.int64) * step_ns,
        "open": open_prices,
        "high": highest,
        "low": lowest,
        "close": close_prices,
        "volume": np.full(len(opens), volume),
    }


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., Bars]:
    """Daily bars from opens and closes; a close that is not given is the open."""
    return bars_from


@pytest.fixture(scope="session")
def at() -> Callable[..., NDArray[np.bool_]]:
    """Signals over so many bars, true at those named."""

    def signals(bar_count: int, *bars: int) -> NDArray[np.bool_]:
        array = np.zeros(bar_count, np.bool_)
        array[list(bars)] = True
        return array

    return signals


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[tuple]]:
    """Rows of a table, of the columns named."""

    def chosen(table, *names: str) -> list[tuple]:
        return list(zip(*(table[name].tolist() for name in names), strict=True))

    return chosen


@pytest.fixture(scope="session")
def drawn() -> Callable[..., float]:
    """The draw of a stream for the one asset of `simulate`."""

    def draw(seed: int, stream: int, number: int = 0, attempt: int = 0) -> float:
        return uniform(seed, stream, asset_key("asset"), number, attempt)

    return draw


@pytest.fixture(scope="session")
def seed_where() -> Callable[[Callable[[int], bool]], int]:
    """The first seed for which something holds."""

    def first(holds: Callable[[int], bool]) -> int:
        return next(seed for seed in range(100_000) if holds(seed))

    return first


@dataclass(frozen=True)
class Market:
    """Bars of several assets, signals over them, and every model switched on.

    Columns are (A, T); a bar that an asset has not is NaN in all of them.
    """

    assets: list[str]
    at_ns: NDArray[np.int64]
    opens: NDArray[np.float64]
    highs: NDArray[np.float64]
    lows: NDArray[np.float64]
    closes: NDArray[np.float64]
    volumes: NDArray[np.float64]
    signals: NDArray[np.int64]
    cash: float
    sizing: Sizing
    execution: ExecutionModel
    costs: CostModel
    risk: RiskModel
    config: RunConfig

    def play(self, *, is_compiled: bool = False) -> Played:
        columns = (self.opens, self.highs, self.lows, self.closes, self.volumes)
        session = Session(
            self.assets,
            [self.at_ns, *(np.ascontiguousarray(each.ravel()) for each in columns)],
            is_compiled=is_compiled,
        )
        plan = plan_of(self.cash, self.sizing, self.execution, self.costs, self.risk, self.config)
        return session.play(np.ascontiguousarray(self.signals.ravel()), plan)

    def tables(self) -> tuple[dict[str, NDArray], dict[str, NDArray], Played]:
        """Return events and trades, with the number of the asset in each, and what was played."""
        played = self.play()
        events = events_table(played, self.at_ns)
        trades = trades_table(played)
        events["asset"] = played.event_codes[:, 1]
        trades["asset"] = played.trade_codes[:, 2]
        return events, trades, played

    def with_future_of(self, other: "Market", last: int) -> "Market":
        """Return this market up to a bar, and another's bars and signals behind it."""
        names = ("opens", "highs", "lows", "closes", "volumes", "signals")
        changed = {}
        for name in names:
            mine, theirs = getattr(self, name).copy(), getattr(other, name)
            mine[:, last + 1 :] = theirs[:, last + 1 :]
            changed[name] = mine
        return replace(self, **changed)


def _eighths(least: int, most: int) -> st.SearchStrategy[float]:
    return st.integers(least, most).map(lambda eighths: eighths / 8)


def _parts(least: int, most: int, whole: int = 1024) -> st.SearchStrategy[float]:
    return st.integers(least, most).map(lambda part: part / whole)


HOURS_MS = 3_600_000.0

EXECUTIONS = st.builds(
    lambda p50, p90, p99, jitter, base, impact, most, kind, of, rate, congestion, retries, backoff,
    probability, least, width, share: ExecutionModel(
        latency={
            "p50": p50 * HOURS_MS,
            "p90": (p50 + p90) * HOURS_MS,
            "p99": (p50 + p90 + p99) * HOURS_MS,
            "jitter": jitter * HOURS_MS,
        },
        slippage={
            "base": base,
            "volume_impact": 0.0 if kind == "fixed" else impact,
            "max": most,
            "kind": kind,
            "impact_of": of,
        },
        failures={
            "base_rate": rate,
            "congestion_multiplier": congestion,
            "retries": retries,
            "backoff_bars": backoff,
        },
        partial_fills={
            "probability": probability,
            "fill_range": (least, least + width),
            "volume_share": share,
        },
    ),
    *(_eighths(0, 64), _eighths(0, 64), _eighths(0, 300), _eighths(0, 16)),
    *(_parts(1, 20), _parts(1, 100), _parts(10, 200)),
    st.sampled_from(["fixed", "linear", "square_root"]),
    st.sampled_from(["volume_share", "units"]),
    *(_parts(50, 500), _eighths(0, 32), st.integers(0, 3), st.integers(0, 2)),
    *(_parts(100, 900), _parts(50, 500), _parts(1, 400), _parts(5, 1024)),
)  # fmt: skip
COSTS = st.builds(
    CostModel,
    taker_fee_bps=_eighths(1, 400),
    maker_fee_bps=_eighths(1, 100),
    fixed_fee=_eighths(1, 8),
    minimum_fee=_eighths(1, 16),
    priority_fee=_eighths(1, 4),
    priority_fee_max=_eighths(1, 16),
    borrow_bps_per_year=_eighths(8, 80_000),
)
LADDERS = st.lists(
    st.tuples(st.integers(1, 100), st.integers(1, 8)), min_size=1, max_size=4, unique_by=lambda t: t[0]
).map(
    lambda legs: [
        {"multiple": 1.0 + above / 512, "fraction": part / max(8, sum(p for _, p in legs))}
        for above, part in sorted(legs)
    ]
)  # fmt: skip
RISKS = st.builds(
    lambda initial, trailing, activation, legs, bars, hours, drawdown, daily, losses, position,
    exposure, trades, minutes, pause, pause_after_loss, entries: RiskModel(
        stop_loss={"initial": -initial, "trailing": -trailing, "activation": activation},
        take_profit=legs,
        time_limit={"bars": bars, "hours": hours},
        max_drawdown=drawdown,
        max_daily_loss=daily,
        max_consecutive_losses=losses,
        max_position=position,
        max_exposure=exposure,
        throttle={"max_trades": trades, "window_minutes": minutes},
        re_entry={
            "cooldown_bars": pause,
            "cooldown_after_loss_bars": pause_after_loss,
            "max_entries": entries,
        },
    ),
    *(_parts(10, 300), _parts(10, 300), _parts(0, 60), LADDERS),
    *(st.integers(2, 15), _eighths(16, 2000), _parts(50, 900), _parts(2, 200)),
    *(st.integers(2, 9), _parts(100, 1500), _parts(200, 2000)),
    *(st.integers(1, 6), _eighths(80, 30_000), st.integers(0, 2), st.integers(0, 3)),
    st.integers(3, 30),
)  # fmt: skip
SIZINGS = st.one_of(
    _eighths(1, 400).map(lambda units: Sizing(value=units)),
    _eighths(100, 40_000).map(lambda money: Sizing(kind="cash", value=money)),
    _parts(100, 1024).map(lambda part: Sizing(kind="equity_fraction", value=part)),
    _parts(5, 100).map(lambda part: Sizing(kind="risk", value=part)),
)


@st.composite
def markets(draw) -> Market:
    asset_count = draw(st.integers(1, 3))
    bar_count = draw(st.integers(2, 40))
    shape = (asset_count, bar_count, 7)
    size = asset_count * bar_count * 7
    noise = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    step, inside, up, down, volume, signal, is_there = (
        np.moveaxis(noise.reshape(shape).astype(np.float64), 2, 0)
    )  # fmt: skip
    # Between two closes a gap, then the way from the open: both up to an eighth.
    inner = 1.0 + (inside - 128.0) / 2048.0
    gaps = 1.0 + (step - 128.0) / 4096.0
    closes = 64.0 * np.cumprod(inner * gaps, axis=1)
    opens = closes / inner
    columns = {
        "opens": opens,
        "highs": np.maximum(opens, closes) * (1.0 + up / 8192.0),
        "lows": np.minimum(opens, closes) * (1.0 - down / 8192.0),
        "closes": closes,
        "volumes": 1.0 + volume * 4.0,
    }
    is_missing = is_there < 10.0
    is_missing[0] = False
    for column in columns.values():
        column[is_missing] = np.nan
    bits = signal.astype(np.int64) & 15
    bits[bits & 5 == 5] -= 4  # not long and short at once
    hours = draw(st.sampled_from([1, 6, 24]))
    return Market(
        assets=["alpha", "beta", "gamma"][:asset_count],
        at_ns=START_NS + np.arange(bar_count, dtype=np.int64) * hours * HOUR_NS,
        signals=bits,
        cash=draw(_eighths(400, 80_000)),
        sizing=draw(SIZINGS),
        execution=draw(EXECUTIONS),
        costs=draw(COSTS),
        risk=draw(RISKS),
        config=RunConfig(seed=draw(st.integers(0, 2**63 - 1))),
        **columns,
    )


@pytest.fixture(scope="session")
def any_market() -> st.SearchStrategy[Market]:
    """Markets of one to three assets, every model switched on."""
    return markets()
