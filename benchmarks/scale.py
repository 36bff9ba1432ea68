"""Benchmark stores of a thousand to a million runs: ``make bench-scale``.

Owns how the stores are made, what is asked of them, and the table. The questions are asked in
fresh processes (``questions.py``); ``ros log`` is timed as a whole process beside ``python -c
pass``, the least that any Python program takes.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks import page, runs
from benchmarks.instruments import (
    ROOT,
    Command,
    answer_of,
    machine_line,
    options,
    our_environment,
    say,
    seconds_of,
    settle,
    usage_of,
    workspace,
)
from benchmarks.page import Table, number
from rosdb import Store

_RUNS_A_TRANSACTION: Final = 1000
_FRESH_COUNT: Final = 3
_LOG_COUNT: Final = 7

# What is shown of a store, in this order: key, what it says, and the target.
_ROWS: Final = (
    ("made", "runs made a second, 1,000 a transaction", "2,000"),
    ("first", "open, and the first question, ms", page.NOTHING),
    ("resolve", "a prefix to its run, ms", page.NOTHING),
    ("move", "a ref moved, ms", page.NOTHING),
    ("newest", "the newest 20, ms", "5"),
    ("sort", "filtered, sorted by a metric, 20, ms", "10 at 10,000; 100 at 1,000,000"),
    ("log", "`ros log`, the whole process, ms", "250"),
    ("pass", "`python -c pass`, ms", page.NOTHING),
    ("rebuild", "index.db made anew, runs a second", "10,000"),
    ("bytes", "bytes a run", page.NOTHING),
    ("files", "files a run", page.NOTHING),
)


def fill(store_path: Path, run_count: int, seed: int) -> float:
    """Make a store of runs; return how many a second were made, the making of values included."""
    store = Store.init(store_path)
    shared = runs.put_shared(store)
    rng = np.random.default_rng([seed, run_count])
    started = time.perf_counter()
    for first in range(0, run_count, _RUNS_A_TRANSACTION):
        with store.transaction("many runs") as tx:
            for turn in range(first, min(first + _RUNS_A_TRANSACTION, run_count)):
                runs.put_run(tx, shared, runs.make_small_run(rng), turn)
        if first % 100_000 == 0 and first:
            say(f"  {first:,} runs")
    seconds = time.perf_counter() - started
    assert list(store.runs(limit=1))  # and so the index catches up here, not in a question
    store.close()
    return run_count / seconds


def examine(folder: Path, run_count: int, seed: int) -> dict[str, float]:
    """Ask the store in a folder everything; return the figures by key."""
    store = str(folder / ".ros")
    settle()
    asked = [_asked(folder, "ask", store, str(seed + turn)) for turn in range(_FRESH_COUNT)]
    found = {key: median(answer[key] for answer in asked) for key in asked[0]}
    log = _command(folder, str(Path(sys.executable).with_name("ros")), "log")
    bare = _command(folder, sys.executable, "-c", "pass")
    seconds_of(log)  # once for the byte code
    # In turns, so that both see the same machine.
    pairs = [(seconds_of(log), seconds_of(bare)) for _ in range(_LOG_COUNT)]
    found["log"] = median(pair[0] for pair in pairs) * 1000
    found["pass"] = median(pair[1] for pair in pairs) * 1000
    found["rebuild"] = run_count / _asked(folder, "rebuild", store)["seconds"]
    return found


def _asked(folder: Path, *words: str) -> dict[str, float]:
    script = str(ROOT / "benchmarks" / "questions.py")
    answer: dict[str, float] = json.loads(
        answer_of(_command(folder, sys.executable, script, *words))
    )
    return answer


def _command(folder: Path, *words: str) -> Command:
    return Command(words=words, folder=folder, environment=our_environment(folder))


def main() -> None:
    """Make the stores one after the other, ask, and print the table."""
    parser = options("Stores of a thousand to a million runs.")
    parser.add_argument("--largest", type=int, default=5, metavar="N", help="10^N runs [5]")
    asked = parser.parse_args()
    if not 3 <= asked.largest <= 7:
        parser.error("--largest is 3 to 7")
    sizes = [10**power for power in range(3, asked.largest + 1)]
    lines = [
        machine_line(),
        f"seed {asked.seed}; a run is four records: 20 parameters, 30 metrics, no artifacts",
    ]
    columns = []
    with workspace(asked.workspace) as folder:
        for size in sizes:
            say(f"{size:,} runs")
            home = folder / str(size)
            home.mkdir()
            made = fill(home / ".ros", size, asked.seed)
            taken = usage_of(home / ".ros")
            found = {"made": made, "bytes": taken.bytes / size, "files": taken.files / size}
            columns.append(found | examine(home, size, asked.seed))
    table = Table(
        title="Many runs",
        header=["runs in the store", *(f"{size:,}" for size in sizes), "target"],
        rows=[
            [text, *(number(found[key]) for found in columns), target]
            for key, text, target in _ROWS
        ],
    )
    page.publish("scale", lines, [table], as_markdown=asked.markdown, into_docs=asked.write_docs)


if __name__ == "__main__":
    main()
