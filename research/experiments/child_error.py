"""Why a child did not answer, in words.

Owns ``ChildError``: read from what the child wrote, told from how it ended, and completed by the
line that a person has to add.
"""

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

# What a child says of a file below its code.
_NOT_BROUGHT: Final = re.compile(r"No such file or directory: '[^']*/code/([^']+)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildError:
    """Why the child did not answer."""

    kind: str
    message: str
    where: str


def read_error(result: Mapping[str, Any]) -> ChildError:
    """Read an error; text that no record could hold (a name of bad bytes) is spelled out."""
    parts = {k: str(v).encode("utf-8", "backslashreplace") for k, v in result["error"].items()}
    return ChildError(**{name: part.decode("utf-8") for name, part in parts.items()})


def with_advice(error: ChildError, entry: str) -> ChildError:
    """Say which line to add, if the code looked beside itself for a file that it did not bring."""
    match = _NOT_BROUGHT.search(error.message)
    if error.kind != "FileNotFoundError" or match is None:
        return error
    folder = "/".join(entry.split(".")[:-1])
    name = os.path.relpath(match[1], folder or ".")
    advice = (
        f"{error.message} (it is not in this run's code, where a file is whose name its code says"
        f" in constants: declare include=[{name!r}])"
    )
    return replace(error, message=advice)


def death(status: int) -> ChildError:
    """Tell how a child ended that left no result."""
    if status < 0:
        name = next((s.name for s in signal.Signals if s == -status), f"signal {-status}")
        return ChildError(kind="Killed", message=f"the child was ended by {name}", where="")
    return ChildError(
        kind="Died", message=f"the child ended with status {status} and no result", where=""
    )
