"""Benchmark the store beside its peers: ``make bench``.

Owns the order of the steps and the tables. For each tool, with a fresh repository: store a, b, c1,
c2, c3; store a and b again unchanged; restore a, b, c3; verify everything. Each step is timed from
the start of its process to the end, with nothing dirty before it and its files read once.
"""

import argparse
import filecmp
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import floors, page, workloads
from benchmarks.contenders import CONTENDERS, make_place
from benchmarks.instruments import (
    Command,
    ToolFailed,
    machine_line,
    options,
    say,
    seconds_of,
    settle,
    usage_of,
    workspace,
)
from benchmarks.page import Table, number
from benchmarks.tool import Place, Tool
from benchmarks.workloads import NAMES, Workloads

STEPS: Final[Sequence[str]] = ("a", "b", "c1", "c2", "c3")
AGAIN: Final[Sequence[str]] = ("a", "b")
RESTORED: Final[Sequence[str]] = ("a", "b", "c3")
ASKED: Final = {
    "a": 3,
    "b": 2.5,
    "c2": 3,
    "c3": 3,
    "a again": 5,
    "b again": 5,
    "a back": 3,
    "verify": 5,
}
"""How many times as fast as the best durable peer we set out to be."""

WEIGHED: Final[Sequence[str]] = ("a", "c1", "c2", "c3")


@dataclass(slots=True, kw_only=True)
class Results:
    """What was measured of one tool, every round: by column, seconds and bytes."""

    version: str = ""
    is_durable: bool = False
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    added_bytes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def measure(tool: Tool, place: Place, made: Workloads, steps: list[str], into: Results) -> None:
    """Take one tool through all steps once.

    Raises: ToolFailed.
    """
    into.version, into.is_durable = tool.version(), tool.is_durable
    tool.create()
    as_copy = place.restored.is_relative_to(place.source)
    for step in steps:
        path = made.turn(step, place.source, as_copy=as_copy)
        before = usage_of(place.repository).bytes
        into.seconds[step].append(_timed(tool.put(NAMES[step]), path))
        into.added_bytes[step].append(usage_of(place.repository).bytes - before)
        if step in AGAIN:
            into.seconds[f"{step} again"].append(_timed(tool.put(NAMES[step]), path))
    for step in (each for each in RESTORED if each in steps):
        name = NAMES[step]
        into.seconds[f"{step} back"].append(_timed(tool.restore(name), place.repository))
        if not _is_same(place.source / name, place.restored / name):
            raise ToolFailed(f"restore {step}", 0, "it is not what was stored")
        shutil.rmtree(place.restored)
        place.restored.mkdir()
    if commands := tool.verify():
        into.seconds["verify"].append(_timed(commands, place.repository))


def _timed(commands: Iterable[Command], warm: Path) -> float:
    settle(warm)
    return sum(seconds_of(command) for command in commands)


def _is_same(one: Path, other: Path) -> bool:
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    left = sorted(path.relative_to(one) for path in one.rglob("*"))
    right = sorted(path.relative_to(other) for path in other.rglob("*"))
    files = [path for path in left if (one / path).is_file()]
    _, differing, failed = filecmp.cmpfiles(one, other, files, shallow=False)
    return left == right and not differing and not failed


def tables(results: dict[str, Results], steps: list[str]) -> list[Table]:
    """Return the tables of seconds, of bytes added, and of ratios."""
    again = [f"{step} again" for step in AGAIN if step in steps]
    back = [f"{step} back" for step in RESTORED if step in steps]
    columns = [*steps, *again, *back, "verify"]
    weighed = [step for step in WEIGHED if step in steps]
    made = [
        Table(
            title="Seconds, start-up included",
            header=["tool (synced?)", *columns],
            rows=[
                [_named(name, found), *(number(_middle(found.seconds, key)) for key in columns)]
                for name, found in results.items()
            ],
        ),
        Table(
            title="MB added on disk",
            header=["tool", *weighed],
            rows=[
                [name, *(number(_middle(found.added_bytes, key, 1e-6)) for key in weighed)]
                for name, found in results.items()
            ],
        ),
    ]
    has_both = "ours" in results and any(
        found.is_durable for name, found in results.items() if name != "ours"
    )
    return [*made, _ratios(results, columns, weighed)] if has_both else made


def _ratios(results: dict[str, Results], columns: list[str], weighed: list[str]) -> Table:
    """Hold the best durable peer against ours, column by column."""
    rows = []
    peers = [name for name in results if name != "ours" and results[name].is_durable]
    for what, keys in (("seconds", columns), ("bytes", weighed)):
        for key in keys:
            found = {
                name: _middle(each.seconds if what == "seconds" else each.added_bytes, key)
                for name, each in results.items()
            }
            ours = found["ours"]
            theirs = {name: value for name in peers if (value := found[name]) is not None}
            if ours is None or not theirs:
                continue
            best = min(theirs, key=lambda name: theirs[name])
            scale, unit = (1.0, "s") if what == "seconds" else (1e-6, "MB")
            ratio = f"{number(theirs[best] / ours, digits=2)}x" if ours > 0 else page.NOTHING
            rows.append(
                [
                    key if what == "seconds" else f"{key}, added",
                    f"{number(ours * scale)} {unit}",
                    f"{best} {number(theirs[best] * scale)} {unit}",
                    ratio,
                    f"{ASKED[key]:g}x" if what == "seconds" and key in ASKED else page.NOTHING,
                ]
            )
    return Table(
        title="Ratios: the best durable peer over ours",
        header=["step", "ours", "best durable peer", "ratio", "aimed at"],
        rows=rows,
    )


def _named(name: str, found: Results) -> str:
    return f"{name} ({'yes' if found.is_durable else 'no'})"


def _middle(values: dict[str, list[float]], key: str, scale: float = 1.0) -> float | None:
    return median(values[key]) * scale if values.get(key) else None


def _parsed() -> argparse.Namespace:
    parser = options("The store beside its peers.")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes [1]")
    parser.add_argument("--only", default="a,b,c", help="workloads [a,b,c]")
    parser.add_argument("--tools", default=",".join(CONTENDERS), help=f"[{','.join(CONTENDERS)}]")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; medians are shown [1]")
    asked = parser.parse_args()
    asked.steps = [step for step in STEPS if step[0] in asked.only.split(",")]
    asked.tools = asked.tools.split(",")
    if unknown := set(asked.tools) - CONTENDERS.keys():
        parser.error(f"no such tool: {', '.join(sorted(unknown))}")
    if not asked.steps or asked.repeat < 1 or asked.scale <= 0:
        parser.error("nothing is left to measure")
    return asked


def main() -> int:
    """Measure every tool that is here, and print the tables."""
    asked = _parsed()
    installed = [name for name in asked.tools if CONTENDERS[name].is_installed]
    lines = [machine_line()]
    results = {name: Results() for name in installed}
    failed: dict[str, ToolFailed] = {}
    with workspace(asked.workspace) as folder:
        say("floors")
        size = max(64 * 1024**2, int(1024**3 * asked.scale))
        floor = floors.measure(folder, write_bytes=size, seed=asked.seed)
        say("workloads")
        made = workloads.make(folder, set(asked.steps), scale=asked.scale, seed=asked.seed)
        for turn in range(asked.repeat):
            for name in [each for each in installed if each not in failed]:
                say(f"round {turn + 1} of {asked.repeat}: {name}")
                place = make_place(CONTENDERS[name], folder / name, made.source)
                try:
                    measure(CONTENDERS[name].make(place), place, made, asked.steps, results[name])
                except ToolFailed as error:
                    say(str(error))
                    failed[name] = error
                shutil.rmtree(folder / name)
    lines.append(
        f"scale {asked.scale:g}, seed {asked.seed}, {asked.repeat} round"
        f"{'s, medians' if asked.repeat > 1 else ''}"
    )
    lines += [
        f"{name}: {found.version}; {'syncs' if found.is_durable else 'does not sync'} its objects"
        for name, found in results.items()
    ]
    lines += [f"left out: {name}, not installed" for name in asked.tools if name not in installed]
    lines += [f"failed: {name}, {error.command}" for name, error in failed.items()]
    page.publish(
        "store",
        lines,
        [*tables(results, asked.steps), floor],
        as_markdown=asked.markdown,
        into_docs=asked.write_docs,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
