"""Benchmark runs and sweeps: ``make bench-sweep``.

Owns the measurements and their targets: what a run costs beside its own work, what a cache hit
costs, and how long a sweep takes in which every point is recorded, durable and replayable.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import page
from benchmarks.instruments import (
    Command,
    machine_line,
    median_ms,
    options,
    our_environment,
    say,
    seconds_each,
    seconds_of,
    settle,
    workspace,
)
from benchmarks.page import Table, number
from research import workspace as workspaces
from research.context import Context, create_experiment_context
from research.experiments import run as runner
from research.experiments.executors import Means
from research.experiments.recipe import Request
from research.experiments.sweep import SweepRequest, Swept, sweep
from research.experiments.sweep_points import Axis
from research.simulation.engine import compile_engine

_TURNS: Final = 10
_HITS: Final = 2000
_SETTLED_SECONDS: Final = 2.5  # what was written a moment ago is looked at anew
_HOUR_NS: Final = 3_600 * 10**9
_ADDS: Final = """\
from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="adds", parameters={"a": 0, "b": 0})


def run(spec, output_dir):
    return {"sum": spec.parameters["a"] + spec.parameters["b"]}
"""

Row = list[str]


def make_bars(path: Path, count: int, seed: int) -> None:
    """Write hourly bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opened = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    at = np.datetime64("2015-01-01T00", "s") + np.arange(count) * np.timedelta64(3600, "s")
    columns = [opened.tolist(), high.tolist(), low.tolist(), close.tolist()]
    lines = ["date,open,high,low,close,volume"]
    for day, *prices in zip(at.astype(str), *columns, strict=True):
        lines.append(",".join([f"{day}Z", *map(repr, prices), "1000.0"]))
    path.write_text("\n".join(lines) + "\n", "utf-8")


class Sitting:
    """A workspace with bars of two lengths, and the tool."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.workspace = folder / "workspace"
        self.environment = our_environment(folder)
        workspaces.init(self.workspace, bare=False)
        for name, count in (("short", 5_000), ("long", 10_000)):
            make_bars(folder / f"{name}.csv", count, seed)
            self.ros("data", "add", str(folder / f"{name}.csv"), "--name", name)
        experiments = self.workspace / "research" / "experiments"
        (experiments / "adds.py").write_text(_ADDS, "utf-8")

    def command(self, *words: str) -> Command:
        """Return a command of the tool, as a cold process."""
        return self.process("-c", "from cli.app import main; main()", *words)

    def process(self, *words: str) -> Command:
        """Return a cold process of this interpreter."""
        return Command(
            words=(sys.executable, *words), folder=self.workspace, environment=self.environment
        )

    def ros(self, *words: str) -> float:
        """Run the tool; return how long it took."""
        return seconds_of(self.command(*words))

    @contextmanager
    def context(self) -> Iterator[Context]:
        """Open the workspace in this process."""
        found = create_experiment_context(self.workspace)
        try:
            yield found
        finally:
            found.store.close()


def run_cold(sitting: Sitting) -> list[Row]:
    """Measure whole commands: a run, the same from the store, and the log."""
    asked = ["run", "sma_crossover", "--dataset", "short"]
    sitting.ros(*asked)
    forced = [sitting.ros(*asked, "--force") for _ in range(_TURNS)]
    cached = [sitting.ros(*asked) for _ in range(_TURNS)]
    logged = [sitting.ros("log") for _ in range(_TURNS)]
    alone = _alone(sitting)
    ratio = number(median_ms(cached) / median_ms(logged))
    return [
        [
            "`ros run`, 5,000 bars, over the experiment's own time, ms",
            number(median_ms(forced) - alone),
            "250",
            f"whole {median_ms(forced):.0f} ms; alone, imports included, {alone:.0f} ms",
        ],
        [
            "`ros run` answered from the store, times `ros log`",
            ratio,
            "2",
            f"{median_ms(cached):.0f} and {median_ms(logged):.0f} ms",
        ],
    ]


def _alone(sitting: Sitting) -> float:
    """Measure the same work as a plain script: read the bars, run, write nothing."""
    script = (
        "import csv, sys, tempfile, dataclasses; import numpy as np\n"
        "from pathlib import Path\n"
        "import research.experiments.builtin.sma_crossover as e\n"
        "rows = np.genfromtxt(sys.argv[1], delimiter=',', skip_header=1)[:, 1:]\n"
        "names = ('open', 'high', 'low', 'close', 'volume')\n"
        "bars = {n: np.ascontiguousarray(rows[:, i]) for i, n in enumerate(names)}\n"
        f"bars['at_ns'] = np.arange(len(rows), dtype=np.int64) * {_HOUR_NS}\n"
        "object.__setattr__(e.DEFAULT_SPEC, 'bars', lambda: bars)\n"
        "e.run(e.DEFAULT_SPEC, Path(tempfile.mkdtemp(dir=sys.argv[2])))\n"
    )
    bars, scratch = sitting.workspace.parent / "short.csv", sitting.workspace.parent
    alone = sitting.process("-c", script, str(bars), str(scratch))
    return median_ms([seconds_of(alone) for _ in range(_TURNS)])


def hit(sitting: Sitting) -> list[Row]:
    """Measure answers from the store inside one process."""
    with sitting.context() as context:
        asked = Request(experiment_id="sma_crossover", dataset="short")
        runner.run(context, asked)
        time.sleep(_SETTLED_SECONDS)
        runner.run(context, asked)
        taken = seconds_each(_HITS, lambda turn: runner.run(context, asked))
    rate = number(1 / (median_ms(taken) / 1000))
    return [["answers from the store in one process, a second", rate, "2,000", ""]]


def sweep_averages(sitting: Sitting, dataset: str, count: int) -> tuple[Swept, float]:
    """Sweep two moving averages over bars; return what came of it and how long it took.

    Units:  seconds.
    """
    axes = [
        Axis(path="fast", values=tuple(range(2, 12))),
        Axis(path="slow", values=tuple(range(20, 20 + count // 10))),
    ]
    with sitting.context() as context:
        request = Request(experiment_id="sma_crossover", dataset=dataset)
        asked = SweepRequest(request=request, axes=axes, means=Means(jobs=context.core_count))
        settle()
        swept = sweep(context, asked)
    assert (swept.executed, swept.failed) == (count, 0)
    return swept, swept.seconds


def sweep_copies(sitting: Sitting, count: int) -> float:
    """Sweep an experiment of the workspace, each run a copy of a warm child; return the seconds."""
    with sitting.context() as context:
        axes = [Axis(path="a", values=tuple(range(count)))]
        asked = SweepRequest(
            request=Request(experiment_id="adds"), axes=axes, means=Means(jobs=context.core_count)
        )
        settle()
        swept = sweep(context, asked)
    assert (swept.executed, swept.failed) == (count, 0)
    return swept.seconds


def sweeps(sitting: Sitting, *, is_quick: bool) -> list[Row]:
    """Measure sweeps, the compiled engine warm."""
    compile_engine()
    count = 100 if is_quick else 1000
    long = min(sweep_averages(sitting, "long", count)[1], _again(sitting, count))
    short = sweep_averages(sitting, "short", count)[1]
    copies = sweep_copies(sitting, count)
    return [
        [
            f"a sweep of {count:,} variations on 10,000 bars, s",
            number(long),
            "3",
            f"{number(1000 * long / count)} ms a point, both cores; the better of two",
        ],
        [
            "a run of 5,000 bars in a warm worker, ms of both cores",
            number(1000 * short / count),
            "15",
            "all of it: simulation, artifacts, record, its part of the syncs",
        ],
        [
            "a run of the workspace's own, a copy of a warm child, ms",
            number(1000 * copies / count),
            "15",
            f"{count:,} points of an experiment that adds two numbers",
        ],
    ]


def _again(sitting: Sitting, count: int) -> float:
    """Sweep the same averages with other fees, so that nothing is answered from the store."""
    with sitting.context() as context:
        axes = [
            Axis(path="fast", values=tuple(range(2, 12))),
            Axis(path="slow", values=tuple(range(20, 20 + count // 10))),
        ]
        request = Request(
            experiment_id="sma_crossover", dataset="long", overrides=[("costs.taker_fee_bps", 5.0)]
        )
        settle()
        asked = SweepRequest(request=request, axes=axes, means=Means(jobs=context.core_count))
        return sweep(context, asked).seconds


def sweep_many(sitting: Sitting, count: int) -> list[Row]:
    """Measure the most memory that a long sweep takes, in a process of its own."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from benchmarks.sweep import sweep_many_here\n"
        "print(sweep_many_here(Path(sys.argv[1]), int(sys.argv[2])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(sitting.workspace), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, mib = done.stdout.split()
    note = f"{float(seconds):.0f} s, {number(1000 * float(seconds) / count)} ms a point"
    return [[f"most memory of a sweep of {count:,} points, MiB", mib, "bounded", note]]


def sweep_many_here(folder: Path, count: int) -> str:
    """Sweep so many points; tell the seconds and the most memory, in MiB."""
    context = create_experiment_context(folder)
    axes = [
        Axis(path="fast", values=tuple(range(2, 12))),
        Axis(path="cash", values=tuple(float(2_000_000 + n) for n in range(count // 10))),
    ]
    request = Request(experiment_id="sma_crossover", dataset="short", overrides=[("slow", 50)])
    swept = sweep(
        context, SweepRequest(request=request, axes=axes, means=Means(jobs=context.core_count))
    )
    assert (swept.executed, swept.failed) == (count, 0)
    usage: Any = resource.getrusage(resource.RUSAGE_SELF)
    return f"{swept.seconds} {usage.ru_maxrss // 1024}"


def main() -> None:
    """Measure, and print the figures with their targets beside them."""
    parser = options("Runs and sweeps.")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--many", type=int, default=10_000, help="points of the long sweep")
    asked = parser.parse_args()
    with workspace(asked.workspace) as folder:
        sitting = Sitting(folder, asked.seed)
        say("commands")
        rows = run_cold(sitting)
        say("answers from the store")
        rows += hit(sitting)
        say("sweeps")
        rows += sweeps(sitting, is_quick=asked.quick)
        say("a long sweep")
        rows += sweep_many(sitting, 1_000 if asked.quick else asked.many)
    table = Table(
        title="Runs and sweeps", header=["what", "measured", "target", "beside it"], rows=rows
    )
    lines = [machine_line(), f"seed {asked.seed}; the compiled engine warm"]
    page.publish("sweep", lines, [table], as_markdown=asked.markdown, into_docs=asked.write_docs)


if __name__ == "__main__":
    main()
