"""The canonical encoding: one value, one sequence of bytes.

Owns the rules of ``docs/format.md`` section 2, and nothing of what is encoded. A worked example::

    >>> encode({"b": [1, -1, 1.0, None], "a": "é", "long": 65536}).hex()
    '83a161a2c3a9a1629401ffcb3ff0000000000000c0a46c6f6e67ce00010000'

A map of three (83), its keys in the order of their UTF-8 bytes (61, 62, 6c…); integers in their
shortest form (01, ff, ce 00010000); the float in 64 bits (cb).
"""

from typing import Any, Final

import msgpack

from rosdb.errors import NotCanonical

DEPTH_MAX: Final = 64
SIZE_BYTES_MAX: Final = 64 * 1024 * 1024

_NAN: Final = float("nan")
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**64 - 1

# The two links. Bytes 32 long behind an ext type are all that the encoding knows of them.
LINK_BLOB: Final = 1
LINK_RECORD: Final = 2
LINK_SIZE: Final = 32

Ext = msgpack.ExtType
Value = Any  # nil, bool, int, float, str, bytes, list, dict with text keys, Ext


def encode(value: Value) -> bytes:
    """Encode a value.

    Raises: NotCanonical if a part of it has no canonical encoding; it names the path to that part.
    """
    data: bytes = msgpack.packb(_normal(value, "", 0), use_bin_type=True, strict_types=True)
    if len(data) > SIZE_BYTES_MAX:
        raise NotCanonical(f"{len(data)} bytes are more than {SIZE_BYTES_MAX}")
    return data


def decode(data: bytes) -> Value:
    """Decode canonical bytes, and only those.

    Raises: NotCanonical if the bytes are anything but the encoding of the value they hold.
    """
    if len(data) > SIZE_BYTES_MAX:
        raise NotCanonical(f"{len(data)} bytes are more than {SIZE_BYTES_MAX}")
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise NotCanonical(f"not msgpack ({type(error).__name__})") from None
    # Every laxity of msgpack (long forms, unsorted or doubled keys, 32-bit floats, other NaNs)
    # changes the bytes on the way back. So one comparison refuses them all.
    if encode(value) != data:
        raise NotCanonical("does not re-encode to the same bytes")
    return value


def _normal(value: Value, path: str, depth: int) -> Value:
    """Return the value as msgpack will encode it canonically; exact types only.

    Exact, because a subclass (numpy's float64, a bool where an integer is meant) is how two
    spellings of one question come by two ids.
    """
    kind = type(value)
    if value is None or kind is bool or kind is bytes:
        return value
    if kind is str:
        return _text(value, path)
    if kind is int:
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            raise NotCanonical(f"{path or 'value'}: an integer does not fit 64 bits")
        return value
    if kind is float:
        return value if value == value else _NAN
    if kind is Ext:
        if value.code not in (LINK_BLOB, LINK_RECORD) or len(value.data) != LINK_SIZE:
            raise NotCanonical(
                f"{path or 'value'}: ext type {value.code} of {len(value.data)} bytes"
            )
        return value
    if depth >= DEPTH_MAX:
        raise NotCanonical(f"{path}: nested deeper than {DEPTH_MAX}")
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise NotCanonical(f"{path or 'value'}: a key is {type(key).__name__}, not text")
        _text("".join(value), path)
        # UTF-8 sorts as its code points do, so the keys need no encoding to be compared.
        return {key: _normal(value[key], f"{path}.{key}", depth + 1) for key in sorted(value)}
    if kind is list or kind is tuple:
        return [_normal(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise NotCanonical(f"{path or 'value'}: {kind.__name__} is not a plain value")


def _text(value: str, path: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical(f"{path or 'value'}: text with a lone surrogate") from None
    return value
