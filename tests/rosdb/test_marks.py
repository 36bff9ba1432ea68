"""What is said of a run after it ended: the index follows the refs, and changes nothing else."""

import pytest

from rosdb import Link, Store, index, run_records


@pytest.fixture
def move(store):
    def move(name: str, new: Link | None) -> None:
        with store.transaction() as tx:
            tx.move_ref(name, new, expected=store.ref(name))

    return move


def record(store: Store, schema: str, fields: dict, **links: Link) -> Link:
    return store.put_record(schema, fields, links)


def found(store: Store, where: str) -> list[Link]:
    return [row.run_id for row in store.runs(where)]


def test_a_run_has_several_tags_and_a_tag_several_runs(store, put_run, move):
    first, second = put_run(store), put_run(store)
    for run, label in ((first, "a"), (first, "b"), (second, "a")):
        move(f"tags/{run}/{label}", run)

    assert store.marks(first) == [("tag", "a"), ("tag", "b")]
    assert found(store, "tag = a") == [second, first]
    assert found(store, "tag = b") == [first]
    assert found(store, "tag != b") == [second]
    move(f"tags/{first}/a", None)
    assert store.marks(first) == [("tag", "b")]
    assert found(store, "tag = a") == [second]
    assert [row.is_marked for row in store.runs()] == [True, True]
    move(f"tags/{second}/a", None)
    assert [row.is_marked for row in store.runs()] == [False, True]
    assert not store.check().index_differs


def test_a_note_is_the_last_one(store, put_run, move):
    run = put_run(store)
    for text in ("one", "two"):
        move(f"notes/{run}", record(store, "note/v1", {"text": text}, run=run))
        assert store.marks(run) == [("note", text)]
    assert found(store, "note like 'TW%'") == [run]
    move(f"notes/{run}", None)
    assert store.marks(run) == []
    assert not store.check().index_differs


def test_sweeps_and_promotions_mark_the_runs_they_link(store, put_run, move):
    runs = [put_run(store) for _ in range(3)]
    sweep = record(store, "sweep/v1", {"n": 1}, **{"0000000": runs[0], "0000001": runs[1]})
    move(f"sweeps/{sweep}", sweep)
    move("promotions/alpha", record(store, "promotion/v1", {"n": 1}, run=runs[0]))

    assert found(store, f"sweep = {str(sweep)[:8]}") == [runs[1], runs[0]]
    assert found(store, "sweep is null") == [runs[2]]
    assert found(store, "promoted = alpha") == [runs[0]]
    move("promotions/alpha", record(store, "promotion/v1", {"n": 2}, run=runs[2]))
    assert found(store, "promoted = alpha") == [runs[2]]
    move(f"sweeps/{sweep}", None)
    assert found(store, "sweep is not null") == []
    assert not store.check().index_differs


def test_a_mark_that_is_none_stops_nobody(store, put_run, move):
    run = put_run(store)
    blob = store.put_blob(b"no record")
    move(f"notes/{run}", blob)
    move("promotions/x", blob)
    move(f"sweeps/{run}", run)
    move(f"tags/{run}", run)
    move(f"tags/{run}/a/b", run)
    move("notes/nobody", record(store, "note/v1", {"text": "lost"}))
    assert store.marks(run) == []
    move(f"notes/{run}", record(store, "note/v1", {"text": 7}, run=run))
    move("promotions/x", record(store, "promotion/v1", {}))
    assert store.marks(run) == []
    assert len(list(store.runs())) == 1
    assert not store.check().index_differs


def test_a_mark_keeps_what_it_reaches(store, put_run, move):
    run = put_run(store)
    note = record(store, "note/v1", {"text": "kept"}, run=run)
    move(f"notes/{run}", note)
    old = record(store, "note/v1", {"text": "gone"}, run=run)

    assert store.plan_collection(grace_seconds=0).execute().removed > 0

    assert store.get_record(note).fields == {"text": "kept"}
    assert not store.has(old)


def test_an_index_made_in_bulk_is_the_one_made_run_by_run(open_store, put_run, fate, monkeypatch):
    """On all cores, the order of facts made at the end: with every kind of run among them."""
    store = open_store()
    runs = []
    for i in range(24):
        runs.append(
            put_run(
                store,
                experiment=("sma", "gamma")[i % 2],
                parameters={"fast": i, "deep": {"list": [i, {"x": None}]}, "text": "a" * i},
                metrics={"sharpe": i / 4, "nan": float("nan"), "ok": bool(i % 2)},
                status=("completed", "failed", "running", "pending")[i % 4 if i % 3 else 0],
                name=f"run-{i}" if i % 5 == 0 else None,
            )
        )
        list(store.runs(limit=1))
    with store.transaction() as tx:
        ref = f"runs/{runs[3]}"
        tx.move_ref(ref, None, expected=store.ref(ref))
        tx.move_ref(f"tags/{runs[4]}/kept", runs[4], expected=None)
    fate.lose(store, store.get_record(runs[6]).links["recipe"])
    fate.lose(store, next(iter(store.runs("run = " + str(runs[9])))).outcome)
    for each in store.path.glob("index.db*"):
        each.unlink()
    store.close()
    one_by_one = open_store()
    by_hand = one_by_one._caught_up().dump()
    assert "damaged" in [row.status for row in one_by_one.runs()]
    one_by_one.close()
    for each in store.path.glob("index.db*"):
        each.unlink()

    monkeypatch.setattr(index, "_MANY_BYTES", 0)
    monkeypatch.setattr(run_records, "_MANY", 1)
    monkeypatch.setattr(run_records, "_PORTION", 2)
    portions = []
    read_many = run_records.read_many
    monkeypatch.setattr(
        "rosdb.index_rows.read_many",
        lambda *given: (portions.append(each) or each for each in read_many(*given)),
    )
    bulk = open_store()

    assert bulk._caught_up().dump() == by_hand
    assert len(portions) == 12
    assert [row.run_id for row in bulk.runs("metrics.sharpe > 2", sort="-sharpe", limit=3)]
    names = bulk._caught_up()._rows("SELECT name FROM sqlite_master WHERE name = 'facts_num'")
    assert names == [("facts_num",)]
