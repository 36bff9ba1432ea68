"""A dataset's file read as a table, where it is one: CSV, or Parquet where pyarrow is installed.

Owns the guess of the columns' types, for comparing two versions of a file row by row. Nothing of
it is stored, and no run is given it: bars are parsed when they are added, by ``bars_file.py``. A
column is of whole numbers if every field of it is one, of numbers if every field is, and else of
text; an empty field among numbers is a missing value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from rosdb import UTF8

_INT_DIGITS_MAX: Final = 18


class FileTable:
    """The columns of a file; where no two columns are known to be the same without a look.

    Shapes: each column (rows,).
    """

    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        self.rows = rows
        self.dtypes = {name: _dtype_of(column) for name, column in columns.items()}
        self.units = dict.fromkeys(columns, "")
        self._columns = columns

    def parts(self, name: str) -> object:
        """Return the column itself: it is equal to no other."""
        return id(self._columns[name])

    def __getitem__(self, name: str) -> Any:
        """Return a column as an array."""
        return self._columns[name]


def is_table_name(path: str) -> bool:
    """Tell whether a file may be a table, by its name."""
    return path.lower().endswith((".csv", ".parquet"))


def read_table(path: str, content: bytes) -> FileTable | None:
    """Read a file as a table; None if it is none, or nothing here can read it."""
    if path.lower().endswith(".parquet"):
        return _read_parquet(content)
    return _read_csv(content)


def _read_csv(content: bytes) -> FileTable | None:
    try:
        text = content.decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        return None
    if not lines:
        return None
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    if len(set(header)) != len(header) or "" in header:
        return None
    if set(map(len, rows)) - {len(header)}:
        return None
    fields: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [()] * len(header)
    return FileTable(dict(zip(header, map(_column, fields), strict=True)), len(rows))


def _column(fields: Sequence[str]) -> Any:
    """Make a column of the narrowest type that holds every field."""
    missing = np.array([not field.strip() for field in fields], np.bool_)
    if not missing.all():
        filled = [field if field.strip() else "0" for field in fields] if missing.any() else fields
        for convert, dtype in ((_whole, np.int64), (_number, np.float64)):
            values = _converted(filled, convert, dtype)
            if values is not None:
                return np.ma.MaskedArray(values, missing) if missing.any() else values
    texts = np.empty(len(fields), np.object_)
    texts[:] = fields
    return texts


def _converted(fields: Sequence[str], convert: Callable[[str], Any], dtype: Any) -> Any:
    try:
        return np.array(list(map(convert, fields)), dtype)
    except ValueError:
        return None


def _whole(field: str) -> int:
    """Read a whole number as it is written; one with a leading zero is a code, and text."""
    value = int(field)
    digits = field.strip().lstrip("+-")
    if "_" in field or len(digits) > _INT_DIGITS_MAX or (digits[:1] == "0" and digits != "0"):
        raise ValueError(field)
    return value


def _number(field: str) -> float:
    digits = field.strip().lstrip("+-")
    if "_" in field or (digits[:1] == "0" and digits[1:2].isdigit()):
        raise ValueError(field)
    return float(field)


def _read_parquet(content: bytes) -> FileTable | None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    try:
        read = pyarrow.parquet.read_table(io.BytesIO(content))
        columns = {name: _from_arrow(read.column(name)) for name in read.column_names}
    except (pyarrow.ArrowException, ValueError, KeyError):
        return None
    return FileTable(columns, read.num_rows)


def _from_arrow(column: Any) -> Any:
    """Turn a column of Arrow into an array; what is no number, bool or instant into text.

    Raises: ValueError.
    """
    import pyarrow

    kind = column.type
    if pyarrow.types.is_timestamp(kind):
        column = column.cast(pyarrow.timestamp("ns"))
    is_plain = (
        pyarrow.types.is_integer(kind)
        or pyarrow.types.is_boolean(kind)
        or pyarrow.types.is_timestamp(kind)
        or (pyarrow.types.is_floating(kind) and kind.bit_width >= 32)
    )
    missing = np.asarray(column.is_null().to_numpy(), np.bool_)
    if is_plain:
        if missing.any():
            column = column.fill_null(pyarrow.scalar(0).cast(column.type))
        values = column.to_numpy()
    else:
        values = np.empty(len(column), np.object_)
        values[:] = ["" if each is None else str(each) for each in column.to_pylist()]
    return np.ma.MaskedArray(values, missing) if missing.any() else values


def _dtype_of(column: Any) -> str:
    kind = np.ma.getdata(column).dtype
    return UTF8 if kind.kind in "UO" else "datetime64[ns]" if kind.kind == "M" else str(kind)
