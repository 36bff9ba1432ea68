"""A replay in the recorded versions: rebuilt from a folder of wheels, without a network."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import research
from research.errors import BadInput
from research.experiments import rebuilt_environment
from research.experiments.rebuilt_environment import NotRebuilt, Rebuilding, choose_tool, rebuild

ROOT = Path(research.__file__).parents[1]
USES = """\
import tiny_prices
from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="uses")


def run(spec, output_dir):
    return {"price": tiny_prices.PRICE}
"""

pytestmark = pytest.mark.skipif(
    find_spec("pip") is None or sys.prefix == sys.base_prefix,
    reason="builds environments with pip and venv",
)


def wheel_of(folder: Path, version: str, price: float) -> Path:
    """Make a wheel that differs from another by its version and one figure."""
    info = f"tiny_prices-{version}.dist-info"
    files = {
        "tiny_prices.py": f"PRICE = {price}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-prices\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        lines.append(f"{name},sha256={digest.rstrip('=')},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"])
    path = folder / f"tiny_prices-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


class Installation:
    """Research OS in an environment of its own, with one version of the distribution."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        made = [sys.executable, "-m", "venv", "--without-pip", str(folder / "env")]
        subprocess.run(made, check=True, capture_output=True)
        self.python = folder / "env" / "bin" / "python"
        (self.packages,) = (folder / "env" / "lib").glob("python*/site-packages")
        others = [entry for entry in sys.path if entry.endswith("-packages")]
        (self.packages / "others.pth").write_text("\n".join([str(ROOT), *others]))
        (folder / "workspace").mkdir()
        self.ros("init")
        (folder / "workspace" / "research" / "experiments" / "uses.py").write_text(USES)

    def install(self, version: str, price: float) -> None:
        """Put a version in the place of the one that was there."""
        for old in self.packages.glob("tiny_prices-*"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        with zipfile.ZipFile(wheel_of(self.wheels, version, price)) as wheel:
            wheel.extractall(self.packages)

    def ros(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.python, "-c", "from cli.app import main; main()", *arguments],
            cwd=self.folder / "workspace",
            env={**os.environ, "ROS_CACHE_DIR": str(self.folder / "cache"), "PIP_NO_INDEX": "1",
                 "PIP_CONFIG_FILE": os.devnull, **variables},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Give an installation in which a run was made with version 1.0, and 2.0 is there now."""
    made = Installation(tmp_path_factory.mktemp("installed"))
    made.install("1.0", 99.5)
    done = made.ros("run", "uses", "--name", "old")
    assert done.returncode == 0, done.stderr
    made.install("2.0", 101.5)
    return made


def document(done):
    return json.loads(done.stdout)


def test_todays_version_diverges_and_is_named(installed):
    done = installed.ros("replay", "old", "--json")

    assert done.returncode == 1, done.stderr
    found = document(done)
    assert found["verdict"] == "diverged"
    assert found["drift"] == ["tiny-prices: 1.0 then, 2.0 now"]
    assert found["divergence"]["causes"] == found["drift"]
    assert (found["divergence"]["expected"], found["divergence"]["actual"]) == (99.5, 101.5)
    assert found["rebuilt"] is False


def test_the_recorded_version_is_identical(installed):
    arguments = ("replay", "old", "--rebuild-env", "--find-links", str(installed.wheels), "--json")

    first, again = installed.ros(*arguments), installed.ros(*arguments)

    for done in (first, again):
        assert done.returncode == 0, done.stderr
        found = document(done)
        assert (found["verdict"], found["rebuilt"], found["drift"]) == ("identical", True, [])
    assert "building an environment of" in first.stderr
    assert again.stderr == ""
    (built,) = (installed.folder / "cache" / "environments").iterdir()
    assert not built.is_relative_to(installed.folder / "workspace")
    assert installed.ros("fsck").returncode == 0


def test_a_version_that_is_not_to_be_had_is_one_line(installed):
    done = installed.ros(
        "replay", "old", "--rebuild-env", ROS_CACHE_DIR=str(installed.folder / "empty")
    )

    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(
        "error: the recorded environment cannot be rebuilt: tiny-prices==1.0: "
    )
    assert "Traceback" not in done.stderr
    assert list((installed.folder / "empty" / "environments").iterdir()) == []


def test_what_was_changed_under_the_same_version_is_told(installed):
    """A wheel of the same version with other content: the versions agree, the drift does not."""
    other = installed.folder / "other"
    other.mkdir()
    wheel_of(other, "1.0", 98.5)

    done = installed.ros(
        "replay", "old", "--rebuild-env", "--find-links", str(other), "--json",
        ROS_CACHE_DIR=str(installed.folder / "second"),
    )  # fmt: skip

    found = document(done)
    assert (found["verdict"], found["rebuilt"]) == ("diverged", True)
    assert found["drift"] == ["tiny-prices: 1.0, with other content"]
    assert found["divergence"]["causes"] == found["drift"]


def test_what_is_here_as_recorded_needs_no_index(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    bench.experiment("arrays", "return {'v': yaml.__version__}", head="import yaml")
    recorded = bench.run("arrays").manifest.recipe.fields["environment"]

    built = rebuild(recorded, Rebuilding(tool="pip"), bench.context.say)

    assert built.described["distributions"] == recorded["distributions"]
    assert built.interpreter.executable != sys.executable
    done = subprocess.run(
        [built.interpreter.executable, "-c", "import yaml; print(yaml.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path / "cache"))


def test_a_python_that_is_not_here_is_named(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_CACHE_DIR", str(tmp_path / "cache"))
    recorded = {
        "python": "3.2.99",
        "implementation": "cpython",
        "variables": {},
        "distributions": {},
    }

    with pytest.raises(NotRebuilt, match=r"Python 3\.2\.99"):
        rebuild(recorded, Rebuilding(tool="pip"), bench.context.say)


def test_a_tool_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(rebuilt_environment, "_is_there", lambda tool: tool == "pip")
    assert choose_tool(None) == "pip"
    with pytest.raises(BadInput, match="uv is not there"):
        choose_tool("uv")
    monkeypatch.setattr(rebuilt_environment, "_is_there", lambda tool: False)
    with pytest.raises(BadInput, match="neither uv nor pip"):
        choose_tool(None)
