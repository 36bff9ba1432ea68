"""Ingest: a long stream becomes chunks and lists, each stored once."""

import io
import os
import random
import threading
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from rosdb import chunks, codec, pack_file
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.ingest import put_stream
from rosdb.objects import Kind, id_of
from rosdb.pack_file import Entry, decode_header

NOISE = random.Random(2).randbytes(6_000_000)


class Memory:
    """A sink that keeps what it is given, in order."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[Entry, bytes]] = {}
        self.known: set[bytes] = set()

    def has_entry(self, digest: bytes) -> bool:
        return digest in self.entries or digest in self.known

    def keeps_blob(self, digest: bytes) -> bool:
        return self.has_entry(digest)

    def append(self, head: bytes, stored: codec.Stored) -> None:
        header = decode_header(head)
        assert pack_file.is_checked(head, stored)
        content = bytes(pack_file.decode_content(header, stored))
        assert header.digest not in self.entries, "it was there"
        for row in self._rows(header.entry, content):
            assert self.has_entry(row[0]), "a list stands ahead of what it leads to"
        self.entries[header.digest] = (header.entry, content)

    def joined(self, digest: bytes) -> bytes:
        entry, content = self.entries[digest]
        if entry is Entry.BLOB:
            return content
        return b"".join(self.joined(each) for each, _ in self._rows(entry, content))

    @staticmethod
    def _rows(entry: Entry, content: bytes) -> list[chunks.Row]:
        is_list = entry in (Entry.CHUNKS, Entry.INNER)
        return chunks.decode_list(content)[1] if is_list else []


def put(sink: Memory, content: bytes) -> bytes:
    digest, size = put_stream(io.BytesIO(content).readinto, sink)
    assert size == len(content)
    assert digest == blake3(content).digest()
    return digest


@given(
    st.lists(st.tuples(st.integers(0, len(NOISE)), st.integers(0, 300_000)), max_size=6),
    st.integers(1, 300),
)
def test_what_is_put_can_be_put_together(pieces, rows_max):
    content = b"".join(NOISE[start : start + size] + bytes(size) for start, size in pieces)
    sink = Memory()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_LIST_ROWS_MAX", rows_max + 1)
        digest = put(sink, content)

    assert sink.joined(digest) == content


def test_a_stream_longer_than_what_is_worked_on_at_once(monkeypatch):
    monkeypatch.setattr(chunks, "SEGMENT_BYTES", 70_000)
    sink = Memory()
    content = NOISE + NOISE[:500_000]

    assert sink.joined(put(sink, content)) == content


def test_the_same_again_adds_nothing():
    sink = Memory()
    digest = put(sink, NOISE)
    count = len(sink.entries)

    assert put(sink, NOISE) == digest
    assert len(sink.entries) == count


def test_a_content_is_added_as_far_as_it_is_new():
    sink = Memory()
    put(sink, NOISE)
    before = set(sink.entries)

    edited = NOISE[:3_000_000] + b"a day more" + NOISE[3_000_000:] + b"and another"
    digest = put(sink, edited)

    added = sum(len(content) for each, (_, content) in sink.entries.items() if each not in before)
    assert sink.joined(digest) == edited
    assert added < 300_000


def test_what_is_stored_already_is_not_appended():
    whole = Memory()
    digest = put(whole, NOISE)
    some = Memory()
    some.known = {each for each, (entry, _) in whole.entries.items() if entry is Entry.BLOB}

    put(some, NOISE)

    assert some.entries.keys() == whole.entries.keys() - some.known
    assert digest in some.entries


def test_repeated_chunks_are_appended_once():
    sink = Memory()

    put(sink, bytes(10_000_000))

    assert len([entry for entry, _ in sink.entries.values() if entry is Entry.BLOB]) <= 2


def test_what_does_not_compress_is_tried_now_and_then():
    """Text behind noise is compressed again before long."""
    sizes: list[tuple[int, int]] = []

    class Sizes(Memory):
        def append(self, head: bytes, stored: codec.Stored) -> None:
            header = decode_header(head)
            sizes.append((header.content_bytes, header.stored_bytes))
            super().append(head, stored)

    put(Sizes(), NOISE[:2_000_000] + b"".join(b"%d," % i for i in range(400_000)))

    assert sum(content for content, stored in sizes if stored < content) > 1_000_000


def test_a_reader_that_fails_fails_the_put():
    sink = Memory()
    threads = threading.active_count()
    turns = iter([100_000] * 50)

    def read_into(view: memoryview) -> int:
        size = next(turns, None)
        if size is None:
            raise OSError(5, "Input/output error")
        size = min(size, len(view))
        view[:size] = os.urandom(size)
        return size

    with pytest.raises(OSError, match="Input/output error"):
        put_stream(read_into, sink)
    assert threading.active_count() == threads
    assert all(entry is Entry.BLOB for entry, _ in sink.entries.values())


@pytest.mark.parametrize("size", [-1, 0, 1])
def test_a_blob_is_cut_behind_the_limit(store, fate, tmp_path: Path, size):
    content = NOISE[: WHOLE_BYTES_MAX + size]
    (tmp_path / "file").write_bytes(content)

    with store.transaction() as tx:
        links = {
            tx.put_blob(content),
            tx.put_file(tmp_path / "file"),
            tx.put_blob(bytearray(content)),
        }
        tx.put_blob(b"beside it")

    assert links == {id_of(Kind.BLOB, content)}
    assert store.get_blob(id_of(Kind.BLOB, content)) == content
    entries = {h.digest: h.entry for pack in fate.packs(store) for _, h in pack.scan()}
    is_cut = size > 0
    assert entries[blake3(content).digest()] is (Entry.CHUNKS if is_cut else Entry.BLOB)
    assert (len(entries) > 2) is is_cut


def test_a_grown_file_adds_what_it_has_grown_by(store, fate, tmp_path):
    file = tmp_path / "ticks"
    file.write_bytes(NOISE)
    store.put_file(file)
    before = store.stats().stored_bytes

    with file.open("ab") as handle:
        handle.write(b"a day more" * 100)
    link = store.put_file(file)

    assert store.get_blob(link) == file.read_bytes()
    assert store.stats().stored_bytes - before < 150_000
    assert store.check().ok


def test_a_file_that_grows_while_it_is_read_is_one_of_its_states(store, tmp_path, monkeypatch):
    file = tmp_path / "growing"
    file.write_bytes(NOISE[:WHOLE_BYTES_MAX])
    real = os.fstat

    def grown(handle: int) -> os.stat_result:
        status = real(handle)
        with file.open("ab") as more:
            more.write(NOISE[WHOLE_BYTES_MAX : WHOLE_BYTES_MAX + 1000])
        monkeypatch.setattr(os, "fstat", real)
        return status

    monkeypatch.setattr(os, "fstat", grown)
    link = store.put_file(file)

    assert store.get_blob(link) == file.read_bytes()
