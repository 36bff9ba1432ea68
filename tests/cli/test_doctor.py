"""`ros doctor`: what this machine can do, said for people and for scripts."""

import numpy
import pytest

from research.experiments import doctor as diagnosis
from research.experiments import sandbox
from research.experiments.sandbox import PARTS, Machine


def test_it_says_which_level_a_run_reaches(copied):
    found = copied.json("doctor")["sandbox"]
    copied.ok("run", "gamma_signal_sanity", "--force")

    assert found["wanted"] == "best"
    assert found["level"] == copied.json("show", "@")["sandbox"]["level"]
    here = {each["name"] for each in found["parts"] if each["here"]}
    assert here == set(copied.json("show", "@")["sandbox"]["parts"])


def test_each_part_is_there_or_says_why_not(finished):
    parts = finished.json("doctor")["sandbox"]["parts"]

    assert parts[0]["name"] == "hook"
    assert all(each["here"] or each["reason"] for each in parts)
    assert not any(each["here"] and each["reason"] for each in parts)


def test_a_machine_without_walls_is_told_as_one(finished, monkeypatch):
    machine = Machine(
        level="hook",
        parts=("hook",),
        absent={
            "namespaces": "Operation not permitted",
            "landlock": "Operation not supported",
            "seccomp": "Invalid argument",
            "no_capabilities": "Operation not permitted",
        },
    )
    monkeypatch.setattr(diagnosis, "look", lambda: machine)

    found = finished.inside("doctor").text

    assert found.splitlines()[0] == "sandbox  hook"
    lines = {line.split()[0]: line for line in found.splitlines() if line.startswith("  ")}
    assert "Operation not permitted" in lines["namespaces:network"]
    assert "Operation not supported" in lines["landlock:files"]
    assert "Invalid argument" in lines["seccomp"]
    assert set(PARTS) <= lines.keys()


def test_it_is_not_well_where_more_is_required_than_there_is(copied, monkeypatch):
    (copied.folder / "ros.toml").write_text('[run]\nsandbox = "required"\n')
    machine = Machine(level="seccomp", parts=("hook", "seccomp"), absent={"landlock": "disabled"})
    monkeypatch.setattr(diagnosis, "look", lambda: machine)

    done = copied.inside("doctor", "--json")

    assert done.status == 1
    assert done.document["ok"] is False
    assert done.document["sandbox"]["wanted"] == "required"


def test_the_hook_alone_is_what_a_run_reaches_if_it_is_asked_for(copied):
    (copied.folder / "ros.toml").write_text('[run]\nsandbox = "hook"\n')

    assert copied.json("doctor")["sandbox"]["level"] == "hook"
    assert "ros.toml asks for 'hook'" in copied.inside("doctor").text


def test_it_names_packages_and_what_is_compiled(finished):
    found = finished.json("doctor")

    assert found["packages"]["numpy"] == numpy.__version__
    assert set(found["compiled"]) == {"numba", "chunker"}
    assert found["interpreter"]["implementation"] == "cpython"


def test_it_looks_at_the_store_and_changes_nothing(finished):
    before = (finished.folder / ".ros/journal").read_bytes()

    store = finished.json("doctor")["store"]

    assert store["path"] == str(finished.folder / ".ros")
    assert store["runs"] >= 6
    assert store["error"] == ""
    assert (finished.folder / ".ros/journal").read_bytes() == before


def test_a_damaged_journal_is_seen_at_a_glance(copied):
    journal = copied.folder / ".ros/journal"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    (copied.folder / ".ros/index.db").unlink()

    done = copied.inside("doctor", "--json")

    assert done.status == 1
    assert "journal" in done.document["store"]["error"]


def test_a_bad_setting_of_the_store_is_seen(copied):
    (copied.folder / ".ros/config.toml").write_text("durability = 3\n")

    done = copied.inside("doctor", "--json")

    assert done.status == 1
    assert "durability" in done.document["store"]["error"]


def test_it_needs_no_workspace(at, tmp_path):
    done = at(tmp_path)("doctor")

    assert done.status == 0, done.error
    assert "none here: ros init makes one" in done.text


def test_options_that_cannot_be_read_are_told(copied):
    (copied.folder / "ros.toml").write_text("[run]\nsandbox = 1\n")

    copied.inside("doctor").failed(2, "sandbox")


def test_a_probe_that_dies_is_a_reason(monkeypatch, tmp_path):
    broken = tmp_path / "confine.py"
    broken.write_text("raise SystemExit('the kernel said no')\n")
    monkeypatch.setattr(sandbox, "_CONFINE", broken)
    sandbox.look.cache_clear()

    found = sandbox.look()

    sandbox.look.cache_clear()
    assert (found.level, found.parts) == ("hook", ("hook",))
    assert "the kernel said no" in found.absent["probe"]


@pytest.mark.parametrize("name", PARTS)
def test_every_absent_part_has_a_reason(name):
    machine = Machine(level="hook", parts=("hook",), absent={})

    assert diagnosis._reason(machine, name)


def test_show_says_under_which_walls_and_what_was_asked_for(copied):
    copied.write(
        "clock.py",
        "import time\nfrom research import ExperimentSpec\n"
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='clock')\n\n\n"
        "def run(spec, output_dir):\n    time.time()\n    return {}\n",
    )
    copied.ok("run", "clock")

    shown = copied.inside("show", "@").text
    document = copied.json("show", "@")

    assert f"sandbox      {sandbox.look().level}" in shown
    assert "the clock (time.time)  clock.py, line 7" in shown
    assert document["nondeterminism"] == [
        {"what": "the clock (time.time)", "where": "clock.py, line 7"}
    ]
    assert "Asked for" not in copied.inside("show", "sma").text
