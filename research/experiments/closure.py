"""The import closure: which code decides an experiment's outcome.

Owns the static walk over imports (Law 8): modules of the workspace, of ``research`` and of the
package that an experiment comes from are taken in as files, packages installed in place and data
files that are read through a package too; everything else is the interpreter's or a distribution's,
and is named. What a file imports, ``imports`` reads; what data it reads, ``data_files``; a computed
name cannot be seen and has to be declared in the spec (``include``).

``from research import X`` takes in the module that defines X, not the facade. The tree gets a
facade of its own that maps just the names this closure uses.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import research
from research.errors import BrokenExperiment, ForbiddenImport
from research.experiments import in_place
from research.experiments.data_files import DataFiles
from research.experiments.imports import Import, Source, exported, imports, read_source
from research.experiments.registry import Registration

FACADE: Final = "research"
FACADE_PATH: Final = "research/__init__.py"
# Ours, but never part of an experiment: the store, the command line, what runs experiments.
OUTSIDE: Final = ("rosdb", "cli")
BROKERS_FILE: Final = Path(__file__).parent / "child" / "brokers.txt"

_RESEARCH_ROOT: Final = Path(research.__file__).parents[1]
_NEVER_INSIDE: Final = ("research.promotion", "research.datasets", "research.context")


@dataclass(slots=True, kw_only=True)
class Closure:
    """Files by the path that they have in the code tree, the facade's text, and what is foreign."""

    files: dict[str, Path] = field(default_factory=dict)
    facade: str = ""
    foreign: set[str] = field(default_factory=set)


def collect(
    registration: Registration, include: Sequence[str] = (), forbidden: Iterable[str] = ()
) -> Closure:
    """Collect the closure of an experiment's module, imported from its root.

    ``forbidden`` is what the workspace adds to the list of brokers.

    Raises: BrokenExperiment if a file cannot be read, ForbiddenImport if a broker is imported.
    """
    return _Collector(registration, brokers(forbidden)).collect(include)


def brokers(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the modules that research code may not import: the list, and what a workspace adds."""
    lines = BROKERS_FILE.read_text("utf-8").splitlines()
    names = (line.partition("#")[0].strip() for line in lines)
    return frozenset(filter(None, names)) | frozenset(more)


def is_forbidden(module: str, forbidden: frozenset[str]) -> bool:
    """Tell whether a module, or a package that it is in, is on the list."""
    parts = module.split(".")
    return any(".".join(parts[:n]) in forbidden for n in range(1, len(parts) + 1))


class _Collector:
    """One walk: modules waiting to be read, files found, names taken from the facade."""

    def __init__(self, registration: Registration, forbidden: frozenset[str]) -> None:
        self._experiment_id = registration.experiment_id
        self._entry = registration.module
        self._root = registration.root
        # A workspace's folder is ours as a whole; of an installed package's folder, which is
        # site-packages, only the package that the experiment belongs to.
        is_workspace = registration.origin == "workspace"
        self._own_tops = None if is_workspace else {registration.module.partition(".")[0]}
        self._closure = Closure()
        self._facade_names: dict[str, str] = {}
        self._uses_facade = False
        self._seen: set[str] = set()
        self._brokers = forbidden
        self._in_place: dict[str, Path | None] = {}

    def collect(self, include: Sequence[str]) -> Closure:
        self._add_module(self._entry)
        if self._entry not in self._seen:
            raise BrokenExperiment(self._experiment_id, f"module {self._entry} is not there")
        for name in include:
            self._add_included(name)
        if self._uses_facade or any(p.startswith("research/") for p in self._closure.files):
            self._closure.facade = _facade_text(self._facade_names)
        self._closure.foreign -= set(sys.stdlib_module_names)
        return self._closure

    def _add_module(self, module: str) -> bool:
        """Take in a module and its parent packages, if it is ours; tell whether it is."""
        found = self._locate(module)
        if found is None:
            return False
        if module in self._seen:
            return True
        self._seen.add(module)
        parent = module.rpartition(".")[0]
        if parent and parent != FACADE:
            self._add_module(parent)
        relative, path = found
        if path is None:
            # A folder without __init__: nothing to read, and a distribution of its name goes first.
            self._closure.foreign.add(module.partition(".")[0])
            return True
        self._closure.files[relative] = path
        package = module if path.name == "__init__.py" else parent
        source = read_source(self._experiment_id, path, package)
        for imported in imports(source, FACADE):
            self._follow(imported, path)
        root = path.parents[relative.count("/")]
        self._add_data(source, root)
        return True

    def _add_data(self, source: Source, root: Path) -> None:
        """Take in the files that a module reads through its package."""
        found = DataFiles(source, self._place)
        for package in sorted(found.packages):
            self._add_module(package)
        for path in found.files:
            if path.is_relative_to(root) and path.resolve().is_relative_to(root.resolve()):
                self._closure.files.setdefault(path.relative_to(root).as_posix(), path)

    def _place(self, module: str) -> Path | None:
        """Return the file of a module of ours; the folder of a package without one."""
        found = self._locate(module)
        if found is None or found[1] is not None:
            return None if found is None else found[1]
        return self._root.joinpath(*module.split("."))

    def _follow(self, imported: Import, path: Path) -> None:
        top = imported.module.partition(".")[0]
        for name in (imported.module, *(f"{imported.module}.{n}" for n in imported.names)):
            if is_forbidden(name, self._brokers):
                raise ForbiddenImport(name, f"{path.name}, line {imported.line}")
        if not top:
            raise BrokenExperiment(
                self._experiment_id,
                f"{path.name}, line {imported.line}: a relative import out of the experiments",
            )
        if top in OUTSIDE or imported.module.startswith(_NEVER_INSIDE):
            self._refuse_outside(imported.module, imported, path)
        if imported.module == FACADE:
            self._follow_facade(imported, path)
            return
        if not self._add_module(imported.module):
            self._closure.foreign.add(top)
            return
        for name in imported.names:
            self._add_module(f"{imported.module}.{name}")
        if "*" in imported.names:
            place = self._place(imported.module)
            for name in [] if place is None else exported(place):
                self._add_module(f"{imported.module}.{name}")

    def _refuse_outside(self, name: str, imported: Import, path: Path) -> NoReturn:
        raise BrokenExperiment(
            self._experiment_id,
            f"{path.name}, line {imported.line} imports {name}, which is no part of an experiment",
        )

    def _follow_facade(self, imported: Import, path: Path) -> None:
        self._uses_facade = True
        for name in imported.names:
            if name == "*":
                raise BrokenExperiment(
                    self._experiment_id,
                    f"{path.name}, line {imported.line}: name what you import from research",
                )
            home = research.HOMES.get(name)
            if (home or f"{FACADE}.{name}").startswith(_NEVER_INSIDE):
                self._refuse_outside(f"{FACADE}.{name}", imported, path)
            if home is not None:
                self._facade_names[name] = home
                self._add_module(home)
            elif not self._add_module(f"{FACADE}.{name}"):
                raise BrokenExperiment(
                    self._experiment_id,
                    f"{path.name}, line {imported.line}: research has no {name!r}",
                )

    def _locate(self, module: str) -> tuple[str, Path | None] | None:
        """Find a module of ours: its path in the tree and its file."""
        parts = module.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        if parts[0] == FACADE:
            return _found_below(_RESEARCH_ROOT, parts)
        if self._own_tops is None or parts[0] in self._own_tops:
            found = _found_below(self._root, parts)
            if found is not None:
                return found
        root = self._root_in_place(parts[0])
        return None if root is None else _found_below(root, parts)

    def _root_in_place(self, top: str) -> Path | None:
        """Return the folder of a package that is installed in place; it is taken in as a whole.

        Its code is a person's work of today, as the workspace's is: it travels with the run.
        """
        if top not in self._in_place:
            path = in_place.find_module(top)
            self._in_place[top] = None if path is None else path.parent
            if path is not None:
                self._closure.foreign.add(top)  # its distribution stands in the environment
                for each in in_place.files_of(path):
                    self._closure.files[each.relative_to(path.parent).as_posix()] = each
        return self._in_place[top]

    def _add_included(self, name: str) -> None:
        """Take in a module or a file beside the experiment that its imports do not show."""
        base = self._root.joinpath(*self._entry.split(".")[:-1])
        path = Path(os.path.normpath(base / name))
        inside = path.resolve().is_relative_to(self._root.resolve())
        if inside and path.is_file():
            relative = path.relative_to(self._root).as_posix()
            module = relative.removesuffix(".py").replace("/", ".")
            if path.suffix != ".py" or not self._add_module(module):
                self._closure.files[relative] = path
        elif not self._add_module(name):
            if not name.isidentifier() or find_spec(name) is None:
                raise BrokenExperiment(self._experiment_id, f"include {name!r} is not there")
            self._closure.foreign.add(name)  # a package that is imported by a computed name


def _found_below(root: Path, parts: Sequence[str]) -> tuple[str, Path | None] | None:
    """Find a module below a folder: its path in the tree and its file."""
    relative, stem = "/".join(parts), root.joinpath(*parts)
    if (stem / "__init__.py").is_file():
        return f"{relative}/__init__.py", stem / "__init__.py"
    if stem.with_suffix(".py").is_file():
        return f"{relative}.py", stem.with_suffix(".py")
    if stem.is_dir() and any(stem.rglob("*.py")):
        return relative, None
    return None


def _facade_text(names: dict[str, str]) -> str:
    """Write the tree's own facade. Its bytes depend on the names used and their homes only."""
    lines = [f'    "{name}": "{home}",' for name, home in sorted(names.items())]
    return "\n".join(
        [
            '"""The names of research that this code uses; written by the runner."""',
            "",
            "from importlib import import_module",
            "",
            "HOMES = {",
            *lines,
            "}",
            "",
            "",
            "def __getattr__(name):",
            "    if name not in HOMES:",
            "        raise AttributeError(f\"research.{name} is not in this run's code tree: "
            "write 'from research import {name}'\")",
            "    return getattr(import_module(HOMES[name]), name)",
            "",
        ]
    )
