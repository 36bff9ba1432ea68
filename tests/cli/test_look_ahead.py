"""``ros run --check-look-ahead``: what a person and a script see of the verdict."""

import pytest

HONEST = """\
from research import ExperimentSpec, save_table

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="NAME", parameters={"level": 1.0}, input_dataset="sp500-daily", input_kind="bars"
)


def run(spec, output_dir):
    bars = spec.bars()
    close = bars["close"]
    signal = close > spec.parameters["level"] * close[0]
    save_table(output_dir, "signals", {"at_ns": bars["at_ns"], "signal": signal})
    return {"bars": len(close)}
"""
CHEATING = HONEST.replace("* close[0]", "* close.mean()")
UNDATED = HONEST.replace('"at_ns": bars["at_ns"], ', "")


@pytest.fixture(scope="module")
def tried(spoiled):
    """Give a workspace with an experiment of each kind."""
    for name, text in (("honest", HONEST), ("cheating", CHEATING), ("undated", UNDATED)):
        spoiled.write(f"{name}.py", text.replace("NAME", name))
    return spoiled


def check(ros, name, *arguments):
    return ros.inside("run", name, "--check-look-ahead", *arguments)


def test_clean(tried):
    done = check(tried, "honest")

    assert done.status == 0, done.error
    lines = done.text.splitlines()
    start = lines.index("Look-ahead  clean")
    assert lines[start + 1].split() == ["CUT", "AFTER", "BAR", "ROWS", "UP", "TO", "THERE"]
    cuts = [line.split() for line in lines[start + 2 : start + 7]]
    assert {cut[-1] for cut in cuts} == {"same"}
    assert [int(cut[1]) + 1 for cut in cuts] == [int(cut[2]) for cut in cuts]
    assert lines[start + 7 :] == ["  compared: signals"]


def test_it_looks_ahead(tried):
    done = check(tried, "cheating")

    assert done.status == 1
    assert done.error == ""
    assert "\nLook-ahead  it looks ahead\n" in done.text
    assert "\nFirst decision that knew what came later\n" in done.text
    shown = dict(line.strip().split("  ", 1) for line in done.text.splitlines()[-7:])
    assert shown["table"].strip() == "signals"
    assert shown["column"].strip() == "signal"
    assert {shown["with all bars"].strip(), shown["with the cut"].strip()} == {"True", "False"}
    assert ", bar " in shown["decided"]
    assert ", bar " in shown["cut after"]


def test_uncheckable_is_not_passed(tried):
    done = check(tried, "undated")

    assert done.status == 1
    assert "\nLook-ahead  uncheckable\n" in done.text
    assert "save_table" in done.text
    assert "not compared: signals" in done.text


def test_the_document_has_the_verdict(tried):
    clean = check(tried, "honest", "--json").document["look_ahead"]
    done = check(tried, "cheating", "--json")
    undated = check(tried, "undated", "--json").document["look_ahead"]

    assert clean["verdict"] == "clean"
    assert clean["first"] is None
    assert clean["reason"] is None
    assert [set(cut) for cut in clean["cuts"]] == [{"bar", "at_ns", "state", "rows", "error"}] * 5
    assert done.status == 1
    found = done.document["look_ahead"]
    assert found["verdict"] == "looks_ahead"
    assert found["first"]["artifact"] == "signals"
    assert found["first"]["whole"] is not found["first"]["cut"]
    assert found["first"]["cut_bar"] in [cut["bar"] for cut in found["cuts"]]
    assert (undated["verdict"], undated["cuts"], undated["first"]) == ("uncheckable", [], None)


def test_without_the_option_nothing_is_said(tried):
    assert "look_ahead" not in tried.json("run", "honest")
    assert "Look-ahead" not in tried.inside("run", "honest").text


def test_the_number_of_cuts(tried):
    assert len(check(tried, "honest", "--cuts", "2", "--json").document["look_ahead"]["cuts"]) == 2
    check(tried, "honest", "--cuts", "0").failed(2, "cuts is 0")
    tried.inside("run", "honest", "--cuts", "2").failed(2, "--check-look-ahead")


def test_an_answer_from_the_store_is_checked_and_the_log_has_one_run(tried):
    check(tried, "honest", "-p", "level=2.0")
    before = tried.json("log", "--all")

    again = check(tried, "honest", "-p", "level=2.0")

    assert "answered from the store" in again.text
    assert "Look-ahead  clean" in again.text
    assert tried.json("log", "--all") == before


def test_a_terminal_of_80_columns_holds_every_line(tried):
    help_text = tried.ok("run", "--help", COLUMNS="80").text

    assert "--check-look-ahead" in help_text
    for text in (help_text, check(tried, "honest").text, check(tried, "cheating").text):
        assert max(map(len, text.splitlines())) <= 80
        assert "\x1b" not in text
