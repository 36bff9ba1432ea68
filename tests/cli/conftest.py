"""The command `ros` as a script meets it: its status and its two outputs.

In a process of its own where that matters; else in ours, which is ten times as fast.
"""

import errno
import fcntl
import io
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cli.app
import cli.context
from research.context import Context, create_experiment_context

ROS = Path(sys.executable).with_name("ros")
BROKEN = """\
from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="broken", parameters={"message": "it is broken"})


def run(spec, output_dir):
    raise ValueError(spec.parameters["message"])
"""
ODD = """\
from research import ExperimentSpec, save_table

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="odd",
    parameters={"rate": 0.1, "any": None, "label": "a", "flag": True, "list": [1.0, 2.0]},
)


def run(spec, output_dir):
    values = [1 / 3, float("nan"), float("inf"), -0.0]
    save_table(output_dir, "t", {"a": values, "w": ["a,b", "c", "", "d"]})
    (output_dir / "sub").mkdir()
    (output_dir / "sub" / "bytes.bin").write_bytes(bytes(range(256)))
    return {"third": 1 / 3, "nan": float("nan"), "up": float("inf"), "down": float("-inf"),
            "count": 3, "flag": True, "text": "é\\n"}
"""


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    status: int
    out: bytes
    error: str

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def document(self) -> Any:
        """Return the one JSON document that stands on standard output."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.text, parse_constant=refuse)

    def failed(self, status: int, *texts: str) -> None:
        """Check that it failed as the contract says: one error line, at most one hint."""
        assert self.status == status, (self.status, self.error)
        lines = self.error.splitlines()
        assert lines[0].startswith("error: "), self.error
        assert len(lines) <= 2, self.error
        assert all(line.startswith("hint: ") for line in lines[1:]), self.error
        assert "Traceback" not in self.error
        assert "defect" not in self.error
        for text in texts:
            assert text in self.error


@dataclass(frozen=True)
class Ros:
    """The command in a folder."""

    folder: Path
    variables: Mapping[str, str]

    def __call__(self, *arguments: str | Path, **variables: str) -> Done:
        done = subprocess.run(
            [ROS, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode("utf-8"))

    def inside(self, *arguments: str | Path) -> Done:
        """Run the command in this process."""
        contexts: list[Context] = []

        def create(*arguments: Any, **options: Any) -> Context:
            contexts.append(create_experiment_context(*arguments, **options))
            return contexts[-1]

        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe"]
        handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["ros", *map(os.fspath, arguments)])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            patch.setattr(cli.context, "create_experiment_context", create)
            cli.context.terminal.cache_clear()
            status: object = None
            try:
                cli.app.main()
            except SystemExit as leaving:
                status = leaving.code
        cli.context.terminal.cache_clear()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for context in contexts:
            context.store.close()
        out, error = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
        assert isinstance(status, int)
        return Done(status, out, error.decode("utf-8"))

    def ok(self, *arguments: str | Path, **variables: str) -> Done:
        done = self(*arguments, **variables)
        assert done.status == 0, done.error
        return done

    def json(self, *arguments: str | Path, **variables: str) -> Any:
        """Return a command's document; its messages go elsewhere."""
        if variables:
            return self.ok(*arguments, "--json", **variables).document
        done = self.inside(*arguments, "--json")
        assert done.status == 0, done.error
        return done.document

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen:
        return subprocess.Popen(
            [ROS, *arguments],
            cwd=self.folder,
            # What is killed clears nothing away.
            env={**os.environ, **self.variables, "TMPDIR": str(self.folder.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the experiments."""
        path = self.folder / "research" / "experiments" / name
        path.write_text(text, "utf-8")
        return path


def make(folder: Path) -> Ros:
    folder.mkdir()
    ros = Ros(folder, {})
    ros.inside("init")
    ros.write("broken.py", BROKEN)
    ros.write("odd.py", ODD)
    return ros


@pytest.fixture(scope="session")
def at() -> Callable[[Path], Ros]:
    """Give a function that starts the command in any folder."""
    return lambda folder: Ros(folder, {})


@pytest.fixture
def ros(tmp_path: Path) -> Ros:
    """Give the command in a new workspace."""
    return make(tmp_path / "workspace")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Ros:
    """Give the command in a workspace that nobody changes.

    Its runs, oldest first: ``sma``, ``fast``, ``gamma``, ``odd``, and one that failed.
    """
    ros = make(tmp_path_factory.mktemp("finished") / "workspace")
    for arguments in (
        ("run", "sma_crossover", "--name", "sma"),
        ("run", "sma_crossover", "--param", "fast=10", "--name", "fast"),
        ("run", "gamma_signal_sanity", "--name", "gamma"),
        ("run", "odd", "--name", "odd"),
        ("replay", "gamma"),
    ):
        assert ros.inside(*arguments).status == 0
    assert ros.inside("run", "broken").status == 4
    return ros


@pytest.fixture(scope="module")
def spoiled(finished: Ros, tmp_path_factory: pytest.TempPathFactory) -> Ros:
    """Give a copy of the finished workspace in which a module's tests may leave failed runs."""
    folder = tmp_path_factory.mktemp("spoiled") / "workspace"
    shutil.copytree(finished.folder, folder)
    return Ros(folder, {})


@pytest.fixture
def copied(finished: Ros, tmp_path: Path) -> Ros:
    """Give a copy of the finished workspace, to be changed."""
    shutil.copytree(finished.folder, tmp_path / "copied")
    return Ros(tmp_path / "copied", {})


@pytest.fixture(scope="session")
def on_terminal() -> Callable[..., str]:
    """Give a function that runs the command on a terminal, and returns what appears there."""
    return run_on_terminal


def run_on_terminal(folder: Path, width: int, *arguments: str, **variables: str) -> str:
    """Run the command on a terminal of some width; return what appears there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("TERM", "NO_COLOR")}
    process = subprocess.Popen(
        [ROS, *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color", **variables},
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError as error:  # the other side is closed
            assert error.errno == errno.EIO
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait() == 0
    return b"".join(parts).decode("utf-8").replace("\r\n", "\n")
