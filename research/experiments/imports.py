"""What one source file imports, read from its text.

Owns the ways of importing that can be seen without executing anything: statements at any depth of
function, and calls with constants (``importlib.import_module``, ``__import__``, ``runpy``,
``pkgutil.resolve_name``), under whatever name they were imported. Which of it is ours is the
business of ``closure``.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from research.errors import BadInput, BrokenExperiment

# What takes a module's name first, by its own full name.
_IMPORTERS: Final = frozenset(
    {
        "__import__",
        "builtins.__import__",
        "importlib.__import__",
        "importlib.import_module",
        "importlib.util.find_spec",
        "pkgutil.resolve_name",
        "runpy.run_module",
    }
)
# A file that brings in one of these, or has one of the marks, is looked at as a whole.
_TELLING: Final = frozenset({"builtins", "importlib", "pkgutil", "runpy"})
_MARKS: Final = (b"__file__", b"resources", b"get_data", b"coding")
# Names that are taken for what they nearly always are, whoever gave them.
_KNOWN_NAMES: Final = {"import_module": "importlib.import_module", "__import__": "__import__"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: a module, what is taken from it, and the line."""

    module: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file's text, its package, and what its imported names stand for.

    ``nodes`` are all of its tree; of a plain file, see ``_plain_imports``, its imports alone.
    """

    path: Path
    text: bytes
    nodes: Sequence[ast.AST]
    package: str
    aliases: Mapping[str, str]


def read_source(experiment_id: str, path: Path, package: str) -> Source:
    """Read and parse a file.

    Raises: BrokenExperiment naming the line, BadInput if it cannot be read.
    """
    try:
        text = path.read_bytes()
        tree = ast.parse(text, filename=str(path))
        nodes = _plain_imports(text, tree) or list(ast.walk(tree))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BrokenExperiment(experiment_id, f"{path.name}{line}: {reason}") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    return Source(path=path, text=text, nodes=nodes, package=package, aliases=_aliases(nodes))


def imports(source: Source, facade: str) -> Iterator[Import]:
    """List what a file imports, relative imports made absolute; attributes of the facade too."""
    is_facade_used = any(each == facade for each in source.aliases.values())
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, (), node.lineno)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = absolute(module or "", level, source.package)
                yield Import(base, tuple(alias.name for alias in names), node.lineno)
            case ast.Call():
                yield from _called(node, source)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if is_facade_used:
                if source.aliases.get(name) == facade:
                    yield Import(facade, (attribute,), node.lineno)


def exported(path: Path) -> list[str]:
    """List the constants of a file's ``__all__``: what a star takes, submodules among it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    found: list[str] = []
    for node in body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AugAssign(target=ast.Name(id="__all__"), value=value)
            ):
                found += [
                    each.value
                    for each in ast.walk(value)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                ]
    return found


def dotted(node: ast.expr, aliases: Mapping[str, str]) -> str:
    """Return the full name of ``a.b.c`` with ``a`` as it was imported; "" for anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, aliases)
        return f"{before}.{node.attr}" if before else ""
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def absolute(module: str, level: int, package: str) -> str:
    """Make a relative import absolute; "" if it leads out of the packages."""
    if level == 0:
        return module
    parts = package.split(".")
    kept = parts[: len(parts) - (level - 1)] if package else []
    return ".".join([*kept, module] if module else kept)


def _plain_imports(text: bytes, tree: ast.Module) -> list[ast.AST]:
    """Return a file's import statements, if it can be told that there is nothing else to see.

    Walking a tree takes three times as long as parsing it, and nearly all files are plain: the word
    stands in statements of the top level only, and none of these brings in what imports, reads
    data, or is the facade. Everything else is walked: return nothing.
    """
    if not text.isascii() or b"\r" in text or any(mark in text for mark in _MARKS):
        return []
    found: list[ast.AST] = []
    covered: set[int] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            # A name from the facade is in the statement; an attribute of it would be further down.
            if isinstance(node, ast.ImportFrom):
                tells = (node.module or "").partition(".")[0] in _TELLING
            else:
                tops = {alias.name.partition(".")[0] for alias in node.names}
                tells = not tops.isdisjoint({*_TELLING, "research"})
            if tells:
                return []
            found.append(node)
            covered.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number, line in enumerate(text.split(b"\n"), start=1):
        if b"import" in line and number not in covered:
            return []
    return found


def _aliases(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Return what each imported name stands for: ``il`` -> ``importlib``."""
    found: dict[str, str] = {}
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    found[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for alias in names:
                    found[alias.asname or alias.name] = f"{module}.{alias.name}"
    return found


def _called(node: ast.Call, source: Source) -> Iterator[Import]:
    """List the module that a call with a constant imports."""
    called = dotted(node.func, source.aliases)
    if _KNOWN_NAMES.get(called, called) not in _IMPORTERS:
        return
    given = [*node.args, *(k.value for k in node.keywords if k.arg in ("name", "mod_name"))]
    match given[:1]:
        case [ast.Constant(value=str(name))]:
            name = name.partition(":")[0]
            level = len(name) - len(name.lstrip("."))
            module = absolute(name[level:], level, _anchor(node, source))
            yield Import(module, _from_list(node), node.lineno)


def _anchor(node: ast.Call, source: Source) -> str:
    """Return the package that a relative name starts from: the one given, or the file's."""
    given = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "package")]
    match given[:1]:
        case [ast.Constant(value=str(package))]:
            return package
    return source.package


def _from_list(node: ast.Call) -> tuple[str, ...]:
    """Return the constants of ``fromlist``: submodules that ``__import__`` brings in."""
    given = [*node.args[3:4], *(k.value for k in node.keywords if k.arg == "fromlist")]
    return tuple(
        each.value
        for value in given
        for each in ast.walk(value)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    )
