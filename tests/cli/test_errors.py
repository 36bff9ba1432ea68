"""Errors: one line, perhaps a hint, a status that a script can rely on, never a traceback."""

import os

import pytest

from rosdb import ObjectId, Store

USAGE, NOT_FOUND, RUN_FAILED, DAMAGED = 2, 3, 4, 5

BAD = [
    (["nosuch"], USAGE, "nosuch"),
    (["--nosuch"], USAGE, "--nosuch"),
    (["run", "--nosuch"], USAGE, "--nosuch"),
    (["run"], USAGE, "name an experiment"),
    (["run", "odd", "extra"], USAGE, "extra"),
    (["run", "odd", "--seed", "x"], USAGE, "--seed"),
    (["run", "odd", "--seed", "9" * 30], USAGE, "64 bits"),
    (["run", "odd", "--param"], USAGE, "--param"),
    (["run", "odd", "--param", "rate"], USAGE, "K=V"),
    (["run", "odd", "--param", "rtae=1"], USAGE, "nearest: rate"),
    (["run", "odd", "--param", "rate=x"], USAGE, "parameter rate: 'x'"),
    (["run", "odd", "--param", "rate=NaN"], USAGE, "not finite"),
    (["run", "odd", "--param", "rate=1", "--param", "rate=1"], USAGE, "given twice"),
    (["run", "odd", "--param", "any=" + "[" * 900 + "]" * 900], USAGE, "nested deeper"),
    (["run", "odd", "--param", b"label=\xff"], USAGE, "label"),
    (["run", "odd", "--dataset", "sp500-daily"], USAGE, "takes no dataset"),
    (["run", "odd", "--name", "../../escape"], USAGE, "run name"),
    (["run", "odd", "--name", "deadbeef"], USAGE, "run name"),
    (["run", "odd", "--name", "sma"], USAGE, "it names run"),
    (["run", "gamma_signal_sanity", "--param", "ma_window=0"], USAGE, "1 <= ma_window"),
    (["run", "sma_crossover", "--param", "fast=100"], USAGE, "fast < slow"),
    (["run", "sma_crossover", "--param", "slow=9000"], USAGE, "number of bars"),
    (["run", "nosuch"], NOT_FOUND, "experiment"),
    (["run", "sma_crosover"], NOT_FOUND, "sma_crossover"),
    (["run", "sma_crossover", "--dataset", "nosuch"], NOT_FOUND, "dataset"),
    (["run", "sma_crossover", "--dataset", "sp500-daily@9"], NOT_FOUND, "sp500-daily@1999-2018"),
    (["run", "broken"], RUN_FAILED, "ros show"),
    (["show", "nosuch"], NOT_FOUND, "nosuch"),
    (["show"], USAGE, "RUN"),
    (["show", "sma:nosuch"], NOT_FOUND, "output"),
    (["show", "odd:t", "--json"], USAGE, "--json"),
    (["replay", "nosuch"], NOT_FOUND, "nosuch"),
    (["diff", "sma"], USAGE, "B"),
    (["diff", "sma", "nosuch"], NOT_FOUND, "nosuch"),
    (["checkout", "nosuch"], NOT_FOUND, "nosuch"),
    (["checkout", "sma", "research"], USAGE, "not empty"),
    (["promote", "sma"], USAGE, "--strategy"),
    (["promote", "sma", "--strategy", "../../escape"], USAGE, "not allowed"),
    (["promote", "nosuch", "--strategy", "a"], NOT_FOUND, "nosuch"),
    (["promote", "broken@", "--strategy", "a"], 1, "gate completed"),
    (["promote", "sma", "--strategy", "a", "--config-dir", "research/experiments/odd.py"], USAGE,
     "odd.py"),
    (["log", "-n", "x"], USAGE, "-n"),
    (["log", "-n", "-1"], USAGE, "-n"),
    (["log", "--where", "sharpe >"], USAGE, "column 9"),
    (["log", "--where", "((((("], USAGE, "column"),
    (["log", "--where", "sharpe ; drop"], USAGE, "column 8"),
    (["log", "--sort", "a b"], USAGE, "sort key"),
    (["log", "--since", "yesterday"], USAGE, "--since"),
    (["data", "nosuch"], USAGE, "nosuch"),
    (["data", "add"], USAGE, "PATH"),
    (["data", "add", "nosuch", "--name", "x"], USAGE, "nosuch"),
    (["data", "add", "/dev/null", "--name", "x"], USAGE, "/dev/null"),
    (["data", "add", "research", "--name", "a b"], USAGE, "dataset name"),
    (["data", "add", "research", "--name", "../../escape"], USAGE, "dataset name"),
    (["data", "add", "research", "--name", "x", "--version", "a/b"], USAGE, "version"),
    (["data", "add", "research", "--name", "x", "--schema", "nosuch"], USAGE, "nosuch"),
    (["data", "show", "nosuch"], NOT_FOUND, "dataset"),
    (["data", "verify", "sp500-daily@nosuch"], NOT_FOUND, "sp500-daily@1999-2018"),
    (["data", "checkout", "sp500-daily", "research"], USAGE, "not empty"),
    (["init", "research/experiments/odd.py"], USAGE, "odd.py"),
    (["-C", "nosuch", "log"], USAGE, "nosuch"),
    (["-C"], USAGE, "-C"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "text"), BAD, ids=lambda v: str(v)[:60])
def test_what_cannot_be_is_one_line_and_a_status(spoiled, arguments, status, text):
    journal = (spoiled.folder / ".ros" / "journal").stat().st_size
    # A run that failed is kept, and so is the replay that came before a refusal.
    records = {"broken", "slow=9000", "--config-dir"} & {str(each) for each in arguments}

    done = spoiled.inside(*map(os.fsdecode, arguments))

    done.failed(status, text)
    assert done.out == b""
    if not records:
        assert (spoiled.folder / ".ros" / "journal").stat().st_size == journal


def test_without_a_workspace_everything_but_init_says_so(at, tmp_path):
    for command in (
        ["log"],
        ["run", "odd"],
        ["fsck"],
        ["data", "list"],
        ["experiments"],
        ["show", "@"],
    ):
        at(tmp_path).inside(*command).failed(
            NOT_FOUND, "no workspace at or above", "hint: make one with"
        )


def test_a_traceback_is_shown_to_who_asks(finished):
    assert "Traceback" not in finished("show", "nosuch").error
    assert "Traceback" not in finished("show", "nosuch", ROS_TRACEBACK="0").error
    shown = finished("show", "nosuch", ROS_TRACEBACK="1")

    assert "Traceback" in shown.error
    assert "RefMissing" in shown.error
    assert shown.status == NOT_FOUND


def test_a_command_that_needs_more_shows_its_help(finished):
    for arguments in ([], ["data"]):
        done = finished.inside(*arguments)
        assert done.status == USAGE
        assert "Usage: ros" in done.error
        assert "Commands:" in done.error


@pytest.mark.parametrize("command", ["", *"run replay log show diff promote fsck data".split()])
def test_help_is_no_error(finished, command):
    done = finished.inside(*filter(None, [command]), "--help")

    assert done.status == 0
    assert done.text.startswith("Usage: ros")
    assert done.error == ""


def test_a_damaged_store_is_status_five(copied, fate):
    gamma = copied.json("show", "gamma")
    target = gamma["outcome"]
    fate.damage(Store.open(copied.folder), ObjectId.from_hex(target))

    copied("show", "gamma").failed(DAMAGED, target, "hint: see what it touches with: ros fsck")
    copied("replay", "gamma").failed(DAMAGED, target)
    copied("promote", "gamma", "--strategy", "a").failed(DAMAGED, target)
    shown = {entry["name"]: entry["status"] for entry in copied.json("log")}
    assert shown["gamma"] == "damaged"
    assert shown["sma"] == "completed"
    assert copied("fsck").status == 1


def test_a_damaged_journal_is_status_five(copied):
    journal = copied.folder / ".ros" / "journal"
    content = bytearray(journal.read_bytes())
    content[200] ^= 1
    journal.write_bytes(content)
    for path in (copied.folder / ".ros").glob("index.db*"):
        path.unlink()

    for command in (["log"], ["run", "odd"], ["show", "@"], ["refs"]):
        copied.inside(*command).failed(DAMAGED, "journal is damaged at byte")
    assert copied("fsck").status == 1


def test_a_store_of_another_version_is_refused(copied):
    (copied.folder / ".ros" / "format").write_text("research-os store 99\n")

    copied("log").failed(DAMAGED, "unknown format")


def test_an_unwritable_folder_is_named(copied):
    target = copied.folder / "configs" / "strategies" / "s.yaml"
    target.mkdir()
    copied("promote", "sma", "--strategy", "s").failed(1, "is no file")
    (copied.folder / "file").write_text("")

    copied("checkout", "sma", "file/inside").failed(USAGE, "file")
    assert os.listdir(target) == []


def test_diff_has_a_status_for_scripts(finished):
    assert finished("diff", "sma", "fast").status == 0
    assert finished("diff", "sma", "fast", "--exit-code").status == 1
    assert finished("diff", "sma", "sma", "--exit-code").status == 0


def test_a_defect_is_one_line_too(at, finished, tmp_path):
    # Not even a broken installation ends in a traceback.
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "yaml.py").write_text("raise RuntimeError('from within')\n")

    done = finished("promote", "sma", "--strategy", "a", PYTHONPATH=str(tmp_path / "broken"))

    assert done.status not in (0, 1, 2, 3, 4)
    assert len(done.error.splitlines()) == 1
    assert "RuntimeError: from within" in done.error
