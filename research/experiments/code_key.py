"""The code key: what of a source file counts, when equal questions are told from unequal ones.

Owns the normal form of a Python file for the option ``cache.code = "syntax"``: its syntax tree
written out again, without docstrings and other bare strings; comments and layout are not in a tree.
The normal form is what the code tree holds and so what is executed: the recipe goes on linking the
bytes that ran, and a replay needs no option (``docs/decisions/0009``). Pure.

    def f( x ):              def f(x):
        "Double."     ->         return 2 * x
        return 2*x  # two
"""

import ast
from functools import lru_cache
from typing import Any, Final

# Who reads these at run time can tell a docstring or a layout that is gone.
_READ_AT_RUN_TIME: Final = (
    b"__doc__",
    b"getdoc",
    b"getsource",
    b"inspect",
    b"doctest",
    b"linecache",
)


@lru_cache(maxsize=512)
def normal_form(source: bytes) -> bytes:
    """Return the normal form of a Python file; the file itself where there is none to rely on.

    There is none of a file that cannot be parsed, whose tree does not come back the same from its
    written form, or that reads docstrings or sources at run time.
    """
    if any(word in source for word in _READ_AT_RUN_TIME):
        return source
    try:
        tree = _without_bare_strings(ast.parse(source))
        text = ast.unparse(tree) + "\n"
        comes_back = ast.dump(ast.parse(text)) == ast.dump(tree)
        return text.encode("utf-8") if comes_back else source
    except (SyntaxError, ValueError, RecursionError):
        return source


def line_in_source(source: bytes, line: int) -> int:
    """Return the line of a file that a line of its normal form was written for."""
    try:
        ours = _without_bare_strings(ast.parse(source))
        normal = ast.parse(normal_form(source))
    except (SyntaxError, ValueError, RecursionError):
        return line
    found, nearest = line, 0
    for written, here in zip(_statements(normal), _statements(ours), strict=False):
        if nearest < written.lineno <= line:
            found, nearest = here.lineno, written.lineno
    return found


def _statements(tree: ast.Module) -> list[Any]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.expr)]


def _without_bare_strings(tree: ast.Module) -> ast.Module:
    """Take out every statement that is a string alone: docstrings, and what does nothing."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                kept = [each for each in body if not _is_bare_string(each)]
                if body and not kept and not isinstance(node, ast.Module) and field == "body":
                    kept = [ast.copy_location(ast.Pass(), body[0])]
                setattr(node, field, kept)
    return tree


def _is_bare_string(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
