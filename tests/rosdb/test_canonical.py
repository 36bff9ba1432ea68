"""The canonical encoding: one value, one sequence of bytes; every other spelling is refused."""

import contextlib
import math
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rosdb.canonical import DEPTH_MAX, SIZE_BYTES_MAX, Ext, decode, encode
from rosdb.errors import NotCanonical

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    TEXTS,
    st.binary(max_size=300),
    st.builds(Ext, st.sampled_from([1, 2]), st.binary(min_size=32, max_size=32)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXTS, inner, max_size=20),
    max_leaves=40,
)


def same(a: object, b: object) -> bool:
    """Compare as the encoding does: types told apart, floats by their bits, one NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (a != a and b != b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@given(VALUES)
def test_a_value_comes_back_as_it_was(value):
    data = encode(value)

    back = decode(data)

    assert same(back, value)
    assert encode(back) == data


@given(VALUES, VALUES)
def test_two_values_have_two_encodings(a, b):
    assume(not same(a, b))

    assert encode(a) != encode(b)


@given(st.dictionaries(TEXTS, st.integers(), max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_a_map_is_not_part_of_it(value, random):
    assume(all(-(2**63) <= item < 2**64 for item in value.values()))
    shuffled = list(value.items())
    random.shuffle(shuffled)

    assert encode(dict(shuffled)) == encode(value)


@given(st.lists(TEXTS, unique=True, min_size=2, max_size=10))
@example(["\uffff", "\U00010000"])  # the two sort the other way round in UTF-16
def test_keys_are_sorted_by_their_utf8_bytes(keys):
    back = list(decode(encode(dict.fromkeys(keys))))

    assert back == sorted(keys, key=lambda key: key.encode())


@given(st.binary(max_size=60))
@example(b"\xd6\xff\x00\x00\x00\x00")  # a timestamp
@example(b"\xc7\x0c\xff" + b"\xff" * 12)  # one with too many nanoseconds
@example(b"\xc1")
def test_bytes_decode_to_what_encodes_to_them_or_not_at_all(data):
    try:
        value = decode(data)
    except NotCanonical:
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_a_damaged_encoding_never_decodes_to_the_value(value, data):
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]

    with contextlib.suppress(NotCanonical):
        assert not same(decode(flipped), value)


@pytest.mark.parametrize(
    ("value", "hexadecimal"),
    [
        (None, "c0"),
        (True, "c3"),
        (False, "c2"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (255, "ccff"),
        (256, "cd0100"),
        (65535, "cdffff"),
        (65536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (2**64 - 1, "cfffffffffffffffff"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-128, "d080"),
        (-129, "d1ff7f"),
        (-(2**63), "d38000000000000000"),
        (0.0, "cb0000000000000000"),
        (-0.0, "cb8000000000000000"),
        (1.0, "cb3ff0000000000000"),
        (math.nan, "cb7ff8000000000000"),
        (-math.nan, "cb7ff8000000000000"),
        (math.inf, "cb7ff0000000000000"),
        ("", "a0"),
        ("é", "a2c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"", "c400"),
        ([], "90"),
        ((), "90"),
        ({}, "80"),
        (Ext(1, bytes(32)), "c72001" + "00" * 32),
        (Ext(2, bytes(32)), "c72002" + "00" * 32),
    ],
    ids=repr,
)
def test_the_bytes_of_a_value(value, hexadecimal):
    assert encode(value).hex() == hexadecimal


def test_one_true_and_a_whole_float_are_three_values():
    assert len({encode(1), encode(True), encode(1.0)}) == 3
    assert type(decode(encode(True))) is bool
    assert type(decode(encode(1))) is int
    assert type(decode(encode(1.0))) is float


LAX = {
    "a long form of 1": "cc01",
    "a longer one": "d200000001",
    "a signed form of 200": "d100c8",
    "a 32-bit float": "ca3f800000",
    "another NaN": "cb7ff8000000000001",
    "a negative NaN": "cbfff8000000000000",
    "a signalling NaN": "cb7ff0000000000001",
    "a long form of a text": "d90161",
    "a text that is not UTF-8": "a1ff",
    "a surrogate in a text": "a3eda080",
    "an overlong text": "a2c080",
    "a long form of bytes": "c5000161",
    "a long form of a list": "dc000101",
    "a long form of a map": "de0001a16101",
    "unsorted keys": "82a16201a16101",
    "a key twice": "82a16101a16102",
    "a key twice, with one value": "82a16101a16101",
    "a number for a key": "810101",
    "bytes for a key": "81c4016101",
    "nil for a key": "81c001",
    "a list for a key": "819001",
    "trailing bytes": "c0c0",
    "nothing": "",
    "an unused byte": "c1",
    "an unknown ext type": "c72003" + "00" * 32,
    "a link that is too short": "d801" + "00" * 16,
    "a link that is too long": "c72101" + "00" * 33,
    "a long form of a link": "c8002001" + "00" * 32,
    "a timestamp": "d6ff00000000",
    "a negative ext type": "c720fe" + "00" * 32,
    "a list that lacks its second": "9201",
    "a map that lacks a value": "81a161",
    "a text that is cut": "a261",
    "a list of four thousand million": "ddffffffff",
    "a map of four thousand million": "dfffffffff",
    "a text of four gigabytes": "dbffffffff",
}


@pytest.mark.parametrize("data", LAX.values(), ids=LAX.keys())
def test_a_laxity_is_refused(data):
    with pytest.raises(NotCanonical):
        decode(bytes.fromhex(data))
    with pytest.raises(NotCanonical):  # and within a list that is sound
        decode(b"\x91" + bytes.fromhex(data))


@given(VALUES)
def test_every_cut_is_refused(value):
    data = encode(value)

    for end in range(len(data)):
        with pytest.raises(NotCanonical):
            decode(data[:end])


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.0),
        np.int64(1),
        np.bool_(True),
        np.str_("a"),
        np.array([1.0]),
        {1, 2},
        bytearray(b"a"),
        1 + 2j,
        object(),
        -(2**63) - 1,
        2**64,
        10**5000,  # longer than Python is ready to print
        {1: 2},
        {None: 1},
        {True: 1},
        {10**5000: 1},
        {b"a": 1},
        {np.str_("a"): 1},
        "\ud800",
        {"\udfff": 1},
        {"\ud800": {"\udc00": 2}},
        Ext(3, bytes(32)),
        Ext(1, bytes(31)),
        msgpack.Timestamp(1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_value_is_refused(value):
    for outer in (value, [value], {"a": [value]}):
        with pytest.raises(NotCanonical):
            encode(outer)


def test_the_refusal_names_the_place():
    with pytest.raises(NotCanonical, match=r"\.costs\.steps\[1\]: float64 is not a plain value"):
        encode({"costs": {"steps": [1.0, np.float64(2.0)]}})


def nested(depth: int, inner: object) -> object:
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@pytest.mark.parametrize("inner", [1, Ext(1, bytes(32))], ids=["integer", "link"])
def test_nesting_ends_at_its_limit(inner):
    deepest = nested(DEPTH_MAX, inner)

    assert decode(encode(deepest)) == deepest
    with pytest.raises(NotCanonical, match="nested deeper than 64"):
        encode([deepest])
    with pytest.raises(NotCanonical, match="nested deeper than 64"):
        decode(b"\x91" + encode(deepest))


@pytest.mark.parametrize("depth", [65, 500, 1_023, 1_024, 1_025, 10_000, 1_000_000])
@pytest.mark.parametrize("head", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"])
def test_the_deepest_bytes_are_refused(head, depth):
    with pytest.raises(NotCanonical):
        decode(head * depth + b"\x01")


def test_a_value_that_holds_itself_is_refused():
    value: list[object] = []
    value.append(value)

    with pytest.raises(NotCanonical, match="nested deeper"):
        encode(value)


def test_the_size_ends_at_its_limit():
    head = len(encode(bytes(SIZE_BYTES_MAX // 2)))  # bytes of that length have five of head
    longest = bytes(SIZE_BYTES_MAX - (head - SIZE_BYTES_MAX // 2))

    data = encode(longest)

    assert len(data) == SIZE_BYTES_MAX
    assert decode(data) == longest
    with pytest.raises(NotCanonical, match="are more than"):
        encode(longest + b"x")
    with pytest.raises(NotCanonical, match="are more than"):
        decode(data + b"x")


def test_a_false_claim_of_size_takes_no_memory():
    hostile = [b"\xdd" + (60_000).to_bytes(4, "big"), b"\xdf" + (30_000).to_bytes(4, "big")]
    tracemalloc.start()
    try:
        for head in hostile:
            with pytest.raises(NotCanonical):
                decode((head * 20).ljust(65_536, b"\x01"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 32 * 1024 * 1024
