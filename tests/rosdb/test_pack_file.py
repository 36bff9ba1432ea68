"""Packs: their bytes, their name, and what is read of a damaged one."""

import errno
import struct
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from rosdb import codec, disk, errors, pack_file
from rosdb.objects import Kind, Record, encode_record, id_of
from rosdb.pack_file import Damaged, Entry, PackFile, PackWriter, decode_header, encode_header

HELLO = id_of(Kind.BLOB, b"hello\n").digest
CONTENTS = [
    (Entry.BLOB, b""),
    (Entry.BLOB, b"hello\n"),
    (Entry.BLOB, b"words " * 300),
    (Entry.RECORD, encode_record(Record("note/v1", {"a": 1}))),
    (Entry.INNER, b"\0" + bytes(40)),
    (Entry.BLOB, b"rosE" + bytes(68) + b"rospack\x01"),
]


def write(folder: Path, contents: list[tuple[Entry, bytes]]) -> Path:
    writer = PackWriter(folder)
    for entry, content in contents:
        digest = pack_file.digest_of(entry, content)
        assert digest is not None
        code, stored = codec.encode(content)
        writer.append(encode_header(entry, code, len(content), stored, digest), stored)
    path = writer.publish(folder, is_synced=True)
    writer.abandon()
    return path


def read(path: Path) -> list[tuple[Entry, bytes] | None]:
    """Read a pack from its start, as one does who has no index."""
    pack = PackFile(path)
    found: list[tuple[Entry, bytes] | None] = []
    for offset, header in pack.scan():
        if header is None:
            found.append(None)
        else:
            found.append(
                (header.entry, bytes(pack_file.decode_content(header, pack.entry(offset)[2])))
            )
    return found


# --- The bytes ----------------------------------------------------------------------------------


def test_a_pack_of_one_small_blob_byte_for_byte(tmp_path):
    path = write(tmp_path, [(Entry.BLOB, b"hello\n")])

    head = b"rosE\x01\0\0\0" + struct.pack("<QQ", 6, 6) + HELLO
    check = blake3(head + b"hello\n").digest()[:16]
    assert check.hex().startswith("b4f6")
    assert path.read_bytes() == b"rospack\x01" + head + check + b"hello\n"
    assert path.name == f"pack-{blake3(head + check).hexdigest()}.pack"
    assert path.stat().st_mode & 0o777 == 0o444
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_is_of_all_that_a_pack_holds(tmp_path):
    names = {write(tmp_path, CONTENTS[:count]).name for count in range(1, len(CONTENTS) + 1)}
    names.add(write(tmp_path, CONTENTS[::-1]).name)
    again = write(tmp_path, CONTENTS)

    assert len(names) == len(CONTENTS) + 1
    assert again.name in names


@given(st.lists(st.tuples(st.sampled_from([Entry.BLOB, Entry.RECORD]), st.binary(max_size=300))))
def test_what_is_written_is_read(tmp_path_factory, contents):
    path = write(tmp_path_factory.mktemp("pack"), contents)

    assert read(path) == contents
    pack = PackFile(path)
    heads = [pack.header(offset) for offset, _ in pack.scan()]
    assert [head.content_bytes for head in heads] == [len(content) for _, content in contents]


def test_the_rows_of_a_writer_are_those_of_a_reader(tmp_path):
    writer = PackWriter(tmp_path)
    for entry, content in CONTENTS:
        digest = pack_file.digest_of(entry, content)
        writer.append(encode_header(entry, 0, len(content), content, digest), content)
    rows = writer.rows
    pack = PackFile(writer.publish(tmp_path, is_synced=False))

    assert [row[:2] for row in rows] == [(h.digest, at) for at, h in pack.scan()]
    assert writer.size == pack.size == pack.path.stat().st_size


def test_a_chunk_list_is_named_by_its_blob_and_nothing_else():
    assert pack_file.digest_of(Entry.CHUNKS, b"\0") is None
    digests = {pack_file.digest_of(each, b"\0") for each in (Entry.BLOB, Entry.RECORD, Entry.INNER)}
    assert len(digests) == 3


# --- Damage -------------------------------------------------------------------------------------


def test_every_flipped_bit_is_found_and_costs_one_entry(tmp_path):
    path = write(tmp_path, CONTENTS)
    sound = path.read_bytes()
    path.chmod(0o644)

    for at in range(len(sound)):
        for bit in (0, 7) if at > 300 else range(8):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << bit)]) + sound[at + 1 :])
            found = read(path)

            assert None in found, (at, bit)
            kept = [each for each in found if each is not None]
            assert kept == [each for each in CONTENTS if each in kept]
            assert len(kept) == len(CONTENTS) - (at >= 8), (at, bit)


def test_every_truncation_keeps_what_stands_ahead(tmp_path):
    path = write(tmp_path, CONTENTS)
    sound = path.read_bytes()
    ends = [*(at for at, _ in PackFile(path).scan()), len(sound)]
    path.chmod(0o644)

    for end in range(len(sound)):
        path.write_bytes(sound[:end])
        found = read(path)

        whole = sum(end >= each for each in ends[1:])
        assert found[:whole] == CONTENTS[:whole]
        assert found[whole:] == ([] if end in ends else [None])


@pytest.mark.parametrize(
    "garbage", [b"\0", b"rosE", b"rosE" * 30, b"rospack\x01", bytes(3_000_000)]
)
def test_bytes_between_entries_are_passed_by(tmp_path, garbage):
    path = write(tmp_path, CONTENTS)
    sound = path.read_bytes()
    starts = [at for at, _ in PackFile(path).scan()]
    path.chmod(0o644)

    for at in (starts[2], starts[-1], len(sound)):
        path.write_bytes(sound[:at] + garbage + sound[at:])
        found = read(path)

        assert [each for each in found if each is not None] == CONTENTS
        assert None in found


@pytest.mark.parametrize("claimed", [2**64 - 1, 2**40, pack_file.CONTENT_BYTES_MAX + 1])
@pytest.mark.parametrize("which", [8, 16])
def test_a_size_that_cannot_be_is_refused(tmp_path, claimed, which):
    head = bytearray(encode_header(Entry.BLOB, 0, 6, b"hello\n", HELLO))
    head[which : which + 8] = struct.pack("<Q", claimed)

    with pytest.raises(Damaged, match="claims"):
        decode_header(bytes(head))


def test_an_entry_that_ends_behind_its_pack_is_refused_before_memory_is_taken(tmp_path):
    path = write(tmp_path, [(Entry.BLOB, b"hello\n")])
    data = bytearray(path.read_bytes())
    data[8 + 5] = codec.ZSTD
    data[8 + 16 : 8 + 24] = struct.pack("<Q", pack_file.CONTENT_BYTES_MAX)
    path.chmod(0o644)
    path.write_bytes(data)

    with pytest.raises(Damaged, match="behind the pack"):
        PackFile(path).entry(8)


@pytest.mark.parametrize("data", [b"", b"ros", b"rospack\x02", bytes(500), b"x" * 2_000_000])
def test_what_is_no_pack_has_no_entries(tmp_path, data):
    (tmp_path / "x").write_bytes(data)

    assert set(read(tmp_path / "x")) == {None}


def test_a_content_that_is_another_is_refused():
    digest = id_of(Kind.BLOB, b"another").digest
    header = decode_header(encode_header(Entry.BLOB, 0, 6, b"hello\n", digest))

    with pytest.raises(Damaged, match="hash"):
        pack_file.decode_content(header, b"hello\n")
    header = decode_header(encode_header(Entry.RECORD, 0, 6, b"hello\n", HELLO))
    with pytest.raises(Damaged, match="hash"):
        pack_file.decode_content(header, b"hello\n")


# --- Writing ------------------------------------------------------------------------------------


def test_what_is_abandoned_leaves_nothing(tmp_path):
    writer = PackWriter(tmp_path)
    writer.append(encode_header(Entry.BLOB, 0, 6, b"hello\n", HELLO), b"hello\n")

    writer.abandon()
    writer.abandon()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sync", "publish"])
def test_a_refused_pack_leaves_nothing(tmp_path, monkeypatch, name):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, name, refuse)
    writer = PackWriter(tmp_path)
    writer.append(encode_header(Entry.BLOB, 0, 6, b"hello\n", HELLO), b"hello\n")

    with pytest.raises(errors.StoreUnwritable, match="No space left"):
        writer.publish(tmp_path, is_synced=True)
    writer.abandon()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1000, 2_000_000, 20_000_000])
def test_a_full_disk_is_said_to_be_one(tmp_path, monkeypatch, size):
    """Whenever it is that the buffer is written."""
    real = disk.open_temporary
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no disk is always full here")

    def open_full(*arguments: object) -> object:
        handle, path = real(*arguments)
        handle.close()
        return full.open("wb", 1024 * 1024), path

    monkeypatch.setattr(disk, "open_temporary", open_full)
    monkeypatch.setattr(disk, "start_writing", lambda *_: None)
    content = bytes(60_000)
    head = encode_header(Entry.BLOB, 0, len(content), content, blake3(content).digest())

    def fill() -> None:
        try:
            while writer.size < size:
                writer.append(head, content)
            writer.publish(tmp_path, is_synced=False)
        finally:
            writer.abandon()

    writer = PackWriter(tmp_path)
    with pytest.raises(errors.StoreUnwritable, match="No space left"):
        fill()
    assert list(tmp_path.iterdir()) == []
