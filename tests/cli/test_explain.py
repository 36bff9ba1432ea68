"""``ros run --explain``, ``--timeout`` and ``--memory``: what a person and a script see."""

import json

import pytest

SLOW = """\
import time

from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="slow", parameters={"megabytes": 0, "caught": False})


def run(spec, output_dir):
    print("it begins", flush=True)
    try:
        held = bytearray(spec.parameters["megabytes"] * 1_000_000)
    except MemoryError:
        return {"caught": True}
    time.sleep(60)
    return {"length": len(held)}
"""


def test_a_hit_and_a_miss_are_told_apart(copied):
    hit = copied.ok("run", "sma_crossover", "--explain").text
    miss = copied.ok("run", "sma_crossover", "--explain", "--param", "fast=11", "--seed", "3").text

    assert hit.startswith("hit  answered by ")
    assert miss.startswith("miss  nearest is ")
    assert "fast" in miss
    assert miss.splitlines()[-1].split() == ["seed", "seed", "42", "3"]


def test_nothing_runs(copied):
    before = copied.json("log", "--all")
    copied.ok("run", "odd", "--param", "rate=0.5", "--explain")
    copied.ok("run", "broken", "--explain")

    assert copied.json("log", "--all") == before


RESTLESS = """\
import random

from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="restless", parameters={"draws": False, "fails": False})


def run(spec, output_dir):
    if spec.parameters["fails"]:
        raise ValueError("no")
    return {"a": random.random() if spec.parameters["draws"] else 0.5}
"""


@pytest.mark.parametrize("is_strict", [False, True])
@pytest.mark.parametrize("question", ["draws=false", "draws=true", "fails=true"])
def test_what_is_a_hit_is_what_a_run_answers_from_the_store(ros, is_strict, question):
    ros.write("restless.py", RESTLESS)
    words = ("run", "restless", "--param", question)
    ros(*words)
    if is_strict:
        (ros.folder / "ros.toml").write_text("[run]\nstrict = true\n")

    text = ros.ok(*words, "--explain").text
    found = ros.json(*words, "--explain")

    run = ros(*words, "--json").document
    assert found["hit"] == run["cached"]
    assert text.split()[0] == ("hit" if run["cached"] else "miss")
    if question == "fails=true":
        assert text.splitlines()[1].startswith("  it asked the same, and failed: ros show ")
    elif is_strict and question == "draws=true":
        assert "strict" in text
        assert "random.random" in text


@pytest.mark.parametrize(
    "option", ["--force", "--check-look-ahead", "--name=a", "--timeout=5m", "--memory=1GB"]
)
def test_it_goes_with_nothing_that_runs(ros, option):
    ros("run", "odd", "--explain", option).failed(2, "--explain runs nothing")


def test_the_document(copied):
    found = copied.json("run", "sma_crossover", "--explain", "--param", "fast=11")
    runs = {each["name"]: each["run"] for each in copied.json("log")}

    assert found == {
        "hit": False,
        "fingerprint": found["fingerprint"],
        "nearest": runs["fast"],
        "differences": [{"part": "parameter", "name": "fast", "then": 10, "now": 11}],
    }
    hit = copied.json("run", "sma_crossover", "--explain")
    assert (hit["hit"], hit["nearest"], hit["differences"]) == (True, runs["sma"], [])


def test_an_experiment_without_runs(ros):
    assert ros.ok("run", "odd", "--explain").text == "miss  no earlier run of this experiment\n"
    assert ros.json("run", "odd", "--explain")["nearest"] is None


def test_a_changed_function_is_named(copied):
    path = copied.folder / "research" / "experiments" / "odd.py"
    path.write_text(path.read_text().replace('"count": 3', '"count": 4'))

    text = copied.ok("run", "odd", "--explain").text

    assert text.splitlines()[-1].split() == ["code", "odd.py:", "run", "changed"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (("--timeout", "1"), "TimedOut", "it took longer than 1 s"),
        (("--timeout", "600ms", "--memory", "1GB"), "TimedOut", "it took longer than 0.6 s"),
        (("--memory", "200MB", "--param", "megabytes=900"), "OutOfMemory", "more than 200 MB"),
    ],
)
def test_a_run_that_reaches_a_limit_is_kept_as_failed(ros, options, kind, message):
    ros.write("slow.py", SLOW)

    done = ros("run", "slow", *options, "--json")

    done.failed(4, kind, message)
    document = json.loads(done.out)
    assert (document["status"], document["error"]["kind"]) == ("failed", kind)
    assert document["seconds"] < 30
    assert "it begins" in ros.json("show", document["run"])["log"]
    (logged,) = ros.json("log")
    assert logged["error"]["kind"] == kind


def test_limits_are_no_part_of_the_question(ros):
    first = ros.json("run", "odd", "--timeout", "5m", "--memory", "2GiB")
    again = ros.json("run", "odd")

    assert (first["status"], again["cached"]) == ("completed", True)
    assert again["fingerprint"] == first["fingerprint"]


@pytest.mark.parametrize(
    "options",
    [
        ("--timeout", "soon"),
        ("--timeout", "0"),
        ("--timeout", "-1"),
        ("--timeout", "nan"),
        ("--timeout", "5 parsecs"),
        ("--memory", "much"),
        ("--memory", "0GB"),
        ("--memory", "1GB2"),
    ],
)
def test_a_limit_that_is_none_is_refused(ros, options):
    done = ros("run", "odd", f"{options[0]}={options[1]}")

    done.failed(2, options[0], "write it as")
