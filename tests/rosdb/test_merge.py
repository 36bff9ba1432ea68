"""Merging: the packs become few, and no object is lost, whoever looks and whatever fails."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rosdb import Store, disk, errors, merge
from rosdb.objects import Kind, id_of

CONTENTS = [b"content %d" % number for number in range(100)]


def put(store: Store, *contents: bytes) -> None:
    """Put objects in a transaction of their own, and so in a pack, that is not merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "merge", lambda *_: False)
        with store.transaction() as tx:
            for content in contents:
                tx.put_blob(content)
            tx.put_blob(b"beside " + contents[0])


def packs(store: Store) -> list[Path]:
    return sorted((store.path / "objects" / "pack").glob("*.pack"))


def assert_all(store: Store, contents: list[bytes]) -> None:
    for content in contents:
        assert store.get_blob(id_of(Kind.BLOB, content)) == content


def test_eight_packs_of_a_size_become_one(store, open_store, fate):
    for number in range(7):
        put(store, CONTENTS[number])
    assert not store.merge_packs()
    assert len(packs(store)) == 7
    put(store, CONTENTS[7])

    assert store.merge_packs()

    assert len(packs(store)) == 1
    assert len(list((store.path / "objects" / "pack").iterdir())) == 2
    assert {len(copies) for copies in fate.copies(store).values()} == {1}
    for reader in (store, open_store()):
        assert_all(reader, CONTENTS[:8])
        assert reader.check().ok
    assert not store.merge_packs()


def test_the_store_merges_sixteen(path):
    """In a process of its own, where no test has made it merge earlier."""
    code = (
        "import sys; from pathlib import Path; from rosdb import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "for n in range(16):\n"
        "    with store.transaction() as tx:\n"
        "        tx.put_blob(b'%d' % n); tx.put_blob(b'beside %d' % n)\n"
        "    print(len(list((store.path / 'objects' / 'pack').glob('*.pack'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )

    assert [int(word) for word in done.stdout.split()] == [*range(1, 16), 1]


def test_the_number_of_packs_grows_with_the_logarithm_of_the_transactions(store, fate):
    counts = []
    for number in range(200):
        with store.transaction() as tx:
            tx.put_blob(b"%d" % number * 20)
            tx.move_ref(f"names/n{number}", tx.put_blob(b"%d" % number), expected=None)
        counts.append(len(packs(store)))

    assert max(counts) < 8 * 4
    assert sum(counts[-50:]) / 50 < 8 * 3
    assert store.check().ok
    assert len(fate.objects(store)) == 2 * 200


def test_a_reader_of_before_finds_all_after(store, open_store):
    readers = [open_store() for _ in range(3)]
    for number in range(8):
        put(store, CONTENTS[number])
        readers[1].has(id_of(Kind.BLOB, CONTENTS[number]))  # lists the folder, and opens no pack
    assert_all(readers[2], CONTENTS[:8])  # has every pack open

    store.merge_packs()

    for reader in readers:
        assert_all(reader, CONTENTS[:8])


def test_large_packs_stay_as_they_are_and_their_indexes_become_one(store, open_store, monkeypatch):
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 500)
    for number in range(8):
        put(store, CONTENTS[number] * 100, b"small %d" % number, os.urandom(600))
    before = packs(store)

    # Nothing is small; only the merging of packs looks at that first.
    assert merge.merge_indexes(store._objects.packs)

    assert packs(store) == before
    (index,) = (store.path / "objects" / "pack").glob("*.idx")
    assert index.name.startswith("multi-")
    for reader in (store, open_store()):
        assert_all(reader, [content * 100 for content in CONTENTS[:8]])
        assert reader.check().ok


def test_a_store_with_large_packs_alone_gets_few_indexes(store, monkeypatch):
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 500)

    for number in range(30):
        with store.transaction() as tx:
            tx.put_blob(b"%d" % number)
            tx.put_blob(os.urandom(600))

    assert len(packs(store)) == 30
    assert len(list((store.path / "objects" / "pack").glob("*.idx"))) < 8 * 2


def test_a_damaged_pack_is_not_merged_and_nothing_of_it_is_lost(store, open_store, fate):
    for number in range(10):
        put(store, CONTENTS[number])
    bad = id_of(Kind.BLOB, CONTENTS[3])
    (copy,) = fate.copies(store)[bad]
    copy.flip(-1)
    before = packs(store)

    store.merge_packs()
    store.merge_packs()

    assert packs(store) == before
    assert list((store.path / "tmp").iterdir()) == []
    assert_all(open_store(), [*CONTENTS[:3], *CONTENTS[4:10]])
    (fault,) = store.check().damaged
    assert fault.object_id == bad
    copy.flip(-1)
    assert open_store().merge_packs()
    assert_all(store, CONTENTS[:10])


def test_the_merged_pack_is_as_young_as_the_youngest(store):
    for number in range(8):
        put(store, CONTENTS[number])
    for number, path in enumerate(packs(store)):
        os.utime(path, ns=(10**18 + number, 10**18 + number))

    store.merge_packs()

    (merged,) = packs(store)
    assert merged.stat().st_mtime_ns == 10**18 + 7


def test_nobody_waits_for_a_merge(store, open_store):
    for number in range(8):
        put(store, CONTENTS[number])

    with disk.exclusive_lock(store.path / "merge.lock"):
        assert not open_store().merge_packs()
        with store.transaction() as tx:
            tx.put_blob(b"one")
            tx.put_blob(b"more")

    assert len(packs(store)) == 9
    assert store.merge_packs()
    assert len(packs(store)) == 1


def test_a_merge_that_is_refused_fails_no_transaction(store, fate, monkeypatch):
    for number in range(8):
        put(store, CONTENTS[number])
    real = merge.merge_packs

    def full(*arguments: object) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(disk, "sync", refuse)
            return real(*arguments)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merge, "merge_packs", full)

    with store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)
    with pytest.raises(errors.StoreUnwritable, match="No space left"):
        store.merge_packs()

    assert store.ref("names/x") == id_of(Kind.BLOB, b"x")
    assert_all(store, CONTENTS[:8])
    assert len(packs(store)) == 9
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["publish", "sync", "sync_folder", "remove", "open_temporary"])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_merge_that_dies_at_any_call_loses_nothing(store, name, is_after, tmp_path):
    """And the next takes it up."""
    for number in range(8):
        put(store, CONTENTS[number])
    store.close()
    calls = 0
    fail_at = 0
    real: Callable[..., object] = getattr(disk, name)

    def dying(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls - 1 == fail_at and not is_after:
            raise Died
        result = real(*arguments)
        if calls - 1 == fail_at:
            if isinstance(result, tuple):
                result[0].close()  # as the system does
            raise Died
        return result

    for fail_at in range(40):
        path = tmp_path / f"{fail_at}"
        shutil.copytree(store.path, path)
        calls = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, name, dying)
            with contextlib.suppress(Died), contextlib.closing(Store.open(path)) as merging:
                merging.merge_packs()

        with contextlib.closing(Store.open(path)) as reader:
            assert_all(reader, CONTENTS[:8])
            assert reader.check().ok
            reader.merge_packs()
            assert len(packs(reader)) <= 8
            assert_all(reader, CONTENTS[:8])
        if calls <= fail_at:
            return
    pytest.fail(f"a merge calls {name} more than 40 times")


class Died(BaseException):
    """The process ends in the middle."""


def test_the_order_of_a_merge(store, monkeypatch):
    """What replaces is durable, with its name, before what is replaced goes."""
    for number in range(8):
        put(store, CONTENTS[number])
    calls: list[str] = []
    for name in ("sync", "publish", "sync_folder", "remove"):
        real = getattr(disk, name)
        monkeypatch.setattr(
            disk, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1]
        )

    store.merge_packs()

    first = calls.index("remove")
    assert calls[:first] == ["sync", "publish", "publish", "sync_folder"]
    assert set(calls[first:]) == {"remove"}


def test_merged_packs_are_synced_whatever_the_setting(store, monkeypatch):
    (store.path / "config.toml").write_text('durability = "none"\n')
    synced: list[int] = []
    monkeypatch.setattr(disk, "sync", synced.append)
    for number in range(8):
        put(store, CONTENTS[number])
    assert synced == []

    store.merge_packs()

    assert len(synced) == 1
