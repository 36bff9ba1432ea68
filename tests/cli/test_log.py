"""`ros log`: columns, formats, lineage and datasets; and the marks that it shows and searches."""

import csv
import io
import sys

import pytest


@pytest.fixture(scope="module")
def marked(finished, tmp_path_factory, at):
    """Give a copy of the finished workspace in which something was said of the runs."""
    import shutil

    folder = tmp_path_factory.mktemp("marked") / "workspace"
    shutil.copytree(finished.folder, folder)
    ros = at(folder)
    for arguments in (
        ("tag", "sma", "paper"),
        ("tag", "fast", "paper"),
        ("tag", "fast", "base-1.0"),
        ("note", "fast", "too fast by half"),
    ):
        assert ros.inside(*arguments).status == 0
    return ros


def names(ros, *arguments):
    return [each["name"] for each in ros.json("log", *arguments)]


def test_what_was_said_is_searched_and_shown(marked):
    assert names(marked, "--where", "tag = paper") == ["fast", "sma"]
    assert names(marked, "--where", "tag in (base-1.0, x) and note like '%FAST%'") == ["fast"]
    assert names(marked, "--where", "note is not null") == ["fast"]
    run = marked.json("show", "fast")
    assert (run["tags"], run["note"]) == (["base-1.0", "paper"], "too fast by half")
    shown = marked.inside("show", "fast").text
    assert "base-1.0, paper" in shown
    assert "too fast by half" in shown
    table = marked.inside("log").text
    assert "base-1.0, paper" in table
    assert "too fast by half" in table
    assert marked.inside("note", "fast").text.endswith("too fast by half\n")


def test_what_was_said_twice_is_told(marked):
    assert "has that tag already" in marked.inside("tag", "sma", "paper").error
    assert marked.json("note", "sma") == {**marked.json("note", "sma"), "note": None}
    assert "has no note" in marked.inside("note", "sma").error


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("tag", "sma", "a b"), 2, "tag 'a b' is not allowed"),
        (("tag", "nobody", "a"), 3, "no run is called 'nobody'"),
        (("tag", "fast", "papre", "--delete"), 3, "did you mean paper?"),
        (("note", "sma", " "), 2, "a note says something"),
        (("note", "sma", "\x1b[2J"), 2, "cannot be shown"),
        (("note", "sma", "x", "--delete"), 2, "TEXT or --delete"),
        (("name", "sma", "fast"), 2, "run name 'fast' is taken"),
        (("name", "sma", "beef"), 2, "first digits"),
        (("log", "--columns", "run,sharp"), 2, "did you mean sharpe"),
        (("log", "--columns", "metrics.nothing"), 2, "no column is called"),
        (("log", "--columns", ""), 2, "no column is called ''"),
        (("log", "--dataset", "sp500-dialy"), 3, "did you mean sp500-daily?"),
        (("log", "--dataset", "sp500-daily@7"), 3, "no dataset is called 'sp500-daily@7'"),
        (("log", "--format", "xml"), 2, "xml"),
        (("log", "--format", "csv", "--json"), 2, "one document, one format"),
        (("log", "-o", "x"), 2, "give --format csv"),
        (("log", "--graph", "--json"), 2, "drawn for people"),
        (("log", "--graph", "--sort", "seed"), 2, "drawn by age"),
        (("log", "--format", "csv", "-o", "no/such/file"), 2, "no/such/file"),
        (("log", "--sort", "tag"), 2, "they have no order"),
        (("log", "--where", "metrics.sharpe > and x"), 2, "hint: it is read up to: and x"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_cannot_be_is_refused_in_a_line(marked, arguments, status, text):
    marked.inside(*arguments).failed(status, text)


def test_columns_are_chosen(marked):
    chosen = (
        "--columns",
        "name,tags,sharpe,params.fast,metrics.sharpe",
        "--dataset",
        "sp500-daily",
    )
    first, second = marked.json("log", *chosen)

    assert list(first) == ["name", "tags", "sharpe", "params.fast", "metrics.sharpe"]
    assert (first["name"], second["name"]) == ("fast", "sma")
    assert (first["params.fast"], second["params.fast"]) == (10, 20)
    assert (
        first["sharpe"]
        == first["metrics.sharpe"]
        == marked.json("show", "fast")["metrics"]["sharpe"]
    )
    lines = marked.inside("log", *chosen).text.splitlines()
    assert lines[0].split() == ["NAME", "TAGS", "SHARPE", "PARAMS.FAST", "METRICS.SHARPE"]
    assert len(lines) == 3


def test_every_column_can_be_shown_in_every_format(marked, tmp_path):
    from research.experiments.log_columns import COLUMNS

    every = ",".join(COLUMNS)
    (first, *_) = marked.json("log", "--all", "--columns", every)
    assert list(first) == list(COLUMNS)
    assert marked.inside("log", "--all", "--columns", every).status == 0
    text = marked.inside("log", "--all", "--columns", every, "--format", "csv").text
    header, *rows = csv.reader(io.StringIO(text))
    assert header[:4] == ["run", "name", "experiment", "status"]
    assert {len(row) for row in rows} == {len(header)}
    assert "metrics.sharpe" in header
    assert "params.fast" in header


def test_a_csv_reads_back_to_the_bit(marked):
    text = marked.inside("log", "--format", "csv", "--all").text
    read = {row["run"]: row for row in csv.DictReader(io.StringIO(text))}
    documents = marked.json("log", "--all")

    assert len(read) == len(documents) == 6
    for each in documents:
        row = read[each["run"]]
        assert row["created"] == each["created"]
        assert row["tags"] == " ".join(each["tags"])
        for name, value in each["metrics"].items():
            if isinstance(value, float):
                assert float(row[f"metrics.{name}"]) == value


def test_parquet_has_typed_columns(marked, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "runs.parquet"

    done = marked.inside("log", "--format", "parquet", "-o", target, "--all")
    piped = marked.inside("log", "--format", "parquet", "--all")

    assert done.out == b""
    assert "runs.parquet: 6 runs" in done.error
    table = pq.read_table(target)
    assert piped.out == target.read_bytes()
    assert table.num_rows == 6
    types = {field.name: str(field.type) for field in table.schema}
    assert types["created"] == "timestamp[us, tz=UTC]"
    assert types["params.fast"] == types["seed"] == "int64"
    assert types["metrics.sharpe"] == types["seconds"] == "double"
    assert types["run"] == types["note"] == "string"
    runs = {row["run"]: row for row in table.to_pylist()}
    assert runs[marked.json("show", "fast")["run"]]["note"] == "too fast by half"


def test_parquet_without_its_part_is_refused(marked, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = marked.inside("log", "--format", "parquet")
    done.failed(2, "pip install 'research-os[arrow]'")
    assert done.out == b""


def test_a_dataset_s_runs_and_their_version(marked):
    text = marked.inside("log", "--dataset", "sp500-daily").text

    assert "DATASET" in text.splitlines()[0]
    assert text.count("sp500-daily@1999-2018") == 2
    assert names(marked, "--dataset", "sp500-daily@1999-2018") == ["fast", "sma"]
    assert names(marked, "--where", "dataset = sp500-daily and version like '1999%'") == ["fast", "sma"]  # fmt: skip


def test_a_graph_draws_a_replay_on_its_run(marked):
    lines = marked.inside("log", "--graph").text.splitlines()

    gamma = next(n for n, line in enumerate(lines) if " gamma " in line)
    replay = next(n for n, line in enumerate(lines) if "replay" in line)
    assert replay < gamma
    assert lines[replay].startswith("*")
    assert lines[gamma].startswith("*")
    assert all(line.startswith("|") for line in lines[replay + 1 : gamma])


def test_a_name_is_given_up_for_another(copied):
    assert copied.json("name", "sma", "slow") == {
        "run": copied.json("show", "slow")["run"], "name": "slow", "before": "sma", "changed": True,
    }  # fmt: skip
    copied.inside("show", "sma").failed(3)
    assert "names/sma" in copied.inside("journal").text
    assert copied.inside("fsck").status == 0
    assert copied.inside("tag", "slow", "x").text.endswith("x\n")
    assert copied.inside("tag", "slow", "x", "--delete").text.endswith("no tags\n")
