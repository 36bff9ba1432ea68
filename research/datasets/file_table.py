"""A dataset's file read as a table, where it is one: CSV, or Parquet where pyarrow is installed.

Owns the guess of the columns' types, for comparing two versions of a file row by row. Nothing of
it is stored, and no run is given it: bars are parsed when they are added, by ``bars_file.py``. A
column is of whole numbers if every field of it is one, of numbers if every field is, and else of
text; an empty field among numbers is a missing value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np

from rosdb import UTF8

_BATCH_ROWS: Final = 32_768  # Bounds the text that is held beside the finished columns.
_CODE: Final = re.compile(r"^\s*[+-]?0[0-9]", re.MULTILINE)


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


class _IsText(Exception):
    """A column that was read as numbers turns out to be text."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def _read_csv(content: bytes) -> FileTable | None:
    """Read a batch of rows at a time; a column that turns out to be text is begun anew."""
    texts: set[int] = set()
    while True:
        try:
            return _parse(content, texts)
        except _IsText as found:
            texts.add(found.place)
        except (UnicodeDecodeError, csv.Error):
            return None


def _parse(content: bytes, texts: Collection[int]) -> FileTable | None:
    """Read a CSV file whose columns at some places are text; None if it is no table.

    Raises: _IsText for another one; UnicodeDecodeError, csv.Error.
    """
    with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if not header or len(set(header)) != len(header) or "" in header:
            return None
        columns = [_Column(place in texts) for place in range(len(header))]
        count = 0
        while batch := list(islice(reader, _BATCH_ROWS)):
            rows = [row for row in batch if row]
            if set(map(len, rows)) - {len(header)}:
                return None
            for place, fields in enumerate(zip(*rows, strict=True)):
                if not columns[place].take(fields):
                    raise _IsText(place)
            count += len(rows)
    for place, column in enumerate(columns):
        if column.is_empty and place not in texts and count:
            raise _IsText(place)
    return FileTable(
        {name: each.array() for name, each in zip(header, columns, strict=True)}, count
    )


class _Column:
    """A column as it is read: numbers of the narrowest type so far, or text."""

    def __init__(self, is_text: bool) -> None:
        self.is_empty = True
        self._is_text = is_text
        self._parts: list[Any] = []
        self._masks: list[Any] = []

    def take(self, fields: Sequence[str]) -> bool:
        """Take the fields of a batch; say no if they are text and were not to be."""
        if self._is_text:
            part = np.empty(len(fields), np.object_)
            part[:] = fields
            self._parts.append(part)
            return True
        missing = np.array([not field or field.isspace() for field in fields], np.bool_)
        if missing.any():
            fields = ["0" if not field or field.isspace() else field for field in fields]
        values = _numbers(fields)
        if values is None:
            return False
        self.is_empty = self.is_empty and bool(missing.all())
        self._parts.append(values)
        self._masks.append(missing)
        return True

    def array(self) -> Any:
        """Return the whole column; of whole numbers and others, numbers."""
        if self._is_text or not self._parts:
            return np.concatenate([np.empty(0, np.object_), *self._parts])
        values, missing = np.concatenate(self._parts), np.concatenate(self._masks)
        return np.ma.MaskedArray(values, missing) if missing.any() else values


def _numbers(fields: Sequence[str]) -> Any:
    """Read fields as whole numbers, or else as numbers; None if they are neither.

    One with a leading zero is a code, and no number.
    """
    joined = "\n".join(fields)
    if "_" in joined or _CODE.search(joined):
        return None
    try:
        return np.array(list(map(int, fields)), np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array(list(map(float, fields)), np.float64)
    except ValueError:
        return None


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
