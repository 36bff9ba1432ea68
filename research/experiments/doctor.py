"""The doctor: what this machine can do, before anybody relies on it.

Owns the findings that ``ros doctor`` shows: the walls around a child, the interpreter and its
packages, the compiled parts, and whether the store opens. It changes nothing, and re-hashes
nothing: ``ros fsck`` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from research.context import Context, interpreter
from research.experiments.options import read_options
from research.experiments.sandbox import LEVELS, PARTS, Machine, Wanted, look
from rosdb import errors

# What the store and the command line stand on, then what is optional.
PACKAGES: Final = (
    "research-os",
    "blake3",
    "msgpack",
    "numpy",
    "pyfastcdc",
    "PyYAML",
    "rich",
    "typer",
    "zstandard",
)
OPTIONAL: Final = ("numba", "pandas", "polars", "pyarrow", "ray", "raptorbt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is there or not, and why not."""

    name: str
    is_there: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreGlance:
    """A store as it looks without reading its objects; ``error`` says why it does not open."""

    path: str
    runs: int | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a machine can do; ``level`` is what a run here will reach."""

    level: str
    wanted: Wanted
    parts: tuple[Finding, ...]
    interpreter: dict[str, str]
    packages: dict[str, str | None]
    has_numba: bool
    has_native_chunker: bool
    store: StoreGlance | None

    @property
    def is_well(self) -> bool:
        """Whether runs can start here, and the store opens."""
        is_enough = self.wanted != "required" or LEVELS.index(self.level) >= LEVELS.index(
            "landlock"
        )
        return is_enough and (self.store is None or not self.store.error)


def examine(context: Context | None) -> Diagnosis:
    """Look at the machine, and at the store where there is a workspace.

    Raises: BadInput if the workspace's options cannot be read.
    """
    wanted: Wanted = "best" if context is None else read_options(context.workspace).sandbox
    machine = look()
    return Diagnosis(
        level="hook" if wanted == "hook" else machine.level,
        wanted=wanted,
        parts=tuple(_parts(machine)),
        interpreter=dict(interpreter()),
        packages={name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        has_numba=find_spec("numba") is not None,
        has_native_chunker=find_spec("pyfastcdc.cy.fastcdc") is not None,
        store=None if context is None else _glance(context),
    )


def _parts(machine: Machine) -> Iterator[Finding]:
    yield Finding(name="hook", is_there=True)
    if machine.level == "sandbox-exec":
        yield Finding(name="sandbox-exec", is_there=True)
        return
    for name in PARTS:
        is_there = name in machine.parts
        reason = "" if is_there else _reason(machine, name)
        yield Finding(name=name, is_there=is_there, reason=reason)


def _reason(machine: Machine, name: str) -> str:
    """Say why a part is not there: the kernel's word on it, or on the whole that it belongs to."""
    whole = name.partition(":")[0]
    for key in (name, whole, "kernel", "probe"):
        if key in machine.absent:
            return machine.absent[key]
    if name == "namespaces:user":
        return "not needed: root has the others without it"
    if whole in {part.partition(":")[0] for part in machine.parts}:
        return "this kernel's version has no such part"
    return "not tried"


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _glance(context: Context) -> StoreGlance:
    """Open the store: its settings, its journal's chain where it was not yet read, its refs."""
    try:
        context.store.settings  # noqa: B018
        runs = sum(1 for _ in context.store.refs("runs/"))
    except errors.StoreError as error:
        return StoreGlance(path=str(context.store.path), runs=None, error=str(error))
    return StoreGlance(path=str(context.store.path), runs=runs, error="")
