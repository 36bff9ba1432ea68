"""From errors to exit statuses: the one table.

Owns what a script may rely on when something goes wrong: ``error:`` and ``hint:`` on standard
error, and the status. The first class that fits decides, so the particular go before the general.
"""

import sys
import traceback
from typing import Final

import typer

from cli.context import wants_traceback
from research.errors import BadInput, NotThere, Refused, ResearchError, RunFailed, Untold
from rosdb import errors

NO: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
RUN_FAILED: Final = 4
DAMAGED: Final = 5
DEFECT: Final = 70
INTERRUPTED: Final = 130

TABLE: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (Refused, NO),
    (Untold, NO),
    (BadInput, USAGE),
    (NotThere, NOT_FOUND),
    (RunFailed, RUN_FAILED),
    (errors.RefMissing, NOT_FOUND),
    (errors.IdAmbiguous, NOT_FOUND),
    (errors.NotAStore, NOT_FOUND),
    (errors.BadName, USAGE),
    (errors.BadExpression, USAGE),
    (errors.BadTable, USAGE),
    (errors.NotCanonical, USAGE),
    (errors.StoreExists, USAGE),
    (errors.RefMoved, DAMAGED),
    (errors.StoreError, DAMAGED),
    (ResearchError, USAGE),
    (KeyboardInterrupt, INTERRUPTED),
    (BrokenPipeError, NO),
    (OSError, USAGE),
)


def report(error: BaseException) -> int:
    """Tell people what went wrong, in one line and a hint; return the exit status."""
    if wants_traceback():
        traceback.print_exception(error)
    status = _status(error)
    if isinstance(error, BrokenPipeError):
        return status
    if type(error).__name__ == "NoArgsIsHelpError":  # a command that needs more, called alone
        print(error, file=sys.stderr)
        return status
    print(f"error: {_message(error)}", file=sys.stderr)
    hint = getattr(error, "hint", "")
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return status


def _status(error: BaseException) -> int:
    if _is_usage(error):
        return USAGE
    if _is_dataset_error(error):
        return USAGE
    for kind, status in TABLE:
        if isinstance(error, kind):
            return status
    return DEFECT


def _message(error: BaseException) -> str:
    if _is_usage(error):
        text = str(error.format_message())  # type: ignore[attr-defined]
    elif isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, OSError | ResearchError | errors.StoreError) or _is_dataset_error(error):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error} (a defect of ros: ROS_TRACEBACK=1 shows where)"
    return " ".join(text.split())


def _is_usage(error: BaseException) -> bool:
    """Tell whether the parser of the command line raised it."""
    return isinstance(error, typer.TyperException)


def _is_dataset_error(error: BaseException) -> bool:
    """Tell by module, so that no command pays for importing what reads datasets."""
    return type(error).__module__ == "research.datasets.errors"
