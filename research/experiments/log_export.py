"""History as a file: CSV for a spreadsheet, Parquet for a data frame.

Owns the bytes of both. One row a run, a column each metric and parameter, a column of one type.
"""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from research.errors import BadInput
from research.experiments.export import csv_cell, csv_quoted, instant_text
from research.experiments.log import LoggedRun
from research.experiments.log_columns import Column, spread_facts
from rosdb import one_type

_NEEDS_ARROW: Final = "--format parquet needs pyarrow: pip install 'research-os[arrow]'"


def csv_bytes(columns: Sequence[Column], runs: Sequence[LoggedRun]) -> bytes:
    """Write runs as CSV: floats by ``repr``, ids whole, instants in ISO, tags with blanks."""
    shown = spread_facts(columns, runs)
    rows = [[csv_quoted(column.name) for column in shown]]
    rows += [[csv_cell(_plain(column, column.read(run))) for column in shown] for run in runs]
    return "".join((",".join(row) or '""') + "\n" for row in rows).encode()


def parquet_bytes(columns: Sequence[Column], runs: Sequence[LoggedRun]) -> bytes:
    """Write runs as Parquet. Needs the extra ``arrow``.

    Raises: BadInput if that is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise BadInput(_NEEDS_ARROW) from None
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    arrays = {}
    for column in spread_facts(columns, runs):
        values = [column.read(run) for run in runs]
        if column.kind == "instant":
            instants = [None if value is None else _instant(value) for value in values]
            arrays[column.name] = pa.array(instants, pa.timestamp("us", "UTC"))
            continue
        plain = one_type([_plain(column, value) for value in values])
        found = next((type(value) for value in plain if value is not None), str)
        arrays[column.name] = pa.array(plain, types[found])
    written = io.BytesIO()
    pq.write_table(pa.table(arrays), written)
    return written.getvalue()


def _plain(column: Column, value: Any) -> Any:
    """Return a value as a file has it: a number, a truth value, a text."""
    if column.kind == "instant" and value is not None:
        return instant_text(value)
    if column.kind == "list":
        return " ".join(value) or None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _instant(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).replace(
        microsecond=at_ns % 1_000_000_000 // 1000
    )
