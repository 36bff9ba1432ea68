"""The units of a source file: its functions and classes by name, and the module level between them.

Owns the answer to "which function changed". Every line of a file belongs to exactly one unit, so a
file that differs differs in a unit; order alone is a difference of the module level. Pure.
"""

import ast
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

MODULE_LEVEL: Final = "module level"

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def units(source: bytes) -> dict[str, str] | None:
    """Return each unit's text by its name, ``fee`` or ``Model.fit``; None if it is no Python."""
    try:
        text = source.decode("utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    lines = text.splitlines(keepends=True)
    owners = [MODULE_LEVEL] * len(lines)
    for name, node in _definitions(tree, ""):
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        end = node.end_lineno or node.lineno
        owners[first - 1 : end] = [name] * (end - first + 1)
    found: dict[str, str] = {MODULE_LEVEL: ""}
    for owner, line in zip(owners, lines, strict=True):
        found[owner] = found.get(owner, "") + line
    return found


def changed_units(then: bytes, now: bytes) -> dict[str, tuple[str | None, str | None]] | None:
    """Return the units that differ, with their text then and now; None if one is no Python."""
    ours, theirs = units(then), units(now)
    if ours is None or theirs is None:
        return None
    changed = {
        name: (ours.get(name), theirs.get(name))
        for name in dict.fromkeys(chain(ours, theirs))
        if ours.get(name) != theirs.get(name)
    }
    if not changed and then != now:
        changed[MODULE_LEVEL] = (ours[MODULE_LEVEL], theirs[MODULE_LEVEL])
    return changed


def _definitions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Give functions and classes at any depth of class, the outer before the inner."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, _DEFINITIONS):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.stmt):
            yield from _definitions(node, prefix)


def names_of(changed: Mapping[str, object]) -> list[str]:
    """Return the names of units, functions and classes before the module level."""
    return sorted(changed, key=lambda name: (name == MODULE_LEVEL, name))
