"""Collection: what is reached is never removed, what is not is, and whatever happens is harmless."""

import contextlib
import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rosdb import Link, ObjectId, Store, chunks, collect, disk, errors, merge, removal, turnstile
from rosdb.collect import Collected
from rosdb.journal import Journal
from rosdb.objects import Kind, id_of
from rosdb.pack_file import Entry, PackWriter
from rosdb.stat_cache import StatCache

DAY_SECONDS = 86_400
DAY_NS = DAY_SECONDS * 1_000_000_000


class Killed(BaseException):
    """The process ends here."""


def long_blob(number: int, size: int = 300_000) -> bytes:
    return random.Random(number).randbytes(size)


def keep(store: Store, name: str, put: Callable[[Any], Link]) -> Link:
    """Put something under a ref; return it."""
    with store.transaction() as tx:
        link = put(tx)
        tx.move_ref(name, link, expected=store.ref(name))
    return link


def keep_blob(store: Store, name: str, content: bytes) -> Link:
    return keep(store, name, lambda tx: tx.put_blob(content))


def drop(store: Store, *names: str) -> None:
    with store.transaction() as tx:
        for name in names:
            tx.move_ref(name, None, expected=store.ref(name))


def collected(store: Store, grace_seconds: float = 0) -> Collected:
    return store.plan_collection(grace_seconds=grace_seconds).execute()


def files(path: Path) -> dict[str, bytes]:
    """Return all files that objects are kept in."""
    found = [*(path / "objects").glob("??/*"), *(path / "objects").glob("pack/*.pack")]
    return {str(each.relative_to(path)): each.read_bytes() for each in found}


def reached(store: Store) -> dict[str, list[tuple[Link, object]]]:
    """Return what each ref leads to, read and hashed."""
    found: dict[str, list[tuple[Link, object]]] = {}
    for name, link in store.refs():
        waiting, found[name] = [store.typed(link)], []
        while waiting:
            each = waiting.pop()
            if each.kind is Kind.BLOB:
                found[name].append((each, store.get_blob(each)))
            else:
                record = store.get_record(each)
                waiting += record.links.values()
                found[name].append((each, record))
    return found


def age(path: Path, days: float) -> None:
    """Let time pass for every file that objects are kept in."""
    for name in files(path):
        before = (path / name).stat().st_mtime_ns
        disk.set_time(path / name, before - round(days * DAY_NS))


def populate(store: Store) -> dict[str, Link]:
    """Put some of everything, a part of it reached by no ref any longer; return all by name."""
    put: dict[str, Link] = {}

    def tree(tx: Any) -> Link:
        put["leaf"] = tx.put_blob(b"leaf")
        put["long"] = tx.put_blob(long_blob(1))
        put["twig"] = tx.put_record("twig/v1", {}, {"leaf": put["leaf"], "long": put["long"]})
        return tx.put_record("tree/v1", {}, {"twig": put["twig"]})

    put["loose"] = store.put_blob(b"loose" * 50)
    put["tree"] = keep(store, "names/tree", tree)
    put["old long"] = keep(store, "names/old", lambda tx: tx.put_blob(long_blob(1) + b"end"))
    put["garbage leaf"] = keep_blob(store, "names/gone-leaf", b"garbage leaf")
    put["garbage"] = keep(
        store,
        "names/gone",
        lambda tx: tx.put_record(
            "garbage/v1", {}, {"leaf": put["garbage leaf"], "kept": put["leaf"]}
        ),
    )
    keep(store, "names/loose", lambda tx: put["loose"])
    put["garbage loose"] = store.put_blob(b"garbage loose")
    put["small"] = keep_blob(store, "datasets/small/1", b"small")
    put["promoted"] = keep_blob(store, "promotions/p", b"promoted")
    drop(store, "names/old", "names/gone", "names/gone-leaf")
    return put


GARBAGE = ("old long", "garbage leaf", "garbage", "garbage loose")


# --- The plan and its execution -------------------------------------------------------------------


def measure(fate: Any, store: Store) -> tuple[int, int]:
    """Count the objects and their bytes on disk without the collection's own eyes."""
    return len(fate.copies(store)), sum(map(len, files(store.path).values()))


def test_what_is_reached_stays_and_what_is_not_goes(store):
    put = populate(store)
    before = reached(store)

    found = collected(store)

    assert reached(store) == before
    assert all(not store.has(put[name]) for name in GARBAGE)
    assert all(store.has(link) for name, link in put.items() if name not in GARBAGE)
    assert found.removed > len(GARBAGE)
    assert store.check().ok
    assert not (store.path / "doomed").exists()
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize("grace_seconds", [0, DAY_SECONDS])
def test_the_plan_says_what_its_execution_comes_to_in_every_figure(store, fate, grace_seconds):
    populate(store)
    age(store.path, 2)
    keep_blob(store, "names/young", b"young")
    store.put_blob(b"young and loose")
    drop(store, "names/young")
    before = measure(fate, store)

    plan = store.plan_collection(grace_seconds=grace_seconds)
    said = plan.outcome

    assert measure(fate, store) == before
    assert (said.objects_before, said.bytes_before) == before
    assert plan.execute() == said
    assert (said.objects_after, said.bytes_after) == measure(fate, store)


def test_the_plan_says_so_too_where_several_packs_are_written(store, fate, monkeypatch):
    for number in range(9):
        keep_blob(store, f"names/{number}", long_blob(number, 3_000))
        keep_blob(store, "names/gone", long_blob(number + 100, 3_000))
    for number in range(9):
        link = store.put_blob(long_blob(number + 200, 3_000))
        keep(store, f"names/l{number}", lambda tx, link=link: link)
    monkeypatch.setattr(collect, "PACK_BYTES_MAX", 7_000)

    said = collected(store)

    assert (said.objects_after, said.bytes_after) == measure(fate, store)
    assert len(fate.packs(store)) > 3
    assert store.check().ok


def test_a_plan_alone_changes_nothing(store):
    populate(store)
    before = files(store.path)

    store.plan_collection(grace_seconds=0)

    assert files(store.path) == before


def test_loose_objects_are_packed(store, fate):
    link = store.put_blob(b"loose")
    longest = store.put_blob(long_blob(7, chunks.WHOLE_BYTES_MAX))
    keep(store, "names/loose", lambda tx: link)
    keep(store, "names/longest", lambda tx: longest)

    collected(store, collect.GRACE_SECONDS)

    assert fate.loose(store) == {}
    assert len(fate.packs(store)) == 1
    assert store.get_blob(link) == b"loose"
    assert len(store.get_blob(longest)) == chunks.WHOLE_BYTES_MAX


def test_a_store_of_version_1_is_packed_but_for_its_long_blobs(store, fate, monkeypatch):
    before = populate(store)
    monkeypatch.setattr(chunks, "WHOLE_BYTES_MAX", 10**9)
    fate.loosen(store)
    wanted = reached(store)

    collected(store)

    assert set(fate.loose(store)) == {before["long"]}
    assert reached(store) == wanted
    assert store.check().ok


@pytest.mark.parametrize("grace_seconds", [0, 3600, collect.GRACE_SECONDS])
def test_a_second_collection_does_nothing(store, grace_seconds):
    populate(store)
    collected(store, grace_seconds)
    before = files(store.path)

    again = collected(store, grace_seconds)

    assert files(store.path) == before
    assert again.removed == 0
    assert again.bytes_before == again.bytes_after


def test_an_empty_store_is_collected(store):
    assert collected(store) == Collected(
        objects_before=0, objects_after=0, bytes_before=0, bytes_after=0
    )


@pytest.mark.parametrize("name", ["names/a", "datasets/a/1", "promotions/a", "runs/" + "a" * 64])
def test_every_kind_of_ref_protects(store, name):
    leaf = keep_blob(store, "names/leaf", b"leaf")
    link = keep(store, name, lambda tx: tx.put_record("a/v1", {}, {"leaf": leaf}))
    drop(store, "names/leaf")

    collected(store)

    assert store.get_record(link).links == {"leaf": leaf}
    assert store.get_blob(leaf) == b"leaf"


def test_a_ref_that_an_index_hides_protects_all_the_same(store):
    link = keep_blob(store, "names/a", b"a")
    keep_blob(store, "names/b", b"b")
    store.close()
    for each in store.path.glob("index.db*"):
        each.unlink()

    collected(store)

    assert store.get_blob(link) == b"a"


def test_runs_are_listed_as_before_when_the_index_is_rebuilt_after_a_collection(store, put_run):
    run = put_run(store, metrics={"sharpe": 1.5}, name="best")
    with store.transaction() as tx:
        failed = tx.put_record("status/v1", {"status": "failed", "seconds": 2.0}, {"run": run})
        tx.move_ref(f"runs/{run}", failed, expected=store.ref(f"runs/{run}"))
    put_run(store, status="running")
    before = list(store.runs())

    assert collected(store).removed > 0

    store.close()
    for each in store.path.glob("index.db*"):
        each.unlink()
    assert list(store.runs()) == before
    assert not store.check().index_differs


# --- Grace ----------------------------------------------------------------------------------------


def test_what_was_put_within_the_grace_stays_with_all_it_leads_to(store):
    leaf = keep_blob(store, "names/leaf", b"leaf")
    drop(store, "names/leaf")
    old = store.put_blob(b"old")
    age(store.path, 30)
    parent = store.put_record("p/v1", {}, {"leaf": leaf})

    collected(store, DAY_SECONDS)

    assert store.get_record(parent).links == {"leaf": leaf}
    assert store.get_blob(leaf) == b"leaf"
    assert not store.has(old)


def test_what_was_put_before_the_grace_goes(store):
    populate(store)
    age(store.path, 15)
    before = reached(store)

    assert collected(store, collect.GRACE_SECONDS).removed > len(GARBAGE)
    assert reached(store) == before


def test_a_put_of_what_is_stored_begins_its_grace_anew(store):
    packed = keep_blob(store, "names/x", b"packed")
    drop(store, "names/x")
    loose = store.put_blob(b"loose")
    age(store.path, 15)
    store.put_blob(b"packed")
    store.put_blob(b"loose")

    collected(store, collect.GRACE_SECONDS)

    assert store.get_blob(packed) == b"packed"
    assert store.get_blob(loose) == b"loose"


def test_garbage_ages_though_every_day_something_is_put_and_collected(store):
    garbage = keep_blob(store, "names/x", b"garbage")
    drop(store, "names/x")
    for day in range(30):
        age(store.path, 1)
        keep_blob(store, "names/day", b"day %d" % day)
        collected(store, collect.GRACE_SECONDS)

    assert not store.has(garbage)


def test_a_clock_that_was_set_back_removes_nothing_that_is_young(store, monkeypatch):
    link = store.put_blob(b"young")
    now = time.time_ns()
    monkeypatch.setattr(disk, "now_ns", lambda: now - 400 * DAY_NS)

    collected(store, DAY_SECONDS)

    assert store.get_blob(link) == b"young"


# --- Between the plan and its execution -----------------------------------------------------------


def test_what_a_move_has_revived_since_the_plan_is_spared(store, open_store):
    put = populate(store)
    plan = open_store().plan_collection(grace_seconds=0)
    keep(store, "names/again", lambda tx: put["garbage"])

    plan.execute()

    wanted = {put["garbage"], put["garbage leaf"], put["leaf"]}
    assert {link for link, _ in reached(open_store())["names/again"]} == wanted
    assert open_store().check().ok


def test_what_others_put_meanwhile_is_not_counted_as_removed(store, open_store):
    put = populate(store)
    plan = open_store().plan_collection(grace_seconds=0)
    keep(store, "names/again", lambda tx: put["garbage"])
    for number in range(50):
        keep_blob(store, f"names/new-{number}", b"new %d" % number)

    said = plan.execute()

    assert said.objects_after == open_store().plan_collection().outcome.objects_before
    assert 0 <= said.removed < plan.outcome.removed


def test_what_was_revived_and_given_up_again_is_spared_too(store, open_store):
    put = populate(store)
    plan = open_store().plan_collection(grace_seconds=0)
    keep(store, "names/again", lambda tx: put["garbage"])
    drop(store, "names/again")

    plan.execute()

    assert store.get_record(put["garbage"]).links["leaf"] == put["garbage leaf"]
    assert open_store().check().ok


@pytest.mark.parametrize("what", ["garbage leaf", "garbage loose", "old long"])
@pytest.mark.parametrize("is_moved", [True, False], ids=["with a ref", "without a ref"])
def test_what_was_put_again_since_the_plan_is_spared(store, open_store, what, is_moved):
    content = {
        "garbage leaf": b"garbage leaf",
        "garbage loose": b"garbage loose",
        "old long": long_blob(1) + b"end",
    }[what]
    put = populate(store)
    age(store.path, 100)
    plan = open_store().plan_collection(grace_seconds=DAY_SECONDS)

    if is_moved:
        assert keep_blob(store, "names/again", content) == put[what]
    else:
        assert store.put_blob(content) == put[what]
    plan.execute()

    assert open_store().get_blob(put[what]) == content
    assert open_store().check().ok


def test_a_chunk_of_garbage_that_a_new_long_blob_shares_is_spared(store, open_store):
    old = keep_blob(store, "names/old", long_blob(3))
    drop(store, "names/old")
    age(store.path, 100)
    plan = open_store().plan_collection(grace_seconds=DAY_SECONDS)
    new = store.put_blob(long_blob(3) + b"tail")

    plan.execute()

    assert open_store().get_blob(new) == long_blob(3) + b"tail"
    assert old != new
    assert open_store().check().ok


def test_what_a_new_record_links_to_is_spared_without_any_ref(store, open_store):
    put = populate(store)
    age(store.path, 100)
    plan = open_store().plan_collection(grace_seconds=DAY_SECONDS)
    parent = store.put_record("new/v1", {}, {"old": put["garbage"]})

    plan.execute()

    assert open_store().get_record(parent).links["old"] == put["garbage"]
    assert open_store().get_blob(put["garbage leaf"]) == b"garbage leaf"
    assert open_store().check().ok


def test_one_spared_file_spares_what_its_objects_lead_to(store, open_store):
    """The file with the middle holds another object too, and it is that one which is put again."""
    with store.transaction() as tx:
        leaf = tx.put_blob(b"leaf")
        tx.move_ref("names/leaf", leaf, expected=None)
    with store.transaction() as tx:
        middle = tx.put_record("middle/v1", {}, {"leaf": leaf})
        tx.put_blob(b"neighbour")
        tx.move_ref("names/middle", middle, expected=None)
    drop(store, "names/leaf", "names/middle")
    plan = open_store().plan_collection(grace_seconds=0)
    keep_blob(store, "names/neighbour", b"neighbour")

    plan.execute()

    keep(store, "names/again", lambda tx: middle)
    assert open_store().check().ok


def test_packs_that_were_merged_since_the_plan_lose_nothing(store, open_store, monkeypatch):
    put = populate(store)
    before = reached(store)
    monkeypatch.setattr(merge, "FAN_IN", 2)
    plan = open_store().plan_collection(grace_seconds=0)
    assert store.merge_packs()

    plan.execute()

    assert reached(open_store()) == before
    assert open_store().check().ok
    collected(open_store())
    assert all(not open_store().has(put[name]) for name in GARBAGE)


def test_a_merge_while_the_plan_is_made_does_not_refuse_it(store, open_store, monkeypatch):
    populate(store)
    before = reached(store)
    monkeypatch.setattr(merge, "FAN_IN", 2)
    other = open_store()
    verify = other._objects.packs.verify_indexes
    monkeypatch.setattr(
        other._objects.packs, "verify_indexes", lambda: verify() or store.merge_packs()
    )

    collected(other)

    assert reached(open_store()) == before
    assert open_store().check().ok


def test_two_plans_made_at_once_are_both_carried_out(store, open_store):
    put = populate(store)
    before = reached(store)
    first = open_store().plan_collection(grace_seconds=0)
    second = open_store().plan_collection(grace_seconds=0)

    second.execute()
    first.execute()

    assert reached(open_store()) == before
    assert all(not open_store().has(put[name]) for name in GARBAGE)
    assert open_store().check().ok


def test_a_plan_that_is_carried_out_twice_does_nothing_the_second_time(store):
    populate(store)
    plan = store.plan_collection(grace_seconds=0)
    plan.execute()
    before, wanted = files(store.path), reached(store)

    plan.execute()

    assert files(store.path) == before
    assert reached(store) == wanted


def test_a_plan_that_would_keep_what_another_has_removed_is_refused(store, open_store):
    link = keep_blob(store, "names/x", b"x")
    keep_blob(store, "names/y", b"y")
    plan = open_store().plan_collection(grace_seconds=0)
    drop(store, "names/x")
    collected(store)
    before = files(store.path)

    with pytest.raises(errors.CollectionRefused, match="another collection"):
        plan.execute()

    assert files(store.path) == before
    assert not store.has(link)


def test_garbage_of_unknown_links_that_is_healed_by_a_put_keeps_what_it_links_to(
    store, open_store, fate
):
    """When the plan was made it was damaged and young, so it stayed, and led nowhere."""
    leaf = keep_blob(store, "names/leaf", b"leaf")
    drop(store, "names/leaf")
    age(store.path, 30)
    parent = store.put_record("p/v1", {}, {"leaf": leaf})
    fate.damage(store, parent)
    plan = open_store().plan_collection(grace_seconds=DAY_SECONDS)
    keep(store, "names/parent", lambda tx: tx.put_record("p/v1", {}, {"leaf": leaf}))

    with contextlib.suppress(errors.CollectionRefused):
        plan.execute()

    assert open_store().get_blob(leaf) == b"leaf"
    assert open_store().get_record(parent).links == {"leaf": leaf}


# --- Refusals -------------------------------------------------------------------------------------


def parts(store: Store, fate: Any, wanted: Entry) -> list[ObjectId]:
    """List the entries of one kind in packs."""
    return [
        ObjectId(header.digest)
        for pack in fate.packs(store)
        for _, header in pack.scan()
        if header is not None and header.entry is wanted
    ]


@pytest.mark.parametrize("what", ["record", "blob", "long", "chunk", "inner", "loose"])
@pytest.mark.parametrize("how", ["damage", "lose"])
def test_one_unreadable_object_that_is_reached_keeps_everything(
    store, open_store, fate, what, how, monkeypatch
):
    put = populate(store)
    big = keep_blob(store, "names/big", long_blob(9, 3_000_000))
    lists, inner = parts(store, fate, Entry.CHUNKS), parts(store, fate, Entry.INNER)
    assert big in lists
    assert inner
    _, rows = store._objects.rows_of(
        next(store._objects.packs.places(put["long"].digest)), put["long"].digest
    )
    victim = {
        "record": put["twig"],
        "blob": put["leaf"],
        "long": put["long"],
        "chunk": ObjectId(rows[0][0]),
        "inner": inner[0],
        "loose": put["loose"],
    }[what]
    getattr(fate, how)(store, victim)
    before = files(store.path)

    with pytest.raises(errors.CollectionRefused):
        collected(open_store())

    assert files(store.path) == before


def test_a_damaged_blob_refuses_though_its_pack_is_to_stay(store, open_store, fate, monkeypatch):
    link = keep_blob(store, "names/a", b"alone in its pack")
    loose = store.put_blob(b"garbage")
    monkeypatch.setattr(collect, "_SMALL_BYTES", 0)
    fate.damage(store, link)

    with pytest.raises(errors.CollectionRefused, match=str(link)):
        open_store().plan_collection(grace_seconds=0)

    assert open_store().has(loose)


def test_a_list_of_chunks_that_calls_itself_a_blob_loses_no_chunk(store, open_store, fate):
    """One flipped bit makes kind 3 a 1; all it leads to stands in other packs."""
    content = long_blob(4)
    link = keep_blob(store, "names/a", content)
    lone = PackWriter(store.path / "tmp")
    rest = PackWriter(store.path / "tmp")
    (pack,) = fate.packs(store)
    for offset, header in pack.scan():
        assert header is not None
        _, head, stored = pack.entry(offset)
        (lone if header.entry is Entry.CHUNKS else rest).append(head, stored)
    store.close()
    pack.path.unlink()
    fate.forget_indexes(store)
    folder = store.path / "objects" / "pack"
    alone = lone.publish(folder, is_synced=False)
    chunks_pack = rest.publish(folder, is_synced=False)
    assert store.get_blob(link) == content
    store.close()
    fate.copies(store)[link][0].flip(4, Entry.CHUNKS ^ Entry.BLOB)

    with pytest.raises(errors.CollectionRefused):
        collected(open_store())

    assert alone.exists()
    assert chunks_pack.exists()


@pytest.mark.parametrize("kind", ["garbage", "garbage loose"])
def test_damage_in_what_nothing_reaches_never_takes_along_what_something_does(
    store, open_store, fate, kind
):
    put = populate(store)
    before = reached(store)
    fate.damage(store, put[kind])

    with contextlib.suppress(errors.CollectionRefused):
        collected(open_store())

    assert reached(open_store()) == before


def test_a_damaged_journal_refuses(store, open_store):
    populate(store)
    store.close()
    journal = bytearray((store.path / "journal").read_bytes())
    journal[60] ^= 1
    (store.path / "journal").write_bytes(journal)
    before = files(store.path)

    with pytest.raises(errors.JournalDamaged):
        collected(open_store())

    assert files(store.path) == before


def test_damage_that_a_move_has_reached_since_the_plan_refuses(store, open_store, fate):
    put = populate(store)
    plan = open_store().plan_collection(grace_seconds=0)
    keep(store, "names/again", lambda tx: put["garbage"])
    fate.damage(store, put["garbage leaf"])
    doomed = set(files(store.path))

    with pytest.raises(errors.CollectionRefused):
        plan.execute()

    assert doomed <= files(store.path).keys()


def test_a_good_copy_beside_a_damaged_one_is_enough_and_is_the_one_that_stays(
    store, open_store, fate
):
    link = keep_blob(store, "names/a", b"twice")
    objects = store._objects
    objects.loose.put(Kind.BLOB, link, b"twice", is_synced=False)
    packed = next(copy for copy in fate.copies(store)[link] if copy.path.suffix == ".pack")
    packed.flip(-1)
    store.close()

    with contextlib.suppress(errors.CollectionRefused):
        collected(open_store())

    assert open_store().get_blob(link) == b"twice"


def test_a_merged_index_hides_no_second_copy(store, open_store, fate, monkeypatch):
    """A repair relies on it: it sets the damaged pack aside, and the other copy is the object."""
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 0)
    monkeypatch.setattr(merge, "FAN_IN", 2)
    with store.transaction() as tx:
        link = tx.put_blob(b"twice")
        tx.move_ref("names/twice", link, expected=None)
    (pack,) = fate.packs(store)
    store.close()
    hidden = pack.path.rename(store.path / "hidden")
    fate.forget_indexes(store)
    for number in range(3):
        with store.transaction() as tx:
            tx.put_blob(b"twice")
            tx.move_ref(f"names/{number}", tx.put_blob(b"%d" % number), expected=None)
    hidden.rename(pack.path)
    store.close()

    merge.merge_indexes(store._objects.packs)

    assert len(fate.copies(store)[link]) == 2
    for copy in fate.copies(store)[link]:
        copy.flip(-1)
        assert open_store().get_blob(link) == b"twice"
        copy.flip(-1)
    fate.copies(store)[link][0].flip(-1)
    open_store().repair()
    assert open_store().get_blob(link) == b"twice"
    assert open_store().check().ok


def test_a_cache_that_cannot_be_emptied_refuses(store, open_store, monkeypatch):
    populate(store)
    before = files(store.path)
    other = open_store()
    monkeypatch.setattr(StatCache, "clear", lambda cache: False)

    with pytest.raises(errors.CollectionRefused, match=r"stat\.db"):
        collected(other)

    assert before.items() <= files(store.path).items()


def test_a_full_disk_refuses_and_leaves_everything_in_place(store, open_store, monkeypatch):
    populate(store)
    before = files(store.path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "publish", full)
    with pytest.raises(errors.StoreUnwritable):
        collected(open_store())

    assert files(store.path) == before
    assert list((store.path / "tmp").iterdir()) == []


def test_a_plan_is_made_of_a_store_that_can_only_be_read(store, open_store, monkeypatch):
    populate(store)
    store.close()
    expected = open_store().plan_collection(grace_seconds=0).outcome

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("open_temporary", "publish", "remove", "sync", "sync_folder", "freshen"):
        monkeypatch.setattr(disk, name, read_only)
    plan = open_store().plan_collection(grace_seconds=0)

    assert plan.outcome == expected
    with pytest.raises(errors.StoreUnwritable):
        plan.execute()


# --- Beside writers -------------------------------------------------------------------------------


def test_a_collection_gives_up_on_a_long_transaction_and_nothing_is_lost(
    store, open_store, monkeypatch
):
    put = populate(store)
    monkeypatch.setattr(collect, "_WAIT_SECONDS", 0.05)
    before = reached(store)

    with store.transaction() as tx:
        with pytest.raises(errors.StoreLocked):
            collected(open_store())
        tx.move_ref("names/again", put["garbage"], expected=None)

    after = reached(open_store())
    assert {link for link, _ in after.pop("names/again")} >= {put["garbage leaf"]}
    assert after == before
    collected(open_store())
    assert open_store().check().ok
    assert open_store().get_blob(put["garbage leaf"]) == b"garbage leaf"


def test_a_transaction_in_a_transaction_does_not_wait_for_ever_for_a_collector(
    store, open_store, monkeypatch
):
    """The collector keeps the gate shut, and waits for the outer one, until it gives up."""
    populate(store)
    monkeypatch.setattr(collect, "_WAIT_SECONDS", 0.2)
    is_waiting = threading.Event()
    alone = turnstile.alone

    @contextlib.contextmanager
    def announced(folder: Path, wait_seconds: float) -> Iterator[None]:
        is_waiting.set()
        with alone(folder, wait_seconds):
            yield

    monkeypatch.setattr(turnstile, "alone", announced)
    refused: list[BaseException] = []

    def gc() -> None:
        try:
            collected(open_store())
        except errors.StoreError as error:
            refused.append(error)

    thread = threading.Thread(target=gc)
    with store.transaction() as tx:
        thread.start()
        assert is_waiting.wait(30)
        inner = open_store().put_blob(b"inner")
        tx.move_ref("names/inner", inner, expected=None)
    thread.join()

    assert open_store().get_blob(inner) == b"inner"
    assert all(isinstance(error, errors.StoreLocked) for error in refused)


def test_a_writer_that_listed_the_packs_before_takes_no_chunk_for_stored_that_was_removed(
    store, open_store
):
    keep_blob(store, "names/a", long_blob(5))
    drop(store, "names/a")
    collected(open_store())

    again = keep_blob(store, "names/b", long_blob(5) + b"and more")

    assert open_store().get_blob(again) == long_blob(5) + b"and more"
    assert open_store().check().ok


def test_a_writer_that_has_a_pack_open_links_to_nothing_that_was_removed_from_it(store, open_store):
    link = keep_blob(store, "names/a", b"a")
    assert store.get_blob(link) == b"a"
    drop(store, "names/a")
    collected(open_store())

    with pytest.raises(errors.ObjectMissing):
        keep(store, "names/b", lambda tx: tx.put_record("b/v1", {}, {"a": link}))

    assert open_store().check().ok


def test_a_reader_finds_what_two_collections_have_moved_while_it_looked(
    store, open_store, monkeypatch
):
    reader = open_store()
    link = keep_blob(store, "names/a", b"a")
    keep_blob(store, "names/b", b"b")
    assert reader.get_blob(link) == b"a"
    reader._objects.close()
    packs = reader._objects.packs
    packs.list_once()
    refresh = packs.refresh
    rounds = iter(range(3))

    def collected_behind() -> bool:
        is_new = refresh()
        for number in rounds:
            keep_blob(store, f"names/{number}", b"%d" % number)
            collected(store)
            return is_new
        return is_new

    collected(store)
    monkeypatch.setattr(packs, "refresh", collected_behind)

    assert reader.get_blob(link) == b"a"


def test_moves_are_durable_before_anything_is_removed(store, open_store, monkeypatch):
    (store.path / "config.toml").write_text('durability = "batch"\n')
    writer = open_store()
    old = keep_blob(writer, "names/a", b"old")
    keep_blob(writer, "names/a", b"new")
    calls: list[str] = []
    remove = disk.remove
    journal = os.stat(store.path / "journal").st_ino

    def syncing(handle: int) -> None:
        if os.fstat(handle).st_ino == journal:
            calls.append("sync")

    def removing(path: Path) -> None:
        if path.suffix == ".pack":
            calls.append("remove")
        remove(path)

    monkeypatch.setattr(disk, "sync", syncing)
    monkeypatch.setattr(disk, "remove", removing)
    collected(writer)

    assert not writer.has(old)
    assert calls[0] == "sync"
    assert "remove" in calls


# --- Interrupted ----------------------------------------------------------------------------------

CALLS = ("open_temporary", "write", "publish", "remove", "sync", "sync_folder", "set_time")


def die_at(patch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """End the process at one call of the disk: that call and all behind it are not made."""
    count = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > number:
                raise Killed
            return call(*arguments, **named)

        return wrapped

    for name in CALLS:
        patch.setattr(disk, name, dying(getattr(disk, name)))
    return lambda: count


@pytest.mark.parametrize("then", ["transaction", "collection", "repair", "merge", "revival"])
def test_a_collection_that_dies_at_any_call_of_the_disk_is_harmless(
    store, tmp_path, monkeypatch, then
):
    put = populate(store)
    wanted = reached(store)
    store.close()
    monkeypatch.setattr(merge, "FAN_IN", 3)
    number = 0
    while True:
        path = tmp_path / f"{number}"
        shutil.copytree(store.path, path)
        with pytest.MonkeyPatch.context() as patch:
            count = die_at(patch, number)
            with contextlib.suppress(Killed):
                collected(Store.open(path))
        is_complete = count() <= number

        after = Store.open(path)
        assert reached(after) == wanted, f"died at call {number}"
        assert after.check().ok, f"died at call {number}"
        if then == "transaction":
            keep_blob(after, "names/after", b"after")
        elif then == "merge":
            after.merge_packs()
        elif then == "repair":
            assert after.repair().files_set_aside == ()
        elif then == "revival":
            with contextlib.suppress(errors.ObjectMissing):
                keep(after, "names/after", lambda tx: put["garbage"])
        assert Store.open(path).check().ok, f"died at call {number}"
        collected(after)
        assert not removal.is_unfinished(path)
        if then != "revival":
            assert all(not after.has(put[name]) for name in GARBAGE), f"died at call {number}"
        assert {n: r for n, r in reached(after).items() if n != "names/after"} == wanted
        assert Store.open(path).check().ok
        shutil.rmtree(path)
        if is_complete:
            break
        number += 1

    assert number > 20


@pytest.fixture
def half_removed(store, open_store, monkeypatch) -> tuple[Link, Link, Callable[[], None]]:
    """Give garbage, what it links to, and a removal that dies between the two."""
    child = keep_blob(store, "names/c", b"child")
    with store.transaction() as tx:
        tx.put_blob(b"sibling")
        parent = tx.put_record("p/v1", {}, {"child": child})
        tx.move_ref("names/p", parent, expected=None)
    keep_blob(store, "names/kept", b"kept")
    drop(store, "names/c", "names/p")
    collector = open_store()
    plan = collector.plan_collection(grace_seconds=0)
    packs = collector._objects.packs
    (place,) = packs.places(child.digest)
    remove = disk.remove

    def dying(path: Path) -> None:
        if path.suffix == ".pack":
            remove(packs.path(place.pack))
            raise Killed
        remove(path)

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "remove", dying)
            with pytest.raises(Killed):
                plan.execute()
        assert removal.is_unfinished(store.path)

    return parent, child, run


def test_what_is_half_removed_is_no_damage(open_store, half_removed):
    _, _, run = half_removed
    run()

    assert open_store().check().ok


def test_what_is_half_removed_is_not_taken_for_stored(open_store, half_removed):
    parent, _, run = half_removed
    run()
    other = open_store()

    with pytest.raises(errors.ObjectMissing):
        keep(other, "names/again", lambda tx: parent)

    assert open_store().check().ok


def test_a_writer_that_waits_at_the_gate_of_a_dying_collector_meets_no_half_removal(
    store, open_store, half_removed, monkeypatch
):
    parent, _, run = half_removed
    at_gate = threading.Event()
    shared = disk.shared_lock
    found: list[object] = []

    def knocking(path: Path, *wait: float) -> Any:
        at_gate.set()
        return shared(path, *wait)

    def write() -> None:
        try:
            found.append(keep(open_store(), "names/again", lambda tx: parent))
        except errors.ObjectMissing as error:
            found.append(error)

    writer = threading.Thread(target=write)
    replace = disk.replace_file

    def noting(target: Path, *arguments: Any) -> None:
        if target.name == "doomed":
            # All locks are held, and there is no note as yet.
            monkeypatch.setattr(disk, "shared_lock", knocking)
            writer.start()
            assert at_gate.wait(30)
        replace(target, *arguments)

    monkeypatch.setattr(disk, "replace_file", noting)
    run()
    writer.join()

    assert len(found) == 1
    keep_blob(store, "names/next", b"next")
    assert open_store().check().ok


def test_a_plan_made_before_another_collection_died_does_not_keep_half_of_what_it_removed(
    store, open_store, half_removed
):
    parent, child, run = half_removed
    plan = open_store().plan_collection(grace_seconds=DAY_SECONDS)
    run()

    with contextlib.suppress(errors.CollectionRefused):
        plan.execute()

    keep_blob(store, "names/next", b"next")
    assert open_store().has(parent) == open_store().has(child)
    assert open_store().check().ok


def test_a_repair_does_not_keep_half_of_what_was_removed(store, open_store, half_removed, fate):
    """The parent's pack is damaged as well, so that its sound entries go into a new one."""
    parent, child, run = half_removed
    run()
    fate.damage(store, id_of(Kind.BLOB, b"sibling"))

    open_store().repair()

    keep_blob(store, "names/next", b"next")
    assert not open_store().has(parent)
    assert open_store().check().ok


@pytest.mark.parametrize(
    "note", [b"", b"\xff\n", b"pack\n", b"pack ../../journal\n", b"journal\n", b"loose 00\n"]
)
def test_a_damaged_note_removes_nothing_else(store, open_store, note):
    populate(store)
    before = reached(store)
    (store.path / "doomed").write_bytes(note)

    keep_blob(open_store(), "names/next", b"next")

    assert before.items() <= reached(open_store()).items()
    assert not removal.is_unfinished(store.path)
    assert (store.path / "journal").exists()


def test_the_refs_are_read_from_the_journal_in_its_order(tmp_path):
    store = Store.init(tmp_path / ".ros")
    first = keep_blob(store, "names/a", b"1")
    second = keep_blob(store, "names/a", b"2")
    keep_blob(store, "names/b", b"3")
    drop(store, "names/b")

    refs, position = collect._read_refs(Journal(store.path / "journal"))

    assert refs == {"names/a": second}
    assert first != second
    assert position.offset == (store.path / "journal").stat().st_size


def test_a_journal_that_was_cut_removes_nothing(store, open_store):
    """The index has read further: the moves that are gone led to something."""
    populate(store)
    assert list(store.refs())
    store.close()
    whole = (store.path / "journal").read_bytes()
    (store.path / "journal").write_bytes(whole[: len(whole) // 2])

    before = files(store.path)
    with pytest.raises(errors.JournalDamaged):
        open_store().plan_collection(grace_seconds=0)

    assert files(store.path) == before


def test_a_pack_that_leads_nowhere_refuses(store, open_store):
    populate(store)
    pack = next((store.path / "objects" / "pack").glob("*.pack"))
    pack.rename(store.path / "elsewhere")
    pack.symlink_to("/nowhere")

    with pytest.raises((errors.CollectionRefused, errors.StoreUnreadable)):
        open_store().plan_collection(grace_seconds=0)


@pytest.mark.parametrize("grace", [float("nan"), -1.0, float("inf")])
def test_a_grace_that_is_no_time_collects_nothing(store, grace):
    link = store.put_blob(b"put a moment ago")

    with pytest.raises(errors.BadSetting, match="grace_seconds"):
        store.plan_collection(grace_seconds=grace)

    assert store.has(link)
