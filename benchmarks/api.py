"""Benchmark the store's verbs inside one process: ``make bench-api``.

Owns the measurements and their targets: runs committed a second, blobs read a second, what a run
costs on disk beyond its artifacts, and memory under a large file.
"""

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import floors, page, runs, workloads
from benchmarks.instruments import (
    ROOT,
    Command,
    answer_of,
    machine_line,
    median_ms,
    options,
    our_environment,
    say,
    seconds_each,
    settle,
    usage_of,
    workspace,
)
from benchmarks.page import Table, number
from rosdb import ObjectId, Store

_RUN_COUNT: Final = 1000
_BLOB_COUNT: Final = 10_000
_BLOB_BYTES: Final = 4096
_SINGLE_COUNT: Final = 200
_LARGE_BYTES: Final = 4 * 1024**3
_QUICK_LARGE_BYTES: Final = 512 * 1024**2

Row = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """What every measurement of one sitting is given."""

    folder: Path
    seed: int
    run_count: int
    large_bytes: int

    def rng(self, number: int) -> np.random.Generator:
        """Return the chance of one measurement."""
        return np.random.default_rng([self.seed, number])

    def store(self, name: str) -> Store:
        """Make a fresh store."""
        return Store.init(self.folder / name)


def commit_one_by_one(sitting: Sitting, made: list[runs.MadeRun]) -> list[Row]:
    """Measure durable transactions a second, one run each, and what they leave on disk."""
    store = sitting.store("single")
    shared = runs.put_shared(store)
    before = usage_of(store.path)
    before_apparent = _apparent_bytes(store.path)

    def commit(turn: int) -> None:
        with store.transaction("one run") as tx:
            runs.put_run(tx, shared, made[turn], turn)

    taken = seconds_each(len(made), commit)
    assert len(list(store.runs())) == len(made)  # and so the index has caught up
    store.close()
    after = usage_of(store.path)
    count = len(made)
    raw, stored = runs.ARTIFACT_BYTES, _stored_bytes(sitting, made) / count
    taken_bytes = (after.bytes - before.bytes) / count
    apparent = (_apparent_bytes(store.path) - before_apparent) / count
    slow = statistics.quantiles(taken, n=100)[-1] * 1000
    return [
        [
            "runs committed, one a transaction, a second",
            number(count / sum(taken)),
            "500",
            f"median {median_ms(taken):.2f} ms, one in a hundred over {slow:.1f} ms",
        ],
        [
            "beyond a run's artifacts as they are, KB",
            _kb(taken_bytes - raw),
            "8",
            f"{_kb(taken_bytes)} KB of blocks a run, {_kb(apparent)} KB by length; raw {_kb(raw)}",
        ],
        [
            "beyond a run's artifacts as stored, KB",
            _kb(taken_bytes - stored),
            "8",
            f"alone, in one transaction, they take {_kb(stored)} KB",
        ],
        ["new files a run", number((after.files - before.files) / count), "2", ""],
    ]


def commit_together(sitting: Sitting, made: list[runs.MadeRun]) -> list[Row]:
    """Measure runs a second where one transaction holds them all."""
    store = sitting.store("together")
    shared = runs.put_shared(store)
    settle()

    def commit(_: int) -> None:
        with store.transaction("many runs") as tx:
            for turn, run in enumerate(made):
                runs.put_run(tx, shared, run, turn)

    (seconds,) = seconds_each(1, commit)
    store.close()
    rate = number(len(made) / seconds)
    return [[f"runs committed, {len(made):,} in one transaction, a second", rate, "2,000", ""]]


def put_and_get_blobs(sitting: Sitting) -> list[Row]:
    """Measure blobs of 4 KiB: read in any order, and put one by one."""
    rng, store = sitting.rng(2), sitting.store("blobs")
    with store.transaction("blobs") as tx:
        ids: list[ObjectId] = [tx.put_blob(rng.bytes(_BLOB_BYTES)) for _ in range(_BLOB_COUNT)]
    order = [ids[place] for place in rng.permutation(_BLOB_COUNT)]
    first = sum(seconds_each(_BLOB_COUNT, lambda turn: store.get_blob(order[turn])))
    warm = sum(seconds_each(_BLOB_COUNT, lambda turn: store.get_blob(order[turn])))
    contents = [rng.bytes(_BLOB_BYTES) for _ in range(_SINGLE_COUNT)]
    settle()
    single = seconds_each(_SINGLE_COUNT, lambda turn: store.put_blob(contents[turn]))
    store.close()
    return [
        [
            "4 KiB blobs read in any order, warm, a second",
            number(_BLOB_COUNT / warm),
            "50,000",
            f"{number(_BLOB_COUNT / first)} the first time",
        ],
        ["one 4 KiB blob put by itself, ms", number(median_ms(single)), page.NOTHING, "median"],
    ]


def weigh_memory(sitting: Sitting) -> list[Row]:
    """Measure two processes that put and read a large file, a quarter of it a hole."""
    file, store = sitting.folder / "large.bin", sitting.store("large")
    store.close()
    workloads.make_random_file(file, sitting.rng(1), sitting.large_bytes // 4 * 3)
    with file.open("ab") as handle:
        handle.truncate(sitting.large_bytes)
    settle()
    put = _measured(sitting, "put", str(store.path), str(file))
    settle()
    read = _measured(sitting, "read", str(store.path), str(put["id"]))
    file.unlink()
    size = f"{sitting.large_bytes / 1024**3:g} GiB"
    return [
        [
            f"most memory while {verb} {size}, MiB",
            number(float(found["peak_bytes"]) / 1024**2),
            "200",
            f"{number(float(found['seconds']))} s",
        ]
        for verb, found in (("putting", put), ("reading", read))
    ]


def _measured(sitting: Sitting, *words: str) -> dict[str, float | str]:
    script = str(ROOT / "benchmarks" / "memory.py")
    # By way of a shell: what the kernel counts for a process starts with its parent's size.
    command = Command(
        words=("sh", "-c", '"$@"; exit "$?"', "sh", sys.executable, script, *words),
        folder=sitting.folder,
        environment=our_environment(sitting.folder),
    )
    found: dict[str, float | str] = json.loads(answer_of(command))
    return found


def _stored_bytes(sitting: Sitting, made: list[runs.MadeRun]) -> int:
    """Weigh the artifacts of all runs alone, put in one transaction."""
    store = sitting.store("artifacts")
    before = usage_of(store.path).bytes
    with store.transaction("artifacts") as tx:
        for run in made:
            for content in run.artifacts.values():
                tx.put_blob(content)
    store.close()
    return usage_of(store.path).bytes - before


def _apparent_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _kb(size_bytes: float) -> str:
    return f"{size_bytes / 1000:.1f}"


def main() -> None:
    """Measure, and print the figures with their targets beside them."""
    parser = options("The store's verbs inside one process.")
    parser.add_argument("--quick", action="store_true", help="fewer runs, a smaller large file")
    asked = parser.parse_args()
    lines = [machine_line()]
    with workspace(asked.workspace) as folder:
        sitting = Sitting(
            folder=folder,
            seed=asked.seed,
            run_count=_RUN_COUNT // 5 if asked.quick else _RUN_COUNT,
            large_bytes=_QUICK_LARGE_BYTES if asked.quick else _LARGE_BYTES,
        )
        say("a large file")
        memory = weigh_memory(sitting)
        say("floors")
        size = 256 * 1024**2 if asked.quick else 1024**3
        floor = floors.measure(folder, write_bytes=size, seed=asked.seed)
        say("runs")
        rng = sitting.rng(3)
        made = [runs.make_run(rng) for _ in range(sitting.run_count)]
        rows = commit_one_by_one(sitting, made)
        rows[1:1] = commit_together(sitting, made)
        say("blobs")
        rows += [*put_and_get_blobs(sitting), *memory]
    lines.append(
        f"seed {asked.seed}; {len(made):,} runs of 20 parameters, 30 metrics and 3 artifacts"
        f" of {_kb(runs.ARTIFACT_BYTES)} KB together"
    )
    table = Table(
        title="The store's verbs",
        header=["what", "measured", "target", "beside it"],
        rows=rows,
    )
    page.publish(
        "api", lines, [table, floor], as_markdown=asked.markdown, into_docs=asked.write_docs
    )


if __name__ == "__main__":
    main()
