"""``ros replay``: one run or many, what is printed, what a script gets, and how it is ended."""

import shutil
import signal
import time

import pytest

from rosdb import Store

CHANCE = """\
import time

from research import ExperimentSpec, save_table

DEFAULT_SPEC = ExperimentSpec(experiment_id="chance")


def run(spec, output_dir):
    now = time.time()
    save_table(output_dir, "t", {"at": [0.5, now, now], "same": [1, 2, 3]})
    return {"now": now, "one": 1}
"""
SLOW = """\
import time

from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="slow")


def run(spec, output_dir):
    time.sleep(1.0)
    return {"now": time.time_ns()}
"""
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def audited(finished, tmp_path_factory):
    """Give a copy of the finished workspace with one run more, which is not deterministic."""
    folder = tmp_path_factory.mktemp("audited") / "workspace"
    shutil.copytree(finished.folder, folder)
    made = type(finished)(folder, {})
    made.write("chance.py", CHANCE)
    made.json("run", "chance")
    return made


def statuses(ros):
    """List the statuses of all runs, replays too, the newest first."""
    return [entry["status"] for entry in ros.json("log", "--all")]


def verdicts(ros):
    """Return the records of the verdicts that are kept."""
    store = Store.open(ros.folder / ".ros")
    found = [dict(store.get_record(link).fields) for _, link in store.refs("replays/")]
    store.close()
    return found


def test_a_divergence_as_people_see_it(audited):
    done = audited.inside("replay", "chance@")

    assert done.status == 1
    assert done.error == ""
    lines = [" ".join(line.split()) for line in done.text.splitlines()]
    assert lines[0].endswith("chance diverged")
    assert not any(line.startswith("environment") for line in lines)
    first = lines.index("First difference")
    assert lines[first + 1 : first + 4] == ["table t", "column at", "row 1"]
    (distance,) = [line for line in lines if line.startswith("distance")]
    assert distance.endswith(" ulp")
    assert int(distance.split()[1]) > 0
    much = lines.index("How much differs")
    assert lines[much + 1 : much + 3] == ["t 2 of 3 rows", "metrics 1 of 2 metrics"]
    assert "Likely causes" in lines
    assert "1. clock: " in done.text
    assert "chance.py, line 9 asked for the clock" in " ".join(lines)


def test_a_divergence_as_a_script_gets_it(audited):
    done = audited.inside("replay", "chance@", "--json", "--no-causes")

    found = done.document
    assert done.status == 1
    assert {"verdict", "original", "replayed", "divergence", "reason", "outcome", "drift", "rebuilt",
            "experiment", "name"} == found.keys()  # fmt: skip
    first = found["divergence"]
    assert first["artifact"] == "t"
    assert (first["kind"], first["column"], first["row"]) == ("table", "at", 1)
    assert first["actual"] > first["expected"]
    assert isinstance(first["ulps"], int)
    assert first["artifacts"] == [
        {"artifact": "t", "kind": "table", "rows_differing": 2, "rows": 3},
        {"artifact": "metrics", "kind": "metrics", "rows_differing": 1, "rows": 2},
    ]
    assert first["causes"] == [
        "same code, input and environment: the experiment is not deterministic"
    ]


def test_many_at_once(audited):
    done = audited.inside("replay", "--all", "--no-causes")

    assert done.status == 1
    lines = done.text.splitlines()
    assert lines[0].split() == [
        "RUN",
        "EXPERIMENT",
        "NAME",
        "VERDICT",
        "TOOK",
        "FIRST",
        "DIFFERENCE",
        "CAUSE",
    ]
    told = [line.split()[1] for line in lines[1:-1]]
    assert told == ["chance", "odd", "gamma_signal_sanity", "sma_crossover", "sma_crossover"]
    assert "t, at, row 1" in lines[1]
    assert lines[-1] == "5 runs replayed: 4 identical, 1 diverged"
    assert done.error.split() == [lines[1].split()[0], "diverged"]


def test_many_at_once_for_a_script(audited):
    done = audited.inside("replay", "--all", "--where", "experiment = sma_crossover", "--json")

    assert done.status == 0
    assert done.error == ""
    assert [entry["verdict"] for entry in done.document] == ["identical", "identical"]
    assert [entry["name"] for entry in done.document] == ["fast", "sma"]


def test_many_of_which_none_matches(audited):
    done = audited.inside("replay", "--all", "--since", "0s")

    assert (done.status, done.text) == (0, "0 runs replayed\n")
    assert audited.inside("replay", "--all", "--since", "0s", "--json").document == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name a run, or --all"),
        (["gamma", "--all"], "not both"),
        (["gamma", "--since", "7d"], "--since and --where go with --all"),
        (["gamma", "--where", "status = failed"], "--since and --where go with --all"),
        (["--all", "--since", "yesterday"], "neither a time"),
        (["--all", "--where", "and and"], "and"),
        (["gamma", "--env-tool", "pip"], "go with --rebuild-env"),
        (["gamma", "--find-links", "."], "go with --rebuild-env"),
        (["gamma", "--rebuild-env", "--env-tool", "poetry"], "uv or pip"),
        (["gamma", "--rebuild-env", "--find-links", "nosuch"], "no such folder"),
        (["gamma", "--rebuild-env", "--in-place"], "--in-place"),
    ],
)
def test_what_makes_no_sense_is_refused(finished, arguments, text):
    finished.inside("replay", *arguments).failed(2, text)


def test_an_environment_that_is_as_recorded_is_not_rebuilt(copied):
    found = copied.json("replay", "gamma", "--rebuild-env")

    assert (found["verdict"], found["rebuilt"], found["drift"]) == ("identical", False, [])


@pytest.fixture
def slow(ros):
    """Give a workspace with a run that takes a second and is never the same."""
    ros.write("slow.py", SLOW)
    ros.json("run", "slow")
    return ros


def until(condition):
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_interrupted_search_for_causes_keeps_the_verdict(slow):
    process = slow.start("replay", "slow@", "--json")
    until(lambda: statuses(slow) == ["completed", "completed"])
    time.sleep(0.5)

    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert (out, error) == ("", "error: interrupted\n")
    assert not list((slow.folder / ".ros" / "tmp").iterdir())
    (verdict,) = verdicts(slow)
    assert verdict["verdict"] == "diverged"
    assert "interrupted" in verdict["divergence"]["causes"][-1]
    assert slow.ok("fsck").status == 0


def test_interrupted_among_many_it_shows_what_it_has(slow):
    # The newest is quick, the other one takes its second.
    slow.json("run", "gamma_signal_sanity")
    process = slow.start("replay", "--all", "--json")
    until(lambda: "running" in statuses(slow) and len(verdicts(slow)) == 1)

    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert error == "error: interrupted\n"
    assert out.count('"verdict": "identical"') == 1
    newest = slow.json("log", "--all")[0]
    assert newest["error"]["kind"] == "interrupted"
    assert [verdict["verdict"] for verdict in verdicts(slow)] == ["identical"]
    assert slow.ok("fsck").status == 0
