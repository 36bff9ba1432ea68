"""Chunks: where a long blob is cut, and the lists that put it together again."""

import io
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from rosdb import Store, blob_file, chunks, errors
from rosdb.chunks import Row, build_lists, decode_list, encode_list, segments
from rosdb.pack_file import Damaged, Entry, digest_of

NOISE = random.Random(1).randbytes(3_000_000)
WORDS = b"".join(b"%d," % (i * i) for i in range(150_000))
FIRST_CUTS = [23575, 9683, 17810, 23117, 16746, 20635]
ALL_CUTS = "6eb104a1044571cf2ddcf14a753047e840254d6d6d4ae3cded6ac182b665e040"
SAMPLES = {
    "noise": NOISE,
    "words": WORDS,
    "zeros": bytes(1_500_000),
    "a row repeated": b"12:00:00.000 101.25 100\n" * 60_000,
    "one byte": b"x",
    "nothing": b"",
}


def cut(content: bytes, read_into: Callable[[memoryview], int] | None = None) -> list[bytes]:
    """Return the chunks of a content; the parts that they come in are the content again."""
    found: list[bytes] = []
    for part, each, _ in segments(read_into or io.BytesIO(content).readinto):
        assert b"".join(each) == part
        found += map(bytes, each)
    assert b"".join(found) == content
    return found


# --- Where a blob is cut ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_chunks_are_of_the_sizes_of_the_format(name):
    content = SAMPLES[name]
    sizes = [len(chunk) for chunk in cut(content)]

    assert all(4 * 1024 <= size <= 64 * 1024 for size in sizes[:-1])
    assert sum(sizes) == len(content)
    if name == "noise":
        assert 12 * 1024 < sum(sizes) / len(sizes) < 24 * 1024


def test_the_cuts_are_those_of_the_format():
    """Whoever cuts otherwise shares nothing with what is stored."""
    assert [len(chunk) for chunk in cut(NOISE)][:6] == FIRST_CUTS
    digest = blake3()
    for name in sorted(SAMPLES):
        for chunk in cut(SAMPLES[name]):
            digest.update(len(chunk).to_bytes(4, "little"))
    assert digest.hexdigest() == ALL_CUTS


@pytest.mark.parametrize("name", ["noise", "words"])
@given(sizes=st.lists(st.integers(500, 400_000), min_size=1, max_size=20))
@settings(max_examples=30)
def test_the_cuts_do_not_depend_on_how_the_stream_is_delivered(name, sizes):
    content = SAMPLES[name]
    source = io.BytesIO(content)
    turns = itertools.cycle(sizes)

    def read_into(view: memoryview) -> int:
        return source.readinto(view[: next(turns)])

    assert cut(content, read_into) == cut(content)


@pytest.mark.parametrize("segment", [64 * 1024 + 1, 100_000, 2**20])
def test_the_cuts_do_not_depend_on_the_buffer(monkeypatch, segment):
    expected = cut(NOISE)
    monkeypatch.setattr(chunks, "SEGMENT_BYTES", segment)

    assert cut(NOISE) == expected


@pytest.mark.parametrize("name", ["noise", "words"])
@given(at=st.integers(0, 1_500_000), old=st.integers(0, 300), new=st.binary(max_size=300))
@settings(max_examples=30)
def test_an_edit_moves_few_cuts(name, at, old, new):
    content = SAMPLES[name]
    edited = content[:at] + new + content[at + old :]

    before, after = cut(content), cut(edited)

    assert len(set(after) - set(before)) <= 8
    assert sum(map(len, set(after) - set(before))) <= 8 * 64 * 1024


# --- Lists --------------------------------------------------------------------------------------


def test_a_list_byte_for_byte():
    rows = [(b"\x01" * 32, 5), (b"\x02" * 32, 2**16)]

    content = encode_list(0, rows)

    assert content == b"\0" + b"\x01" * 32 + b"\x05" + bytes(
        7
    ) + b"\x02" * 32 + b"\0\0\x01" + bytes(5)
    assert decode_list(content) == decode_list(memoryview(content)) == (0, rows)


ROWS = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 64 * 1024)))


@given(ROWS, st.integers(0, 16))
def test_what_is_listed_comes_back(rows, height):
    assert decode_list(encode_list(height, rows)) == (height, rows)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        encode_list(0, [(b"\1" * 32, 0)]),  # a part of no bytes, without end
        b"\0x",
        bytes(40),
        bytes(42),
        b"\x11",
        b"\xff" + bytes(40),
        encode_list(0, [(bytes(32), 64 * 1024 + 1)]),
        encode_list(3, [(bytes(32), 2**63), (bytes(32), 2**63)]),
    ],
)
def test_what_is_no_list_is_refused(content):
    with pytest.raises(Damaged):
        decode_list(content)


def synthetic(count: int, chance: random.Random) -> list[Row]:
    return [(chance.randbytes(32), chance.randint(1, 64 * 1024)) for _ in range(count)]


def leaves(lists: list[tuple[Entry, bytes | None, bytes]]) -> list[Row]:
    """Walk the lists from the blob's own down; return the rows of the chunks."""
    inner = {digest: content for entry, digest, content in lists if entry is Entry.INNER}
    *_, (entry, digest, top) = lists
    assert (entry, digest) == (Entry.CHUNKS, None)

    def load(digest: bytes, entry: Entry) -> bytes:
        assert entry is Entry.INNER
        assert digest_of(Entry.INNER, inner[digest]) == digest
        return inner[digest]

    return list(blob_file.leaf_rows(top, load))


@pytest.mark.parametrize("count", [0, 1, 3, 255, 256, 257, 5_000, 60_000])
def test_the_lists_lead_to_every_chunk_in_order(count):
    rows = synthetic(count, random.Random(count))

    lists = list(build_lists(rows))

    assert leaves(lists) == rows
    assert all(len(content) <= 1 + 40 * 256 for _, _, content in lists)
    heights = [content[0] for _, _, content in lists]
    assert heights == sorted(heights)
    assert max(heights) == (0 if count <= 3 else heights[-1])
    if count == 60_000:
        assert heights[-1] >= 2


@pytest.mark.parametrize("at", [0, 1, 10_000, 19_999, 20_000])
@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
def test_a_changed_chunk_changes_one_list_of_each_height(at, change):
    rows = synthetic(20_000, random.Random(7))
    new = (b"\x80" * 32, 100)
    changed = {
        "replaced": [*rows[:at], new, *rows[at + 1 :]],
        "added": [*rows[:at], new, *rows[at:]],
        "removed": [*rows[:at], *rows[at + 1 :]],
    }[change]

    before = {digest for _, digest, _ in build_lists(rows)}
    after = list(build_lists(changed))

    added = [len(content) for _, digest, content in after if digest not in before]
    heights = after[-1][2][0] + 1
    assert leaves(after) == changed
    assert len(added) <= 1 + 3 * heights
    assert sum(added) < 60_000, "a flat list would be of 800,000 bytes"


# --- A blob in chunks, as a file ----------------------------------------------------------------


CONTENT = WORDS[:200_000] + NOISE[:200_000] + bytes(150_000)
MOVES = st.lists(
    st.tuples(st.integers(-10, len(CONTENT) + 10), st.integers(0, 100_000)), min_size=1, max_size=8
)


@pytest.fixture(scope="module", params=[2, 256], ids=["many heights", "one height"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Give a long blob as a file, with short lists or long ones."""
    store = Store.init(tmp_path_factory.mktemp("chunks") / ".ros")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_LIST_ROWS_MAX", request.param)
        link = store.put_blob(CONTENT)
    with store.open_blob(link) as blob:
        yield blob
    store.close()


@given(MOVES)
def test_ranges_are_those_of_the_bytes(opened, moves):
    for start, size in moves:
        if start < 0:
            opened.seek(max(start, -len(CONTENT)), io.SEEK_END)
            start = len(CONTENT) + start
        else:
            opened.seek(start)
        assert opened.read(size) == CONTENT[start : start + size]
        assert opened.tell() == start + len(CONTENT[start : start + size])


def test_a_blob_of_many_heights_comes_back(store, fate, monkeypatch):
    monkeypatch.setattr(chunks, "_LIST_ROWS_MAX", 2)

    link = store.put_blob(CONTENT)

    assert store.get_blob(link) == CONTENT
    with store.open_blob(link) as blob:
        assert blob.read() == CONTENT
    (pack,) = fate.packs(store)
    entries = [(h.entry, pack.entry(at)[2]) for at, h in pack.scan()]
    heights = {bytes(content)[0] for entry, content in entries if entry is Entry.INNER}
    assert len(heights) > 2 or len(entries) < 10
    report = store.check()
    assert report.ok
    assert sum(size for _, size in store._objects.parts_of(link)) == len(CONTENT)
    assert store._objects.verify(link).size == len(CONTENT)


def list_of(
    parts: list[bytes], sizes: list[int] | None = None
) -> tuple[bytes, Callable[[bytes, Entry], bytes]]:
    known = {blake3(part).digest(): part for part in parts}
    given_ = sizes or [len(part) for part in parts]
    rows = [(blake3(part).digest(), size) for part, size in zip(parts, given_, strict=True)]
    return encode_list(0, rows), lambda digest, _: known[digest]


def test_a_chunk_of_another_size_than_listed_is_damage():
    content, load = list_of([b"abc", b"de"], [3, 3])

    with pytest.raises(Damaged, match="size"):
        list(blob_file.chunk_contents(b"", content, load))
    with (
        blob_file.open_chunks(content, load, "the name") as blob,
        pytest.raises(errors.ObjectCorrupt, match="the name"),
    ):
        blob.read()


@pytest.mark.parametrize(
    ("height", "size"), [(0, 6), (2, 5), (1, 5), (5, 5)], ids=["size", "above", "same", "high"]
)
def test_an_inner_list_that_is_not_what_stands_above_is_damage(height, size):
    leaf, load = list_of([b"abc", b"de"])
    inner = encode_list(height, decode_list(leaf)[1])
    top = encode_list(1, [(digest_of(Entry.INNER, inner), size)])

    def loads(digest: bytes, entry: Entry) -> bytes:
        return inner if entry is Entry.INNER else load(digest, entry)

    with pytest.raises(Damaged):
        list(blob_file.leaf_rows(top, loads))
    with (
        blob_file.open_chunks(top, loads, "the name") as blob,
        pytest.raises(errors.ObjectCorrupt, match="the name"),
    ):
        blob.read()


def test_a_list_that_leads_to_itself_ends():
    """No hash allows it; a loader that does not look would."""
    row = (bytes(32), 5)
    content = encode_list(16, [row])

    with pytest.raises(Damaged):
        list(blob_file.leaf_rows(content, lambda digest, entry: content))
