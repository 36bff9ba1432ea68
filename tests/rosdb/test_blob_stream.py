"""A long blob read as a whole: from whatever copy of a chunk is sound, and never half."""

import errno
import io
import random
import threading
from collections.abc import Iterator

import pytest

from rosdb import errors, write_blob
from rosdb.blob_stream import whole_pieces
from rosdb.chunks import segments
from rosdb.objects import Kind, id_of
from rosdb.pack_file import Damaged

CONTENT = random.Random(4).randbytes(9_000_000)


def parts_of(content: bytes) -> list[bytes]:
    found = segments(io.BytesIO(content).readinto)
    return [bytes(chunk) for segment in found for chunk in segment.chunks]


def test_what_was_put_comes_back_through_parts_and_files(store, open_store, tmp_path):
    link = store.put_blob(CONTENT)

    for number, reader in enumerate((store, open_store())):
        assert reader.get_blob(link) == CONTENT
        write_blob(reader, link, tmp_path / f"{number}")
        assert (tmp_path / f"{number}").read_bytes() == CONTENT


def test_of_a_damaged_chunk_another_copy_is_taken(store, fate, tmp_path):
    link = store.put_blob(CONTENT)
    chunk = parts_of(CONTENT)[5]
    part = id_of(Kind.BLOB, chunk)
    for copy in fate.copies(store)[part]:
        copy.flip(-1)
    store.close()

    with pytest.raises(errors.ObjectCorrupt, match=str(part)):
        write_blob(store, link, tmp_path / "restored")
    with pytest.raises(errors.ObjectCorrupt, match=str(part)):
        store.get_blob(link)
    assert not (tmp_path / "restored").exists()

    store.put_blob(chunk)

    write_blob(store, link, tmp_path / "restored")
    assert (tmp_path / "restored").read_bytes() == CONTENT
    assert store.get_blob(link) == CONTENT


@pytest.mark.parametrize("which", [0, 1])
def test_a_repair_keeps_what_a_second_copy_of_a_chunk_saves(open_store, which):
    """Two writers store two versions of a file at once, and so the chunks that they share twice."""
    chance = random.Random(5)
    head, tail = chance.randbytes(600_000), chance.randbytes(900_000)
    versions = [head + chance.randbytes(300_000) + tail for _ in range(2)]
    first, second = open_store(), open_store()
    with first.transaction() as one, second.transaction() as other:
        for number, (tx, content) in enumerate(zip((one, other), versions, strict=True)):
            tx.move_ref(f"names/{number}", tx.put_blob(content), expected=None)
    shared = [each for each in parts_of(versions[0]) if each in set(parts_of(versions[1]))][-3]
    digest = id_of(Kind.BLOB, shared).digest
    packs = open_store()._objects.packs
    places = sorted(packs.places(digest), key=lambda place: place.pack)
    assert len(places) == 2
    path = packs.path(places[which].pack)
    data = bytearray(path.read_bytes())
    data[places[which].offset + 122] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    report = open_store().check()
    assert [str(fault.object_id) for fault in report.damaged] == [digest.hex()]
    assert report.damaged[0].has_sound_copy
    open_store().repair()

    after = open_store()
    assert after.check().ok
    for content in versions:
        assert after.get_blob(id_of(Kind.BLOB, content)) == content


def test_a_target_that_refuses_is_not_called_damage(store, tmp_path):
    link = store.put_blob(CONTENT)

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.copy_blob(link, Full())


def test_a_target_that_takes_a_little_at_a_time_gets_all(store, tmp_path):
    link = store.put_blob(CONTENT[:300_000])
    short = store.put_blob(b"short")
    taken = bytearray()

    class Slow(io.BytesIO):
        def write(self, data: memoryview) -> int:
            taken.extend(bytes(data[:1000]))
            return len(bytes(data[:1000]))

    for each in (link, short):
        store.copy_blob(each, Slow())
    assert taken == CONTENT[:300_000] + b"short"


def test_chunks_in_many_packs_are_found(store, monkeypatch, tmp_path):
    """Every third chunk was there before, in a pack of its own."""
    pieces = parts_of(CONTENT)
    for piece in pieces[::3]:
        with store.transaction() as tx:
            tx.put_blob(piece)
            tx.put_blob(b"beside " + piece[:8])

    link = store.put_blob(CONTENT)

    write_blob(store, link, tmp_path / "restored")
    assert (tmp_path / "restored").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_touched(store, tmp_path):
    link = store.put_blob(CONTENT)
    (tmp_path / "mine").write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        write_blob(store, link, tmp_path / "mine")

    assert (tmp_path / "mine").read_bytes() == b"mine"


class Nowhere:
    """Windows that show nothing."""

    def find(self, digest: bytes) -> None:
        return None


def test_the_whole_is_verified_when_its_last_part_is_taken():
    pieces = parts_of(CONTENT)
    known = {id_of(Kind.BLOB, piece).digest: piece for piece in pieces}
    rows = [(digest, len(piece)) for digest, piece in known.items()]

    def taken(digest: bytes) -> Iterator[bytes]:
        return whole_pieces(digest, rows, Nowhere, lambda each, _: known[each])

    whole = id_of(Kind.BLOB, CONTENT).digest
    assert b"".join(taken(whole)) == CONTENT
    begun = taken(bytes(32))
    next(begun)
    with pytest.raises(Damaged, match="hash"):
        list(begun)


def test_a_chunk_of_another_size_than_listed_is_damage():
    digest = id_of(Kind.BLOB, b"abc").digest

    with pytest.raises(Damaged, match="size"):
        list(whole_pieces(digest, [(digest, 4)], Nowhere, lambda *_: b"abc"))


def test_a_taker_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    begun = whole_pieces(bytes(32), [(bytes(32), 1)] * 10_000, Nowhere, lambda *_: b"x")
    assert next(begun) == b"x" * 128
    assert threading.active_count() > before

    begun.close()

    assert threading.active_count() == before
