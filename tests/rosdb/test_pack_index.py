"""Indexes of packs: they find what they were given, and a damaged one is known to be."""

import random
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from rosdb.pack_index import PackIndex, encode_index, open_index

NAMES = [blake3(b"%d" % number).hexdigest() for number in range(3)]
# Few first bytes, the first and the last among them.
DIGESTS = st.builds(
    lambda first, rest: bytes([first]) + rest.to_bytes(31, "big"),
    st.sampled_from([0, 1, 7, 254, 255]),
    st.integers(0, 5) | st.integers(0, 2**248 - 1),
)
ROWS = st.lists(
    st.tuples(DIGESTS, st.integers(0, 2), st.integers(0, 2**56 - 1), st.integers(1, 4)),
    max_size=40,
)


@given(ROWS, st.lists(DIGESTS, max_size=10))
def test_what_is_there_is_found_and_nothing_else(rows, others):
    index = PackIndex(encode_index(NAMES, rows))

    # Of rows with one id, the first in order is kept.
    expected: dict[bytes, tuple[int, ...]] = {}
    for digest, *place in sorted(rows):
        expected.setdefault(digest, tuple(place))
    for digest in [*expected, *others]:
        found = index.find(digest)
        assert found == (expected[digest][:2] if digest in expected else None)
    assert list(index.rows()) == [(digest, *place) for digest, place in sorted(expected.items())]
    assert index.count == len(expected)
    assert index.pack_names == NAMES
    assert index.is_sound()


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, chance):
    shuffled = list(rows)
    chance.shuffle(shuffled)

    assert encode_index(NAMES, rows) == encode_index(NAMES, iter(shuffled))


def made(tmp_path: Path) -> tuple[Path, list[bytes]]:
    chance = random.Random(1)
    ids = sorted(chance.randbytes(32) for _ in range(20))
    path = tmp_path / "x.idx"
    path.write_bytes(encode_index(NAMES[:1], [(each, 0, 8, 1) for each in ids]))
    return path, ids


def test_every_flipped_bit_is_known_and_breaks_nobody(tmp_path):
    path, ids = made(tmp_path)
    sound = path.read_bytes()

    for at in range(len(sound)):
        data = sound[:at] + bytes([sound[at] ^ (1 << at % 8)]) + sound[at + 1 :]
        try:
            index = PackIndex(data)
        except ValueError:
            assert at < 16
            continue
        assert not index.is_sound()
        for each in ids:  # it may hide an id, or say a wrong place; that is all
            found = index.find(each)
            assert found is None or found[0] == 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 100, 1103, -1, -33])
def test_a_cut_index_is_none(tmp_path, size):
    path, _ = made(tmp_path)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises((ValueError, OSError)):
        open_index(path)


@pytest.mark.parametrize("data", [b"rospidx\x02", b"rospidx\x01" + b"\xff" * 8, bytes(2000)])
def test_what_is_no_index_is_refused(tmp_path, data):
    with pytest.raises(ValueError, match="index"):
        PackIndex(data.ljust(1200, b"\0"))


def test_a_mapped_index_outlives_its_file(tmp_path):
    path, ids = made(tmp_path)
    index = open_index(path)

    path.unlink()

    assert [index.find(each) for each in ids] == [(0, 8)] * len(ids)
    assert index.is_sound()


def test_an_empty_index_finds_nothing(tmp_path):
    index = PackIndex(encode_index([], []))

    assert index.find(bytes(32)) is index.find(b"\xff" * 32) is None
    assert list(index.rows()) == []
