"""Refs: what names may look like, and how people write a revision.

Owns the grammar of ref names (``docs/format.md`` section 4) and of revisions (``@``, ``@~2``,
``sma_crossover@``, a prefix, a name). Knows nothing of where refs are kept.
"""

import re
from dataclasses import dataclass
from typing import Final

from rosdb.errors import BadName

RUNS: Final = "runs/"
NAMES: Final = "names/"
DATASETS: Final = "datasets/"
REPLAYS: Final = "replays/"
PROMOTIONS: Final = "promotions/"
SWEEPS: Final = "sweeps/"
TAGS: Final = "tags/"
NOTES: Final = "notes/"
TRIALS: Final = "trials/"
"""The ledger: its refs are made, and never moved or removed."""

NAME_BYTES_MAX: Final = 255
PREFIX_DIGITS_MIN: Final = 4

_SEGMENT: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REF: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_NEWEST: Final = re.compile(r"(?P<experiment>[^@~]*)@(?:~(?P<back>[0-9]{1,9}))?")
_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """``@``, ``@~N``, ``EXPERIMENT@`` and ``EXPERIMENT@~N``: counted back from the newest run."""

    experiment: str | None
    back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A name, which may also be the first digits of an id."""

    name: str
    prefix: str | None


def check_ref(name: str) -> None:
    """Check that a name can be a ref's.

    Raises: BadName.
    """
    if len(name) > NAME_BYTES_MAX:
        raise BadName("ref", name[:40] + "…", f"it is longer than {NAME_BYTES_MAX} bytes")
    if not _REF.fullmatch(name):
        raise BadName("ref", name, "its segments are letters, digits, '.', '_', '-', no sign first")


def check_label(what: str, name: str) -> None:
    """Check that a name can be given to a run, a dataset or a version.

    Raises: BadName. A run's name made of hex digits only would hide runs from their prefixes.
    """
    if not re.fullmatch(_SEGMENT, name) or len(name) > 128:
        raise BadName(
            what, name, "use up to 128 letters, digits, '.', '_' and '-', not starting with a sign"
        )


def check_run_name(name: str) -> None:
    """Check that a run can be called so.

    Raises: BadName if the name could be taken for the first digits of a run's id.
    """
    check_label("run name", name)
    if len(name) >= PREFIX_DIGITS_MIN and _HEX.fullmatch(name.lower()):
        raise BadName("run name", name, "it could be the first digits of a run's hash")


def parse_revision(text: str) -> Newest | Named:
    """Read a revision; what it leads to, the index knows."""
    newest = _NEWEST.fullmatch(text)
    if newest:
        return Newest(experiment=newest["experiment"] or None, back=int(newest["back"] or 0))
    digits = text.lower()
    is_prefix = PREFIX_DIGITS_MIN <= len(digits) <= 64 and _HEX.fullmatch(digits) is not None
    return Named(name=text, prefix=digits if is_prefix else None)
