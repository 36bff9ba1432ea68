"""Benchmark the engine beside vectorbt and raptorbt: ``make bench-engine``.

Owns the measurements and their targets: bars a second, a sweep, the first result of a cold process,
memory, and where the time of one simulation goes. All in one sitting: the engines take turns, so
that they see the same machine.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import engine_contenders, engine_market, engine_stages, page
from benchmarks.engine_contenders import Ask, Contender
from benchmarks.instruments import (
    ROOT,
    Command,
    answer_of,
    machine_line,
    options,
    our_environment,
    say,
    seconds_each,
    seconds_of,
    workspace,
)
from benchmarks.page import Table, number
from research.simulation import compiled

DOCS: Final = ROOT / "docs" / "engines.md"
BAR_COUNT: Final = 100_000
GRID_BARS, GRID_POINTS = 10_000, 400
COLD_BARS: Final = 5_000
LARGE_BARS: Final = 10_000_000
QUICK_LARGE_BARS: Final = 1_000_000
_COLD_ROUNDS: Final = 9

Row = list[str]


def measure_one(contenders: list[Contender], seed: int, rounds: int) -> list[Row]:
    """Measure one simulation of 100,000 bars: ours plain, ours with every model, the others."""
    market = engine_market.make_market(BAR_COUNT, seed)
    say("  plain Python")
    compiled.functions.cache_clear()
    in_python = _timed([engine_contenders.ours().ask(market)], 3)[0]
    say("  compiling")
    compiled.functions()
    every = engine_contenders.ours(engine_market.EVERY_MODEL)
    asks = [each.ask(market) for each in contenders] + [every.ask(market)]
    trades = [ask() for ask in asks]  # once for every compiler
    say("  in turns")
    taken = _timed(asks, rounds)
    plain = taken[0]
    named = [each.name for each in contenders]
    rows = [
        _row(name, seconds, found, plain, "40" if place == 0 else page.NOTHING)
        for place, (name, seconds, found) in enumerate(
            zip(named, taken[:-1], trades[:-1], strict=True)
        )
    ]
    rows.insert(1, _row("ours, plain Python", in_python, trades[0], plain, page.NOTHING))
    ratio = f"{taken[-1] / plain:.1f}x of plain; at most 3x"
    rows.insert(1, [*_row("ours, every model on", taken[-1], trades[-1], plain, ratio)])
    return rows


def _row(name: str, seconds: float, trades: int, plain: float, target: str) -> Row:
    rate = number(BAR_COUNT / seconds / 1e6)
    return [name, number(seconds * 1000), rate, number(seconds / plain), f"{trades:,}", target]


def measure_sweep(contenders: list[Contender], seed: int, rounds: int) -> list[Row]:
    """Measure 400 simulations of 10,000 bars, their signals given."""
    market = engine_market.make_grid(GRID_BARS, seed, GRID_POINTS)
    assert len(market.signals) == GRID_POINTS
    asks = [each.sweep(market) for each in contenders]
    every = engine_contenders.ours(engine_market.EVERY_MODEL).sweep(market)
    trades = [ask() for ask in (*asks, every)]
    taken = _timed([*asks, every], rounds)
    rows = [
        [each.name, number(seconds), number(seconds / taken[0]), f"{found:,}", page.NOTHING]
        for each, seconds, found in zip(contenders, taken[:-1], trades[:-1], strict=True)
    ]
    rows[0][-1] = "0.15"
    ratio = f"{taken[-1] / taken[0]:.1f}x of plain; at most 3x"
    rows.insert(
        1,
        [
            "ours, every model on",
            number(taken[-1]),
            number(taken[-1] / taken[0]),
            f"{trades[-1]:,}",
            ratio,
        ],
    )
    return rows


def measure_cold(folder: Path, seed: int) -> Row:
    """Measure a whole process to its first result, less the bare interpreter."""
    market = engine_market.make_market(COLD_BARS, seed)
    file = folder / "bars.npz"
    entries, exits = market.signals[0]
    columns: dict[str, Any] = {**market.bars, "entries": entries, "exits": exits}
    np.savez(file, **columns)
    asked = _child(folder, "first", str(file))
    bare = _command(folder, "-c", "pass")
    seconds_of(asked)  # once for the byte code
    pairs = [(seconds_of(asked), seconds_of(bare)) for _ in range(_COLD_ROUNDS)]
    less = statistics.median(whole - least for whole, least in pairs)
    whole = statistics.median(pair[0] for pair in pairs)
    beside = f"{number(whole)} with the interpreter's own start"
    return [f"first result of a cold process, {COLD_BARS:,} bars, s", number(less), "0.3", beside]


def measure_memory(folder: Path, seed: int, bar_count: int) -> Row:
    """Measure the largest resident size of a process that simulates many bars."""
    found = json.loads(answer_of(_child(folder, "large", str(bar_count), str(seed))))
    beside = (
        f"{number(found['input_bytes'] / 1e9)} of it bars and signals; "
        f"{number(found['seconds'])} s, {found['trades']:,} trades"
    )
    peak = number(found["peak_bytes"] / 1e9)
    return [f"most memory, {bar_count:,} bars, GB", peak, "1.5", beside]


def _timed(asks: list[Ask], rounds: int) -> list[float]:
    """Time each in turns; return the quickest of each: the least that other work has slowed."""
    taken = [seconds_each(1, _once(asks[turn % len(asks)])) for turn in range(rounds * len(asks))]
    return [min(each[0] for each in taken[place :: len(asks)]) for place in range(len(asks))]


def _once(ask: Ask) -> Callable[[int], object]:
    return lambda _: ask()


def _command(folder: Path, *words: str) -> Command:
    return Command(
        words=(sys.executable, *words), folder=folder, environment=our_environment(folder)
    )


def _child(folder: Path, *words: str) -> Command:
    return _command(folder, str(ROOT / "benchmarks" / "engine_child.py"), *words)


def main() -> None:
    """Measure, and print the figures with their targets beside them."""
    parser = options("Our engine beside vectorbt and raptorbt.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer bars in memory")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds of each [21]")
    asked = parser.parse_args()
    rounds = asked.repeat or (5 if asked.quick else 21)
    contenders = [engine_contenders.ours(), *engine_contenders.installed()]
    lines = [
        machine_line(),
        f"seed {asked.seed}, the quickest of {rounds} rounds in turns",
        *(f"{each.name}: {each.version}" for each in contenders),
    ]
    with workspace(asked.workspace) as folder:
        say("a cold process")
        cold = measure_cold(folder, asked.seed)
        say("memory")
        large = QUICK_LARGE_BARS if asked.quick else LARGE_BARS
        memory = measure_memory(folder, asked.seed, large)
        say("one simulation")
        one = measure_one(contenders, asked.seed, rounds)
        say("a sweep")
        sweep = measure_sweep(contenders, asked.seed, max(3, rounds // 3))
        say("stages")
        stages = engine_stages.measure(engine_market.make_market(BAR_COUNT, asked.seed), rounds)
    tables = [
        Table(
            title=f"{BAR_COUNT:,} bars, averages over 20 and 100, 10 bp fee, 5 bp slippage",
            header=["engine", "ms", "million bars a second", "times ours", "trades", "target"],
            rows=one,
        ),
        Table(
            title=f"{GRID_POINTS} combinations of {GRID_BARS:,} bars",
            header=["engine", "s", "times ours", "trades", "target"],
            rows=sweep,
        ),
        Table(
            title="One process",
            header=["what", "measured", "target", "beside it"],
            rows=[cold, memory],
        ),
        stages,
    ]
    print(page.rendered(lines, tables, as_markdown=asked.markdown), end="")
    if asked.write_docs:
        text = page.rendered(lines, tables, as_markdown=True)
        DOCS.write_text(page.filled(DOCS.read_text("utf-8"), "engine", text), "utf-8")


if __name__ == "__main__":
    main()
