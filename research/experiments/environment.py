"""The environment: what of the machine stands in a recipe.

Owns the list of what decides an outcome outside the code tree: the interpreter, the pinned
variables, and name, version and content of each distribution in the closure of the imports. What
is left out, and why, stands in ``docs/format.md`` section 3.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from research.context import interpreter, packages_path
from research.errors import BadInput
from research.experiments import in_place
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
# A compiler that may not change a bit: with it and without it, the kernel gives the same answer.
COMPILERS: Final = frozenset({"numba", "llvmlite"})
_OF_COMPILERS: Final = frozenset(
    {"yaml", "_yaml"}
)  # numba reads its settings with it, if it is there
_LEFT_OUT: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChange:
    """One part of an environment that differs; of two equal versions the content does."""

    name: str
    then: str | None
    now: str | None

    def told(self) -> str:
        """Write it in one line."""
        then, now = self.then or "absent", self.now or "absent"
        if then == now:
            return f"{self.name}: {then}, with other content"
        return f"{self.name}: {then} then, {now} now"


def describe(foreign: Iterable[str]) -> dict[str, Any]:
    """Describe the environment for code that imports these foreign top-level modules.

    Raises: BadInput if one is there and belongs to no distribution that could be named.
    """
    asked = sorted(set(foreign) - COMPILERS)
    providers = [name for module in asked for name in _providers(module)]
    return _described(_required(providers))


def describe_again(
    recorded: Mapping[str, Any], path: Sequence[str] | None = None
) -> dict[str, Any]:
    """Describe today's environment for code whose distributions were recorded.

    They are looked for on ``path``, which is our own if it is not given.
    """
    return _described(_found_again(recorded, path))


def unforeseen(
    recorded: Mapping[str, Any], loaded: Iterable[str], path: Sequence[str] | None = None
) -> list[str]:
    """Name the top-level modules that a child loaded and no recorded distribution provides."""
    names = tuple(recorded["distributions"])
    known = _known_modules(names, None if path is None else tuple(path))
    left = set(loaded) - known - COMPILERS
    return sorted(left - _OF_COMPILERS if "numba" in loaded else left)


def top_levels(recorded: Mapping[str, Any]) -> frozenset[str]:
    """Name the top-level modules that a run may load, of the recorded distributions."""
    return _known_modules(tuple(recorded["distributions"]), None) | COMPILERS


@functools.cache
def _known_modules(names: tuple[str, ...], path: tuple[str, ...] | None) -> frozenset[str]:
    """Read once for all runs of a process: numba's list of files is long."""
    found = filter(None, (_distribution(name, path) for name in names))
    return frozenset().union(*(_top_levels(each) for each in found))


def _found_again(recorded: Mapping[str, Any], path: Sequence[str] | None) -> Iterable[Distribution]:
    return filter(None, (_distribution(name, path) for name in recorded["distributions"]))


def _described(found: Iterable[Distribution]) -> dict[str, Any]:
    return {
        **interpreter(),
        "variables": dict(VARIABLES),
        "distributions": {
            _canonical(each.metadata["Name"]): {
                "version": each.version,
                "record_hash": record_hash_of(each),
            }
            for each in found
        },
    }


def changes(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> Iterator[PartChange]:
    """Name what differs between two environments, part by part; None where one is absent."""
    for key in ("python", "implementation", "system", "libc", "machine", "instructions"):
        if recorded.get(key) != present.get(key):
            yield PartChange(name=key, then=str(recorded.get(key)), now=str(present.get(key)))
    for part in ("variables", "distributions"):
        then, now = recorded.get(part, {}), present.get(part, {})
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                yield PartChange(name=name, then=_shown(then.get(name)), now=_shown(now.get(name)))


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Name what differs between two environments, one line each."""
    return [each.told() for each in changes(recorded, present)]


def record_hash_of(found: Distribution) -> str:
    """Return the hash of what is installed: the RECORD without what belongs to the machine.

    Of what is installed in place the hash is of the files as they are now.
    """
    if in_place.is_in_place(found):
        return _hash_in_place(found)
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


def _hash_in_place(found: Distribution) -> str:
    lines = []
    for name, path in in_place.modules_of(found).items():
        for each in in_place.files_of(path):
            digest = id_of(Kind.BLOB, each.read_bytes())
            lines.append(f"{name}/{each.relative_to(path).as_posix()},{digest}")
    return str(id_of(Kind.BLOB, "\n".join(sorted(lines)).encode()))


def _required(names: Iterable[str]) -> list[Distribution]:
    """Find these distributions, and all that they require and have installed."""
    waiting = list(names)
    found: dict[str, Distribution] = {}
    while waiting:
        name = _canonical(waiting.pop())
        if name in found or name == _OURS:
            continue
        each = _distribution(name)
        if each is None:
            continue
        found[name] = each
        for requirement in each.requires or []:
            match = _REQUIREMENT.match(requirement)
            # A requirement of an extra counts only if something else brings it in.
            if match and not re.search(r";.*\bextra\b", requirement):
                waiting.append(match[1])
    return [found[name] for name in sorted(found)]


def _distribution(name: str, path: Sequence[str] | None = None) -> Distribution | None:
    where = packages_path() if path is None else list(path)
    return next(iter(distributions(name=name, path=where)), None)


def _providers(module: str) -> list[str]:
    """Return the distributions that provide a top-level module.

    Raises: BadInput if it is importable and none does.
    """
    # Nearly always the distribution is called as its module, and asking it is cheap.
    named = _distribution(module)
    if named is not None and _holds_whole(named, module):
        return [module]
    # A namespace may have several.
    found = [
        each
        for each in distributions(path=packages_path())
        if module in _top_levels(each) or module in in_place.modules_of(each)
    ]
    if not found and find_spec(module) is not None:
        # It would run, and a change of it would go unseen: a stale answer in waiting.
        raise BadInput(
            f"module {module!r} is importable here, but no installed distribution lists it, so no"
            " fingerprint could hold it: put it beside the experiment, or install it as a package"
        )
    return sorted({str(each.metadata["Name"]) for each in found})


def _holds_whole(found: Distribution, module: str) -> bool:
    """Tell whether a distribution has the module itself, not a part of a namespace."""
    record = found.read_text("RECORD") or ""
    starts = (f"{module}/__init__.", f"{module}.")
    return any(line.startswith(starts) for line in record.splitlines())


def _top_levels(found: Distribution) -> set[str]:
    record = found.read_text("RECORD") or ""
    paths = (line.split(",", 1)[0] for line in record.splitlines())
    firsts = (path.split("/", 1)[0] for path in paths if not path.startswith((".", "/")))
    listed = (found.read_text("top_level.txt") or "").split()
    return {*listed, *(first.split(".", 1)[0] for first in firsts if ".dist-info" not in first)}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    return str(value["version"]) if isinstance(value, Mapping) else str(value)
