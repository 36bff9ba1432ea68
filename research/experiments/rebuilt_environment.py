"""A rebuilt environment: the recorded versions, installed where a replay can use them.

Owns the virtual environments below the cache folder, one for each set of recorded distributions.
What is installed here as it was recorded is copied; the rest is installed by uv or pip, which ask
an index, or the folders that they are told of. Nothing of it touches our own environment.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from research.context import cache_folder, packages_path
from research.errors import BadInput, NotThere
from research.experiments import environment, in_place
from research.experiments.conditions import Interpreter
from rosdb import Kind, id_of

Tool = Literal["uv", "pip"]
TOOLS: Final[tuple[Tool, ...]] = ("uv", "pip")

_ASK: Final = (
    "import json, site, sys; print(json.dumps({'prefix': sys.prefix, 'base': sys.base_prefix,"
    " 'packages': site.getsitepackages(), 'implementation': sys.implementation.name,"
    " 'python': '.'.join(map(str, sys.version_info[:3]))}))"
)
_SHARED_PREFIXES: Final = frozenset({"/", "/usr", "/usr/local"})
_REASON_CHARACTERS: Final = 300


class NotRebuilt(NotThere):
    """A part of the recorded environment cannot be had here."""

    template = "the recorded environment cannot be rebuilt: {what}: {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilding:
    """With what it is rebuilt: a tool (the first that is there), and folders of wheels."""

    tool: Tool | None = None
    find_links: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """An environment that was rebuilt: its interpreter, and its description as in a recipe."""

    interpreter: Interpreter
    described: Mapping[str, Any]


def rebuild(
    recorded: Mapping[str, Any], rebuilding: Rebuilding, say: Callable[[str], None]
) -> Rebuilt:
    """Give an environment with the recorded versions, built now or earlier.

    Raises: NotRebuilt; BadInput if the tool is not there.
    """
    wanted = {name: each["version"] for name, each in recorded["distributions"].items()}
    key = id_of(Kind.BLOB, json.dumps([recorded["python"], recorded["distributions"]]).encode())
    folder = cache_folder() / "environments" / str(key)[:32]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        say(f"building an environment of {len(wanted)} distributions in {folder}")
        _build(folder, recorded, rebuilding)
    return _describe(folder, recorded)


def choose_tool(asked: Tool | None) -> Tool:
    """Return the tool that is used: the one that was asked for, else the first that is there.

    Raises: BadInput.
    """
    there = [tool for tool in TOOLS if _is_there(tool)]
    if asked is not None and asked not in there:
        raise BadInput(f"{asked} is not there to rebuild an environment with")
    if not there:
        raise BadInput("neither uv nor pip is there to rebuild an environment with")
    return asked or there[0]


def _is_there(tool: Tool) -> bool:
    return shutil.which("uv") is not None if tool == "uv" else find_spec("pip") is not None


def _build(folder: Path, recorded: Mapping[str, Any], rebuilding: Rebuilding) -> None:
    """Build it beside its place, and move it there when it is whole."""
    tool = choose_tool(rebuilding.tool)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as building:
        made = Path(building) / "environment"
        _make(made, str(recorded["python"]), tool)
        (packages,) = _ask(made)["packages"][:1]
        missing = []
        for name, each in recorded["distributions"].items():
            found = next(iter(distributions(name=name, path=packages_path())), None)
            if not _copied(found, each, Path(packages)):
                missing.append(f"{name}=={each['version']}")
        for requirement in missing:
            _install(made, requirement, tool, rebuilding.find_links)
        with contextlib.suppress(OSError):  # somebody else was faster: his is as good
            made.rename(folder)


def _make(folder: Path, python: str, tool: Tool) -> None:
    """Make an empty environment of the recorded Python."""
    if tool == "uv":
        command = ["uv", "venv", "--quiet", "--no-config", "--python", python, str(folder)]
    else:
        base = _find_python(python)
        command = [base, "-m", "venv", "--without-pip", str(folder)]
    _run(command, f"Python {python}")


def _find_python(version: str) -> str:
    """Find an interpreter of exactly this version.

    Raises: NotRebuilt.
    """
    minor = ".".join(version.split(".")[:2])
    for candidate in (sys.executable, shutil.which(f"python{minor}")):
        if candidate is not None and _version_of(candidate) == version:
            return candidate
    raise NotRebuilt(f"Python {version}", f"it is not here (this is {_version_of(sys.executable)})")


def _version_of(python: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", _ASK], capture_output=True, encoding="utf-8", check=False
    )
    return str(json.loads(done.stdout)["python"]) if done.returncode == 0 else ""


def _copied(found: Distribution | None, recorded: Mapping[str, str], packages: Path) -> bool:
    """Copy a distribution that is here as it was recorded; return whether it is."""
    if found is None or found.version != recorded["version"] or in_place.is_in_place(found):
        return False
    if environment.record_hash_of(found) != recorded["record_hash"] or not found.files:
        return False
    for file in found.files:
        source = Path(str(found.locate_file(file)))
        is_inside = ".." not in file.parts and not file.is_absolute()
        if is_inside and file.suffix != ".pyc" and source.is_file():
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return True


def _install(folder: Path, requirement: str, tool: Tool, find_links: Sequence[Path]) -> None:
    """Install one distribution without what it requires: that is in the list itself."""
    python = str(folder / "bin" / "python")
    links = [part for each in find_links for part in ("--find-links", str(each.absolute()))]
    if tool == "uv":
        command = ["uv", "pip", "install", "--quiet", "--no-config", "--python", python]
    else:
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input", "--retries", "1"]
    _run([*command, "--no-deps", *links, requirement], requirement)


def _run(command: Sequence[str], what: str) -> None:
    """Run a tool; what it says last of a failure is the reason.

    Raises: NotRebuilt.
    """
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        told = next((line for line in reversed(said) if "rror" in line), said[-1] if said else "")
        raise NotRebuilt(what, told[:_REASON_CHARACTERS] or f"{command[0]} failed")


def _ask(folder: Path) -> dict[str, Any]:
    """Ask an environment's interpreter what it is."""
    done = subprocess.run(
        [str(folder / "bin" / "python"), "-I", "-c", _ASK],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise NotRebuilt(str(folder), "its interpreter does not start: remove the folder")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _describe(folder: Path, recorded: Mapping[str, Any]) -> Rebuilt:
    asked = _ask(folder)
    prefixes = {str(asked["prefix"]), str(asked["base"])} - _SHARED_PREFIXES
    interpreter = Interpreter(
        executable=str(folder / "bin" / "python"),
        readable=tuple(sorted(prefixes)),
        packages=tuple(asked["packages"]),
    )
    described = {
        **environment.describe_again(recorded, interpreter.packages),
        "python": asked["python"],
        "implementation": asked["implementation"],
        "variables": dict(recorded["variables"]),
    }
    return Rebuilt(interpreter=interpreter, described=described)
