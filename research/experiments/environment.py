"""The environment: what of the machine stands in a recipe.

Owns the list of what decides an outcome outside the code tree: the interpreter, the pinned
variables, and name, version and content of each distribution in the closure of the imports. What
is left out, and why, stands in ``docs/format.md`` section 3.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from research.context import interpreter
from rosdb import Kind, id_of

# The child gets these and no others, besides HOME and TMPDIR inside its folder.
VARIABLES: Final[Mapping[str, str]] = {
    "LC_ALL": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
    "TZ": "UTC",
}

# Our own distribution is the code tree's business, not the environment's.
_OURS: Final = "research-os"
_REQUIREMENT: Final = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_LEFT_OUT: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def describe(foreign: Iterable[str]) -> dict[str, Any]:
    """Describe the environment for code that imports these foreign top-level modules."""
    providers = [name for module in sorted(foreign) for name in _providers(module)]
    return _described(_required(providers))


def describe_again(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Describe today's environment for code whose distributions were recorded."""
    found = []
    for name in recorded["distributions"]:
        try:
            found.append(distribution(name))
        except PackageNotFoundError:
            continue
    return _described(found)


def _described(found: Iterable[Distribution]) -> dict[str, Any]:
    return {
        **interpreter(),
        "variables": dict(VARIABLES),
        "distributions": {
            _canonical(each.metadata["Name"]): {
                "version": each.version,
                "content": content_of(each),
            }
            for each in found
        },
    }


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Name what differs between two environments, one line each."""
    lines = []
    for key in ("python", "implementation", "system", "machine"):
        if recorded.get(key) != present.get(key):
            lines.append(f"{key}: {recorded.get(key)} then, {present.get(key)} now")
    for part in ("variables", "distributions"):
        then, now = recorded.get(part, {}), present.get(part, {})
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                before, after = _shown(then.get(name)), _shown(now.get(name))
                if before == after:
                    lines.append(f"{name}: {before}, with other content")
                else:
                    lines.append(f"{name}: {before} then, {after} now")
    return lines


def content_of(found: Distribution) -> str:
    """Return the hash of what is installed: the RECORD without what belongs to the machine."""
    record = found.read_text("RECORD")
    if record is None:
        return _content_of_files(found)
    kept = []
    for line in record.splitlines():
        path = line.rsplit(",", 2)[0].strip('"')
        if path.endswith(".pyc") or path.startswith(("..", "/")):
            continue
        if ".dist-info/" in path and path.rsplit("/", 1)[-1] in _LEFT_OUT:
            continue
        kept.append(line)
    text = "\n".join(sorted(kept))
    return str(id_of(Kind.BLOB, text.encode()))


def _content_of_files(found: Distribution) -> str:
    """Hash the files of a distribution without a RECORD (one installed by the system)."""
    lines = []
    for name in _top_levels(found):
        root = Path(str(found.locate_file(name)))
        paths = sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]
        for path in paths:
            if path.is_file():
                digest = id_of(Kind.BLOB, path.read_bytes())
                lines.append(f"{path.relative_to(root.parent).as_posix()},{digest}")
    return str(id_of(Kind.BLOB, "\n".join(lines).encode()))


def _required(names: Iterable[str]) -> list[Distribution]:
    """Find these distributions, and all that they require and have installed."""
    waiting = list(names)
    found: dict[str, Distribution] = {}
    while waiting:
        name = _canonical(waiting.pop())
        if name in found or name == _OURS:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for requirement in found[name].requires or []:
            match = _REQUIREMENT.match(requirement)
            # A requirement of an extra counts only if something else brings it in.
            if match and not re.search(r";.*\bextra\b", requirement):
                waiting.append(match[1])
    return [found[name] for name in sorted(found)]


def _providers(module: str) -> list[str]:
    """Return the distributions that provide a top-level module."""
    try:
        # Nearly always the distribution is called as its module, and asking it is cheap.
        if module in _top_levels(distribution(module)):
            return [module]
    except PackageNotFoundError:
        pass
    from importlib.metadata import packages_distributions

    return sorted(set(packages_distributions().get(module, ())))


def _top_levels(found: Distribution) -> set[str]:
    text = found.read_text("top_level.txt")
    if text is not None:
        return set(text.split())
    record = found.read_text("RECORD") or ""
    return {
        line.split("/", 1)[0].split(",", 1)[0].removesuffix(".py")
        for line in record.splitlines()
        if not line.startswith("..") and ".dist-info/" not in line.split(",", 1)[0]
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return str(value["version"]) if isinstance(value, Mapping) else str(value)
