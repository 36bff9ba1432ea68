"""Revisions: the names that a run has, wherever a command takes one."""

import pytest


@pytest.fixture(scope="module")
def ids(finished):
    """Return the runs from the newest to the oldest, and the replay."""
    shown = finished.json("log", "-n", "100")
    (replay,) = [e["run"] for e in finished.json("log", "--all") if e["replay_of"]]
    return {**{e["name"] or e["experiment"]: e["run"] for e in shown}, "replay": replay}


def leads_to(ros, revision):
    return ros.json("show", revision)["run"]


def test_every_form_names_a_run(finished, ids):
    forms = {
        ids["sma"]: "sma",
        ids["sma"][:12]: "sma",
        ids["sma"][:4]: "sma",
        ids["sma"].upper(): "sma",
        "sma": "sma",
        "@": "broken",
        "@~0": "broken",
        "@~1": "odd",
        "@~4": "sma",
        "sma_crossover@": "fast",
        "sma_crossover@~1": "sma",
        ids["replay"]: "replay",
    }
    for revision, name in forms.items():
        assert leads_to(finished, revision) == ids[name], revision


@pytest.mark.parametrize(
    "revision",
    ["nosuch", "@~5", "@~99999999999", "nosuch@", "sma_crossover@~2", "abc", "0" * 64, "@@", "@~",
     "@~-1", "~1", "", " ", "gg" * 32, "../sma", "runs/x", "SMA"],
)  # fmt: skip
def test_what_names_nothing_is_not_found(finished, revision):
    finished.inside("show", revision).failed(3)


def test_a_replay_does_not_count(copied):
    before = leads_to(copied, "@")
    copied.ok("replay", "odd")

    assert leads_to(copied, "@") == before
    assert len(copied.json("log")) == 5
    assert len(copied.json("log", "--all")) == 7
    assert leads_to(copied, "gamma_signal_sanity@") == leads_to(copied, "gamma")


def test_an_ambiguous_prefix_lists_its_candidates(ros, monkeypatch):
    # Runs whose hashes begin alike are made, not found: the index alone says what begins how.
    import sqlite3
    from contextlib import closing

    for seed in range(3):
        ros.ok("run", "gamma_signal_sanity", "--seed", str(seed))
    with closing(sqlite3.connect(ros.folder / ".ros" / "index.db")) as db:
        for number in range(3):
            alike = bytes.fromhex(f"abcd{number}".ljust(64, "0"))
            db.execute("UPDATE runs SET run = ? WHERE seq = ?", (alike, number + 1))
        db.commit()

    done = ros("show", "abcd")

    done.failed(3, "'abcd' is ambiguous", "abcd000000000000", "abcd200000000000", "hint: give more")


def test_a_name_goes_before_a_prefix_and_none_looks_like_one(ros):
    run = ros.json("run", "odd", "--name", "xyz")["run"]

    ros.inside("run", "odd", "--name", run[:8]).failed(2, "run name")
    ros.inside("run", "odd", "--name", "ABCDEF").failed(2, "run name")
    assert leads_to(ros, "xyz") == run


def test_a_run_may_have_several_names(ros):
    first = ros.json("run", "odd", "--name", "one")
    second = ros.json("run", "odd", "--name", "two")

    assert second["cached"]
    assert first["run"] == second["run"]
    assert leads_to(ros, "one") == leads_to(ros, "two") == first["run"]
    assert ros.json("log")[0]["name"] in ("one", "two")
