"""The answer: what a child left in its folder, read back and judged.

Owns the reading of ``result.json``, the log and the artifacts (``docs/format.md`` section 6), none
of which is trusted: a child may have written anything.
"""

import functools
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.experiments import environment, sandbox
from research.experiments.child_error import ChildError, death, read_error, with_advice
from research.experiments.conditions import Conditions
from rosdb import (
    UTF8,
    WIDTHS,
    Column,
    Entry,
    Link,
    Record,
    Transaction,
    errors,
    put_folder,
)

LOG_BYTES_MAX: Final = 1024 * 1024
RESULT_BYTES_MAX: Final = 64 * 1024 * 1024
TABLE_SUFFIX: Final = ".table"
COLUMNS_FILE: Final = "columns"
_SPARSE_BYTES: Final = 1024**3
_SPARSE_TIMES: Final = 32
"""A disk that compresses holds less than a file's length too, but not by so much."""

_BLOCK_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a run: metrics, or an error, and what is needed to put the artifacts."""

    collect: Callable[[Transaction], Link]
    """Puts them as a tree, as ``collect`` does."""

    metrics: Mapping[str, Any] | None
    error: ChildError | None
    log: bytes
    log_bytes_cut: int
    sandbox: Mapping[str, Any] | None = None
    """Which walls stood around the child, as it says."""

    nondeterminism: Sequence[Mapping[str, str]] = ()
    """Where it asked for what no recipe holds: ``what`` and ``where``."""


def read_answer(
    folder: Path, status: int, recipe: Record, conditions: Conditions, ended: ChildError | None
) -> Answer:
    """Read what the child of a recipe left in its folder; ``ended`` says why we have ended it."""
    log, cut = _read_log(folder / "log")
    put = functools.partial(collect, folder / "output")
    result = None if ended is not None else read_result(folder)
    if result is None:
        error = ended or death(status)
        return Answer(collect=put, metrics=None, error=error, log=log, log_bytes_cut=cut)
    metrics, error_told = _judge(result, recipe, conditions)
    return Answer(
        collect=put,
        metrics=metrics,
        error=error_told,
        log=log,
        log_bytes_cut=cut,
        sandbox=sandbox.read_reached(result.get("sandbox")),
        nondeterminism=sandbox.read_sources(result.get("nondeterminism")),
    )


def collect(output: Path, tx: Transaction) -> Link:
    """Put what a child left in its ``output/`` as a tree; a ``NAME.table`` folder is a table.

    Raises: BadTable, BadName if it is not what the protocol says.
    """

    def special(path: Path) -> Entry | None:
        if not path.name.endswith(TABLE_SUFFIX) or not (path / "table.json").is_file():
            return None
        rows, columns = read_columns(path)
        size = sum(len(c.data) + len(c.mask or b"") for c in columns)
        return Entry(kind="table", link=tx.put_columns(rows, columns), size=size)

    if not stat.S_ISDIR(output.lstat().st_mode):
        raise errors.BadName("file", "output", "the experiment has put something in its place")
    _check_written(output)
    return put_folder(tx, output, special)


def _check_written(output: Path) -> None:
    """See that large files are what they seem: reading a terabyte of nothing takes an hour.

    Raises: BadName.
    """
    waiting = [output]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry))
                    continue
                found = entry.stat(follow_symlinks=False)
                written = found.st_blocks * _BLOCK_BYTES
                if found.st_size > max(_SPARSE_BYTES, _SPARSE_TIMES * written):
                    raise errors.BadName(
                        "file",
                        os.path.relpath(entry, output),
                        f"of its {found.st_size} bytes only {written} were ever written",
                    )


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read what a child wrote down; None if it wrote nothing that could be read."""
    path = folder / "result.json"
    if not path.is_file() or path.stat().st_size > RESULT_BYTES_MAX:
        return None
    try:
        result = json.loads(path.read_text("utf-8"), object_hook=_float_of)
    except (ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) and _is_result(result) else None


def _is_result(result: Mapping[str, Any]) -> bool:
    """Tell whether what a child wrote has the form that a harness gives it."""
    if result.get("ok") is False:
        error = result.get("error")
        return isinstance(error, dict) and error.keys() == {"kind", "message", "where"}
    if "spec" in result:
        return result.get("ok") is True and isinstance(result["spec"], dict)
    metrics, loaded = result.get("metrics"), result.get("loaded")
    return (
        result.get("ok") is True
        and isinstance(metrics, dict)
        and all(type(value) in (bool, int, float, str) for value in metrics.values())
        and isinstance(loaded, list)
        and all(isinstance(name, str) for name in loaded)
    )


def read_columns(folder: Path) -> tuple[int, list[Column]]:
    """Read a table as a child wrote it. What a child wrote is not trusted.

    Raises: BadTable.
    """
    name = folder.name.removesuffix(TABLE_SUFFIX)
    try:
        files = {path.name: _plain_bytes(path) for path in folder.iterdir()}
        described = json.loads(files.pop("table.json").decode("utf-8"))
        rows = described["rows"]
        columns = [
            Column(
                name=column["name"],
                dtype=column["dtype"],
                unit=column["unit"],
                data=_part(files, column["data"]),
                mask=_part(files, column["mask"]) if column["mask"] else None,
            )
            for column in described["columns"]
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise errors.BadTable(name, f"its files are not a table ({error})") from None
    files.pop(COLUMNS_FILE, None)
    if files:
        raise errors.BadTable(name, f"{sorted(files)[0]!r} is no file of a table")
    if type(rows) is not int or rows < 0:
        raise errors.BadTable(name, "it has no number of rows")
    for column in columns:
        if {type(text) for text in (column.name, column.dtype, column.unit)} != {str}:
            raise errors.BadTable(name, f"column {column.name!r} is not described in text")
        if column.dtype != UTF8 and column.dtype not in WIDTHS:
            raise errors.BadTable(column.name, f"type {column.dtype} cannot be stored")
    return rows, columns


def _part(files: dict[str, bytes], place: Any) -> bytes:
    """Return a column's bytes: a part of the file of all, or, as of old, a file of their own."""
    if isinstance(place, str):
        return files.pop(place)
    start, size = place
    content = files[COLUMNS_FILE]
    if (
        type(start) is not int
        or type(size) is not int
        or not 0 <= start <= start + size <= len(content)
    ):
        raise ValueError(f"bytes {start!r} to {size!r} more are not there")
    return content[start : start + size]


def _plain_bytes(path: Path) -> bytes:
    """Read a file, but nothing that a link leads to, or that would have us wait."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path.name!r} is no file")
    return path.read_bytes()


def _float_of(value: dict[str, Any]) -> Any:
    if set(value) == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    return value


def _read_log(path: Path) -> tuple[bytes, int]:
    """Return the child's output, its middle cut out where it is too long."""
    size = path.stat().st_size
    with path.open("rb") as log:
        if size <= LOG_BYTES_MAX:
            return log.read(), 0
        half = LOG_BYTES_MAX // 2
        head = log.read(half)
        log.seek(size - half)
        return head + b"\n[...]\n" + log.read(), size - 2 * half


def _judge(
    result: Mapping[str, Any], recipe: Record, conditions: Conditions
) -> tuple[Mapping[str, Any] | None, ChildError | None]:
    """Return a child's metrics, or why it has none to give."""
    if not result["ok"]:
        return None, with_advice(read_error(result), recipe.fields["entry"])
    packages = None if conditions.interpreter is None else conditions.interpreter.packages
    recorded = recipe.fields["environment"]
    unforeseen = environment.unforeseen(recorded, result["loaded"], packages)
    if unforeseen:
        module = unforeseen[0]
        message = (
            f"it imported {module!r}, which its imports do not show, so that no fingerprint"
            f" holds it: import it by a plain statement, or declare include=[{module!r}]"
        )
        return None, ChildError(kind="UndeclaredImport", message=message, where="")
    return result["metrics"], None
