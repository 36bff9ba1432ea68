"""Tables: columns of equal length as a record.

Owns the schema ``table/v1`` (``docs/format.md`` section 3): the types, their bytes, and which
columns are carried inside the record. A column here is bytes; numpy is imported only where arrays
come in or go out. A table of two prices::

    >>> column = Column(name="price", dtype="float64", unit="USD", data=struct.pack("<2d", 1, 2))
    >>> record, blobs = table_record(2, [column])
    >>> record.fields["columns"][0]["data"].hex()
    '000000000000f03f0000000000000040'
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rosdb.errors import BadTable, NotCanonical
from rosdb.objects import Kind, Link, Record, id_of

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    import pyarrow

SCHEMA: Final = "table/v1"
INLINE_BYTES_MAX: Final = 4096
UTF8: Final = "utf8"

# dtype -> bytes a row; text is cut by offsets and has none.
WIDTHS: Final[Mapping[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float32": 4,
    "float64": 8,
    "datetime64[ns]": 8,
}
_OFFSET_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as bytes."""

    name: str
    dtype: str
    data: bytes
    unit: str = ""
    mask: bytes | None = None


def check_column(column: Column, rows: int) -> None:
    """Check that a column's bytes are what its type says.

    Raises: BadTable.
    """
    if column.name == "" or "/" in column.name:
        raise BadTable(column.name, "a column's name is not empty and has no slash")
    if type(column.unit) is not str:
        raise BadTable(column.name, f"its unit is {type(column.unit).__name__}, not text")
    if column.dtype == UTF8:
        _check_text(column, rows)
    elif column.dtype not in WIDTHS:
        raise BadTable(column.name, f"type {column.dtype} cannot be stored")
    elif len(column.data) != rows * WIDTHS[column.dtype]:
        raise BadTable(column.name, f"{len(column.data)} bytes do not make {rows} rows")
    elif column.dtype == "bool" and column.data.strip(b"\x00\x01"):
        raise BadTable(column.name, "a bool is neither 0 nor 1")
    if column.mask is not None:
        if len(column.mask) != rows or column.mask.strip(b"\x00\x01"):
            raise BadTable(column.name, "its mask is not one byte, 0 or 1, a row")
        if 1 not in column.mask:
            raise BadTable(column.name, "its mask hides nothing")


def table_record(rows: int, columns: Sequence[Column]) -> tuple[Record, list[bytes]]:
    """Return the record of a table, and the blobs that it links.

    Raises: BadTable if the columns make no table.
    """
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise BadTable(name, "the name stands twice")
    described: list[dict[str, Any]] = []
    links: dict[str, Link] = {}
    blobs: list[bytes] = []
    for column in columns:
        check_column(column, rows)
        parts: dict[str, bytes | None] = {"data": None, "mask": None}
        for part, content in (("data", column.data), ("mask", column.mask)):
            if content is None or len(content) <= INLINE_BYTES_MAX:
                parts[part] = content
            else:
                links[f"{column.name}/{part}"] = id_of(Kind.BLOB, content)
                blobs.append(content)
        described.append({"name": column.name, "dtype": column.dtype, "unit": column.unit, **parts})
    return Record(SCHEMA, {"rows": rows, "columns": described}, links), blobs


class Table(Mapping[str, Any]):
    """A stored table: a mapping from name to numpy array, each column read when asked for.

    Shapes: each column (rows,), read-only; masked where values are missing.
    """

    def __init__(self, record: Record, load_blob: Callable[[Link], bytes]) -> None:
        if record.schema != SCHEMA:
            raise NotCanonical(f"{record.schema} where a {SCHEMA} belongs")
        try:
            self.rows: int = record.fields["rows"]
            columns = record.fields["columns"]
            self._described = {c["name"]: c for c in columns}
            self.units: dict[str, str] = {n: c["unit"] for n, c in self._described.items()}
            self.dtypes: dict[str, str] = {n: c["dtype"] for n, c in self._described.items()}
            parts = [(c["data"], c["mask"]) for c in columns]
        except (KeyError, TypeError) as error:
            raise NotCanonical(f"a table without {error}") from None
        texts = [*self._described, *self.units.values(), *self.dtypes.values()]
        if (
            len(self._described) != len(columns)
            or type(self.rows) is not int
            or self.rows < 0
            or {type(text) for text in texts} - {str}
            or {type(part) for pair in parts for part in pair} - {bytes, type(None)}
        ):
            raise NotCanonical("its columns make no table")
        self._links = record.links
        self._load_blob = load_blob

    def column(self, name: str) -> Column:
        """Return a column as bytes, checked.

        Raises: KeyError, BadTable, ObjectMissing, ObjectCorrupt.
        """
        data, mask = self._part(name, "data"), self._part(name, "mask")
        if data is None:
            raise BadTable(name, "it has no bytes")
        column = Column(
            name=name, dtype=self.dtypes[name], unit=self.units[name], data=data, mask=mask
        )
        check_column(column, self.rows)
        return column

    def parts(self, name: str) -> tuple[Link | bytes | None, Link | bytes | None]:
        """Return what decides a column's values, cheap to compare: its bytes or links to them."""
        described = self._described[name]
        return (
            self._links.get(f"{name}/data", described["data"]),
            self._links.get(f"{name}/mask", described["mask"]),
        )

    def _part(self, name: str, part: str) -> bytes | None:
        """Return a column's bytes, which stand where the rule of their size puts them."""
        inside: bytes | None = self._described[name][part]
        link = self._links.get(f"{name}/{part}")
        content = inside if link is None else self._load_blob(link)
        is_linked = content is not None and len(content) > INLINE_BYTES_MAX
        if is_linked != (link is not None) or (is_linked and inside is not None):
            raise BadTable(name, f"its {part} stands in the wrong place")
        return content

    def __getitem__(self, name: str) -> Any:
        """Return a column as a read-only array."""
        return column_array(self.column(name), self.rows)

    def __iter__(self) -> Iterator[str]:
        """List the names, in the table's order."""
        return iter(self._described)

    def __len__(self) -> int:
        """Count the columns."""
        return len(self._described)

    def __repr__(self) -> str:
        """Show the shape."""
        return f"Table({self.rows} rows: {', '.join(self)})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas frame."""
        import pandas

        return pandas.DataFrame(dict(self))

    def to_polars(self) -> polars.DataFrame:
        """Return a polars frame."""
        import polars

        return polars.DataFrame({n: polars.from_arrow(a) for n, a in self._arrow().items()})

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table."""
        import pyarrow

        return pyarrow.table(self._arrow())

    def _arrow(self) -> dict[str, Any]:
        import numpy
        import pyarrow

        arrays = {}
        for name, values in self.items():
            plain = numpy.ma.getdata(values)
            mask = numpy.ma.getmaskarray(values) if numpy.ma.isMaskedArray(values) else None
            is_text = plain.dtype.kind in "UO"
            arrays[name] = pyarrow.array(plain.tolist() if is_text else plain, mask=mask)
        return arrays


def count_rows(name: str, values: Any) -> int:
    """Count a column's rows.

    Raises: BadTable if it has none to count.
    """
    try:
        return len(values)
    except TypeError:
        raise BadTable(name, f"{type(values).__name__} is no column") from None


def array_column(name: str, values: Any, unit: str = "") -> Column:
    """Turn a 1-d array, or a masked one, into a column.

    Raises: BadTable if it has another shape or a type that cannot be stored.
    """
    import numpy as np

    missing = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    array = np.asarray(np.ma.getdata(values))
    if array.ndim != 1:
        raise BadTable(name, f"an array of shape {array.shape} is no column")
    if missing is not None and missing.any():
        array = array.copy()
        array[missing] = "" if array.dtype.kind in "UTO" else np.zeros(1, array.dtype)[0]
        mask = missing.astype("|u1").tobytes()
    else:
        mask = None
    if array.dtype.kind in "UTO":
        return Column(name=name, dtype=UTF8, unit=unit, data=_text_bytes(name, array), mask=mask)
    dtype = array.dtype.name
    if dtype not in WIDTHS:
        raise BadTable(name, f"type {dtype} cannot be stored")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if array.dtype.kind == "f":
        bad = np.isnan(array)
        if bad.any():
            array = array.copy()
            array[bad] = np.nan
    return Column(name=name, dtype=dtype, unit=unit, data=array.tobytes(), mask=mask)


def column_array(column: Column, rows: int) -> Any:
    """Turn a column into a read-only array."""
    import numpy as np

    array: np.ndarray[Any, Any]
    if column.dtype == UTF8:
        array = _text_array(column, rows)
        array.setflags(write=False)
    else:
        array = np.frombuffer(column.data, dtype=np.dtype(column.dtype).newbyteorder("<"))
    if column.mask is None:
        return array
    mask = np.frombuffer(column.mask, dtype=np.bool_)
    masked = np.ma.MaskedArray(array, mask=mask)
    masked.setflags(write=False)
    return masked


def text_values(column: Column, rows: int) -> list[str]:
    """Cut a text column at its offsets.

    Shapes: returns rows strings.
    """
    offsets = struct.unpack_from(f"<{rows + 1}q", column.data)
    text = column.data[(rows + 1) * _OFFSET_BYTES :]
    if text.isascii():
        # A byte is a character: decoded once, and not a hundred thousand times.
        whole = text.decode("ascii")
        return [whole[a:b] for a, b in itertools.pairwise(offsets)]
    return [text[a:b].decode("utf-8") for a, b in itertools.pairwise(offsets)]


def _text_array(column: Column, rows: int) -> Any:
    """Turn a text column into an array: of one width where that is no waste, else of objects."""
    import numpy as np

    text = column.data[(rows + 1) * _OFFSET_BYTES :]
    offsets = np.frombuffer(column.data, "<i8", rows + 1)
    lengths = np.diff(offsets)
    width = int(lengths.max(initial=0))
    is_small = width * rows <= 1024 * 1024 + 4 * len(text)
    if not (width and is_small and text.isascii() and b"\0" not in text):
        texts = text_values(column, rows)
        return np.array(texts, dtype=np.str_ if _is_even(texts) else np.object_)
    # Characters put where they stand in the array, without a string for each row.
    grid = np.zeros((rows, width), np.uint32)
    is_there = np.arange(width) < lengths[:, None]
    grid[is_there] = np.frombuffer(text, np.uint8)
    return grid.view(f"=U{width}")[:, 0]


def _is_even(texts: Sequence[str]) -> bool:
    """Tell whether an array of one width may hold the texts.

    It cuts trailing NULs, and one long text among many makes it huge.
    """
    width = max(map(len, texts), default=0)
    is_small = width * len(texts) <= 1024 * 1024 + 4 * sum(map(len, texts))
    return is_small and not any(text.endswith("\0") for text in texts)


def _text_bytes(name: str, array: Any) -> bytes:
    parts: list[bytes] = []
    for row, value in enumerate(array.tolist()):
        if type(value) is not str:
            raise BadTable(name, f"row {row} holds {type(value).__name__} where text belongs")
        try:
            parts.append(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise BadTable(name, f"row {row} is not valid UTF-8") from None
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets)}q", *offsets) + b"".join(parts)


def _check_text(column: Column, rows: int) -> None:
    head = (rows + 1) * _OFFSET_BYTES
    if len(column.data) < head:
        raise BadTable(column.name, f"{len(column.data)} bytes do not make {rows} rows of text")
    offsets = struct.unpack_from(f"<{rows + 1}q", column.data)
    text = column.data[head:]
    ordered = sorted(offsets) == list(offsets)
    if offsets[0] != 0 or offsets[-1] != len(text) or not ordered:
        raise BadTable(column.name, "its offsets do not cut its text")
    if text.isascii():
        return  # any cut of it is text
    try:
        for a, b in itertools.pairwise(offsets):
            text[a:b].decode("utf-8")
    except UnicodeDecodeError:
        raise BadTable(column.name, "its text is not valid UTF-8") from None
