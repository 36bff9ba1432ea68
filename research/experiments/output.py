"""Tables on their way out of an experiment.

Owns ``save_table`` and the files that it writes (``docs/format.md`` section 6). It travels in the
code tree of the runs that use it and imports nothing of ours; numpy only if arrays come in.
"""

import json
import re
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TYPES = {"bool": "B", "int64": "q", "float64": "d"}


def save_table(
    output_dir: Path,
    name: str,
    columns: Mapping[str, Any],
    units: Mapping[str, str] | None = None,
) -> None:
    """Save columns of equal length as the artifact ``name``, a table.

    Shapes: each column (rows,): a 1-d numpy array, a masked one, or a sequence of bool, int, float
        or str.
    Units:  ``units`` maps a column to its unit.
    Raises: ValueError, TypeError if the columns make no table.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"table name {name!r}: use letters, digits, '.', '_' and '-'")
    units = dict(units or {})
    counts = {column: len(values) for column, values in columns.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"table {name!r}: columns of different length: {counts}")
    for column in units:
        if column not in columns:
            raise ValueError(f"table {name!r}: unit of {column!r}, which is no column")
    folder = Path(output_dir) / f"{name}.table"
    folder.mkdir(parents=True)
    described, parts, end = [], [], 0
    for column, values in columns.items():
        if not column or "/" in column:
            raise ValueError(f"table {name!r}: column name {column!r}")
        dtype, data, mask = _column_bytes(f"table {name!r}, column {column!r}", values)
        entry: dict[str, Any] = {"name": column, "dtype": dtype, "unit": units.get(column, "")}
        for part, content in (("data", data), ("mask", mask)):
            entry[part] = None if content is None else [end, len(content)]
            if content is not None:
                parts.append(content)
                end += len(content)
        described.append(entry)
    # One file for all: a file costs as much as what stands in it.
    with (folder / "columns").open("wb") as target:
        target.writelines(parts)
    table = {"rows": next(iter(counts.values()), 0), "columns": described}
    (folder / "table.json").write_text(json.dumps(table), "utf-8")


def _column_bytes(where: str, values: Any) -> tuple[str, bytes, bytes | None]:
    if hasattr(values, "dtype"):
        return _array_bytes(where, values)
    return (*_sequence_bytes(where, values), None)


def _sequence_bytes(where: str, values: Sequence[Any]) -> tuple[str, bytes]:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return "utf8", _text_bytes(values)
    if kinds == {bool}:
        dtype = "bool"
    elif kinds == {int}:
        dtype = "int64"
    elif kinds <= {int, float}:
        dtype = "float64"
        values = [value if value == value else float("nan") for value in values]
    else:
        names = sorted(kind.__name__ for kind in kinds)
        raise TypeError(f"{where}: cannot store {', '.join(names)}")
    packed = array(_TYPES[dtype], values)
    if sys.byteorder == "big":
        packed.byteswap()
    return dtype, packed.tobytes()


def _array_bytes(where: str, values: Any) -> tuple[str, bytes, bytes | None]:
    import numpy as np

    missing = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    plain = np.array(np.ma.getdata(values))
    if plain.ndim != 1:
        raise ValueError(f"{where}: an array of shape {plain.shape} is no column")
    mask = None
    if missing is not None and missing.any():
        plain[missing] = "" if plain.dtype.kind in "UTO" else np.zeros(1, plain.dtype)[0]
        mask = missing.astype("u1").tobytes()
    if plain.dtype.kind in "UTO":
        texts = plain.tolist()
        if any(type(text) is not str for text in texts):
            raise TypeError(f"{where}: an array of objects that are not all text")
        return "utf8", _text_bytes(texts), mask
    if plain.dtype.name not in _STORABLE:
        raise TypeError(f"{where}: cannot store {plain.dtype}")
    if plain.dtype.kind == "f":
        plain[np.isnan(plain)] = np.nan  # every NaN becomes the one of the format
    return plain.dtype.name, plain.astype(plain.dtype.newbyteorder("<")).tobytes(), mask


_STORABLE = frozenset(
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["bool", "float32", "float64", "datetime64[ns]"]
)


def _text_bytes(texts: Sequence[str]) -> bytes:
    parts = [text.encode("utf-8") for text in texts]
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets)}q", *offsets) + b"".join(parts)
