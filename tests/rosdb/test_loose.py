"""Loose objects: their bytes, and that no damage to them is ever handed out as data."""

import errno
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rosdb import disk, errors
from rosdb.loose import ZSTD_BYTES_MAX, LooseObjects
from rosdb.objects import Kind, Link, Record, encode_record, id_of

WORDS = b" ".join(b"%d" % (i * i % 977) for i in range(150))
NOISE = np.random.default_rng(0).bytes(300)
RECORD = encode_record(Record("recipe/v1", {"parameters": {f"p{i}": i / 7 for i in range(16)}}))
CONTENTS = {
    "empty": (Kind.BLOB, b""),
    "small": (Kind.BLOB, b"hello\n"),
    "words": (Kind.BLOB, WORDS),
    "noise": (Kind.BLOB, NOISE),
    "record": (Kind.RECORD, RECORD),
}


@pytest.fixture
def objects(tmp_path: Path) -> LooseObjects:
    for name in ("objects", "tmp"):
        (tmp_path / name).mkdir()
    return LooseObjects(tmp_path / "objects", tmp_path / "tmp")


@pytest.fixture(params=CONTENTS, name="stored")
def _stored(request: pytest.FixtureRequest, objects: LooseObjects) -> tuple[Link, bytes, Path]:
    """Store one object; give its link, its content and its file, made writable."""
    kind, content = CONTENTS[request.param]
    link = put(objects, kind, content)
    objects.path(link).chmod(0o644)
    return link, content, objects.path(link)


def put(objects: LooseObjects, kind: Kind, content: bytes) -> Link:
    link = id_of(kind, content)
    objects.put(kind, link, content, is_synced=True)
    return link


def assert_damaged(objects: LooseObjects, link: Link) -> None:
    """Assert that every way to the content refuses."""
    for read in (objects.load, objects.verify, objects.open_content):
        with pytest.raises(errors.ObjectCorrupt) as caught:
            read(link)
        assert caught.value.object_id == str(link)


# --- The bytes ----------------------------------------------------------------------------------


def test_the_file_of_a_small_blob_byte_for_byte(objects):
    link = put(objects, Kind.BLOB, b"hello\n")

    path = objects.path(link)

    assert path.parent.name + path.name == str(link)
    assert (
        path.read_bytes().hex(" ")
        == "72 6f 73 01 01 00 00 00 06 00 00 00 00 00 00 00 68 65 6c 6c 6f 0a"
    )
    assert path.stat().st_mode & 0o777 == 0o444


def test_the_file_of_a_record_byte_for_byte(objects):
    content = encode_record(Record("a/v1", {}))

    link = put(objects, Kind.RECORD, content)

    header = b"ros\x01\x02\x00\x00\x00" + len(content).to_bytes(8, "little")
    assert objects.path(link).read_bytes() == header + content


def test_the_file_of_a_compressed_blob_byte_for_byte(objects):
    link = put(objects, Kind.BLOB, WORDS)

    data = objects.path(link).read_bytes()

    frame, crc = data[16:-4], data[-4:]
    assert data[:16] == b"ros\x01\x01\x01\x00\x00" + len(WORDS).to_bytes(8, "little")
    assert zstandard.ZstdDecompressor().decompress(frame) == WORDS
    assert crc == struct.pack("<I", zlib.crc32(frame))
    assert len(data) < len(WORDS)


def test_what_does_not_shrink_is_kept_raw(objects):
    link = put(objects, Kind.BLOB, NOISE)

    assert objects.path(link).read_bytes()[16:] == NOISE


def test_every_size_around_the_limits_comes_back(objects):
    for size in (0, 1, 127, 128, 129, ZSTD_BYTES_MAX - 1, ZSTD_BYTES_MAX, ZSTD_BYTES_MAX + 1):
        for content in (bytes(size), (NOISE * (size // 300 + 1))[:size]):
            link = put(objects, Kind.BLOB, content)

            assert objects.load(link) == (Kind.BLOB, content)
            assert objects.verify(link).size == objects.header(link).size == size


def test_what_is_stored_comes_back(objects, stored):
    link, content, _ = stored

    assert objects.load(link) == (link.kind, content)
    assert objects.header(link).kind is link.kind
    assert objects.header(link).size == len(content)
    assert objects.has(link)
    assert list(objects.listing()) == [link]


def test_what_is_not_stored_is_missing(objects):
    link = id_of(Kind.BLOB, b"never")

    assert not objects.has(link)
    for read in (objects.load, objects.verify, objects.header, objects.open_content):
        with pytest.raises(errors.ObjectMissing, match=str(link)):
            read(link)


# --- The damage matrix --------------------------------------------------------------------------


def test_every_flipped_bit_is_found(objects, stored):
    link, _, path = stored
    sound = path.read_bytes()

    for at in range(len(sound)):
        for bit in range(8):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << bit)]) + sound[at + 1 :])
            with pytest.raises(errors.ObjectCorrupt):
                objects.load(link)
    for at in range(0, len(sound), 7):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 255]) + sound[at + 1 :])
        assert_damaged(objects, link)


def test_every_truncation_is_found(objects, stored):
    link, _, path = stored
    sound = path.read_bytes()

    for end in range(len(sound)):
        path.write_bytes(sound[:end])
        with pytest.raises(errors.ObjectCorrupt):
            objects.load(link)
    path.write_bytes(sound[:-1])
    assert_damaged(objects, link)


@pytest.mark.parametrize("extra", [b"\0", b"x", b"\x28\xb5\x2f\xfd", bytes(5000)])
def test_every_addition_is_found(objects, stored, extra):
    link, _, path = stored
    sound = path.read_bytes()

    for data in (sound + extra, extra + sound, sound + sound):
        path.write_bytes(data)
        assert_damaged(objects, link)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096])
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_every_replacement_is_found(objects, stored, size, byte):
    link, _, path = stored

    path.write_bytes(byte * size)

    assert_damaged(objects, link)


def test_one_object_in_the_place_of_another_is_found(objects, stored):
    link, content, path = stored
    other = put(objects, link.kind, content + b"!")
    disguised = id_of(Kind.RECORD if link.kind is Kind.BLOB else Kind.BLOB, content)

    path.write_bytes(objects.path(other).read_bytes())
    assert_damaged(objects, link)
    path.write_bytes(objects.path(put(objects, disguised.kind, content)).read_bytes())
    assert_damaged(objects, link)


def test_what_cannot_be_read_is_damaged_not_missing(objects, stored):
    link, _, path = stored
    path.unlink()
    path.mkdir()

    assert_damaged(objects, link)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EIO, errors.ObjectCorrupt),
        (errno.EISDIR, errors.ObjectCorrupt),
        (errno.EACCES, errors.StoreUnreadable),  # says nothing of what is stored
        (errno.EMFILE, errors.StoreUnreadable),
    ],
)
def test_a_system_that_fails_the_reader_is_translated(objects, stored, monkeypatch, number, kind):
    link, _, _ = stored

    def fail(_: int) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    for read in (objects.load, objects.verify, objects.header, objects.open_content):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", fail)
            with pytest.raises(kind) as caught:
                read(link)

        assert caught.value.reason == os.strerror(number)
        assert objects.load(link)


# --- Lies ---------------------------------------------------------------------------------------


def lie(objects: LooseObjects, *, size: int, body: bytes, codec: int) -> Link:
    """Store a file whose header claims what its body does not hold."""
    link = id_of(Kind.BLOB, bytes(1000))
    objects.path(link).parent.mkdir(exist_ok=True)
    crc = struct.pack("<I", zlib.crc32(body)) if codec == 1 else b""
    objects.path(link).write_bytes(struct.pack("<4sBBHQ", b"ros\1", 1, codec, 0, size) + body + crc)
    return link


def compressed(content: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(level=19, **options).compress(content)


LIES: dict[str, Callable[[], tuple[int, bytes, int]]] = {
    "raw, larger": lambda: (2000, bytes(1000), 0),
    "raw, as large as can be": lambda: (2**64 - 1, bytes(1000), 0),
    "raw, smaller": lambda: (10, bytes(1000), 0),
    "zstd, larger": lambda: (2000, compressed(bytes(1000)), 1),
    "zstd, smaller": lambda: (10, compressed(bytes(1000)), 1),
    "zstd, as large as can be": lambda: (2**64 - 1, compressed(bytes(1000)), 1),
    "a bomb that says so": lambda: (2**30, compressed(bytes(2**28)), 1),
    "a bomb with a small size": lambda: (1000, compressed(bytes(2**28)), 1),
    "a bomb that keeps its size to itself": lambda: (
        1000,
        compressed(bytes(2**28), write_content_size=False),
        1,
    ),
    "two frames": lambda: (1000, compressed(bytes(500)) * 2, 1),
    "a frame and more": lambda: (1000, compressed(bytes(1000)) + b"x", 1),
    "no frame": lambda: (1000, b"", 1),
    "an unknown codec": lambda: (1000, bytes(1000), 2),
    "a skippable frame": lambda: (1000, b"\x50\x2a\x4d\x18\x04\0\0\0abcd", 1),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_before_memory_is_taken_for_it(objects, name):
    size, body, codec = LIES[name]()
    link = lie(objects, size=size, body=body, codec=codec)
    tracemalloc.start()
    try:
        assert_damaged(objects, link)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * 1024 * 1024


def test_a_large_file_that_is_no_object_is_not_read(objects):
    link = lie(objects, size=1000, body=b"", codec=1)
    os.truncate(objects.path(link), 2**40)  # a terabyte of nothing
    tracemalloc.start()
    try:
        assert_damaged(objects, link)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * 1024 * 1024


# --- Putting ------------------------------------------------------------------------------------


def test_a_put_of_what_is_there_freshens_it(objects, stored):
    link, _, path = stored
    os.utime(path, (0, 0))

    assert objects.freshen(link)
    assert objects.status(link).st_mtime > 1_000_000
    assert not objects.freshen(id_of(Kind.BLOB, b"never"))


def test_what_is_removed_is_missing(objects, stored):
    link, _, path = stored

    objects.remove(link)
    objects.remove(link)

    assert not path.exists()
    assert not objects.has(link)
    for read in (objects.load, objects.status):
        with pytest.raises(errors.ObjectMissing):
            read(link)


@pytest.mark.parametrize("is_synced", [True, False])
def test_a_name_is_given_when_the_bytes_are_there(objects, tmp_path, monkeypatch, is_synced):
    calls: list[str] = []
    for name in ("sync", "publish", "sync_folder"):
        real = getattr(disk, name)
        monkeypatch.setattr(
            disk, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))
        )

    objects.put(Kind.BLOB, id_of(Kind.BLOB, WORDS), WORDS, is_synced=is_synced)

    # The first folder sync is of the new folder's own name.
    synced = ["sync", "sync_folder", "publish", "sync_folder", "sync_folder"]
    assert calls == (synced if is_synced else ["sync_folder", "publish"])
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["open_temporary", "write_synced", "make_folder", "publish"])
def test_a_refused_put_leaves_nothing(objects, tmp_path, monkeypatch, name):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, name, refuse)

    with pytest.raises(errors.StoreUnwritable, match="No space left on device"):
        put(objects, Kind.BLOB, WORDS)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(objects.listing()) == []


def test_a_long_content_is_read_in_bounded_memory(objects):
    size = 64 * 1024 * 1024
    content = bytearray(size)
    content[-8:] = b"the last"
    link = put(objects, Kind.BLOB, bytes(content))
    del content
    tracemalloc.start()
    try:
        header = objects.verify(link)
        _, handle = objects.open_content(link)
        with handle:
            handle.seek(size - 8)
            last = handle.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * 1024 * 1024
    assert (header.size, last) == (size, b"the last")


# --- Other files --------------------------------------------------------------------------------


def test_files_with_other_names_are_no_objects(objects, stored):
    link, _, path = stored
    folder = path.parents[1]
    for name in (
        "README",
        "ab",
        "zz/" + "0" * 62,
        str(link)[:2] + "/short",
        "pack/x",
        "0g/" + "0" * 62,
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_bytes(b"foreign")

    assert list(objects.listing()) == [link]


def test_a_folder_is_made_once_and_durably(tmp_path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)

    disk.make_folder(tmp_path / "a" / "b")
    disk.make_folder(tmp_path / "a" / "b")

    assert synced == [tmp_path, tmp_path / "a"]
