"""Tables as rows for JSON, and back.

Owns how a column's values are spelled there: names in camelCase, NaN and the infinities as text,
a missing value as null. The types stand beside the rows, so that they read back to the bit.
"""

from collections.abc import Mapping
from typing import Any, Final

from research.errors import BadInput
from research.experiments.export import jsonable
from research.simulation.parameters import camel_case

Rows = list[dict[str, Any]]

_TEXT: Final = "str"
_TYPES: Final = frozenset(
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["bool", "float32", "float64", "datetime64[ns]"]
)


def write_rows(columns: Mapping[str, Any]) -> tuple[Rows, list[dict[str, str]]]:
    """Return a table's rows, and its columns' names and types.

    Shapes: each column (rows,).
    """
    arrays = {name: columns[name] for name in columns}
    keys = _keys(list(arrays))
    lists = [jsonable(_plain(array)) for array in arrays.values()]
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*lists, strict=True)]
    described = [
        {"key": key, "name": name, "dtype": _type_of(array)}
        for key, (name, array) in zip(keys, arrays.items(), strict=True)
    ]
    return rows, described


def read_rows(owner: str, rows: Any, described: Any) -> dict[str, Any]:
    """Return the columns of a table that was written as rows.

    Shapes: each column (rows,), read-only; masked where values are missing.
    Raises: BadInput.
    """
    try:
        columns = [(each["key"], each["name"], each["dtype"]) for each in described or []]
        read = {name: _array([row[key] for row in rows], dtype) for key, name, dtype in columns}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{owner}: its rows and columns do not fit: {error!r}") from None
    keys = {key for key, _, _ in columns}
    for row in rows:
        if not isinstance(row, Mapping) or row.keys() != keys:
            raise BadInput(f"{owner}: a row has other columns than {', '.join(sorted(keys))}")
    return read


def same_columns(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two tables hold the same columns, types and values, to the bit."""
    return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    masks = (np.ma.getmaskarray(one), np.ma.getmaskarray(other))
    if _type_of(one) != _type_of(other) or not np.array_equal(*masks):
        return False
    # By what is written, so that NaN is itself and -0.0 is not 0.0.
    return repr(_plain(one)) == repr(_plain(other))


def _keys(names: list[str]) -> list[str]:
    """Spell columns in camelCase, unless two of them would be one."""
    spelled = [camel_case(name) for name in names]
    return spelled if len(set(spelled)) == len(names) else names


def _type_of(array: Any) -> str:
    return _TEXT if array.dtype.kind in "UTO" else str(array.dtype.name)


def _plain(array: Any) -> list[Any]:
    """Return the values as Python's own; an instant as its nanoseconds."""
    values = array.view("int64") if array.dtype.kind == "M" else array
    plain: list[Any] = values.tolist()
    return plain


def _array(values: list[Any], dtype: str) -> Any:
    import numpy as np

    missing = [value is None for value in values]
    if dtype == _TEXT:
        filled = ["" if value is None else value for value in values]
        if any(type(value) is not str for value in filled):
            raise ValueError("text was expected")
        made = np.array(filled, dtype=np.object_)
    else:
        if dtype not in _TYPES:
            raise ValueError(f"{dtype} is no type of a column")
        stored = "int64" if dtype.startswith("datetime") else dtype
        made = np.array([_number(value, dtype) for value in values], dtype=stored).view(dtype)
    if any(missing):
        made = np.ma.masked_array(made, missing)
    made.setflags(write=False)
    return made


def _number(value: Any, dtype: str) -> Any:
    if value is None:
        return 0
    if dtype.startswith("float"):
        return float(value)
    wanted = bool if dtype == "bool" else int
    if type(value) is not wanted:
        raise ValueError(f"{value!r} is no {dtype}")
    return value
