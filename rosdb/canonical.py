"""The canonical encoding: one value, one sequence of bytes.

Owns the rules of ``docs/format.md`` section 2, and nothing of what is encoded. A worked example::

    >>> encode({"b": [1, -1, 1.0, None], "a": "é", "long": 65536}).hex()
    '83a161a2c3a9a1629401ffcb3ff0000000000000c0a46c6f6e67ce00010000'

A map of three (83), its keys in the order of their UTF-8 bytes (61, 62, 6c…); integers in their
shortest form (01, ff, ce 00010000); the float in 64 bits (cb).
"""

import re
from collections.abc import Sequence
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


# What msgpack takes and gives back unchanged, and is not canonical: a NaN of another pattern, and a
# time, an ext type that it knows. The same bytes within a text cost a second look, and no more.
_SUSPECT: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|[\xd6\xd7]\xff|\xc7.\xff", re.DOTALL)
_SUSPECT_TIME: Final = re.compile(rb"\xc7.\xff", re.DOTALL)


def encode(value: Value) -> bytes:
    """Encode a value.

    Raises: NotCanonical if a part of it has no canonical encoding; it names the path to that part.
    """
    return _packed(_normal_of(value, 0, has_links=True))


def encode_apart(plain: Sequence[Value], linked: Value) -> bytes:
    """Encode a list: values among which no link stands, and a last one in which they may.

    Raises: NotCanonical.
    """
    parts = [_normal_of(value, 1, has_links=False) for value in plain]
    return _packed([*parts, _normal_of(linked, 1, has_links=True)])


def decode(data: bytes) -> Value:
    """Decode canonical bytes, and only those.

    Raises: NotCanonical if the bytes are anything but the encoding of the value they hold.
    """
    return decode_counted(data)[0]


def decode_counted(data: bytes) -> tuple[Value, int]:
    """Decode canonical bytes, and count the links in them.

    Raises: NotCanonical if the bytes are anything but the encoding of the value they hold.
    """
    _check_size(len(data))
    seen = _Seen()
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            list_hook=seen.see_list,
            object_pairs_hook=seen.see_map,
            ext_hook=seen.see_ext,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise NotCanonical(f"not msgpack ({type(error).__name__})") from None
    # Every laxity of msgpack (long forms, unsorted or doubled keys, 32-bit floats, other NaNs)
    # changes the bytes on the way back. So one comparison refuses them all.
    if seen.is_strange or seen.inner_count >= DEPTH_MAX or _is_suspect(data):
        again = encode(value)
    else:
        again = _packed(value)  # in order as it is, and with nothing in it that is not plain
    if again != data:
        raise NotCanonical("does not re-encode to the same bytes")
    return value, seen.link_count


def _is_suspect(data: bytes) -> bool:
    # Two bytes are looked for ten times as fast as a pattern is; most data has none of these.
    may_be = (
        b"\xcb\x7f" in data
        or b"\xcb\xff" in data
        or b"\xd6\xff" in data
        or b"\xd7\xff" in data
        or _SUSPECT_TIME.search(data) is not None
    )
    return may_be and _SUSPECT.search(data) is not None


_CONTAINERS: Final = frozenset([dict, list])


class _Seen:
    """What a decoding has met: told by msgpack, container by container, the innermost first."""

    def __init__(self) -> None:
        self.is_strange = False
        self.link_count = 0
        self.inner_count = 0
        """Containers that hold containers: one fewer than the depth can be, at the most."""

    def see_list(self, items: list[Value]) -> list[Value]:
        if not _CONTAINERS.isdisjoint(map(type, items)):
            self.inner_count += 1
        return items

    def see_map(self, pairs: list[tuple[Value, Value]]) -> dict[Value, Value]:
        value = dict(pairs)
        try:
            keys = sorted(value)
        except TypeError:  # some are bytes
            keys = []
        # Sorted keys are of one type, so that the first tells of all; a key twice is one too few.
        if pairs and (keys != [pair[0] for pair in pairs] or type(keys[0]) is not str):
            self.is_strange = True
        if not _CONTAINERS.isdisjoint(map(type, value.values())):
            self.inner_count += 1
        return value

    def see_ext(self, code: int, data: bytes) -> Value:
        self.link_count += 1
        if code not in (LINK_BLOB, LINK_RECORD) or len(data) != LINK_SIZE:
            self.is_strange = True
        return Ext(code, data)


class _NoPlace(Exception):
    """A part has no canonical form; the path to it is put together on the way out."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: list[str] = []


def _packed(normal: Value) -> bytes:
    data: bytes = msgpack.packb(normal, use_bin_type=True, strict_types=True)
    _check_size(len(data))
    return data


def _check_size(size_bytes: int) -> None:
    if size_bytes > SIZE_BYTES_MAX:
        raise NotCanonical(f"{size_bytes} bytes are more than {SIZE_BYTES_MAX}")


def _normal_of(value: Value, depth: int, *, has_links: bool) -> Value:
    try:
        return _normal(value, depth, has_links)
    except _NoPlace as found:
        path = "".join(reversed(found.path)) or "value"
        raise NotCanonical(f"{path}: {found.reason}") from None


def _normal(value: Value, depth: int, has_links: bool) -> Value:
    """Return the value as msgpack will encode it canonically; exact types only.

    Exact, because a subclass (numpy's float64, a bool where an integer is meant) is how two
    spellings of one question come by two ids.
    """
    kind = type(value)
    if kind is float:
        return value if value == value else _NAN
    if kind is str:
        if not value.isascii():
            _check_text(value)
        return value
    if value is None or kind is bool or kind is bytes:
        return value
    if kind is int:
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            raise _NoPlace("an integer does not fit 64 bits")
        return value
    if kind is Ext:
        if not has_links:
            raise _NoPlace("a link stands among the fields")
        if value.code not in (LINK_BLOB, LINK_RECORD) or len(value.data) != LINK_SIZE:
            raise _NoPlace(f"ext type {value.code} of {len(value.data)} bytes")
        return value
    if kind is not dict and kind is not list and kind is not tuple:
        raise _NoPlace(f"{kind.__name__} is not a plain value")
    if depth >= DEPTH_MAX:
        raise _NoPlace(f"nested deeper than {DEPTH_MAX}")
    return (_map if kind is dict else _list)(value, depth + 1, has_links)


def _map(value: Value, depth: int, has_links: bool) -> Value:
    for key in value:
        if type(key) is not str:
            raise _NoPlace(f"a key is {type(key).__name__}, not text")
    _check_text("".join(value))
    normal = {}
    # UTF-8 sorts as its code points do, so the keys need no encoding to be compared.
    for key in sorted(value):
        try:
            normal[key] = _normal(value[key], depth, has_links)
        except _NoPlace as found:
            found.path.append(f".{key}")
            raise
    return normal


def _list(value: Value, depth: int, has_links: bool) -> Value:
    normal = []
    for number, item in enumerate(value):
        try:
            normal.append(_normal(item, depth, has_links))
        except _NoPlace as found:
            found.path.append(f"[{number}]")
            raise
    return normal


def _check_text(value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _NoPlace("text with a lone surrogate") from None
