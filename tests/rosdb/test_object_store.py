"""All objects of a store, wherever they are: any sound copy will do, and no damaged one."""

import contextlib
import errno
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rosdb import Link, ObjectId, Store, errors
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.objects import Kind, Record, encode_record, id_of
from rosdb.pack_file import Entry

WORDS = b" ".join(b"%d" % (i * i % 977) for i in range(150))
LONG = random.Random(1).randbytes(WHOLE_BYTES_MAX + 100_000)
RECORD = encode_record(Record("note/v1", {"n": [1] * 100}))
CONTENTS = {
    "empty": (Kind.BLOB, b""),
    "words": (Kind.BLOB, WORDS),
    "long": (Kind.BLOB, LONG),
    "record": (Kind.RECORD, RECORD),
}


@pytest.fixture(params=["packed", "loose", "both"])
def keep(request: pytest.FixtureRequest, store: Store, fate: Any) -> Callable[..., Link]:
    """Give a way to store an object: in a pack, loose, or both ways."""

    def keep_(kind: Kind, content: bytes) -> Link:
        with store.transaction() as tx:
            link = tx._put(kind, content)
            tx.put_blob(b"beside it")  # a single object would be loose
        if request.param == "loose":
            fate.loosen(store)
        elif request.param == "both":
            store._objects.loose.put(kind, link, content, is_synced=False)
        return link

    return keep_


@pytest.fixture(params=CONTENTS)
def stored(request: pytest.FixtureRequest, keep: Callable[..., Link]) -> tuple[Link, bytes]:
    kind, content = CONTENTS[request.param]
    return keep(kind, content), content


def readers(store: Store) -> Iterator[Callable[[Link], object]]:
    """Give every way to a content."""
    objects = store._objects
    yield objects.load
    yield objects.verify
    yield lambda link: objects.load(link, link.kind)
    yield lambda link: read_all(store, link)


def read_all(store: Store, link: Link) -> bytes:
    with store._objects.open_content(link, link.kind) as handle:
        return handle.read()


# --- Reading ------------------------------------------------------------------------------------


def test_what_is_stored_comes_back(store, stored):
    link, content = stored
    objects = store._objects

    assert objects.load(link) == objects.load(link, link.kind) == (link.kind, content)
    assert objects.kind(link) is link.kind
    assert sum(size for _, size in objects.parts_of(link)) == len(content)
    found = objects.verify(link)
    assert (found.kind, found.size) == (link.kind, len(content))
    assert read_all(store, link) == content
    assert objects.has(link)
    assert list(objects.listing()).count(link) == 1


def test_what_is_not_stored_is_missing(store, stored):
    link = id_of(Kind.BLOB, b"never")
    objects = store._objects

    assert not objects.has(link)
    for read in (*readers(store), objects.kind, objects.parts_of):
        with pytest.raises(errors.ObjectMissing, match=str(link)):
            read(link)


def test_another_kind_than_the_one_asked_for_is_refused(store, stored):
    link, _ = stored
    other = Kind.RECORD if link.kind is Kind.BLOB else Kind.BLOB

    with pytest.raises(errors.ObjectCorrupt, match="by its header"):
        store._objects.load(link, other)
    with pytest.raises(errors.ObjectCorrupt, match="by its header"):
        store._objects.open_content(link, other)


def test_a_part_of_a_list_of_chunks_is_no_object(store, fate, monkeypatch):
    monkeypatch.setattr("rosdb.chunks._LIST_ROWS_MAX", 2)
    with store.transaction() as tx:
        tx.put_blob(LONG)
    (pack,) = fate.packs(store)
    inner = [ObjectId(h.digest) for _, h in pack.scan() if h and h.entry is Entry.INNER]

    assert len(inner) > 5
    for each in inner:
        for ask in (store._objects.kind, store.get_blob, store.get_record):
            with pytest.raises((errors.ObjectMissing, errors.ObjectCorrupt), match=str(each)):
                ask(each)


# --- Several copies -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENTS)
def test_any_sound_copy_will_do(store, fate, name):
    kind, content = CONTENTS[name]
    link = id_of(kind, content)
    for number in range(2):  # in two packs, and loose
        with store.transaction() as tx:
            tx._put(kind, content)
            tx.put_blob(b"%d" % number)
        if number == 0:
            hidden = [pack.path for pack in fate.packs(store)]
            for path in (*hidden, *(each.with_suffix(".idx") for each in hidden)):
                path.rename(path.with_name(f"{path.name}.away"))
            store.close()
    for path in (store.path / "objects" / "pack").glob("*.away"):
        path.rename(path.with_suffix(""))
    store._objects.loose.put(kind, link, content, is_synced=False)
    store.close()
    copies = fate.copies(store)[link]
    assert len(copies) == 3

    for sound in copies:
        for copy in copies:
            if copy is not sound:
                copy.flip(0)
        for read in readers(store):
            assert read(link) is not None
        assert store._objects.load(link) == (kind, content)
        assert read_all(store, link) == content
        for copy in copies:
            if copy is not sound:
                copy.flip(0)
    for copy in copies:
        copy.flip(0)
    for read in readers(store):
        with pytest.raises(errors.ObjectCorrupt, match=str(link)):
            read(link)


def test_no_damaged_byte_is_handed_out(store, fate, stored):
    link, content = stored
    objects = store._objects
    copies = fate.copies(store)[link]

    size = min(copy.end - copy.start for copy in copies)
    for back in range(1, size + 1, max(7, size // 50)):
        for copy in copies:
            copy.flip(-back)
        for read in (objects.load, lambda link: (link.kind, read_all(store, link))):
            try:
                # A header holds more than a reader needs: what it gives is sound all the same.
                assert read(link) == (link.kind, content)
            except (errors.ObjectCorrupt, errors.ObjectMissing) as error:
                assert error.object_id == str(link)
            else:
                assert any(copy.path.suffix == ".pack" for copy in copies)
                assert copies[0].end - copies[0].start - back < 72
        for copy in copies:
            copy.flip(-back)
    assert objects.load(link) == (link.kind, content)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EIO, errors.ObjectCorrupt),
        (errno.EACCES, errors.StoreUnreadable),  # says nothing of what is stored
        (errno.EMFILE, errors.StoreUnreadable),
    ],
)
def test_a_system_that_fails_the_reader_is_translated(store, stored, monkeypatch, number, kind):
    link, _ = stored
    list(store.refs())  # what else is read, is read

    def fail(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    for read in readers(store):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail)
            patch.setattr(os, "fstat", fail)
            with pytest.raises(kind, match=os.strerror(number)):
                read(link)
        assert read(link) is not None


# --- A miss looks again -------------------------------------------------------------------------


def test_what_another_has_put_is_found(open_store):
    reader, writer = open_store(), open_store()
    assert not reader.has(id_of(Kind.BLOB, b"0"))

    for number in range(20):  # merges among them
        with writer.transaction() as tx:
            tx.put_blob(b"%d" % number)
            tx.put_blob(b"beside %d" % number)

        assert reader.get_blob(id_of(Kind.BLOB, b"%d" % number)) == b"%d" % number
        assert reader.get_blob(id_of(Kind.BLOB, b"0")) == b"0"


@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "flipped"])
def test_what_an_index_hides_is_found(store, open_store, fate, damage):
    with store.transaction() as tx:
        links = [tx.put_blob(b"%d" % number) for number in range(50)]
    (index,) = (store.path / "objects" / "pack").glob("*.idx")
    data = bytearray(index.read_bytes())
    index.unlink()
    if damage == "flipped":
        data[16 + 32 + 1024 :: 16] = bytes(len(data[16 + 32 + 1024 :: 16]))
        index.write_bytes(data)
    elif damage != "missing":
        index.write_bytes(b"" if damage == "empty" else data[:-100])

    reader = open_store()

    assert [reader.get_blob(link) for link in links] == [b"%d" % number for number in range(50)]
    assert reader.check().ok


# --- Putting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", "cut", "none"])
def test_a_put_heals_a_damaged_copy(store, fate, stored, damage):
    link, content = stored
    if damage == "none":
        fate.lose(store, link)
    for copy in fate.copies(store).get(link, []):
        if damage == "flip":
            copy.flip(-1)
        elif damage == "cut":
            copy.path.chmod(0o644)
            os.truncate(copy.path, copy.end - 1)
    store.close()

    with store.transaction() as tx:
        tx._put(link.kind, content)
        tx.move_ref("names/x", link, expected=None)

    assert store._objects.load(link) == (link.kind, content)
    assert read_all(store, link) == content


def test_a_repair_and_a_put_heal_a_damaged_chunk(store, fate):
    with store.transaction() as tx:
        blob = tx.put_blob(LONG)
    parts = fate.copies(store)

    for (copy,) in list(parts.values())[:1]:
        copy.flip(-1)
        store.repair()
        store.put_blob(LONG)

        assert store.get_blob(blob) == LONG
        assert store.check().ok


def test_a_put_of_what_is_there_freshens_it_and_writes_nothing(store, fate, stored):
    link, content = stored
    before = fate.copies(store)
    for copies in before.values():
        for copy in copies:
            os.utime(copy.path, (0, 0))

    with store.transaction() as tx:
        tx._put(link.kind, content)

    after = fate.copies(store)
    assert {each: after[each] for each in before} == before
    if content != LONG or any(copy.path.suffix == ".pack" for copy in before[link]):
        assert after == before  # but of a long one that version 1 has kept whole
    # One copy is enough: it is not removed, and what finds one is content.
    assert max(copy.path.stat().st_mtime for copy in before[link]) > 1_000_000


@pytest.mark.parametrize("is_packed", [True, False])
def test_what_may_not_be_read_is_not_put_anew(store, fate, monkeypatch, is_packed):
    """A put heals what is damaged; what we may not look at is not known to be."""
    with store.transaction() as tx:
        link = tx.put_blob(WORDS)
        if is_packed:
            tx.put_blob(b"beside it")
    before = fate.copies(store)
    path = before[link][0].path
    inode = path.stat().st_ino
    real = {name: getattr(os, name) for name in ("fstat", "pread")}

    def failing(name: str) -> Callable[..., Any]:
        def call(handle: int, *arguments: int) -> Any:
            if real["fstat"](handle).st_ino == inode:
                raise OSError(errno.EACCES, "Permission denied")
            return real[name](handle, *arguments)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, failing(name))
        with pytest.raises(errors.StoreUnreadable):
            store.put_blob(WORDS)

    assert fate.copies(store) == before
    assert path.stat().st_ino == inode


def test_nothing_is_left_in_the_temporary_folder(store, tmp_path):
    (tmp_path / "large").write_bytes(LONG)

    for _ in range(2):
        store.put_blob(WORDS)
        store.put_file(tmp_path / "large")
        with contextlib.suppress(ZeroDivisionError), store.transaction() as tx:
            tx.put_file(tmp_path / "large")
            raise ZeroDivisionError

    assert list((store.path / "tmp").iterdir()) == []


def test_a_file_is_streamed_in_bounded_memory(store, tmp_path):
    size = 128 * 1024 * 1024
    source = tmp_path / "large"
    with source.open("wb") as handle:
        for start in range(0, size, 2**20):
            handle.write(random.Random(start % 2**24).randbytes(2**16) * 15 + bytes(2**16 - 8))
            handle.write(start.to_bytes(8, "big"))
    tracemalloc.start()
    try:
        link = store.put_file(source)
        again = store.put_file(source)
        report = store.check()
        with store.open_blob(link) as blob:
            blob.seek(size - 8)
            last = blob.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64 * 1024 * 1024  # seven segments of 4 MiB, and what is made of them
    assert again == link
    assert last == (size - 2**20).to_bytes(8, "big")
    assert report.ok
    assert sum(each for _, each in store._objects.parts_of(link)) == size


def test_bytes_like_values_are_blobs_and_numbers_are_not(store):
    values = [b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"a.b.c.d.")[::2]]
    numbers = np.arange(4.0)
    long = memoryview(LONG + b".")[::-1]

    assert {store.put_blob(value) for value in values} == {store.put_blob(b"abcd")}
    assert store.get_blob(store.put_blob(memoryview(numbers))) == numbers.tobytes()
    assert store.get_blob(store.put_blob(long)) == bytes(long)
    for value in (5, "text", [1, 2], None):
        with pytest.raises(TypeError):
            store.put_blob(value)
