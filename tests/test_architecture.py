"""Hold the floor plan, by reading the source.

The tables at the top are the plan; to change the plan, change a table. A rule is a function from a
source tree to its breaches, and its docstring is what the failing test says. The last part plants
every kind of breach in a small tree, so that no rule is one that cannot fail.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from textwrap import dedent
from typing import TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
PARTS = ("cli", "research", "rosdb")

# What each part of the house may import, besides itself and the standard library's and other
# people's packages. A part not named here is on no floor, and is refused.
ARROWS: dict[str, set[str]] = {
    "cli": {
        "research",
        "research.promotion",
        "research.experiments",
        "research.datasets",
        "research.context",
        "research.simulation",
        "research.statistics",
        "research.workspace",
        "research.bars",
        "research.table_diff",
        "research.errors",
        "rosdb",
    },
    "research.promotion": {
        "research.experiments",
        "research.datasets",
        "research.context",
        "research.simulation",
        "research.statistics",
        "research.errors",
        "rosdb",
    },
    "research.experiments": {
        "research",  # the package itself, to find its own files
        "research.datasets",
        "research.context",
        "research.simulation",
        "research.statistics",
        "research.bars",
        "research.row_match",
        "research.table_diff",
        "research.tabular",
        "research.errors",
        "rosdb",
    },
    "research.datasets": {
        "research.context",
        "research.bars",
        "research.row_match",
        "research.table_diff",
        "research.tabular",
        "research.errors",
        "rosdb",
    },
    "research.context": {"research.errors", "rosdb"},
    "research.workspace": {"rosdb"},
    "research.simulation": {"research.statistics", "research.bars"},
    "research.statistics": set(),
    "research.bars": set(),
    "research.tabular": set(),
    "research.row_match": {"research.tabular"},
    "research.table_diff": {"research.row_match", "research.tabular"},
    "research.errors": set(),
    "rosdb": set(),
}

# The facade `research/__init__.py` maps names to modules and decides nothing: an import of a name
# from it counts as an import of the module that defines the name.
FACADE = "research"

# The floors of the store, lowest first. A room imports from its own floor and from those below.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "disk", "codec", "turnstile"),
    ("spread",),
    ("canonical",),
    ("objects", "settings"),
    ("trees", "tables"),
    ("pack_file", "pack_index"),
    ("packs", "chunks"),
    ("loose", "blob_file", "pack_window", "ingest"),
    ("blob_stream",),
    ("stat_cache",),
    ("folders",),
    ("object_store",),
    ("removal", "merge", "reach"),
    ("journal_frame",),
    ("journal",),
    ("layout", "leases"),
    ("refs",),
    ("index_file", "trial_rows"),
    ("facts", "instants", "filter_tokens"),
    ("fields", "filter_syntax", "run_records"),
    ("index", "index_rows", "query", "run_rows"),
    ("found_runs",),
    ("ref_tail", "resolve"),
    ("pack_batch", "verify_lists"),
    ("verify",),
    ("check", "stats", "transaction", "collect", "repair"),
    ("store",),
    ("__init__",),
)

# Who may import what inside a function, and why it is not at the top of the file.
HIDDEN_IMPORTS: dict[tuple[str, str], str] = {
    ("*", "numpy"): "70 ms, more than half of what `ros log` may take",
    ("*", "rich"): "40 ms, for a table or a bar that a pipe never sees",
    ("*", "yaml"): "20 ms, for promotion only",
    ("*", "importlib.metadata"): "16 ms over what the command line loads anyway",
    ("*", "pandas"): "an optional part",
    ("*", "polars"): "an optional part",
    ("*", "pyarrow"): "an optional part",
    ("*", "numba"): "an optional part, and slow to start",
    ("*", "raptorbt"): "an optional part",
    ("*", "vectorbt"): "an optional part, and slow to start",
    ("*", "ray"): "an optional part, and slow to start",
    ("research/experiments/kernels.py", "research.simulation"): "numpy, where few bars need none",
    ("research/context.py", "subprocess"): "10 ms, to ask git when a run is recorded",
    ("research/experiments/registry.py", "importlib.util"): "goes with importlib.metadata",
    ("research/datasets/snapshot.py", "research.datasets"): "numpy, which a look-up can spare",
    ("research/datasets/diff.py", "research.datasets"): "numpy, which files without rows can spare",
    ("rosdb/verify.py", "rosdb.spread"): "5 ms, for a check of the whole store only",
    ("rosdb/run_records.py", "rosdb.spread"): "5 ms, for an index of many runs only",
    ("rosdb/journal.py", "logging"): "5 ms, for a word that only a crash calls for",
    ("rosdb/chunks.py", "logging"): "5 ms, for a word that only a poor installation calls for",
    ("rosdb/chunks.py", "pyfastcdc"): "40 ms, for contents that are long",
    ("rosdb/chunks.py", "warnings"): "goes with pyfastcdc, which warns where it is not compiled",
    ("rosdb/ingest.py", "concurrent.futures"): "15 ms, for contents that are long",
    ("rosdb/blob_stream.py", "concurrent.futures"): "15 ms, for contents that are long",
    ("rosdb/pack_batch.py", "concurrent.futures"): "15 ms, where a second core is worth them",
    ("rosdb/verify.py", "concurrent.futures"): "15 ms, for a check of the whole store",
    ("research/simulation/engines/raptorbt.py", "importlib.machinery"): "another engine's loader",
    ("research/simulation/engines/raptorbt.py", "importlib.util"): "another engine's loader",
    ("research/simulation/compiled.py", "logging"): "5 ms, for a word where numba is not there",
    ("research/simulation/sweep.py", "concurrent.futures"): "15 ms, where a sweep has jobs",
    ("rosdb/settings.py", "tomllib"): "20 ms, where somebody has changed a setting",
    ("research/experiments/options.py", "tomllib"): "20 ms, where a workspace has options",
    ("cli/diff.py", "cli"): "30 ms, where runs are to be made between two",
    ("cli/diff.py", "research.experiments"): "goes with it",
    ("cli/show.py", "research.experiments"): "numpy, for runs that have returns to weigh",
    ("research/experiments/log_columns.py", "research.experiments.luck"): "numpy, as above",
    ("cli/app.py", "cli"): "a process runs one command, and loads that one only",
}

# Everything a run's outcome may not depend on, by the name it is reached by.
AMBIENT: dict[str, str] = {
    "time": "the clock",
    "datetime.datetime.now": "the clock",
    "datetime.datetime.utcnow": "the clock",
    "datetime.datetime.today": "the clock",
    "datetime.date.today": "the clock",
    "random": "chance",
    "secrets": "chance",
    "uuid": "chance",
    "os.urandom": "chance",
    "getpass": "the user",
    "pwd": "the user",
    "os.getlogin": "the user",
    "os.getuid": "the user",
    "platform": "the machine",
    "socket": "the machine",
    "os.uname": "the machine",
    "os.cpu_count": "the machine",
    "os.environ": "the environment",
    "os.environb": "the environment",
    "os.getenv": "the environment",
    "os.putenv": "the environment",
    "os.path.expanduser": "the environment",
    "pathlib.Path.home": "the environment",
    "os.getcwd": "the working directory",
    "pathlib.Path.cwd": "the working directory",
    "sys.argv": "the command line",
}
EVERYTHING = frozenset(AMBIENT.values())

# The rooms with windows (a file, or a folder with its slash): what each may see, and why.
WINDOWS: dict[str, tuple[frozenset[str], str]] = {
    "cli/context.py": (EVERYTHING, "the command line's one view of the world"),
    "research/context.py": (EVERYTHING, "the Python API's one view of the world"),
    "rosdb/disk.py": (
        frozenset({"the clock", "the user", "the machine"}),
        "a move of a ref says when and who",
    ),
    "rosdb/verify.py": (
        frozenset({"the machine"}),
        "a check uses all cores; what it finds does not depend on them",
    ),
    "research/experiments/ray_executor.py": (
        frozenset({"the environment"}),
        "a variable alone keeps Ray from telling its makers of each cluster",
    ),
    "research/experiments/worker.py": (
        frozenset({"the machine"}),
        "a pair of sockets between us and a child",
    ),
    "research/experiments/child/": (
        EVERYTHING,
        "the child's side: it pins the environment and shuts the doors",
    ),
    "research/experiments/builtin/gamma_signal_sanity.py": (
        frozenset({"chance"}),
        "an experiment: random.Random of the declared seed",
    ),
}

# Pure rooms: numbers in, numbers out.
PURE_PARTS = (
    "research.bars",
    "research.row_match",
    "research.simulation",
    "research.statistics",
    "research.table_diff",
    "research.tabular",
)
PURE_IMPORTS = frozenset(
    """
    __future__ abc array bisect collections copy dataclasses datetime decimal enum fractions
    functools hashlib heapq itertools json math numbers operator re statistics string struct types
    typing numpy numba
    """.split()
)
# What decides nothing but the time, or is another engine.
PURE_EXCEPT: dict[str, frozenset[str]] = {
    "research/simulation/compiled.py": frozenset({"contextlib", "importlib", "logging", "pathlib"}),
    "research/simulation/sweep.py": frozenset({"concurrent"}),
    "research/simulation/engines/": frozenset({"importlib", "raptorbt", "vectorbt"}),
}
IMPURE_CALLS = frozenset(["__import__", "breakpoint", "eval", "exec", "input", "open", "print"])

# Files that travel with a run into its child: what they may import besides the standard library.
TRAVELLERS: dict[str, frozenset[str]] = {
    "research/experiments/child/": frozenset(),
    "research/experiments/output.py": frozenset({"numpy"}),
    "research/experiments/spec.py": frozenset({"numpy"}),
}

# Who speaks to the terminal.
SPEAKERS = ("cli/", "research/experiments/child/")

NO_NAMES = frozenset(
    "base bases common core helper helpers misc shared util utilities utils".split()
)

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# "path" or "path:function" -> the reason why it is larger. One that is not, is a breach too.
LARGE: dict[str, str] = {}


# --- Reading the source -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import:
    """One name taken from one module: `from module import name`, or `import module` (no name)."""

    module: str
    name: str | None
    line: int
    is_hidden: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Module:
    path: str
    tree: ast.Module
    line_count: int

    @cached_property
    def name(self) -> str:
        return ".".join(Path(self.path).with_suffix("").parts).removesuffix(".__init__")

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._imports(self.tree, is_hidden=False))

    def _imports(self, parent: ast.AST, *, is_hidden: bool) -> Iterator[Import]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, None, node.lineno, is_hidden)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Import(self._origin(node), alias.name, node.lineno, is_hidden)
            elif target := _import_by_call(node):
                yield Import(target, None, getattr(node, "lineno", 0), is_hidden)
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from self._imports(node, is_hidden=is_hidden or inside)

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = Path(self.path).parent.parts
        parents = here[: len(here) - node.level + 1]
        return ".".join([*parents, *([node.module] if node.module else [])])


def _import_by_call(node: ast.AST) -> str | None:
    """Return the literal module of an `import_module("...")` or `__import__("...")`."""
    match node:
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return name
    return None


@dataclass(frozen=True)
class House:
    """The parsed source: module name -> module."""

    modules: dict[str, Module]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules.values())

    def resolve(self, module: str, name: str | None) -> str:
        """Return the module that an import reaches, seen through the doors of packages."""
        if name is None:
            return module
        if (child := f"{module}.{name}") in self.modules:
            return child
        door = self.modules.get(module)
        if door is None or not door.path.endswith("__init__.py"):
            return module
        for behind in _mapped(door, name, self.modules):
            return behind if behind == module else self.resolve(behind, name)
        return module

    def targets(self, module: Module) -> Iterator[tuple[Import, str]]:
        """Give each import of the house's own modules with the module that it reaches."""
        for each in module.imports:
            if each.package in PARTS:
                yield each, self.resolve(each.module, each.name)


def _mapped(door: Module, name: str, known: dict[str, Module]) -> Iterator[str]:
    """Give the modules from which a package's door takes a name, by import or by a lazy map."""
    for each in door.imports:
        if each.name == name and each.module in known:
            yield each.module
    for node in ast.walk(door.tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                texts = [t for side in (key, value) if side for t in _texts(side)]
                if name in texts:
                    for text in texts:
                        path = text.partition(":")[0]
                        full = door.name + path if path.startswith(".") else path
                        if full in known:
                            yield full


def _texts(node: ast.AST) -> list[str]:
    return [
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]


def read_house(root: Path) -> House:
    """Parse every Python file of the three parts, but what `ros checkout` wrote."""
    modules = {}
    for path in sorted(chain.from_iterable((root / part).rglob("*.py") for part in PARTS)):
        relative = path.relative_to(root).as_posix()
        if not relative.startswith("research/results/"):
            text = path.read_text(encoding="utf-8")
            module = Module(relative, ast.parse(text, relative), len(text.splitlines()))
            modules[module.name] = module
    return House(modules)


def _part_of(module: str) -> str | None:
    """Return the part of the house that a module belongs to; None if it is on no floor."""
    if module == FACADE:
        return FACADE
    parts = (p for p in ARROWS if module == p or module.startswith(f"{p}."))
    return max(parts, key=len, default=None)


def _row(table: Mapping[str, T], path: str) -> T | None:
    """Return the table's row for a file: its own, or that of a folder it is in."""
    for key, row in table.items():
        if path == key or (key.endswith("/") and path.startswith(key)):
            return row
    return None


def _floor_of(room: str) -> int | None:
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), None)


def _definitions(
    parent: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Give every class and function with its dotted name, in the order of the text."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
            yield from _definitions(node, f"{prefix}{node.name}.")
        else:
            yield from _definitions(node, prefix)


def _aliases(module: Module) -> dict[str, str]:
    """Return what each imported name stands for: `dt` -> `datetime.datetime`."""
    names = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str | None:
    """Return the full name of `a.b.c`, if `a` was imported."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return ".".join([aliases[node.id], *reversed(attributes)])
    return None


# --- The rules ----------------------------------------------------------------------------------


def arrows_point_down(house: House) -> Iterator[str]:
    """Import downward only: cli, promotion, experiments, datasets, rosdb (the table ARROWS)."""
    for module in house:
        part = _part_of(module.name)
        if part is None:
            yield f"{module.path}: is on no floor; place it in ARROWS"
        elif part != FACADE:
            for each, target in house.targets(module):
                if _part_of(target) not in {part, *ARROWS[part]}:
                    yield f"{module.path}:{each.line}: {part} may not import {target}"


def the_store_has_one_door(house: House) -> Iterator[str]:
    """From outside, import from `rosdb` only what its __init__ offers, never from a room within."""
    door = house.modules.get("rosdb")
    offered = {each.name for each in door.imports} if door else set()
    for module in house:
        if module.name.partition(".")[0] != "rosdb":
            for each in module.imports:
                is_room = f"{each.module}.{each.name}" in house.modules
                if each.module.startswith("rosdb.") or (
                    each.module == "rosdb" and is_room and each.name not in offered
                ):
                    room = each.module if each.name is None else f"{each.module}.{each.name}"
                    yield f"{module.path}:{each.line}: goes past the door, to {room}"


def the_store_has_floors(house: House) -> Iterator[str]:
    """Inside rosdb, import from the same floor or one below (the list FLOORS)."""
    for module in house:
        if module.name.partition(".")[0] != "rosdb":
            continue
        room = Path(module.path).parts[1].removesuffix(".py")
        floor = _floor_of(room)
        if floor is None:
            yield f"{module.path}: is on no floor; place it in FLOORS"
            continue
        for each in module.imports:
            if each.package == "rosdb":
                path = f"{each.module}.{each.name}" if each.name else each.module
                names = path.split(".")
                target = names[1] if ".".join(names[:2]) in house.modules else "__init__"
                above = _floor_of(target)
                if above is not None and above > floor:
                    yield f"{module.path}:{each.line}: {room} imports {target}, which is above it"


def no_import_circle(house: House) -> Iterator[str]:
    """Break the circle, also one hidden in functions: move what both need to the floor below."""
    graph = {module.name: set[str]() for module in house if module.name != FACADE}
    for module in house:
        if module.name != FACADE:
            reached = (target for _, target in house.targets(module))
            graph[module.name] |= {t for t in reached if t in graph} - {module.name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield " <- ".join(error.args[1])


def imports_stand_at_the_top(house: House) -> Iterator[str]:
    """Import at the top of the file; what is heavy and rare stands in HIDDEN_IMPORTS."""
    for module in house:
        for each in module.imports:
            excused = (what for where, what in HIDDEN_IMPORTS if where in ("*", module.path))
            if each.is_hidden and not f"{each.module}.".startswith(tuple(f"{e}." for e in excused)):
                yield f"{module.path}:{each.line}: imports {each.module} inside a function"


def the_world_is_seen_through_windows(house: House) -> Iterator[str]:
    """Take clock, chance, user, machine and environment as arguments (the table WINDOWS)."""
    for module in house:
        allowed, _ = _row(WINDOWS, module.path) or (frozenset(), "")
        for line, name, what in sorted(set(_sights(module))):
            if what not in allowed:
                yield f"{module.path}:{line}: {name} is {what}"


def _sights(module: Module) -> Iterator[tuple[int, str, str]]:
    """Give each use of something ambient: line, name, what it is."""
    for each in module.imports:
        for name in {each.module, each.package, f"{each.module}.{each.name}"} & AMBIENT.keys():
            yield each.line, name, AMBIENT[name]
    aliases = _aliases(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node, aliases) or ""
            if name in AMBIENT:
                yield node.lineno, name, AMBIENT[name]
            elif re.fullmatch(r"numpy\.random\.[a-z]\w*", name) and name != (
                "numpy.random.default_rng"
            ):
                yield node.lineno, name, "chance"
        elif isinstance(node, ast.Call) and not node.args and not node.keywords:
            name = _dotted(node.func, aliases) or ""
            if re.fullmatch(r"numpy\.random\.(default_rng|[A-Z]\w*)", name):
                yield node.lineno, f"{name}()", "chance"


def the_simulation_is_pure(house: House) -> Iterator[str]:
    """Numbers in, numbers out: no store, file, clock or terminal (the tables PURE_*)."""
    for module in house:
        if not module.name.startswith(PURE_PARTS):
            continue
        for each in module.imports:
            is_own = each.module.startswith("research.") or each.module == FACADE
            allowed = PURE_IMPORTS | (_row(PURE_EXCEPT, module.path) or frozenset())
            if not is_own and each.package not in allowed:
                yield f"{module.path}:{each.line}: imports {each.module}"
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    yield f"{module.path}:{node.lineno}: calls {name}()"


def travellers_pack_light(house: House) -> Iterator[str]:
    """Import no more than TRAVELLERS allows: the file runs in the child, beside an old capsule."""
    for module in house:
        allowed = _row(TRAVELLERS, module.path)
        if allowed is not None:
            for each in module.imports:
                if each.package not in sys.stdlib_module_names | allowed:
                    yield f"{module.path}:{each.line}: imports {each.module}"


def names_say_something(house: House) -> Iterator[str]:
    """Name a file after the noun that it defines (never the names in NO_NAMES)."""
    for module in house:
        for name in Path(module.path).with_suffix("").parts:
            if name.strip("_") in NO_NAMES:
                yield f"{module.path}: {name} says nothing"


def only_the_command_line_prints(house: House) -> Iterator[str]:
    """Return the value, and let cli/ render it."""
    for module in house:
        if not module.path.startswith(SPEAKERS):
            for node in ast.walk(module.tree):
                match node:
                    case ast.Call(func=ast.Name(id="print")):
                        yield f"{module.path}:{node.lineno}: prints"


def everything_public_has_a_docstring(house: House) -> Iterator[str]:
    """Say in one imperative line what it does; say what a module owns."""
    for module in house:
        if not ast.get_docstring(module.tree):
            yield f"{module.path}: the module has no docstring"
        public_parents = {""}
        for name, node in _definitions(module.tree):
            parent = name.rpartition(".")[0]
            if node.name.startswith("_") or parent not in public_parents or _is_repeat(node):
                continue
            if isinstance(node, ast.ClassDef):
                public_parents.add(name)
            if not ast.get_docstring(node):
                yield f"{module.path}:{node.lineno}: {name} has no docstring"


def _is_repeat(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a definition only restates another: an overload, an override, a setter."""
    names = {getattr(d, "attr", getattr(d, "id", "")) for d in node.decorator_list}
    return bool(names & {"overload", "override", "setter", "deleter"})


def rooms_are_small(house: House) -> Iterator[str]:
    """Split it by noun: 400 lines to a file, 70 to a function (or a reason in LARGE)."""
    sizes = {module.path: (module.line_count, FILE_LINES_MAX) for module in house}
    for module in house:
        for name, node in _definitions(module.tree):
            if not isinstance(node, ast.ClassDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                sizes[f"{module.path}:{name}"] = (length, FUNCTION_LINES_MAX)
    for what, (length, limit) in sizes.items():
        if length > limit and what not in LARGE:
            yield f"{what}: {length} lines, over {limit}"
    for what in LARGE:
        if what not in sizes or sizes[what][0] <= sizes[what][1]:
            yield f"{what}: is no longer large; strike it from LARGE"


RULES: tuple[Callable[[House], Iterator[str]], ...] = (
    arrows_point_down,
    the_store_has_one_door,
    the_store_has_floors,
    no_import_circle,
    imports_stand_at_the_top,
    the_world_is_seen_through_windows,
    the_simulation_is_pure,
    travellers_pack_light,
    names_say_something,
    only_the_command_line_prints,
    everything_public_has_a_docstring,
    rooms_are_small,
)


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house(rule: Callable[[House], Iterator[str]], house: House) -> None:
    assert house.modules, "there is no source to read"

    breaches = list(dict.fromkeys(rule(house)))

    if breaches:
        pytest.fail("\n  ".join([f"{rule.__doc__}", *breaches]), pytrace=False)


def test_the_tables_name_what_is_there(house: House) -> None:
    paths = {module.path for module in house}

    named = [*WINDOWS, *TRAVELLERS, *(where for where, _ in HIDDEN_IMPORTS if where != "*")]
    gone = [key for key in named if _is_gone(key, paths)]

    assert not gone, "a table at the top names a file that has moved"


def _is_gone(key: str, paths: set[str]) -> bool:
    """Tell whether a file that a table names is missing from a folder that is otherwise there."""
    folder = key.rpartition("/")[0] + "/"
    return any(p.startswith(folder) for p in paths) and not any(p.startswith(key) for p in paths)


# --- No rule is one that cannot fail ------------------------------------------------------------

SOUND = {
    "cli/app.py": '''
        """Parse."""
        import sys
        from research import simulate
        def main() -> None:
            """Start."""
            from cli import log
            print(simulate, log)
    ''',
    "cli/log.py": '"""Show history."""\nfrom rosdb import Store, errors\n',
    "cli/context.py": '"""See."""\nimport os, time\nTERM = os.environ.get("TERM")\n',
    "research/__init__.py": '''
        """Map names to modules."""
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from research.experiments.perform import perform as perform
        PLACES = {"simulate": "research.simulation.engine", "save": ".experiments.output:save"}
    ''',
    "research/experiments/perform.py": '''
        """Perform."""
        from research.experiments.builtin import sma
        from rosdb import Store
        def perform(): "Do it."
    ''',
    "research/experiments/builtin/__init__.py": '"""Built in."""\n',
    "research/experiments/builtin/sma.py": '"""Cross."""\nfrom research import save, simulate\n',
    "research/experiments/output.py": '"""Put out."""\nimport json\nimport numpy as np\n',
    "research/simulation/__init__.py": '"""Simulate."""\n',
    "research/simulation/engine.py": '''
        """Run."""
        from datetime import UTC, datetime
        import numpy as np
        from research.bars import Bars
        def simulate(seed):
            """Simulate."""
            def random(): return datetime.fromtimestamp(0, UTC)
            return np.random.default_rng(seed), np.random.Generator, random()
        class _Private:
            def method(self): pass
    ''',
    "research/bars.py": '"""Bars."""\nclass Bars:\n    """Bars."""\n    def __len__(self): ...\n',
    "rosdb/__init__.py": '"""Door."""\nfrom rosdb import errors\nfrom rosdb.store import Store\n',
    "rosdb/store.py": '"""Store."""\nfrom . import disk\nfrom .errors import Missing as Lost\n',
    "rosdb/disk.py": '"""Disk."""\nimport time\nfrom rosdb import errors\n',
    "rosdb/errors.py": '"""Err."""\nclass Missing(Exception):\n    """It is not there."""\n',
}

BREACHES: tuple[tuple[Callable[[House], Iterator[str]], dict[str, str], str], ...] = (
    (arrows_point_down, {"rosdb/refs.py": "import research.bars"}, "rosdb may not import"),
    (arrows_point_down, {"research/bars.py": "def f():\n from cli import app"}, "cli.app"),
    (arrows_point_down, {"research/datasets/a.py": "import research.simulation.engine"}, "may not"),
    (arrows_point_down, {"research/datasets/a.py": "from ..simulation import engine"}, "may not"),
    (arrows_point_down, {"research/experiments/a.py": "import research.promotion"}, "may not"),
    (arrows_point_down, {"research/bars.py": "from research import simulate"}, "engine"),
    (arrows_point_down, {"research/bars.py": "from research import save"}, "experiments.output"),
    (arrows_point_down, {"research/attic.py": ""}, "on no floor"),
    (the_store_has_one_door, {"cli/a.py": "import rosdb.disk"}, "rosdb.disk"),
    (the_store_has_one_door, {"cli/a.py": "from rosdb.errors import Missing"}, "rosdb.errors"),
    (the_store_has_one_door, {"research/context.py": "from rosdb import disk"}, "rosdb.disk"),
    (the_store_has_floors, {"rosdb/canonical.py": "from rosdb.store import Store"}, "above"),
    (the_store_has_floors, {"rosdb/canonical.py": "from . import store"}, "imports store"),
    (the_store_has_floors, {"rosdb/canonical.py": "import rosdb.store as s"}, "imports store"),
    (the_store_has_floors, {"rosdb/canonical.py": "from rosdb import Store"}, "__init__"),
    (the_store_has_floors, {"rosdb/cellar.py": ""}, "on no floor"),
    (no_import_circle, {"cli/a.py": "import cli.b", "cli/b.py": "import cli.a"}, "cli.a"),
    (
        no_import_circle,
        {"cli/a.py": "def f(): from cli import b", "cli/b.py": "from . import a"},
        "cli.b",
    ),
    (
        no_import_circle,
        {
            "research/simulation/engine.py": "from research import simulate2",
            "research/__init__.py": "A = {'simulate2': 'research.simulation.b'}",
            "research/simulation/b.py": "import research.simulation.engine",
        },
        "research.simulation.b",
    ),
    (imports_stand_at_the_top, {"cli/a.py": "def f():\n import json"}, "imports json"),
    (imports_stand_at_the_top, {"cli/a.py": "def f(): import_module('cli.b')"}, "imports cli.b"),
    (imports_stand_at_the_top, {"cli/a.py": "class A:\n def f(self):\n  from cli import b"}, "cli"),
    (the_world_is_seen_through_windows, {"cli/a.py": "import time"}, "the clock"),
    (the_world_is_seen_through_windows, {"cli/a.py": "from time import time as t"}, "the clock"),
    (
        the_world_is_seen_through_windows,
        {"cli/a.py": "from datetime import datetime as d\nd.now()"},
        "cli/a.py:2: datetime.datetime.now",
    ),
    (
        the_world_is_seen_through_windows,
        {"cli/a.py": "import datetime\ndatetime.date.today()"},
        "the clock",
    ),
    (the_world_is_seen_through_windows, {"cli/a.py": "import os\nos.environ['A']"}, "environment"),
    (the_world_is_seen_through_windows, {"cli/a.py": "from os import getenv"}, "environment"),
    (the_world_is_seen_through_windows, {"cli/a.py": "import sys\nsys.argv"}, "command line"),
    (the_world_is_seen_through_windows, {"rosdb/disk.py": "import random"}, "chance"),
    (
        the_world_is_seen_through_windows,
        {"cli/a.py": "def f():\n import numpy as np\n np.random.rand(3)"},
        "numpy.random.rand",
    ),
    (
        the_world_is_seen_through_windows,
        {"cli/a.py": "from numpy.random import default_rng\ndefault_rng()"},
        "default_rng()",
    ),
    (the_simulation_is_pure, {"research/simulation/a.py": "import os"}, "imports os"),
    (the_simulation_is_pure, {"research/simulation/a.py": "from rosdb import Store"}, "rosdb"),
    (the_simulation_is_pure, {"research/bars.py": "def f(): return open('a')"}, "open()"),
    (travellers_pack_light, {"research/experiments/child/a.py": "import numpy"}, "numpy"),
    (travellers_pack_light, {"research/experiments/spec.py": "from . import output"}, "research"),
    (travellers_pack_light, {"research/experiments/output.py": "def f(): import rosdb"}, "rosdb"),
    (names_say_something, {"cli/utils.py": ""}, "utils says nothing"),
    (names_say_something, {"research/simulation/_base.py": ""}, "_base says nothing"),
    (names_say_something, {"rosdb/core/a.py": ""}, "core says nothing"),
    (only_the_command_line_prints, {"rosdb/refs.py": "print(1)"}, "rosdb/refs.py:1"),
    (everything_public_has_a_docstring, {"cli/a.py": ""}, "the module"),
    (everything_public_has_a_docstring, {"cli/a.py": "'A.'\ndef f(): ..."}, "f has no"),
    (everything_public_has_a_docstring, {"cli/a.py": "'A.'\nclass A: ..."}, "A has no"),
    (
        everything_public_has_a_docstring,
        {"cli/a.py": "'A.'\nclass A:\n 'A.'\n @property\n def f(self): ..."},
        "A.f has no",
    ),
    (rooms_are_small, {"cli/a.py": "\n" * (FILE_LINES_MAX + 1)}, "401 lines, over 400"),
    (
        rooms_are_small,
        {"cli/a.py": "class A:\n def f(self):\n" + "  0\n" * FUNCTION_LINES_MAX},
        "cli/a.py:A.f: 71 lines, over 70",
    ),
)


def _plant(root: Path, files: dict[str, str]) -> House:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return read_house(root)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_house_passes(rule: Callable[[House], Iterator[str]], tmp_path: Path) -> None:
    assert list(rule(_plant(tmp_path, SOUND))) == []


@pytest.mark.parametrize(
    ("rule", "files", "message"),
    BREACHES,
    ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BREACHES)],
)
def test_a_breach_is_seen(
    rule: Callable[[House], Iterator[str]], files: dict[str, str], message: str, tmp_path: Path
) -> None:
    breaches = list(rule(_plant(tmp_path, SOUND | files)))

    assert len(breaches) == 1
    assert message in breaches[0]


def test_every_rule_has_a_breach_and_a_docstring() -> None:
    assert {rule for rule, _, _ in BREACHES} == set(RULES)
    assert all(rule.__doc__ for rule in RULES)


def test_a_file_that_has_moved_is_seen() -> None:
    assert _is_gone("cli/context.py", {"cli/app.py"})
    assert not _is_gone("cli/context.py", {"cli/app.py", "cli/context.py"})
    assert not _is_gone("cli/context.py", {"rosdb/disk.py"})


def test_a_reason_that_has_gone_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LARGE, "cli/log.py", "it was long once")

    breaches = list(rooms_are_small(_plant(tmp_path, SOUND)))

    assert breaches == ["cli/log.py: is no longer large; strike it from LARGE"]
