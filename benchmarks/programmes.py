"""Simulate research programmes, and count what passes: ``make bench-programmes``.

A programme is what a desk does in a quarter: a hundred trials over five years of days, of which the
best is put forward. Owns the programmes and the count of those whose best trial passes a Sharpe
ratio of 1, the gate of the deflated ratio, that of overfitting, and both. The figures and the plot
of ``docs/statistics.md`` are made here.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from benchmarks import chart, page
from benchmarks.instruments import ROOT, machine_line, options, say
from benchmarks.page import Table
from research import statistics

PAGE: Final = ROOT / "docs" / "statistics.md"
PLOT: Final = ROOT / "docs" / "programmes.svg"
DAYS_PER_YEAR: Final = 250
DAYS: Final = 5 * DAYS_PER_YEAR
TRIALS: Final = 100
BLOCKS: Final = 16
EDGES: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""The true Sharpe ratios, a year, of the one trial that may be worth something."""

SHARPE_LEAST, DSR_LEAST, PBO_MOST = 1.0, 0.95, 0.2
RULES: Final = ("Sharpe above 1", "PBO at most 0.2", "DSR at least 0.95", "both gates")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a programme's trials are: how alike, how heavy their tails, and what one of them earns.

    Units: edge a true Sharpe ratio a year, of the first trial; tail the degrees of freedom of
           Student's t, 0 for normal returns.
    """

    edge: float = 0.0
    correlation: float = 0.0
    tail: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What the best trial of one programme passes, in the order of RULES."""

    rules: tuple[bool, bool, bool, bool]
    is_true: bool
    """Whether the best trial is the one with the edge."""


def programme(seed: int, world: World, number: int) -> Passed:
    """Make the trials of one programme, and put the best of them to the gates."""
    chance = np.random.default_rng([seed, number])

    def drawn(columns: int) -> np.ndarray:
        if not world.tail:
            return chance.standard_normal((DAYS, columns))
        spread = math.sqrt(world.tail / (world.tail - 2))
        return chance.standard_t(world.tail, (DAYS, columns)) / spread

    returns = math.sqrt(1.0 - world.correlation) * drawn(TRIALS)
    returns += math.sqrt(world.correlation) * drawn(1)
    returns[:, 0] += world.edge / math.sqrt(DAYS_PER_YEAR)
    returns *= 0.01
    each = [statistics.moments(column) for column in returns.T]
    ratios = np.array([found.sharpe for found in each])
    best = each[int(ratios.argmax())]
    deflated = statistics.deflated_sharpe_ratio(
        best.sharpe, best.count, best.skew, best.kurtosis, TRIALS, float(ratios.var(ddof=1))
    )
    overfit = statistics.probability_of_backtest_overfitting(returns, BLOCKS).pbo
    is_real, is_robust = deflated >= DSR_LEAST, overfit <= PBO_MOST
    return Passed(
        rules=(
            best.sharpe * math.sqrt(DAYS_PER_YEAR) > SHARPE_LEAST,
            is_robust,
            is_real,
            is_real and is_robust,
        ),
        is_true=bool(ratios.argmax() == 0),
    )


def shares(found: Sequence[Passed]) -> list[float]:
    """Return the share of programmes that pass each rule."""
    return [float(share) for share in np.mean([each.rules for each in found], axis=0)]


def _row(name: str, found: Sequence[Passed], *, has_edge: bool) -> list[str]:
    true = sum(each.rules[-1] and each.is_true for each in found) / len(found)
    passed = [f"{share * 100:.1f}" for share in shares(found)]
    return [name, *passed, f"{true * 100:.1f}" if has_edge else page.NOTHING]


def main() -> None:
    """Simulate, print the shares, and draw them if asked to."""
    parser = options("Research programmes in simulation.")
    parser.add_argument("--programmes", type=int, default=1000, help="of each kind [1000]")
    asked = parser.parse_args()
    worlds = [
        ("noise", World()),
        ("noise, heavy tails", World(tail=4)),
        ("noise, one idea in 100 variants", World(correlation=0.9)),
        *((f"one edge of {edge:g} a year", World(edge=edge)) for edge in EDGES if edge),
    ]
    rows, by_edge = [], {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, world in worlds:
            say(name)
            one = partial(programme, asked.seed, world)
            found = list(pool.map(one, range(asked.programmes), chunksize=10))
            rows.append(_row(name, found, has_edge=world.edge > 0.0))
            if not world.tail and not world.correlation:
                by_edge[world.edge] = shares(found)
    lines = [
        machine_line(),
        f"seed {asked.seed}; {asked.programmes:,} programmes of each kind,"
        f" each of {TRIALS} trials over {DAYS:,} days; PBO with {BLOCKS} blocks",
    ]
    table = Table(
        title="Programmes whose best trial passes, %",
        header=["programmes of", *RULES, "both, and it is the edge"],
        rows=rows,
    )
    print(page.rendered(lines, [table], as_markdown=asked.markdown), end="")
    if asked.write_docs:
        text = page.rendered(lines, [table], as_markdown=True)
        PAGE.write_text(page.filled(PAGE.read_text("utf-8"), "programmes", text), "utf-8")
        PLOT.write_text(_plot(by_edge), "utf-8")


def _plot(by_edge: dict[float, list[float]]) -> str:
    lines = [
        chart.Line(name=rule, values=[found[place] for found in by_edge.values()])
        for place, rule in enumerate(RULES)
    ]
    return chart.drawn(
        list(by_edge),
        lines,
        title="The share of programmes whose best trial passes, by the true Sharpe ratio of one",
        below="true Sharpe ratio a year of one trial in a hundred (0: noise)",
    )


if __name__ == "__main__":
    main()
