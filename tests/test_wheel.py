"""The wheel works by itself, in an environment that holds nothing but it and what it requires.

Nothing is downloaded: the requirements are copied, file by file as their RECORDs list them, out of
the environment that runs the tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def requirements(name, seen=None):
    """List a distribution's requirements that are here, without extras, all the way down.

    One that is not here belongs to another system; were it not so, the commands below would fail.
    """
    seen = set() if seen is None else seen
    for text in distribution(name).requires or []:
        required = re.split(r"[^A-Za-z0-9._-]", text)[0]
        if "extra ==" in text or required in seen:
            continue
        try:
            distribution(required)
        except PackageNotFoundError:
            continue
        seen.add(required)
        requirements(required, seen)
    return seen


def copy_distribution(name, target):
    found = distribution(name)
    for file in found.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            path = target / file
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), path)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Build the wheel and install it with its requirements into an empty environment."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder,
         folder / "source"],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for name in requirements("research-os"):
        copy_distribution(name, packages)
    subprocess.run(
        [*pip, "--python", python, "install", "--no-index", "--no-deps", wheel], check=True
    )
    return folder / "venv" / "bin"


def ros(environment, folder, *arguments):
    done = subprocess.run(
        [environment / "ros", *arguments],
        cwd=folder,
        env={"PATH": f"{environment}:/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_works_in_an_empty_folder(environment, tmp_path):
    ros(environment, tmp_path, "init")
    ran = json.loads(ros(environment, tmp_path, "run", "sma_crossover", "--json"))
    replayed = json.loads(ros(environment, tmp_path, "replay", "@", "--json"))

    assert ran["dataset"] == "sp500-daily@1999-2018"
    assert replayed["verdict"] == "identical"


def test_wheel_runs_the_example_and_the_synthetic_experiment(environment, tmp_path):
    ros(environment, tmp_path, "init")

    for experiment in ("momentum_example", "gamma_signal_sanity"):
        assert json.loads(ros(environment, tmp_path, "run", experiment, "--json"))["metrics"]


def test_wheel_and_checkout_ask_the_same_question(environment, tmp_path):
    ros(environment, tmp_path, "init")
    installed = json.loads(ros(environment, tmp_path, "run", "sma_crossover", "--json"))
    (tmp_path / "other").mkdir()
    checkout = Path(sys.executable).parent
    ros(checkout, tmp_path / "other", "init")
    here = json.loads(ros(checkout, tmp_path / "other", "run", "sma_crossover", "--json"))

    assert here["fingerprint"] == installed["fingerprint"]
    assert here["outcome"] == installed["outcome"]


def test_wheel_holds_its_data_and_types(environment):
    (packages,) = (environment.parent / "lib").glob("python*/site-packages")

    assert (packages / "research/datasets/sp500-daily/1999-2018/manifest.json").is_file()
    assert (packages / "research/datasets/sp500-daily/1999-2018/LICENSE.txt").is_file()
    assert (packages / "research/experiments/child/brokers.txt").is_file()
    for package in ("rosdb", "research", "cli"):
        assert (packages / package / "py.typed").is_file()
    assert not (packages / "tests").exists()
    assert os.listdir(packages / "research" / "experiments" / "builtin")
