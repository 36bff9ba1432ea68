"""Where the command works: -C, ROS_DIR, walking up, odd paths, a store that is not ours to write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROS = Path(sys.executable).with_name("ros")
# Root may write anything; without this right it is as everybody.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--"]


def test_a_workspace_is_found_from_below(finished, at):
    inside = finished.folder / "research" / "experiments"
    newest = finished.json("log")[0]["run"]

    assert at(inside).json("log")[0]["run"] == newest


def test_c_runs_as_if_started_there(finished, at, tmp_path):
    away = at(tmp_path)
    newest = finished.json("log")[0]["run"]

    assert away.json("-C", finished.folder, "log")[0]["run"] == newest
    (finished.folder.parent / "link").symlink_to(finished.folder)
    assert away.json("-C", finished.folder.parent / "link", "log")[0]["run"] == newest
    relative = Path(os.path.relpath(finished.folder, tmp_path))
    assert away.json("-C", relative, "log")[0]["run"] == newest


def test_a_relative_path_is_meant_from_there(copied, at, tmp_path):
    at(tmp_path).ok("-C", copied.folder, "checkout", "sma", "out")

    assert (copied.folder / "out" / "spec.json").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("which", [".ros", "."])
def test_ros_dir_overrides(finished, at, ros, which):
    store = str(finished.folder / which)
    newest = finished.json("log")[0]["run"]

    assert ros.json("log", ROS_DIR=store)[0]["run"] == newest
    # Its experiments are those of the workspace that the store is in.
    ids = {each["id"] for each in at(ros.folder.parent).json("experiments", ROS_DIR=store)}
    assert {"odd", "broken"} <= ids


def test_ros_dir_that_is_none(finished):
    finished("log", ROS_DIR="/nothing").failed(3, "no store at /nothing")


@pytest.mark.parametrize(
    "name", ["with spaces  and", "ünï cödé ✓ 日本", "-dash", "quote'\"$HOME", "new\nline"]
)
def test_any_path_will_do(at, tmp_path, name):
    (tmp_path / name).mkdir()
    here = at(tmp_path / name)

    here.ok("init")
    ran = here.ok("run", "momentum_example", "--name", "m", "--json").document
    assert here.json("replay", "m")["verdict"] == "identical"
    assert here.json("promote", "m", "--strategy", "s")["strategy"] == "s"
    assert here.json("checkout", "m")["files"]
    assert (tmp_path / name / "research" / "results" / "momentum_example" / ran["run"]).is_dir()
    for command in (["log"], ["show", "m"], ["data", "list"], ["fsck"], ["experiments"]):
        assert here.inside(*command).status == 0


def test_a_path_that_is_no_text_will_do(at, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")
    os.mkdir(folder)
    here = at(Path(folder))

    here.ok("init")
    here.ok("run", "gamma_signal_sanity", "--name", "g")
    assert "wrote" in here.ok("checkout", "g").out.decode("utf-8")
    here.json("checkout", "g", "again")


def test_init_says_so_on_an_existing_workspace_and_changes_nothing(copied):
    before = {path: path.stat().st_mtime_ns for path in copied.folder.rglob("*")}

    again = copied.ok("init")

    assert "already" in again.text
    assert copied.json("init") == {"store": str(copied.folder / ".ros"), "created": False}
    assert {path: path.stat().st_mtime_ns for path in copied.folder.rglob("*")} == before


def test_init_makes_what_the_contract_says(at, tmp_path):
    document = at(tmp_path).json("init", "new")

    assert document == {"store": str(tmp_path / "new" / ".ros"), "created": True}
    found = sorted(
        p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*")
    )
    assert [path for path in found if not path.startswith(".ros")] == [
        "configs", "configs/strategies", "promotion.toml", "research", "research/datasets", "research/experiments",
        "research/experiments/momentum_example.py",
    ]  # fmt: skip
    assert at(tmp_path / "new").json("run", "momentum_example")["status"] == "completed"
    at(tmp_path).ok("init", "--bare", "bare")
    assert os.listdir(tmp_path / "bare") == [".ros"]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may all")
def test_a_store_that_is_not_ours_to_write_can_be_read(copied):
    shown = copied.ok("log").text
    for path in sorted(copied.folder.rglob("*"), reverse=True):
        path.chmod(path.stat().st_mode & ~0o222)
    copied.folder.chmod(0o555)

    def bound(*arguments):
        """Run the command without the right of root to write what is read-only."""
        prefix = UNPRIVILEGED if os.geteuid() == 0 else []
        done = subprocess.run(
            [*prefix, ROS, *arguments], cwd=copied.folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    try:
        for reads in (["log"], ["show", "sma"], ["refs"], ["journal"], ["fsck"], ["stats"]):
            assert bound(*reads).returncode == 0, reads
        assert bound("log").stdout == shown
        cached = bound("run", "sma_crossover")
        assert (cached.returncode, "answered from the store" in cached.stdout) == (0, True)
        written = bound("run", "odd", "--param", "rate=7")
        assert written.returncode == 5
        assert len(written.stderr.splitlines()) == 1
        assert written.stderr.startswith("error: cannot write ")
    finally:
        copied.folder.chmod(0o755)
        for path in copied.folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
