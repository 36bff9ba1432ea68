"""Tags, notes and names: said later, by moves of the journal; the run stays what it was."""

import pytest

from research.errors import BadInput, NameTaken, TagMissing
from research.experiments import log, marks
from research.experiments.name import name
from research.experiments.note import note, unnote
from research.experiments.tag import tag, untag
from rosdb import errors


@pytest.fixture
def ran(bench):
    bench.experiment("one", "return {'x': spec.seed}")
    return bench, bench.run("one").manifest.run_id, bench.run("one", seed=7).manifest.run_id


def logged(bench, where):
    return [each.row.run_id for each in log.log(bench.context, where=where)]


def test_tags_are_given_and_taken_away(ran):
    bench, run, other = ran

    assert tag(bench.context, run, "paper")
    assert not tag(bench.context, run, "paper")
    assert tag(bench.context, run, "base-1.0")
    assert tag(bench.context, other, "paper")
    assert marks.read_marks(bench.store, run).tags == ("base-1.0", "paper")
    assert logged(bench, "tag = paper") == [other, run]
    untag(bench.context, run, "paper")
    assert marks.read_marks(bench.store, run).tags == ("base-1.0",)
    with pytest.raises(TagMissing, match="has no tag 'papre'") as caught:
        untag(bench.context, other, "papre")
    assert caught.value.hint == "did you mean paper?"


def test_a_label_is_a_ref_s_name(ran):
    bench, run, _ = ran
    for label in ["", "a b", "../x", "-x", "a/b", "é", "x" * 129, "a\0"]:
        for act in (tag, untag):
            with pytest.raises(errors.BadName):
                act(bench.context, run, label)


def test_a_note_is_replaced_and_its_history_is_the_journal(ran):
    bench, run, _ = ran

    assert note(bench.context, run, "  first thoughts\nin two lines ")
    assert note(bench.context, run, "better ones: 3 % é")
    assert not note(bench.context, run, "better ones: 3 % é")
    assert marks.read_note(bench.store, run) == "better ones: 3 % é"
    assert logged(bench, "note like '%BETTER%'") == [run]
    moves = list(bench.store.journal(f"notes/{run}"))
    assert [bench.store.get_record(move.new).fields["text"] for move in moves] == [
        "first thoughts\nin two lines",
        "better ones: 3 % é",
    ]
    assert unnote(bench.context, run)
    assert not unnote(bench.context, run)
    assert marks.read_note(bench.store, run) is None


def test_a_note_that_is_none_is_refused(ran):
    bench, run, _ = ran
    for text in ["", " \n ", "\x1b[2J", "a\0b", "\u202eevil", "x" * 70_000]:
        with pytest.raises(BadInput):
            note(bench.context, run, text)
    assert bench.store.ref(f"notes/{run}") is None


def test_a_name_is_given_in_the_place_of_another(ran):
    bench, run, other = ran

    assert name(bench.context, run, "first") is None
    assert name(bench.context, run, "second") == "first"
    assert name(bench.context, run, "second") == "second"
    assert bench.store.resolve("second") == run
    with pytest.raises(errors.RefMissing):
        bench.store.resolve("first")
    with pytest.raises(NameTaken):
        name(bench.context, other, "second")
    for bad in ("a b", "deadbeef", "@"):
        with pytest.raises(errors.BadName):
            name(bench.context, run, bad)
    assert name(bench.context, other, "first") is None
    assert [move.ref for move in bench.store.journal()][-4:] == [
        "names/first", "names/second", "names/first", "names/first",
    ]  # fmt: skip


def test_nothing_about_the_run_changes(ran):
    bench, run, _ = ran
    before, ref = bench.manifest(run), bench.store.ref(f"runs/{run}")

    tag(bench.context, run, "paper")
    note(bench.context, run, "said")
    name(bench.context, run, "called")

    after = bench.manifest(run)
    assert (after.run, after.recipe, after.outcome_id) == (
        before.run, before.recipe, before.outcome_id,
    )  # fmt: skip
    assert bench.store.ref(f"runs/{run}") == ref
    assert bench.run("one").is_cached
    assert bench.store.check().ok
    bench.store.plan_collection(grace_seconds=0).execute()
    assert marks.read_marks(bench.store, run).note == "said"


def test_a_lost_race_over_a_tag_is_won(ran, monkeypatch):
    bench, run, _ = ran
    tag(bench.context, run, "paper")
    with monkeypatch.context() as patch:
        seen = bench.store.ref
        patch.setattr(bench.store, "ref", lambda ref: None if "tags/" in ref else seen(ref))
        assert tag(bench.context, run, "paper")
    assert marks.read_marks(bench.store, run).tags == ("paper",)
