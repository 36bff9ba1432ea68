"""Every command's `--json`: exactly one document, with at least what the contract promises."""

import json
import re

import pytest

from rosdb import ObjectId, Store

WHOLE = re.compile(r"[0-9a-f]{64}")
RUN = {"run", "name", "experiment", "status", "cached", "fingerprint", "outputs", "metrics",
       "params", "dataset", "seed", "seconds"}  # fmt: skip
LOG = {"run", "name", "experiment", "status", "created", "fingerprint", "metrics", "params",
       "dataset", "tags", "note", "sweeps", "promoted"}  # fmt: skip
CONTRACT = {
    "run": (("run", "sma_crossover"), RUN),
    "replay": (("replay", "gamma"), {"verdict", "original", "replayed", "divergence"}),
    "show": (("show", "sma"), LOG - {"created"} | {"outputs", "provenance", "environment", "seed"}),
    "diff": (("diff", "sma", "fast"), {"identical", "inputs", "metrics", "artifacts"}),
    "tag": (("tag", "sma", "paper"), {"run", "tags", "changed"}),
    "note": (("note", "sma", "good"), {"run", "note", "changed"}),
    "name": (("name", "sma", "other"), {"run", "name", "before", "changed"}),
    "checkout": (("checkout", "sma", "out"), {"path", "files"}),
    "promote": (
        ("promote", "sma", "--strategy", "s"),
        {"strategy", "path", "config", "evidence", "promotion"},
    ),
    "trials": (
        ("trials", "sma_crossover"),
        {"experiment", "dataset", "count", "effective", "histogram", "best"},
    ),
    "data mark": (("data", "mark", "sp500-daily", "--holdout"), {"dataset", "holdout", "marked"}),
    "fsck": (
        ("fsck",),
        {"ok", "objects", "bytes", "damaged", "missing", "dangling", "files", "journal"},
    ),
    "gc": (
        ("gc", "--dry-run"),
        {"objects_before", "objects_after", "bytes_before", "bytes_after", "removed", "dry_run"},
    ),
    "gc for good": (
        ("gc", "--prune-older-than", "now"),
        {"objects_before", "objects_after", "bytes_before", "bytes_after", "removed", "dry_run"},
    ),
    "sweep": (
        ("sweep", "sma_crossover", "--grid", "fast=20"),
        {"sweep", "total", "executed", "cached", "failed", "runs", "seconds"},
    ),
    "stats": (("stats",), {"objects", "runs", "logical_bytes", "stored_bytes", "dedup_ratio"}),
    "doctor": (
        ("doctor",),
        {"ok", "sandbox", "interpreter", "packages", "compiled", "store"},
    ),
    "init": (("init",), {"store", "created"}),
    "data show": (("data", "show", "sp500-daily"), {"dataset", "version", "snapshot"}),
    "data verify": (("data", "verify", "sp500-daily"), {"dataset", "ok", "objects"}),
    "data checkout": (("data", "checkout", "sp500-daily", "d"), {"path", "files"}),
    "data add": (
        ("data", "add", "research/experiments/odd.py", "--name", "x"),
        {"dataset", "version", "snapshot", "files", "bytes", "new_bytes"},
    ),
}
LISTS = {
    "log": (("log",), LOG),
    "experiments": (
        ("experiments",),
        {"id", "description", "parameters", "dataset", "metrics"},
    ),
    "run --list": (
        ("run", "--list"),
        {"id", "description", "parameters", "dataset", "metrics"},
    ),
    "refs": (("refs",), {"name", "target"}),
    "journal": (("journal",), {"at", "ref", "old", "new", "who", "why", "hash"}),
    "data list": (("data", "list"), {"dataset", "version", "snapshot", "files", "bytes"}),
}


@pytest.mark.parametrize(("arguments", "keys"), CONTRACT.values(), ids=CONTRACT)
def test_a_document_holds_what_is_promised(copied, arguments, keys):
    document = copied.json(*arguments)

    assert isinstance(document, dict)
    assert keys <= document.keys()


@pytest.mark.parametrize(("arguments", "keys"), LISTS.values(), ids=LISTS)
def test_a_list_holds_what_is_promised(finished, arguments, keys):
    document = finished.json(*arguments)

    assert isinstance(document, list)
    assert document
    for entry in document:
        assert keys <= entry.keys()


def test_every_command_that_reports_is_here():
    from cli.app import COMMANDS

    named = {arguments[0] for arguments, _ in [*CONTRACT.values(), *LISTS.values()]}
    # Nothing is promoted here; `promotions` is in test_promote.py.
    assert named | {"promotions"} == set(COMMANDS)


def test_numbers_are_exact_and_what_json_lacks_is_text(finished):
    metrics = {
        "third": 1 / 3, "nan": "nan", "up": "inf", "down": "-inf", "count": 3, "flag": True,
        "text": "é\n",
    }  # fmt: skip

    assert finished.json("show", "odd")["metrics"] == metrics
    assert finished.json("run", "odd")["metrics"] == metrics
    (logged,) = finished.json("log", "--experiment", "odd")
    assert logged["metrics"] == metrics
    assert logged["params"] == {
        "rate": 0.1, "any": None, "label": "a", "flag": True, "list": [1.0, 2.0],
    }  # fmt: skip
    assert finished.json("diff", "odd", "odd")["metrics"]["nan"]["a"] == "nan"


def test_hashes_are_whole(finished):
    documents = [
        (finished.json("run", "sma_crossover"), ["run", "fingerprint", "outcome"]),
        (finished.json("log")[0], ["run", "fingerprint"]),
        (finished.json("show", "sma"), ["run", "fingerprint", "outcome"]),
        (finished.json("refs")[0], ["target"]),
        (finished.json("journal")[0], ["new", "hash"]),
        (finished.json("data", "list")[0], ["snapshot"]),
    ]
    for document, keys in documents:
        for key in keys:
            assert WHOLE.fullmatch(document[key]), key


def test_a_cached_run_says_so(finished):
    again = finished.json("run", "sma_crossover")

    assert again["cached"] is True
    assert again["run"] == finished.json("show", "sma")["run"]
    assert again["seconds"] > 0
    assert set(again["outputs"]) == {"trades", "equity"}


def test_a_failed_run_has_its_document_too(ros):
    done = ros.inside("run", "broken", "--json", "--name", "bad")

    done.failed(4, "error: broken failed: ValueError: it is broken (at broken.py, line 7)")
    assert done.document.keys() >= RUN
    assert (done.document["status"], done.document["name"]) == ("failed", "bad")
    assert done.document["error"]["message"] == "it is broken"
    assert done.document["outcome"] is None
    assert done.document["outputs"] == {}
    assert ros.json("show", done.document["run"])["status"] == "failed"


def test_messages_go_elsewhere(ros):
    done = ros.ok("run", "sma_crossover", "--json")

    assert "adding sp500-daily" in done.error
    assert done.document["status"] == "completed"


def test_a_run_that_is_not_deterministic_is_told(ros):
    ros.write(
        "chance.py",
        "import time\nfrom research import ExperimentSpec, save_table\n"
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='chance')\n"
        "def run(spec, output_dir):\n"
        "    save_table(output_dir, 't', {'same': [1, 1], 'at': [0, time.time_ns()]})\n"
        "    return {}\n",
    )
    first = ros.json("run", "chance")

    second = ros.ok("run", "chance", "--force", "--json")
    replayed = ros("replay", first["run"], "--json")

    assert f"warning: run {first['run'][:10]} answered the same question otherwise" in second.error
    assert second.document["fingerprint"] == first["fingerprint"]
    assert replayed.status == 1
    assert replayed.error == ""
    assert replayed.document["verdict"] == "diverged"
    divergence = replayed.document["divergence"]
    assert (divergence["artifact"], divergence["column"], divergence["row"]) == ("t", "at", 1)
    assert divergence["expected"] != divergence["actual"]
    assert divergence["causes"]
    assert {"artifact", "column", "row", "expected", "actual", "causes"} <= divergence.keys()


def test_the_verdicts_of_replays(copied):
    identical = copied("replay", "gamma", "--json")
    failed = copied("replay", "broken@", "--json")

    assert (identical.status, identical.document["verdict"]) == (0, "identical")
    assert identical.document["divergence"] is None
    assert (failed.status, failed.document["verdict"]) == (1, "unreplayable")
    assert failed.document["replayed"] is None


def test_a_document_is_plain_ascii_json_on_a_terminal_of_any_kind(finished):
    for variables in ({}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"NO_COLOR": "1"}):
        out = finished.ok("show", "odd", "--json", **variables).out
        assert json.loads(out.decode("ascii"))["metrics"]["text"] == "é\n"


def test_fsck_names_what_a_damage_touches(copied, fate):
    run = copied.json("show", "sma")
    target = run["outputs"]["equity"]["id"]
    fate.lose(Store.open(copied.folder), ObjectId.from_hex(target))

    done = copied("fsck", "--json")

    assert done.status == 1
    assert done.document["ok"] is False
    (fault,) = done.document["missing"]
    assert fault["id"] == target
    assert run["run"] in fault["runs"]
    assert copied("fsck").status == 1
