"""A table as it is compared: columns by name, and cells that are the same or not.

Owns what a table has to offer to be compared, and what it means for two cells to differ: to the bit
in one type, by value across types. numpy is imported only where columns come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Bools = NDArray[numpy.bool_]

INSTANT: Final = "datetime64[ns]"
TEXT: Final = "utf8"


class Tabular(Protocol):
    """A table: columns by name, each with a type and a unit.

    Shapes: each column (rows,); masked where values are missing.
    """

    @property
    def rows(self) -> int:
        """How many rows it has."""

    @property
    def dtypes(self) -> Mapping[str, str]:
        """The type of each column, in the table's order."""

    @property
    def units(self) -> Mapping[str, str]:
        """The unit of each column; empty where it has none."""

    def parts(self, name: str) -> object:
        """Return what decides a column's values: two columns of equal parts are the same."""

    def __getitem__(self, name: str) -> Any:
        """Return a column as an array."""


class HeldTable:
    """A table whose columns are read once, when they are first asked for."""

    def __init__(self, table: Tabular) -> None:
        self.rows = table.rows
        self.dtypes = table.dtypes
        self.units = table.units
        self._table = table
        self._held: dict[str, Any] = {}

    def parts(self, name: str) -> object:
        """Return what decides a column's values."""
        return self._table.parts(name)

    def __getitem__(self, name: str) -> Any:
        """Return a column as an array."""
        if name not in self._held:
            self._held[name] = self._table[name]
        return self._held[name]


def plain(column: Any, row: int) -> Any:
    """Return a cell as a plain value; None if it is missing, nanoseconds of an instant."""
    import numpy as np

    cell = column[row : row + 1]
    if np.ma.getdata(cell).dtype.kind == "M":
        return None if np.ma.getmaskarray(cell)[0] else int(np.ma.getdata(cell).view(np.int64)[0])
    return cell.tolist()[0]


def cells_differ(ours: Any, theirs: Any) -> Bools:
    """Tell cell by cell whether two columns differ: to the bit in one type, by value across types.

    NaN equals itself, 0.0 is not -0.0, and a missing value equals a missing one only. Text and a
    number are never the same.

    Shapes: ours, theirs, returns (rows,).
    """
    import numpy as np

    masks = np.ma.getmaskarray(ours), np.ma.getmaskarray(theirs)
    a, b = np.ma.getdata(ours), np.ma.getdata(theirs)
    kinds = {a.dtype.kind, b.dtype.kind}
    same: Any
    if a.dtype == b.dtype and a.dtype.kind in "fM":
        bits = np.dtype(f"u{a.dtype.itemsize}")
        same = np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)
    elif kinds <= set("biuf"):
        same = _same_numbers(a, b)
    elif kinds <= set("UO"):
        same = a == b
    else:
        same = np.zeros(len(a), np.bool_)
    differ: Bools = np.where(masks[0] | masks[1], masks[0] != masks[1], ~np.asarray(same, np.bool_))
    return differ


def _same_numbers(a: Any, b: Any) -> Any:
    """Compare numbers of two types by what they are; no integer is rounded to a float for it."""
    import numpy as np

    if a.dtype.kind == b.dtype.kind == "f":
        return (a == b) | ((a != a) & (b != b))
    if a.dtype.kind == "f":
        a, b = b, a
    if b.dtype.kind == "f":
        high = 2.0**64 if a.dtype.kind == "u" else 2.0**63
        low = 0.0 if a.dtype.kind == "u" else -(2.0**63)
        is_whole = (b >= low) & (b < high) & (b == np.floor(b))
        wide = np.uint64 if a.dtype.kind == "u" else np.int64
        back = np.where(is_whole, b, 0.0).astype(wide)
        return is_whole & (back == a.astype(wide))
    return a == b
