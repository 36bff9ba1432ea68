"""Parameters: overrides, types and constraints, before anything runs.

Owns how ``--param K=V`` meets an experiment's defaults, so that equal questions have equal
fingerprints: after coercion to the default's type (1 for a float is 1.0), in whatever order they
were given. Pure.
"""

import ast
import difflib
import functools
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from research.errors import (
    BadInput,
    BadParameter,
    BrokenExperiment,
    ConstraintBroken,
    UnknownParameter,
)
from rosdb import flatten

_UNDECLARED: Final = object()
"""The default of what stands in a list whose default is empty: anything may."""

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")
_DEPTH_MAX: Final = 32
_WHOLE_MAX: Final = 2.0**53
_PATH: Final = re.compile(r"[^.\[\]]+(?:\[\d{1,6}\])*(?:\.[^.\[\]]+(?:\[\d{1,6}\])*)*")

_COMPARE: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class _Spelled(float):
    """A float as somebody wrote it: for a label, 1.10 is the text "1.10"."""

    def __init__(self, text: str) -> None:
        self.text = text


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``K=V``: V as JSON, else as text.

    Raises: BadInput if there is no K or no ``=``.
    """
    path, sign, value = text.partition("=")
    path = path.strip()
    if not sign or not path:
        raise BadInput(f"a parameter is given as K=V, not {text!r}")
    try:
        # JSON has no NaN; Python's reader takes it, and the coercion refuses it by name.
        return path, json.loads(value, parse_float=_Spelled)
    except (ValueError, RecursionError):
        return path, value


def apply_overrides(
    experiment: str, defaults: Mapping[str, Any], overrides: Sequence[tuple[str, Any]]
) -> dict[str, Any]:
    """Return the defaults with each override at its path, coerced to the default's type.

    A list whose default is empty says nothing of its elements, so they are made as they are named:
    ``ladder[0].multiple`` makes a map, ``ladder[1].multiple`` the next, without a gap.

    Raises: UnknownParameter with the nearest paths, BadParameter, BadInput if a path stands twice.
    """
    values: dict[str, Any] = copied(defaults)
    given: list[tuple[tuple[str | int, ...], str, Any]] = []
    for path, value in overrides:
        if not _PATH.fullmatch(path):
            raise _unknown(experiment, defaults, path)
        steps = _steps(path)
        if len(steps) > _DEPTH_MAX:
            raise BadInput(f"parameter {path[:40]}… is nested deeper than {_DEPTH_MAX}")
        for earlier, text, _ in given:
            if earlier == steps:
                raise BadInput(f"parameter {path} is given twice")
            # The order in which they are given must not decide.
            if earlier[: len(steps)] == steps or steps[: len(earlier)] == earlier:
                raise BadInput(f"parameters {text} and {path}: one is a part of the other")
        given.append((steps, path, value))
    # Of a list that was empty the first element is made before the second.
    for _, path, value in sorted(given, key=lambda each: _place(each[0])):
        _set(experiment, defaults, values, path, value)
    return values


def check_constraints(
    experiment: str, constraints: Sequence[str], parameters: Mapping[str, Any]
) -> None:
    """Check that the parameters satisfy the experiment's constraints.

    Raises: ConstraintBroken; BrokenExperiment if it is no comparison.
    """
    values = dict(flatten(parameters))
    for constraint in constraints:
        try:
            tree = _parsed(constraint)
            holds = _evaluate(tree, values)
        except (SyntaxError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
            raise BrokenExperiment(experiment, f"constraint {constraint!r}: {error}") from None
        if not holds:
            names = sorted({_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Name)})
            dotted = sorted({_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)})
            involved = [n for n in [*names, *dotted] if n in values]
            found = ", ".join(f"{n} is {values[n]!r}" for n in involved)
            raise ConstraintBroken(experiment, constraint, found)


@functools.cache
def _parsed(constraint: str) -> ast.expr:
    """Parse a constraint, once for all points of a sweep."""
    return ast.parse(constraint.strip(), mode="eval").body


def copied(value: Any) -> Any:
    """Copy nested maps and lists into plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def coerce(path: str, default: Any, value: Any) -> Any:
    """Coerce a value to its default's type.

    Raises: BadParameter if that would change what it says.
    """
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise BadParameter(path, value, "is not true or false")
    elif isinstance(default, int):
        value = _integer(path, value)
    elif isinstance(default, float):
        return _float(path, value)
    elif isinstance(default, str):
        if not isinstance(value, str):
            # V was read as JSON, but text was wanted: 5 for a label is "5".
            value = value.text if isinstance(value, _Spelled) else json.dumps(value)
    elif isinstance(default, Mapping):
        return _map(path, default, value)
    elif isinstance(default, list):
        if not isinstance(value, list):
            raise BadParameter(path, value, "is not a list")
        kinds = {type(item) for item in default}
        if len(kinds) == 1:
            return [coerce(f"{path}[{i}]", default[0], item) for i, item in enumerate(value)]
    return _plain(path, value)


def _steps(path: str) -> tuple[str | int, ...]:
    return tuple(name or int(number) for name, number in _STEP.findall(path))


def _place(steps: tuple[str | int, ...]) -> list[tuple[int, str]]:
    return [(step, "") if isinstance(step, int) else (-1, step) for step in steps]


def _set(experiment: str, defaults: Mapping[str, Any], values: Any, path: str, value: Any) -> None:
    steps = _steps(path)
    here, default = values, copied(defaults)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if default is _UNDECLARED or (isinstance(default, list) and not default):
            _make(here, step, following)
            default = _UNDECLARED
        parent = here
        here, default = _descend(experiment, defaults, path, here, default, step)
    parent[steps[-1]] = coerce(path, default, value)


def _make(here: Any, step: str | int, following: str | int | None) -> None:
    """Make what a step leads to where nothing is declared, if there is a place for it."""
    made: Any = None if following is None else [] if isinstance(following, int) else {}
    if isinstance(here, list) and step == len(here):
        here.append(made)
    elif isinstance(here, dict) and isinstance(step, str):
        here.setdefault(step, made)


def _descend(
    experiment: str, defaults: Mapping[str, Any], path: str, here: Any, default: Any, step: Any
) -> tuple[Any, Any]:
    if isinstance(step, int):
        if isinstance(here, list) and step < len(here):
            if default is _UNDECLARED:
                return here[step], _UNDECLARED
            known = isinstance(default, list) and step < len(default)
            return here[step], default[step] if known else None
    elif isinstance(here, dict) and step in here:
        if default is _UNDECLARED:
            return here[step], _UNDECLARED
        return here[step], default[step] if isinstance(default, dict) and step in default else None
    raise _unknown(experiment, defaults, path)


def _unknown(experiment: str, defaults: Mapping[str, Any], path: str) -> UnknownParameter:
    known = [name for name, _ in flatten(_with_places(defaults))]
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    leaf = path.rsplit(".", 1)[-1]
    near += [name for name in known if name.rsplit(".", 1)[-1] == leaf and name not in near]
    return UnknownParameter(experiment, path, near or known[:8])


def _with_places(value: Any) -> Any:
    """Copy, with one element in each empty list: its place has a name."""
    if isinstance(value, Mapping):
        return {str(key): _with_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_places(item) for item in value] or [None]
    return value


def _map(path: str, default: Mapping[str, Any], value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadParameter(path, value, "is not a map")
    for key in value:
        if key not in default:
            near = difflib.get_close_matches(key, list(default), n=3) or list(default)[:8]
            raise BadParameter(
                f"{path}.{key}", value[key], f"has no place; known: {', '.join(near)}"
            )
    return {
        key: coerce(f"{path}.{key}", item, value[key]) if key in value else copied(item)
        for key, item in default.items()
    }


def _integer(path: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadParameter(path, value, "is not a whole number")
    if isinstance(value, float) and not value.is_integer():
        raise BadParameter(path, value, "is not a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise BadParameter(path, value, "does not fit 64 bits")
    return number


def _float(path: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadParameter(path, value, "is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise BadParameter(path, value, "is too large") from None
    if not math.isfinite(number):
        raise BadParameter(path, value, "is not finite")
    return number


def _plain(path: str, value: Any, depth: int = 0) -> Any:
    """Check a value that no default types: plain data, finite, of 64 bits, not too deep.

    A whole number is one however it is written: 24.0 is 24.
    """
    if depth > _DEPTH_MAX:
        raise BadInput(f"parameter {path[:40]}… is nested deeper than {_DEPTH_MAX}")
    if isinstance(value, float):
        number = _float(path, value)
        is_whole = number.is_integer() and abs(number) < _WHOLE_MAX
        return int(number) if is_whole else number
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(path, value)
    if isinstance(value, Mapping):
        return {
            _text(path, str(key)): _plain(f"{path}.{key}", item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_plain(f"{path}[{i}]", item, depth + 1) for i, item in enumerate(value)]
    return _text(path, value) if isinstance(value, str) else value


def _text(path: str, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadParameter(path, value, "is not valid UTF-8") from None
    return value


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise TypeError("only parameters, numbers, + - * / and comparisons can stand here")


def _evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return values[_dotted(node)]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op=op, values=parts):
            answers = [_evaluate(part, values) for part in parts]
            return all(answers) if isinstance(op, ast.And) else any(answers)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(
            type(op) in _COMPARE for op in ops
        ):
            sides = [_evaluate(side, values) for side in (left, *rights)]
            return all(
                _COMPARE[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False)
            )
    raise TypeError("only parameters, numbers, + - * / and comparisons can stand here")
