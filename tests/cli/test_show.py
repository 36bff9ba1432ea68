"""What people see: a run and its outputs, the history, what differs, a checkout."""

import csv
import io
import json
import math

import pytest


def test_show_tells_what_a_run_was_and_what_came_of_it(finished):
    text = finished.ok("show", "fast").text

    run = finished.json("show", "fast")
    for fact in (run["run"], run["fingerprint"], run["outcome"], "sp500-daily@1999-2018", "fast",
                 "costs.taker_fee_bps", "sharpe", "equity", "trades", "Equity", "numpy"):  # fmt: skip
        assert fact in text, fact
    assert "⣀" in text or "⠉" in text


def test_show_of_a_failed_run_tells_why_and_where(finished):
    text = finished.ok("show", "broken@").text

    assert "failed" in text
    assert "ValueError" in text
    assert "it is broken" in text
    assert "broken.py, line 7" in text
    assert "Traceback" in text


def test_an_output_is_printed_as_it_is(finished):
    assert finished.ok("show", "odd:sub/bytes.bin").out == bytes(range(256))


def test_a_table_is_printed_as_csv_that_reads_back(finished):
    text = finished.ok("show", "odd:t").out.decode("utf-8")

    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == ["a", "w"]
    values = [float(row[0]) for row in rows]
    assert values[0] == 1 / 3
    assert math.isnan(values[1])
    assert (values[2], math.copysign(1, values[3])) == (math.inf, -1.0)
    assert [row[1] for row in rows] == ["a,b", "c", "", "d"]


def test_checkout_writes_spec_metrics_and_artifacts(copied):
    document = copied.json("checkout", "odd")

    run = copied.json("show", "odd")["run"]
    folder = copied.folder / "research" / "results" / "odd" / run
    assert document["path"] == str(folder)
    assert sorted(document["files"]) == [
        "artifacts/sub/bytes.bin", "artifacts/t.csv", "metrics.json", "spec.json",
    ]  # fmt: skip
    for name in document["files"]:
        assert (folder / name).is_file()
    assert json.loads((folder / "spec.json").read_text())["run"] == run
    assert json.loads((folder / "metrics.json").read_text())["third"] == 1 / 3
    assert (folder / "artifacts/t.csv").read_bytes() == copied.ok("show", "odd:t").out
    copied("checkout", "odd").failed(2, "not empty")


def test_diff_tells_what_was_asked_otherwise_and_what_came_otherwise(finished):
    document = finished.json("diff", "sma", "fast")
    text = finished.ok("diff", "sma", "fast").text

    assert document["identical"] is False
    assert document["inputs"]["parameters"] == {"fast": {"a": 20, "b": 10}}
    assert document["inputs"]["code"] == []
    sharpe = document["metrics"]["sharpe"]
    assert sharpe["change"] == sharpe["b"] - sharpe["a"]
    assert document["artifacts"]["trades"]["state"] == "changed"
    assert document["artifacts"]["trades"]["first"]["row"] == 0
    for fact in ("fast", "20", "10", "sharpe", "trades"):
        assert fact in text
    assert "equity" not in finished.ok("diff", "sma", "fast", "--trades").text
    assert finished.json("diff", "sma", "sma")["identical"] is True
    assert "identical" in finished.ok("diff", "sma", "sma").text


def test_diff_shows_changed_code_line_by_line(ros):
    first = ros.json("run", "odd")["run"]
    path = ros.folder / "research" / "experiments" / "odd.py"
    path.write_text(path.read_text().replace('"count": 3', '"count": 4'))
    second = ros.json("run", "odd")["run"]

    document = ros.json("diff", first, second)

    assert [each["path"] for each in document["inputs"]["code"]] == ["odd.py"]
    assert document["metrics"]["count"]["change"] == 1
    assert document["metrics"]["nan"]["a"] == document["metrics"]["nan"]["b"] == "nan"
    text = ros.ok("diff", first, second, "--code").text
    assert any(line.startswith("-") and '"count": 3' in line for line in text.splitlines())
    assert any(line.startswith("+") and '"count": 4' in line for line in text.splitlines())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], [None, "odd", "gamma", "fast", "sma"]),
        (["-n", "2"], [None, "odd"]),
        (["-n", "0"], []),
        (["--experiment", "sma_crossover"], ["fast", "sma"]),
        (["--where", "params.fast < 20"], ["fast"]),
        (["--where", "status = failed"], [None]),
        (["--where", "not status = failed and not experiment = odd"], ["gamma", "fast", "sma"]),
        (["--where", "trade_count > 0", "--sort", "fast"], ["fast", "sma"]),
        (["--where", "trade_count > 0", "--sort", "-params.fast"], ["sma", "fast"]),
        (["--where", "dataset = sp500-daily@1999-2018"], ["fast", "sma"]),
        (["--where", "name = gamma or name = odd"], ["odd", "gamma"]),
        (["--since", "1h"], [None, "odd", "gamma", "fast", "sma"]),
        (["--since", "2999-01-01"], []),
        (["--where", "metrics.flag = true"], ["odd"]),
        (["--where", "a) or (1"], None),
    ],
)
def test_log_finds_what_is_asked_for(finished, arguments, names):
    done = finished.inside("log", "--json", *arguments)

    if names is None:
        done.failed(2, "column")
    else:
        assert [entry["name"] for entry in done.document] == names


def test_log_shows_replays_to_who_asks_for_everything(finished):
    kinds = [entry["replay_of"] is not None for entry in finished.json("log", "--all")]

    assert kinds.count(True) == 1
    assert "replay" in finished.ok("log", "--all").text


def test_an_empty_history_is_an_empty_list(ros):
    assert ros.json("log") == []
    assert ros.ok("log").text == ""
    assert ros.json("data", "list") == []
    assert ros.json("refs") == []
    assert ros.json("journal") == []


def test_refs_and_journal_tell_where_names_lead(finished):
    refs = {each["name"]: each["target"] for each in finished.json("refs")}
    run = finished.json("show", "sma")["run"]

    assert refs["names/sma"] == run
    assert [each["name"] for each in finished.json("refs", "datasets/")] == [
        "datasets/sp500-daily/1999-2018"
    ]
    moves = finished.json("journal", f"runs/{run}")
    assert [move["why"] for move in moves] == ["run pending", "run running", "run completed"]
    assert moves[0]["old"] is None
    assert [move["old"] for move in moves[1:]] == [move["new"] for move in moves[:-1]]
    assert moves[-1]["new"] == refs[f"runs/{run}"]


def test_a_long_log_is_said_to_be_cut(ros):
    ros.write(
        "loud.py",
        "from research import ExperimentSpec\nDEFAULT_SPEC = ExperimentSpec(experiment_id='loud')\n"
        "def run(spec, output_dir):\n    print('x' * 3_000_000)\n    raise ValueError('loud')\n",
    )
    ros("run", "loud").failed(4, "loud")

    document = ros.json("show", "@")

    assert document["log_bytes_cut"] > 1_900_000
    assert len(document["log"]) < 1_100_000
    assert "[...]" in document["log"]
