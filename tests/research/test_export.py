"""A run as files: what is written reads back to the bit, and nothing is written over."""

import csv
import io
import json
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import ArtifactMissing, BadInput
from research.experiments import export, runs
from rosdb import Column, errors, text_values
from rosdb.tables import Table, table_record

BODY = """
    import numpy as np
    save_table(output_dir, "equity", {"at_ns": [1, 2, 3], "equity": np.array([1 / 3, np.nan, -0.0])})
    save_table(output_dir / "deep", "words", {"w": ["a,b", 'c "d"', "e\\nf", "g\\rh", "", "é"]})
    (output_dir / "equity.csv").write_text("the experiment's own")
    (output_dir / "deep" / "run.sh").write_text("true")
    os.chmod(output_dir / "deep" / "run.sh", 0o755)
    return {"sharpe": 1 / 3, "nan": float("nan"), "count": 3}
"""


@pytest.fixture
def made(bench):
    bench.experiment(
        "made", BODY, head="import os\nfrom research import save_table",
        spec="parameters={'a': {'b': 0.1}}",
    )  # fmt: skip
    return bench.run("made").manifest


def test_a_checkout_holds_the_question_the_figures_and_the_artifacts(bench, made, tmp_path):
    target = tmp_path / "out" / "deep"

    written = export.checkout(bench.context, made, target)

    found = sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())
    assert found == [
        "artifacts/deep/run.sh",
        "artifacts/deep/words.csv",
        "artifacts/equity.csv",
        "artifacts/equity.table.csv",
        "metrics.json",
        "spec.json",
    ]
    assert sorted(p.relative_to(target).as_posix() for p in written) == found
    spec = json.loads((target / "spec.json").read_text())
    assert spec["parameters"] == {"a": {"b": 0.1}}
    assert spec["fingerprint"] == str(made.recipe_id)
    assert spec["outcome"] == str(made.outcome_id)
    metrics = json.loads((target / "metrics.json").read_text())
    assert metrics == {"sharpe": 1 / 3, "nan": "nan", "count": 3}
    assert (target / "artifacts/equity.csv").read_text() == "the experiment's own"
    assert os.access(target / "artifacts/deep/run.sh", os.X_OK)
    with (target / "artifacts/deep/words.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert [row[0] if row else "" for row in rows] == [
        "w", "a,b", 'c "d"', "e\nf", "g\rh", "", "é",
    ]  # fmt: skip


def test_the_default_folder_is_under_results(bench, made):
    target = export.target_folder(bench.context, made)

    assert target == bench.folder / "research" / "results" / "made" / str(made.run_id)


@pytest.mark.parametrize("kind", ["file", "folder", "hidden", "link"])
def test_nothing_is_written_over(bench, made, tmp_path, kind):
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(bench.folder)
    else:
        target.mkdir()
        (target / (".hidden" if kind == "hidden" else "mine")).write_text("mine")
    before = sorted(bench.folder.rglob("*"))

    with pytest.raises(BadInput, match="not empty"):
        export.checkout(bench.context, made, target)

    assert sorted(bench.folder.rglob("*")) == before
    if target.is_file():
        assert target.read_text() == "mine"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_checkout_that_fails_leaves_nothing(bench, fate, made, tmp_path, is_there):
    target = tmp_path / "out"
    if is_there:
        target.mkdir()
    fate.damage(bench.store, runs.artifacts(bench.store, made)["equity.csv"].link)

    with pytest.raises(errors.ObjectCorrupt):
        export.checkout(bench.context, made, target)

    assert target.exists() == is_there
    assert not is_there or os.listdir(target) == []


def test_a_failed_run_checks_out_with_its_error(bench, tmp_path):
    bench.experiment("bad", "raise ValueError('no')")
    failed = bench.failure("bad")

    export.checkout(bench.context, failed, tmp_path / "out")

    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert (spec["status"], spec["error"]["message"]) == ("failed", "no")
    assert "ValueError: no" in (tmp_path / "out" / "log.txt").read_text()
    assert sorted(os.listdir(tmp_path / "out")) == ["log.txt", "spec.json"]


def stored(rows, *columns):
    record, blobs = table_record(rows, list(columns))
    content = {str(link): blob for link, blob in zip(record.links.values(), blobs, strict=True)}
    return Table(record, lambda link: content[str(link)])


@given(values=st.lists(st.floats(width=64), max_size=20))
def test_floats_read_back_to_the_bit(values):
    column = Column(name="x", dtype="float64", data=struct.pack(f"<{len(values)}d", *values))

    text = export.table_csv(stored(len(values), column))

    read = [float(row[0]) for row in list(csv.reader(io.StringIO(text)))[1:]]
    assert [struct.pack("<d", v) if v == v else b"nan" for v in read] == [
        struct.pack("<d", v) if v == v else b"nan" for v in values
    ]


@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_short_floats_read_back_to_the_bit(values):
    data = struct.pack(f"<{len(values)}f", *values)
    column = Column(name="x", dtype="float32", data=data)

    text = export.table_csv(stored(len(values), column))

    read = [float(row[0]) for row in list(csv.reader(io.StringIO(text)))[1:]]
    assert struct.pack(f"<{len(read)}f", *read) == data


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))),
    numbers=st.integers(-(2**63), 2**63 - 1),
)
def test_text_reads_back(texts, numbers):
    parts = [text.encode() for text in texts]
    offsets = [sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    data = struct.pack(f"<{len(offsets)}q", *offsets) + b"".join(parts)
    count = len(texts)
    words = Column(name="w", dtype="utf8", data=data)
    whole = Column(name="n", dtype="int64", data=struct.pack("<q", numbers) * count)
    flags = Column(name="b", dtype="bool", data=b"\x01" * count)

    text = export.table_csv(stored(count, words, whole, flags))

    assert list(text_values(words, count)) == texts
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [["w", "n", "b"], *([each, str(numbers), "true"] for each in texts)]


def test_a_missing_value_is_an_empty_cell():
    column = Column(name="x", dtype="int8", data=b"\x01\x00", mask=b"\x00\x01")

    assert export.table_csv(stored(2, column)) == 'x\n1\n""\n'


def test_an_output_that_is_not_there_is_named_with_the_nearest(bench, made):
    with pytest.raises(ArtifactMissing) as caught:
        runs.artifact(bench.store, made, "equty")

    assert "equity" in caught.value.near
