"""What `ros log` looks like: at 80 and 200 columns, in a pipe, in colour. Held to the letter.

The store is made of fixed records, so that the ids are fixed too. To write the pictures anew:

    WRITE_SNAPSHOTS=1 .venv/bin/python -m pytest tests/cli/test_log_snapshots.py
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.context import PIPE_WIDTH, Terminal
from rosdb import Link, Store, Transaction, put_files

SNAPSHOTS = Path(__file__).with_name("snapshots")
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
DAY_NS = 86_400_000_000_000
TERMINALS = {
    "80": Terminal(width=80, is_terminal=True, has_color=False, shows_progress=False),
    "200": Terminal(width=200, is_terminal=True, has_color=False, shows_progress=False),
    "colour": Terminal(width=120, is_terminal=True, has_color=True, shows_progress=False),
    "pipe": Terminal(width=PIPE_WIDTH, is_terminal=False, has_color=False, shows_progress=False),
}
COMMANDS = {
    "log": ("log",),
    "graph": ("log", "--graph"),
    "columns": (
        "log",
        "--columns",
        "run,created,tags,metrics.sharpe,fast,params.costs.fee_bps,dataset,replay_of,sweeps,seconds",
    ),
    "dataset": ("log", "--dataset", "bars@2"),
    "none": ("log", "--where", "sharpe > 9000"),
    "csv": ("log", "--format", "csv", "--all"),
    "json": ("log", "--json", "-n", "2"),
}


def put(tx: Transaction, number: int, code: Link, **told: Any) -> tuple[Link, Link]:
    """Put a run and what came of it; return the run and its outcome."""
    status, replay_of = told.get("status", "completed"), told.get("replay_of")
    created = START_NS + number * DAY_NS
    recipe = tx.put_record(
        "recipe/v1",
        {
            "experiment": told.get("experiment", "sma_crossover"),
            "entry": "sma_crossover",
            "parameters": told.get("parameters", {}),
            "seed": 42,
            "environment": {},
        },
        {"code": code},
    )
    dataset = {"name": "bars", "version": told.get("version", "1")}
    fields = {
        **{"created_at_ns": created, "process_id": 1, "kind": "replay" if replay_of else "run"},
        **{"user": "ana", "host": "desk", "agent": None, "ros": "0.1.0", "git": None},
        **{"dataset": dataset, "metric_names": ["sharpe", "trade_count"]},
    }
    links = {"recipe": recipe} | ({"replay_of": replay_of} if replay_of else {})
    run = tx.put_record("run/v1", fields, links)
    error = {"kind": "ValueError", "message": "no prices", "where": ""}
    ending = {
        **{"status": status, "at_ns": created, "seconds": 0.25, "log_bytes_cut": 0},
        "error": error if status == "failed" else None,
    }
    ended: dict[str, Any] = {"run": run}
    if status == "completed":
        nothing = {"artifacts": put_files(tx, {})}
        metrics = {"metrics": told.get("metrics", {})}
        ended["outcome"] = tx.put_record("outcome/v1", metrics, nothing)
    tx.move_ref(f"runs/{run}", tx.put_record("status/v1", ending, ended), expected=None)
    return run, ended.get("outcome", run)


def fill(store: Store) -> None:
    with store.transaction("runs") as tx:
        code = put_files(tx, {"sma_crossover.py": b"pass\n"})

        def sma(number: int, fast: int, sharpe: float, **told: Any) -> Link:
            parameters = {"fast": fast, "slow": 50, "costs": {"fee_bps": 1.5}}
            metrics = {"sharpe": sharpe, "trade_count": 10 * fast}
            return put(tx, number, code, parameters=parameters, metrics=metrics, **told)[0]

        first = sma(0, 10, 1.25)
        swept = [sma(number, 10 + number, number / 3, version="2") for number in (1, 2, 3)]
        put(tx, 4, code, experiment="gamma", status="failed", parameters={"drift": 0.1})
        sma(5, 10, 1.25, replay_of=first)
        text = {"metrics": {"sharpe": float("nan"), "verdict": "né, |\x1b[31m"}}
        put(tx, 6, code, experiment="gamma", parameters={"drift": 0.2}, **text)
        sma(7, 10, 1.25, replay_of=first)
        sweep = tx.put_record("sweep/v1", {}, {f"{n:07}": run for n, run in enumerate(swept)})
        tx.move_ref(f"sweeps/{sweep}", sweep, expected=None)
        tx.move_ref("names/opener", first, expected=None)
        for label in ("paper", "base-1.0"):
            tx.move_ref(f"tags/{first}/{label}", first, expected=None)
        said = "the vendor restated\nthe rows of March, see his letter"
        note = tx.put_record("note/v1", {"text": said}, {"run": swept[1]})
        tx.move_ref(f"notes/{swept[1]}", note, expected=None)
        promotion = tx.put_record("promotion/v1", {"strategy": "momentum"}, {"run": swept[2]})
        tx.move_ref("promotions/momentum", promotion, expected=None)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory, at: Callable[[Path], Any]) -> Any:
    folder = tmp_path_factory.mktemp("snapshots") / "workspace"
    folder.mkdir()
    ros = at(folder)
    assert ros.inside("init", "--bare").status == 0
    store = Store.open(folder, who="ana@desk", now_ns=lambda: START_NS + 10 * DAY_NS)
    fill(store)
    store.close()
    return ros


# A document is one for all.
PICTURES = [
    (name, where)
    for name in COMMANDS
    for where in TERMINALS
    if name not in ("csv", "json") or where == "pipe"
]


@pytest.mark.parametrize(("name", "where"), PICTURES, ids="-".join)
def test_the_log_looks_as_it_did(fixed, name, where, monkeypatch):
    monkeypatch.setattr("cli.render.terminal", lambda: TERMINALS[where])
    done = fixed.inside(*COMMANDS[name])

    shown = done.out.decode() + done.error
    path = SNAPSHOTS / f"{name}-{where}.txt"
    if os.environ.get("WRITE_SNAPSHOTS"):
        path.write_text(shown, "utf-8", newline="")
    assert done.status == 0
    assert shown == path.read_bytes().decode()
    if where in ("80", "200"):
        assert max(map(len, shown.splitlines())) <= int(where)
    if name != "csv":  # which has what was written, as it was
        assert ("\x1b" in shown) is (where == "colour" and name != "none")


def test_no_picture_is_left_behind():
    kept = {path.name for path in SNAPSHOTS.iterdir()}
    assert kept == {f"{name}-{where}.txt" for name, where in PICTURES}
