"""Where a workspace is found, and what of the occasion a run records."""

import os
import shutil
import subprocess

import pytest

from research import create_experiment_context, workspace
from research.errors import WorkspaceMissing
from rosdb import errors


def test_a_workspace_is_found_by_walking_up(bench, monkeypatch):
    inside = bench.folder / "a" / "b"
    inside.mkdir(parents=True)

    assert create_experiment_context(inside).workspace == bench.folder
    monkeypatch.chdir(inside)
    assert create_experiment_context().workspace == bench.folder


def test_without_one_it_is_missing(tmp_path):
    with pytest.raises(WorkspaceMissing, match="at or above"):
        create_experiment_context(tmp_path)


@pytest.mark.parametrize("which", ["store", "folder"])
def test_ros_dir_names_the_store_and_so_the_workspace(bench, tmp_path, monkeypatch, which):
    monkeypatch.setenv("ROS_DIR", str(bench.store.path if which == "store" else bench.folder))

    found = create_experiment_context(tmp_path)

    assert found.workspace == bench.folder
    assert found.store.path == bench.store.path
    monkeypatch.setenv("ROS_DIR", str(tmp_path / "nothing"))
    with pytest.raises(errors.NotAStore):
        create_experiment_context(bench.folder)


def test_the_agent_is_recorded(bench, monkeypatch):
    monkeypatch.setenv("ROS_AGENT", "somebody")
    bench.experiment("one")
    context = create_experiment_context(bench.folder)

    manifest = type(bench)(context).run("one").manifest

    fields = manifest.run.fields
    assert fields["agent"] == "somebody"
    assert f"{fields['user']}@{fields['host']}" == bench.store.who
    assert fields["process_id"] == os.getpid()
    assert fields["kind"] == "run"


@pytest.mark.skipif(shutil.which("git") is None, reason="asks git")
def test_the_commit_is_recorded_and_whether_it_is_the_code(bench):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(
            ["git", *identity, *arguments], cwd=bench.folder, check=True, capture_output=True
        )

    assert bench.context.git() is None
    git("init", "-q", "-b", "näh")
    assert bench.context.git() == {"commit": None, "branch": "näh", "dirty": True}
    git("add", "-A")
    git("commit", "-qm", "first")

    clean = bench.context.git()
    (bench.folder / "a").write_text("1")
    dirty = bench.context.git()

    assert len(clean["commit"]) == 40
    assert (clean["branch"], clean["dirty"], dirty["dirty"]) == ("näh", False, True)
    assert bench.run("gamma_signal_sanity").manifest.run.fields["git"] == dirty
    # The store ignores itself.
    git("add", "-A")
    staged = subprocess.run(
        ["git", "ls-files"], cwd=bench.folder, check=True, capture_output=True, text=True
    )
    assert ".ros" not in staged.stdout


def test_a_broken_git_is_no_reason_to_fail(bench, monkeypatch):
    (bench.folder / ".git").write_text("garbage")

    assert bench.context.git() is None
    monkeypatch.setenv("PATH", "/nothing")
    assert bench.run("gamma_signal_sanity").manifest.run.fields["git"] is None


def test_a_workspace_is_made_once(tmp_path):
    first = workspace.init(tmp_path, bare=False)
    example = tmp_path / "research" / "experiments" / "momentum_example.py"
    example.write_text("mine")

    second = workspace.init(tmp_path, bare=False)

    assert (first.is_new, second.is_new) == (True, False)
    assert example.read_text() == "mine"
    for name in workspace.FOLDERS:
        assert (tmp_path / name).is_dir()


def test_an_example_that_is_there_is_kept(tmp_path):
    folder = tmp_path / "research" / "experiments"
    folder.mkdir(parents=True)
    (folder / "momentum_example.py").write_text("mine")

    workspace.init(tmp_path, bare=False)

    assert (folder / "momentum_example.py").read_text() == "mine"


def test_a_bare_one_is_the_store_alone(tmp_path):
    workspace.init(tmp_path / "new", bare=True)

    assert os.listdir(tmp_path / "new") == [".ros"]


def test_what_cannot_be_a_workspace_leaves_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        workspace.init(tmp_path / "file", bare=True)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "research").write_text("in the way")
    with pytest.raises(OSError, match="research"):
        workspace.init(tmp_path / "half", bare=False)

    # It can be mended and made: it does not say that it is one already.
    (tmp_path / "half" / "research").unlink()
    assert workspace.init(tmp_path / "half", bare=False).is_new
