"""Which data files a source file reads through its package, read from its text.

Owns the evaluation of paths made of constants: ``Path(__file__).with_name("x")``,
``Path(__file__).parent / "x"``, ``os.path.join(os.path.dirname(__file__), "x")``,
``importlib.resources.files("pkg") / "x"``, ``read_text("pkg", "x")``, ``pkgutil.get_data``; through
names that are bound to such a path or constant, loops over constants too. A computed name cannot
be seen: it has to be declared (``include``). It executes nothing.
"""

import ast
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from research.experiments.imports import Source, dotted

Value = Path | str
Locate = Callable[[str], Path | None]
"""From a module's name to its file, or a package's folder without one; None if it is not ours."""

_MARKS: Final = (b"__file__", b"resources", b"get_data")
_DEPTH_MAX: Final = 24
_VALUES_MAX: Final = 64
_JOINS: Final = frozenset({"pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "os.path.join"})
_SAME: Final = frozenset(
    {
        "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.fspath", "str",
        "importlib.resources.as_file",
    }
)  # fmt: skip
_SAME_METHODS: Final = frozenset({"resolve", "absolute", "as_posix", "expanduser", "__str__"})
# Take a package and the parts of a name.
_RESOURCES: Final = frozenset(
    f"importlib.resources.{name}"
    for name in ("contents", "is_resource", "open_binary", "open_text", "path", "read_binary",
                 "read_text")
) | {"pkgutil.get_data"}  # fmt: skip


class DataFiles:
    """The data files that one source file names, and the packages that it reads them through."""

    def __init__(self, source: Source, locate: Locate) -> None:
        self.files: set[Path] = set()
        self.packages: set[str] = set()
        self._source = source
        self._locate = locate
        self._bound: dict[str, list[ast.expr]] = {}
        self._known: dict[str, list[Value]] = {}
        if any(mark in source.text for mark in _MARKS):
            self._bind()
            for node in source.nodes:
                if isinstance(node, ast.Call | ast.BinOp | ast.JoinedStr | ast.Name):
                    self._keep(self._values(node, _DEPTH_MAX))

    def _keep(self, values: Iterable[Value]) -> None:
        for value in values:
            path = Path(os.path.normpath(value)) if isinstance(value, Path) else Path(value)
            if path.is_absolute() and path != self._source.path and path.is_file():
                self.files.add(path)

    def _bind(self) -> None:
        """Note what is bound to each name: by assignment, or in turn by a loop over constants."""
        for node in self._source.nodes:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._note(target, [value])
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._note(target, [value])
                case ast.NamedExpr(target=target, value=value):
                    self._note(target, [value])
                case ast.withitem(optional_vars=ast.Name() as target, context_expr=value):
                    self._note(target, [value])
                case (
                    ast.For(target=target, iter=ast.Tuple(elts=each) | ast.List(elts=each))
                    | ast.comprehension(target=target, iter=ast.Tuple(elts=each))
                    | ast.comprehension(target=target, iter=ast.List(elts=each))
                ):
                    self._note(target, each)

    def _note(self, target: ast.expr, values: list[ast.expr]) -> None:
        if isinstance(target, ast.Name):
            self._bound.setdefault(target.id, []).extend(values)

    def _values(self, node: ast.expr, depth: int) -> list[Value]:
        """Return what an expression of constants can be; empty if it cannot be told."""
        if depth == 0:
            return []
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.Name(id="__file__"):
                return [self._source.path]
            case ast.Name(id=name):
                return self._named(name, depth - 1)
            case ast.Attribute():
                return self._attribute(node, depth - 1)
            case ast.Subscript(value=ast.Attribute(attr="parents", value=owner)):
                match node.slice:
                    case ast.Constant(value=int(count)) if 0 <= count < _DEPTH_MAX:
                        paths = self._paths(owner, depth - 1)
                        return [
                            path.parents[count] for path in paths if count < len(path.parts) - 1
                        ]
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined([left, right], depth - 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._added([left, right], depth - 1)
            case ast.JoinedStr(values=parts):
                inner = (p.value if isinstance(p, ast.FormattedValue) else p for p in parts)
                return self._added(list(inner), depth - 1)
            case ast.Call():
                return self._call(node, depth - 1)
        return []

    def _named(self, name: str, depth: int) -> list[Value]:
        """Return what a name can be, worked out once; a circle is nothing."""
        if name not in self._known:
            self._known[name] = []
            found: dict[Value, None] = {}
            for each in self._bound.get(name, [])[:_VALUES_MAX]:
                found |= dict.fromkeys(self._values(each, depth))
            self._known[name] = list(found)[:_VALUES_MAX]
        return self._known[name]

    def _attribute(self, node: ast.Attribute, depth: int) -> list[Value]:
        if node.attr == "__file__":
            located = self._locate(dotted(node.value, self._source.aliases))
            return [] if located is None else [located]
        if node.attr == "parent":
            return [path.parent for path in self._paths(node.value, depth)]
        return []

    def _call(self, node: ast.Call, depth: int) -> list[Value]:
        called = dotted(node.func, self._source.aliases)
        first = node.args[0] if node.args else None
        if called in _JOINS:
            return self._joined(node.args, depth)
        if called == "importlib.resources.files":
            return self._package(first, depth)
        if called in _RESOURCES and first is not None:
            return self._join_all([self._package(first, depth)], node.args[1:], depth)
        if called == "os.path.dirname" and first is not None:
            return [path.parent for path in self._paths(first, depth)]
        if called in _SAME and first is not None:
            return self._values(first, depth)
        return self._method(node, depth) if isinstance(node.func, ast.Attribute) else []

    def _method(self, node: ast.Call, depth: int) -> list[Value]:
        assert isinstance(node.func, ast.Attribute)
        owner, name = node.func.value, node.func.attr
        if name in _SAME_METHODS:
            return self._values(owner, depth)
        if name == "joinpath":
            return self._joined([owner, *node.args], depth)
        if name in ("with_name", "with_suffix") and len(node.args) == 1:
            pairs = itertools.product(self._paths(owner, depth), self._values(node.args[0], depth))
            return [
                path.parent / (str(text) if name == "with_name" else f"{path.stem}{text}")
                for path, text in itertools.islice(pairs, _VALUES_MAX)
            ]
        return []

    def _package(self, node: ast.expr | None, depth: int) -> list[Value]:
        """Return the folder of a package: the file's own, or one that is named or imported."""
        if node is None or dotted(node, {}) in ("__package__", "__name__", "__spec__.parent"):
            return [self._source.path.parent]
        names = [str(value) for value in self._values(node, depth)]
        found: list[Value] = []
        for name in names or filter(None, [dotted(node, self._source.aliases)]):
            located = self._locate(name)
            if located is not None:
                self.packages.add(name)
                found.append(located if located.is_dir() else located.parent)
        return found

    def _joined(self, parts: list[ast.expr], depth: int) -> list[Value]:
        return self._join_all([], parts, depth)

    def _join_all(
        self, before: list[list[Value]], parts: list[ast.expr], depth: int
    ) -> list[Value]:
        """Join each of what the parts can be."""
        sides = [*before, *(self._values(part, depth) for part in parts)]
        chosen = itertools.islice(itertools.product(*sides), _VALUES_MAX if sides else 0)
        return [Path(*each) for each in chosen]

    def _added(self, parts: list[ast.expr], depth: int) -> list[Value]:
        """Put the texts of the parts side by side, as ``+`` and an f-string do."""
        sides = [self._values(part, depth) for part in parts]
        chosen = itertools.islice(itertools.product(*sides), _VALUES_MAX)
        return ["".join(map(str, each)) for each in chosen]

    def _paths(self, node: ast.expr, depth: int) -> list[Path]:
        return [Path(value) for value in self._values(node, depth)]
