"""`ros diff` and `ros data diff`: what people see, what scripts get.

What people see is held in `pages/`, one file a command and width. To write the pages anew, and look
at what changed in them:

    WRITE_PAGES=1 .venv/bin/python -m pytest tests/cli/test_diff.py
"""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROS = Path(sys.executable).with_name("ros")
PAGES = Path(__file__).parent / "pages"
COLOUR = re.compile(r"\x1b\[[0-9]*m")

TOY = """\
from research import ExperimentSpec, save_table

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="toy",
    parameters={"size": 10.0, "every": 5, "costs": {"taker_fee_bps": 0.0}},
    metrics=["sharpe", "max_drawdown", "trade_count", "own"],
    input_dataset="px",
)


def run(spec, output_dir):
    p, bars = spec.parameters, spec.bars()
    at, close = [int(t) for t in bars["at_ns"]], [float(c) for c in bars["close"]]
    fee = p["costs"]["taker_fee_bps"] / 10000
    entries = list(range(0, len(at) - 3, p["every"]))
    exits = [e + 2 for e in entries]
    pnl = [p["size"] * (close[x] - close[e] - fee * (close[x] + close[e]))
           for e, x in zip(entries, exits)]
    equity = [1000.0 + sum(g for g, x in zip(pnl, exits) if x <= i) for i in range(len(at))]
    save_table(output_dir, "equity", {"at_ns": at, "equity": equity})
    save_table(output_dir, "trades", {
        "trade_id": list(range(len(entries))), "entry_bar": entries, "exit_bar": exits,
        "side": ["long"] * len(entries), "quantity": [p["size"]] * len(entries),
        "entry_price": [close[e] for e in entries], "exit_price": [close[x] for x in exits],
        "pnl": pnl, "exit_reason": ["signal"] * len(entries)})
    (output_dir / "report.txt").write_text(f"size {p['size']}\\nthe rest\\n")
    (output_dir / "raw.bin").write_bytes(bytes([255, int(p["size"])]))
    return {"sharpe": sum(pnl) / 64, "max_drawdown": 0.25 / p["size"],
            "trade_count": len(entries), "own": p["every"]}
"""
WIDE = {  # what is compared, of which two
    "parameters": ("diff", "base", "larger"),
    "code": ("diff", "base", "recoded", "--code"),
    "restated": ("diff", "base", "restated"),
    "trades": ("diff", "base", "often", "--trades"),
    "because": ("diff", "base", "larger", "--because"),
    "data": ("data", "diff", "px@1", "px@2"),
}


def bars(restated=()):
    lines = ["date,open,high,low,close,volume"]
    for day in range(1, 29):
        close = 100 + (day * 7) % 11 + (0.5 if day in restated else 0)
        lines.append(f"2021-02-{day:02},{close},{close + 1},{close - 1},{close},{1000 + day}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def toy(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "w"
    folder.mkdir()
    ros = replace(finished, folder=folder)
    assert ros.inside("init").status == 0
    ros.write("toy.py", TOY)
    path = folder / "px.csv"
    for version, restated in (("1", ()), ("2", (8, 17))):
        path.write_text(bars(restated))
        assert ros.inside("data", "add", path, "--name", "px", "--version", version).status == 0
    for name, *options in (
        ("base",),
        ("larger", "--param", "size=20", "--param", "every=6",
         "--param", "costs.taker_fee_bps=10", "--seed", "7"),
        ("often", "--param", "every=4"),
        ("restated", "--dataset", "px@2"),
    ):  # fmt: skip
        options = options if name == "restated" else (*options, "--dataset", "px@1")
        done = ros.inside("run", "toy", "--name", name, *options)
        assert done.status == 0, done.error
    ros.write("toy.py", TOY.replace("/ 64", "/ 32"))
    done = ros.inside("run", "toy", "--name", "recoded", "--dataset", "px@1")
    assert done.status == 0, done.error
    assert ros.inside("diff", "base", "larger", "--because").status == 0  # what it runs is kept
    return ros


def held(name, text):
    """Compare with the page that is held; hashes differ from machine to machine."""
    text = re.sub(r"\b[0-9a-f]{10,64}\b", lambda m: "x" * len(m[0]), text)
    path = PAGES / f"{name}.txt"
    if os.environ.get("WRITE_PAGES"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("what", WIDE)
def test_a_pipe_gets_the_whole_page(toy, what):
    done = toy.inside(*WIDE[what])

    assert done.status == 0, done.error
    assert not COLOUR.search(done.text)
    held(what, done.text)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("what", ["parameters", "because", "data"])
def test_a_terminal_gets_what_fits(toy, what, width, on_terminal):
    text = on_terminal(toy.folder, width, *WIDE[what])

    assert COLOUR.search(text)
    plain = COLOUR.sub("", text)
    assert max(map(len, plain.splitlines())) <= width
    held(f"{what}-{width}", plain)


def test_without_colour_the_same_page(toy, on_terminal):
    plain = on_terminal(toy.folder, 80, *WIDE["parameters"], NO_COLOR="1")

    assert not COLOUR.search(plain)
    held("parameters-80", plain)


def test_the_document_of_a_diff(toy):
    document = toy.json("diff", "base", "larger")

    inputs = document["inputs"]
    assert inputs["parameters"]["size"] == {"a": 10.0, "b": 20.0}
    assert inputs["models"] == ["costs.taker_fee_bps"]
    assert inputs["seed"] == {"a": 42, "b": 7}
    assert document["metrics"]["max_drawdown"]["better"] == "b"
    assert document["metrics"]["own"]["better"] is None
    equity = document["artifacts"]["equity"]["rows"]
    assert equity["key"] == ["at_ns"]
    assert equity["rows"] == {"a": 28, "b": 28}
    first = equity["columns"]["equity"]["first"]
    assert equity["columns"]["equity"]["changed"] >= 1
    assert first["change"] == first["b"] - first["a"]
    assert document["artifacts"]["report.txt"]["diff"].splitlines()[-3:] == [
        "-size 10.0", "+size 20.0", " the rest",
    ]  # fmt: skip
    raw = document["artifacts"]["raw.bin"]
    assert raw["bytes"] == {"a": 2, "b": 2}
    assert raw["diff"] == ""
    assert raw["a"] != raw["b"]
    assert document["trades"]["first"]["why"][0] == "size"
    assert document["trades"]["a"] == 5


def test_the_document_of_a_cause(toy):
    document = toy.json("diff", "base", "larger", "--because")["because"]

    names = [each["name"] for each in document["inputs"]]
    assert names == ["costs.taker_fee_bps", "every", "size", "seed"]
    assert document["method"] == "all orders"
    assert len(document["runs"]) == 16
    assert all(each["cached"] for each in document["runs"])
    sharpe = document["metrics"]["sharpe"]
    assert sum(sharpe["shares"].values()) == pytest.approx(sharpe["change"], abs=1e-12)
    assert sharpe["shares"]["seed"] == 0
    assert document["metrics"]["own"]["shares"]["every"] == 1
    assert document["metrics"]["own"]["remainder"] == 0


def test_what_the_vendor_restated_is_said(toy):
    document = toy.json("diff", "base", "restated")

    assert document["inputs"]["dataset_alone"] is True
    restated = document["inputs"]["restated"]
    assert restated["changed"] == 2
    days = [
        row["key"]["at_ns"] // (86_400 * 10**9) - 18658 for row in restated["sample"]["changed"]
    ]
    assert days == [8, 17]
    assert toy.json("diff", "base", "larger")["inputs"]["restated"] is None
    assert toy.json("diff", "base", "recoded")["inputs"]["dataset_alone"] is False


def test_the_document_of_two_snapshots(toy):
    document = toy.json("data", "diff", "px@1", "px")

    assert document["b"]["dataset"] == "px@2"
    assert document["identical"] is False
    assert document["files"]["px.csv"]["rows"] == document["bars"]
    assert document["bars"]["columns"]["close"]["largest"]["change"] == 0.5
    assert toy.json("data", "diff", "px@1", "px@1")["identical"] is True
    assert toy.inside("data", "diff", "px@1", "px@2", "--exit-code").status == 1
    assert toy.inside("data", "diff", "px@1", "px@1", "--exit-code").status == 0
    close = toy.json("data", "diff", "px@1", "px@2", "--atol", "0.5")
    assert close["bars"]["changed"] == 0


def test_tables_within_a_tolerance_and_by_a_key(toy):
    close = toy.json("diff", "base", "restated", "--atol", "1e6")["artifacts"]["equity"]
    assert close["state"] == "close"
    assert close["rows"]["changed"] == 0
    keyed = toy.json("diff", "base", "often", "--key", "trade_id")["artifacts"]["trades"]
    assert keyed["rows"]["key"] == ["trade_id"]
    assert keyed["rows"]["only_in_b"] == 2
    few = toy.json("diff", "base", "often", "--rows", "1")["artifacts"]["equity"]["rows"]
    assert len(few["sample"]["changed"]) == 1 < few["changed"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("diff", "base", "often", "--key", "nosuch"), "nosuch"),
        (("diff", "base", "often", "--key", "side"), "more than one row"),
        (("diff", "base", "often", "--atol", "-1"), "--atol"),
        (("diff", "base", "often", "--rtol", "nan"), "--rtol"),
        (("diff", "base", "often", "--rows", "0"), "--rows"),
        (("diff", "base", "often", "--because", "--trades"), "--because"),
        (("data", "diff", "px@1", "px@2", "--key", "nosuch"), "nosuch"),
        (("data", "diff", "px@1"), "B"),
    ],
)
def test_what_cannot_be_asked(toy, arguments, text):
    toy.inside(*arguments).failed(2, text)


def test_a_dataset_that_is_not_there(toy):
    toy.inside("data", "diff", "px@1", "px@9").failed(3, "px@9")
