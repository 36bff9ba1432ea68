"""What an experiment leaves in its output folder, and what is no artifact."""

import json

import numpy as np
import pytest

from research.experiments import runs
from research.experiments.divergence import column_values
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis


def artifacts(bench, manifest):
    return runs.artifacts(bench.store, manifest)


def test_nested_folders_and_odd_names_are_artifacts(bench):
    bench.experiment(
        "odd",
        """
        import os
        names = ["a/b/c.txt", "Ünï cödé ✓.txt", "with 'quotes' and \\"more\\".txt", ".hidden", "-x",
                 "x.table/notes.txt", "CON", "a b", "%2e%2e", "é"]
        for name in names:
            path = output_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        (output_dir / "empty").mkdir()
        (output_dir / "zero").touch()
        (output_dir / "script.sh").touch()
        os.chmod(output_dir / "script.sh", 0o755)
        return {}
        """,
    )

    manifest = bench.run("odd").manifest

    found = artifacts(bench, manifest)
    assert len(found) == 12
    assert bench.store.get_blob(found["Ünï cödé ✓.txt"].link).decode() == "Ünï cödé ✓.txt"
    assert "x.table/notes.txt" in found
    assert found["zero"].size == 0
    assert (found["script.sh"].mode, found["zero"].mode) == (0o755, 0o644)


TABLES = {
    "array": "np.arange(3) / 3",
    "nan": "np.array([1.0, np.nan, -0.0])",
    "f4": "np.array([0.1, 0.2, 0.3], dtype='f4')",
    "big_endian": "np.array([1, 2, 3], dtype='>i4')",
    "masked": "np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])",
    "time": "np.array([0, 1, 2], dtype='datetime64[ns]')",
    "bools": "[True, False, True]",
    "text": "['a', 'é\\n\"', '']",
    "texts": "np.array(['a', 'bc', ''])",
    "ints": "[1, -2, 2**62]",
    "mixed": "[1, 2.5, float('nan')]",
}


def test_a_table_comes_back_to_the_bit(bench):
    bench.experiment(
        "tables",
        "import numpy as np\n"
        f"save_table(output_dir, 'all', {{{', '.join(f'{k!r}: {v}' for k, v in TABLES.items())}}},\n"
        "           units={'array': 'USD'})\n"
        "save_table(output_dir / 'sub', 'empty', {'a': []})\n"
        "save_table(output_dir, 'none', {})\n"
        "return {}",
        head="from research import save_table",
    )

    found = artifacts(bench, bench.run("tables").manifest)

    assert {name: entry.kind for name, entry in found.items()} == dict.fromkeys(
        ("all", "sub/empty", "none"), "table"
    )
    table = bench.store.get_table(found["all"].link)
    assert list(table) == list(TABLES)
    assert table.units["array"] == "USD"
    for name in ("array", "f4", "big_endian", "time", "bools", "text", "texts", "ints", "mixed"):
        expected = np.array(eval(TABLES[name], {"np": np}))
        given = np.array(table[name])
        assert repr(given.tolist()) == repr(expected.tolist())
    assert column_values(table, "masked") == [1, None, 3]
    assert repr(column_values(table, "nan")) == "[1.0, nan, -0.0]"
    assert bench.store.get_table(found["none"].link).rows == 0


BAD = {
    "a link out of the folder": "import os\nos.symlink('/etc/passwd', output_dir / 'a')",
    "a link inside": "import os\n(output_dir / 'a').touch()\nos.symlink('a', output_dir / 'b')",
    "a link to a folder": "import os\nos.symlink('/etc', output_dir / 'a')",
    "a pipe": "import os\nos.mkfifo(output_dir / 'a')",
    "a socket": "import os, stat\nos.mknod(output_dir / 'a', stat.S_IFSOCK)",
    "a name of bad bytes": "import os\nopen(os.fsencode(output_dir) + b'/a\\xff', 'w').close()",
    "a control character": "(output_dir / 'a\\nb').touch()",
    "a table and a file": "save_table(output_dir, 'a', {})\n(output_dir / 'a').touch()",
    "no folder at all": "import shutil\nshutil.rmtree(output_dir)",
    "a file in the folder's place": "output_dir.rmdir()\noutput_dir.touch()",
}
TABLE = {
    "rows": 1,
    "columns": [{"name": "a", "dtype": "int8", "unit": "", "data": "d", "mask": None}],
}


def column(**changes):
    return json.dumps({**TABLE, "columns": [{**TABLE["columns"][0], **changes}]})


BAD_TABLES = {
    "garbage": "{",
    "bad bytes": "\udcff",
    "a list": "[]",
    "a text": '"rows"',
    "no columns": '{"rows": 1}',
    "no rows": '{"columns": []}',
    "rows that are no number": json.dumps({**TABLE, "rows": True}),
    "too few bytes": json.dumps({**TABLE, "rows": 2}),
    "fewer than no rows": json.dumps({**TABLE, "rows": -1}),
    "a column twice": json.dumps({**TABLE, "columns": TABLE["columns"] * 2}),
    "an unknown type": column(dtype="object"),
    "a type that is none": column(dtype=["int8"]),
    "a name that is none": column(name=5),
    "a unit that is none": column(unit=None),
    "a path out of the folder": column(data="../../../../etc/hostname"),
    "a file that is not there": column(data="e"),
    "no file": column(data=None),
    "a mask that is not there": column(mask="m"),
    "a file that is no column": json.dumps({"rows": 0, "columns": []}),
    "a text table of bad offsets": column(dtype="utf8"),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_is_no_artifact_fails_the_run(bench, body):
    bench.experiment("bad", f"{body}\nreturn {{}}", head="from research import save_table")

    failed = bench.failure("bad")

    assert failed.status == "failed"
    assert failed.error["kind"] in (
        "BadName",
        "FileNotFoundError",
        "NotADirectoryError",
        "PermissionError",  # where the kernel keeps the folder, and lets no socket be made
    )
    assert failed.outcome is None


def test_a_file_of_which_next_to_nothing_was_written_fails_the_run(bench):
    bench.experiment(
        "sparse",
        "(output_dir / 'a').open('w').truncate(2**40)\nreturn {}",
        head="import os",
    )

    failed = bench.failure("sparse")

    assert failed.error["kind"] == "BadName"
    assert "of its 1099511627776 bytes only 0 were ever written" in failed.error["message"]


@pytest.mark.parametrize("count", [1, 3], ids=["a child of its own", "copies"])
def test_folders_within_folders_by_thousands_fail_the_run_and_leave_nothing(bench, count):
    body = """
    os.chdir(output_dir)
    for _ in range(3000):
        os.mkdir("a" * 20)
        os.chdir("a" * 20)
    return {}
    """
    bench.experiment("deep", body, head="import os", spec="parameters={'n': 0}")
    axes = (Axis(path="n", values=tuple(range(count))),)

    found = sweep(bench.context, SweepRequest(request=bench.request("deep"), axes=axes))

    for point in found.points:
        assert point.manifest.status == "failed"
        assert len(point.manifest.error["message"]) < 500
    assert not list((bench.store.path / "tmp").iterdir())


@pytest.mark.parametrize("text", BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_of_garbage_fails_the_run(bench, text):
    bench.experiment(
        "bad",
        f"""
        folder = output_dir / "x.table"
        folder.mkdir()
        (folder / "d").write_bytes(b"1")
        (folder / "table.json").write_bytes({text.encode("utf-8", "surrogateescape")!r})
        return {{}}
        """,
    )

    assert bench.failure("bad").error["kind"] == "BadTable"


@pytest.mark.parametrize("make", ["os.symlink('/etc/hostname', d)", "os.mkfifo(d)", "os.mkdir(d)"])
def test_a_column_is_a_plain_file(bench, make):
    # A link would have us read what the run may not; a pipe would have us wait for ever.
    bench.experiment(
        "bad",
        f"""
        import os
        d = output_dir / "x.table" / "d"
        d.parent.mkdir()
        {make}
        (d.parent / "table.json").write_text({json.dumps(TABLE)!r})
        return {{}}
        """,
    )

    assert bench.failure("bad").error["kind"] == "BadTable"


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("{'a': [1], 'b': [1, 2]}", "ValueError"),
        ("{'a/b': [1]}", "ValueError"),
        ("{'': [1]}", "ValueError"),
        ("{'a': [1, 'x']}", "TypeError"),
        ("{'a': [None]}", "TypeError"),
        ("{'a': [2**63]}", "OverflowError"),
        ("{'a': np.zeros((2, 2))}", "ValueError"),
        ("{'a': np.zeros(2, dtype='c16')}", "TypeError"),
        ("{'a': np.array([object()])}", "TypeError"),
        ("{'a': 5}", "TypeError"),
    ],
)
def test_columns_that_make_no_table_are_refused_where_they_are_saved(bench, columns, error):
    bench.experiment(
        "bad",
        f"import numpy as np\nsave_table(output_dir, 'x', {columns})",
        head="from research import save_table",
    )

    failed = bench.failure("bad")

    assert failed.error["kind"] == error
    assert "output.py" in failed.error["where"] or "bad.py" in failed.error["where"]


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "", "a/b", ".a", "a\n"])
def test_a_table_is_not_named_as_a_path(bench, tmp_path, name):
    bench.experiment(
        "bad", f"save_table(output_dir, {name!r}, {{}})", head="from research import save_table"
    )

    assert bench.failure("bad").error["kind"] == "ValueError"
