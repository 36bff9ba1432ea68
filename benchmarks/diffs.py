"""Benchmark the diff of two runs and of two snapshots: ``make bench-diff``.

Owns the measurements and their targets. The runs are made by an experiment as anybody's. ``ros
diff`` is timed as a whole cold process, beside ``python -c "import numpy"``, which it needs where a
table differs; and inside one process.
"""

from pathlib import Path
from typing import Final

from benchmarks import page
from benchmarks.instruments import (
    machine_line,
    median_ms,
    options,
    say,
    seconds_each,
    seconds_of,
    settle,
    workspace,
)
from benchmarks.page import Table, number
from benchmarks.sweep import Row, Sitting
from research.experiments.because import explain_change
from research.experiments.diff import diff

_COLD: Final = 11
_WARM: Final = 20
_ROWS: Final = 100_000
_TABLES: Final = """\
import numpy as np

from research import ExperimentSpec, save_table

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="tables",
    parameters={"rows": 100_000, "trades": 1_000, "shift": 0.0, "a": 0.0, "b": 0.0},
)


def run(spec, output_dir):
    p = spec.parameters
    rows, count, shift = p["rows"], p["trades"], p["shift"]
    rng = np.random.default_rng(spec.seed)
    at = np.arange(rows, dtype=np.int64) * 60_000_000_000
    save_table(output_dir, "equity", {"at_ns": at, "equity": rng.normal(size=rows) + shift})
    signals = {name: rng.normal(size=rows) for name in ("fast", "slow")}
    moved = {name: rng.normal(size=rows) + shift for name in ("position", "exposure")}
    save_table(output_dir, "signals", {"at_ns": at, **signals, **moved})
    entry = np.arange(count) * (rows // count)
    pnl = rng.normal(size=count) + shift
    save_table(output_dir, "trades", {
        "trade_id": np.arange(count), "entry_bar": entry,
        "exit_bar": np.minimum(entry + 3, rows - 1),
        "side": np.where(rng.random(count) < 0.5, "long", "short"),
        "quantity": np.full(count, 10.0), "pnl": pnl,
        "exit_reason": np.where(pnl > 0, "signal", "stop_loss")})
    return {"pnl": float(pnl.sum()) + p["a"] + p["b"]}
"""

Shape = tuple[str, list[str]]


def diffs(sitting: Sitting) -> list[Row]:
    """Measure the diff of two runs whose tables differ in every row."""
    (sitting.workspace / "research" / "experiments" / "tables.py").write_text(_TABLES, "utf-8")
    shapes: list[Shape] = [
        (f"{_ROWS:,} rows in two tables, 1,000 trades", []),
        (f"{_ROWS:,} rows in two tables, {_ROWS:,} trades", ["--param", f"trades={_ROWS}"]),
    ]
    rows: list[Row] = []
    for place, (text, more) in enumerate(shapes):
        names = [f"a{place}", f"b{place}"]
        for name, shift in zip(names, ("0.0", "0.5"), strict=True):
            sitting.ros("run", "tables", "--name", name, "--param", f"shift={shift}", *more)
        rows.append([f"`ros diff`, {text}, in process, ms", *_in_process(sitting, names)])
        rows.append([f"`ros diff`, {text}, the whole cold process, ms", *_cold(sitting, names)])
    return rows


def _in_process(sitting: Sitting, names: list[str]) -> list[str]:
    with sitting.context() as context:
        a, b = (context.store.resolve(name) for name in names)
        settle()
        first = seconds_each(1, lambda turn: diff(context, a, b))
        taken = seconds_each(_WARM, lambda turn: diff(context, a, b))
    return [number(median_ms(taken)), "200", f"{median_ms(first):.0f} ms the first time"]


def _cold(sitting: Sitting, names: list[str]) -> list[str]:
    commands = [
        sitting.command("diff", *names),
        sitting.process("-c", "import numpy"),
        sitting.process("-c", "pass"),
    ]
    seconds_of(commands[0])  # once for the byte code
    # In turns, so that all see the same machine.
    turns = [[seconds_of(command) for command in commands] for _ in range(_COLD)]
    ours, numpy, bare = (median_ms([turn[n] for turn in turns]) for n in range(3))
    return [number(ours), page.NOTHING, f"`import numpy` {numpy:.0f} ms, `pass` {bare:.0f} ms"]


def causes(sitting: Sitting) -> list[Row]:
    """Measure what ``--because`` costs beyond its runs: all of them are in the store."""
    before = {"rows": "1000", "trades": "100", "shift": "0.0", "a": "0.0", "b": "0.0"}
    after = {"rows": "900", "trades": "90", "shift": "0.5", "a": "1.0", "b": "2.0"}
    for name, values, seed in (("from", before, "42"), ("to", after, "7")):
        asked = [word for k, v in values.items() for word in ("--param", f"{k}={v}")]
        sitting.ros("run", "tables", "--name", name, "--seed", seed, *asked)
    with sitting.context() as context:
        a, b = (context.store.resolve(name) for name in ("from", "to"))
        made = seconds_each(1, lambda turn: explain_change(context, a, b))
        again = seconds_each(3, lambda turn: explain_change(context, a, b))
    return [
        [
            "`--because` of six inputs, 62 runs made, s",
            number(sum(made)),
            page.NOTHING,
            f"{median_ms(made) / 62:.0f} ms a run; {median_ms(again):.0f} ms once they are there",
        ]
    ]


def snapshots(sitting: Sitting, folder: Path) -> list[Row]:
    """Measure the diff of two versions of 10,000 bars, of which one row was restated."""
    lines = (folder / "long.csv").read_text("utf-8").splitlines()
    lines[5000] = lines[5000].rsplit(",", 1)[0] + ",1001.0"
    (folder / "restated.csv").write_text("\n".join(lines) + "\n", "utf-8")
    sitting.ros("data", "add", str(folder / "restated.csv"), "--name", "long", "--version", "2")
    command = sitting.command("data", "diff", "long@1", "long@2")
    seconds_of(command)
    taken = [seconds_of(command) for _ in range(_COLD)]
    text = "`ros data diff`, 10,000 bars, the whole cold process, ms"
    return [[text, number(median_ms(taken)), page.NOTHING, "one row restated"]]


def main() -> None:
    """Measure, and print the figures with their targets beside them."""
    asked = options("The diff of runs and of snapshots.").parse_args()
    with workspace(asked.workspace) as folder:
        sitting = Sitting(folder, asked.seed)
        say("diffs")
        rows = diffs(sitting)
        say("snapshots")
        rows += snapshots(sitting, folder)
        say("causes")
        rows += causes(sitting)
    table = Table(title="Diffs", header=["what", "measured", "target", "beside it"], rows=rows)
    lines = [machine_line(), f"seed {asked.seed}; every row differs in two columns, or one"]
    page.publish("diff", lines, [table], as_markdown=asked.markdown, into_docs=asked.write_docs)


if __name__ == "__main__":
    main()
