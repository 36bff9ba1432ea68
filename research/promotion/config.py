"""The config that a promotion writes.

Owns the file's form and its safety fields. ``strategy_config`` takes no parameter for any of them:
they are constants, written last and checked after the text is read back. Nothing that a run holds
stands at the level where they stand.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from research.errors import Refused

STRATEGY_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SAFETY: Final[Mapping[str, Any]] = {
    "enabled": False,
    "mode": "EVAL_ONLY",
    "requires_human_approval": True,
    "approvals": {"requires_human_approval": True, "approved_by": None},
    "safety": {"execution": "DISABLED"},
}
_HEADER: Final = (
    "# Written by ros promote. It enables nothing: a human approves and enables it, elsewhere.\n"
    "# An edited file is not overwritten; promote again under another name, or remove it.\n"
)


def strategy_config(
    *,
    strategy: str,
    experiment: str,
    parameters: Mapping[str, Any],
    provenance: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a strategy's config as plain data."""
    return {
        "strategy": strategy,
        "strategy_id": strategy,
        "strategy_name": strategy,
        "strategy_type": experiment,
        "enabled": SAFETY["enabled"],
        "mode": SAFETY["mode"],
        "requires_human_approval": SAFETY["requires_human_approval"],
        "approvals": dict(SAFETY["approvals"]),
        "parameters": dict(parameters),
        "provenance": dict(provenance),
        "safety": dict(SAFETY["safety"]),
        "evidence": dict(evidence),
    }


def config_text(config: Mapping[str, Any]) -> bytes:
    """Write a config as YAML, and read it back: what is read is what was meant.

    Raises: Refused if it does not read back the same, or is not safe.
    """
    # ASCII alone: no sign of another script looks like a line's end, or like another sign.
    text = _HEADER + yaml.dump(
        dict(config), Dumper=_PlainDumper, sort_keys=False, allow_unicode=False, width=100
    )
    read = yaml.safe_load(text)
    if not is_safe(read):
        raise Refused("the config would not be disabled, EVAL_ONLY and unapproved")
    if not is_same(read, dict(config)):
        raise Refused("the config does not read back as it was written")
    return text.encode("utf-8")


def is_safe(config: Any) -> bool:
    """Tell whether every safety field is there, of its type and value."""
    return isinstance(config, dict) and all(
        key in config and is_same(config[key], value) for key, value in SAFETY.items()
    )


class _PlainDumper(yaml.SafeDumper):
    """No anchors: a reader should see each value where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out."""
        return True


def is_same(a: Any, b: Any) -> bool:
    """Compare types too: 0 is not false."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(is_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(is_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and (a == b or (a != a and b != b))
