"""The import closure: which code decides an experiment's outcome.

Owns the static walk over imports (Law 8): modules of the workspace, of ``research`` and of the
package that an experiment comes from are taken in as files; everything else is the interpreter's
or a distribution's, and is named. Imports inside functions count. A constant given to
``importlib.import_module`` or ``__import__`` counts; a computed one cannot be seen and has to be
declared in the spec (``include``).

``from research import X`` takes in the module that defines X, not the facade. The tree gets a
facade of its own that maps just the names this closure uses.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import research
from research.errors import BadInput, BrokenExperiment, ForbiddenImport
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


@dataclass(frozen=True, slots=True)
class _Import:
    module: str
    names: tuple[str, ...]
    line: int


def collect(registration: Registration, include: Sequence[str] = ()) -> Closure:
    """Collect the closure of an experiment's module, imported from its root.

    Raises: BrokenExperiment if a file cannot be read, ForbiddenImport if a broker is imported.
    """
    return _Collector(registration).collect(include)


def brokers() -> frozenset[str]:
    """Return the top-level modules that research code may not import."""
    lines = BROKERS_FILE.read_text("utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def is_forbidden(module: str, forbidden: frozenset[str]) -> bool:
    """Tell whether a module, or a package that it is in, is on the list."""
    parts = module.split(".")
    return any(".".join(parts[:n]) in forbidden for n in range(1, len(parts) + 1))


class _Collector:
    """One walk: modules waiting to be read, files found, names taken from the facade."""

    def __init__(self, registration: Registration) -> None:
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
        self._brokers = brokers()

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
        for imported in _imports(self._experiment_id, path, package):
            self._follow(imported, path)
        return True

    def _follow(self, imported: _Import, path: Path) -> None:
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

    def _refuse_outside(self, name: str, imported: _Import, path: Path) -> NoReturn:
        raise BrokenExperiment(
            self._experiment_id,
            f"{path.name}, line {imported.line} imports {name}, which is no part of an experiment",
        )

    def _follow_facade(self, imported: _Import, path: Path) -> None:
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
            roots = [_RESEARCH_ROOT]
        elif self._own_tops is None or parts[0] in self._own_tops:
            roots = [self._root]
        else:
            return None
        relative = "/".join(parts)
        for root in roots:
            stem = root.joinpath(*parts)
            if (stem / "__init__.py").is_file():
                return f"{relative}/__init__.py", stem / "__init__.py"
            if stem.with_suffix(".py").is_file():
                return f"{relative}.py", stem.with_suffix(".py")
            if stem.is_dir() and any(stem.rglob("*.py")):
                return relative, None
        return None

    def _add_included(self, name: str) -> None:
        """Take in a module or a file beside the experiment that its imports do not show."""
        base = self._root.joinpath(*self._entry.split(".")[:-1])
        path = base / name
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


def _imports(experiment_id: str, path: Path, package: str) -> Iterator[_Import]:
    """List what a file imports, at any depth, with relative imports made absolute."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BrokenExperiment(experiment_id, f"{path.name}{line}: {reason}") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    aliases = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield _Import(alias.name, (), node.lineno)
                    if alias.name == FACADE:
                        aliases.add(alias.asname or alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(module or "", level, package)
                yield _Import(base, tuple(alias.name for alias in names), node.lineno)
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if _is_import(func):
                yield _Import(_absolute_name(name, package), (), node.lineno)
    yield from _facade_attributes(tree, aliases)


def _facade_attributes(tree: ast.AST, aliases: Iterable[str]) -> Iterator[_Import]:
    """List ``research.X`` after ``import research``."""
    aliases = set(aliases)
    if not aliases:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in aliases:
                yield _Import(FACADE, (attribute,), node.lineno)


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    parts = package.split(".")
    kept = parts[: len(parts) - (level - 1)] if package else []
    return ".".join([*kept, module] if module else kept)


def _absolute_name(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    return _absolute(name[level:], level, package)


def _is_import(func: ast.expr) -> bool:
    match func:
        case ast.Name(id="__import__" | "import_module"):
            return True
        case ast.Attribute(value=ast.Name(id="importlib"), attr="import_module" | "__import__"):
            return True
    return False
