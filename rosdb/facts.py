"""Facts: a run's metrics and parameters as filters see them.

Owns their layout: a dotted key, a number, a text. A truth value has both (1 and ``true``); NaN is
no number, and null is neither.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

METRICS: Final = "m"
PARAMETERS: Final = "p"
PREFIXES: Final = {"metrics.": METRICS, "params.": PARAMETERS}

_SCALARS: Final = frozenset([float, int, str, bool, type(None)])


def flatten(value: Any) -> Iterator[tuple[str, Any]]:
    """Flatten nested maps and lists to dotted paths: ``take_profit[0].multiple``."""
    found: list[tuple[str, Any]] = []
    _flatten(value, "", found)
    return iter(found)


def _flatten(value: Any, path: str, found: list[tuple[str, Any]]) -> None:
    kind = type(value)
    if kind is dict or isinstance(value, Mapping):
        start = f"{path}." if path else ""
        for key, item in value.items():
            if type(item) in _SCALARS:
                found.append((f"{start}{key}", item))
            else:
                _flatten(item, f"{start}{key}", found)
    elif kind is list or isinstance(value, list):
        for i, item in enumerate(value):
            _flatten(item, f"{path}[{i}]", found)
    else:
        found.append((path, value))


def number_and_text(value: Any) -> tuple[float | None, str | None]:
    """Return a fact as a number and as a text: what compares with either."""
    kind = type(value)
    if kind is float or kind is int:
        return float(value), None
    if kind is bool:
        return float(value), "true" if value else "false"
    return None, None if value is None else str(value)
