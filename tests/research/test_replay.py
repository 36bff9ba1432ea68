"""Replay: executed again from what the store holds alone, compared to the bit, and recorded."""

import shutil

import pytest

from research.errors import BadInput, BrokenExperiment, RunFailed
from research.experiments import environment
from research.experiments import replay as replayer
from research.experiments.rebuilt_environment import Rebuilding
from research.experiments.replay import Unreadable, replay_all
from rosdb import RunRow, errors

replay = replayer.replay


def verdicts(bench):
    """List the verdicts in the journal, oldest first."""
    found = []
    for move in bench.store.journal():
        if move.ref.startswith("replays/"):
            found.append(bench.store.get_record(move.new).fields["verdict"])
    return found


@pytest.mark.parametrize("name", ["sma", "gamma", "momentum"])
def test_a_run_replays_identically(copied, name):
    original = copied.manifest(copied.store.resolve(name))

    found = replay(copied.context, original.run_id)

    assert found.verdict == "identical"
    assert found.divergence is None
    assert found.replayed.outcome_id == original.outcome_id
    assert found.replayed.recipe_id == original.recipe_id
    assert found.replayed.run_id != original.run_id
    assert found.replayed.replay_of == original.run_id
    assert copied.statuses(found.replayed.run_id) == ["pending", "running", "completed"]


def test_a_replay_needs_nothing_of_the_workspace(copied):
    shutil.rmtree(copied.folder / "research")

    assert replay(copied.context, copied.store.resolve("momentum")).verdict == "identical"


def test_a_replay_is_recorded_and_no_newest_run(copied):
    newest, runs = copied.store.resolve("@"), len(list(copied.store.runs()))
    original = copied.store.resolve("gamma")

    found = replay(copied.context, original)

    record = copied.store.get_record(found.record)
    assert record.fields == {
        "verdict": "identical",
        "divergence": None,
        "reason": "",
        "drift": [],
        "rebuilt": False,
    }
    assert dict(record.links) == {"original": original, "replayed": found.replayed.run_id}
    assert copied.store.ref(f"replays/{found.replayed.run_id}") == found.record
    assert verdicts(copied) == ["identical"]
    assert copied.store.resolve("@") == newest
    assert len(list(copied.store.runs())) == runs + 1
    assert len(list(copied.store.runs(conditions={"kind": "run"}))) == runs
    # A replay is no answer to the question: the original stays the one that is found.
    assert copied.run("gamma_signal_sanity").manifest.run_id == original


def test_a_replay_can_itself_be_replayed(copied):
    first = replay(copied.context, copied.store.resolve("gamma"))

    assert replay(copied.context, first.replayed.run_id).verdict == "identical"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("save_table(output_dir, 't', {'a': [1, 2, 3], 'b': [1, 2, t]})", ("t", "b", 2)),
        ("save_table(output_dir, 't', {'a': [0.5, t, t], 'b': [t, 1, 1]})", ("t", "b", 0)),
        ("save_table(output_dir, 't', {'a': ['x', str(t)]})", ("t", "a", 1)),
        (
            "save_table(output_dir, 't', {'a': [1] * (t // 1_000_000 % 100_003 + 1)})",
            ("t", "a", None),
        ),
        ("save_table(output_dir / 'sub', 't', {'a': [t]})", ("sub/t", "a", 0)),
        ("(output_dir / 'f.txt').write_text(str(t))", ("f.txt", None, None)),
        ("(output_dir / str(t)).touch()", (None, None, None)),
        ("return {'same': 1, 'time': t}", ("metrics", "time", None)),
        ("return {f'm{t}': 1}", ("metrics", None, None)),
    ],
)
def test_a_divergence_is_named_to_the_row(bench, body, place):
    bench.experiment(
        "chance", f"t = time.time_ns()\n{body}\nreturn {{}}",
        head="import time\nfrom research import save_table",
    )  # fmt: skip
    original = bench.run("chance").manifest

    found = replay(bench.context, original.run_id, seeks_causes=False)

    artifact, column, row = place
    assert found.verdict == "diverged"
    assert artifact is None or found.divergence.artifact == artifact
    assert column is None or found.divergence.column == column
    assert row is None or found.divergence.row == row
    assert found.divergence.expected != found.divergence.actual
    assert found.divergence.causes == (
        "same code, input and environment: the experiment is not deterministic",
    )
    record = bench.store.get_record(found.record)
    assert record.fields["divergence"] == found.divergence.to_fields()
    assert verdicts(bench) == ["diverged"]


def test_one_bit_of_one_float_diverges(bench):
    bench.experiment(
        "bit",
        """
        save_table(output_dir, "t", {"a": [1.0, float("nan"), -0.0]})
        return {}
        """,
        head="from research import save_table",
    )
    original = bench.run("bit").manifest
    # The code of today, with another constant: minus zero is not zero.
    path = bench.context.experiments_folder / "bit.py"
    path.write_text(path.read_text().replace("-0.0", "0.0"))

    found = replay(bench.context, original.run_id, in_place=True)

    assert (found.divergence.column, found.divergence.row) == ("a", 2)
    assert (repr(found.divergence.expected), repr(found.divergence.actual)) == ("-0.0", "0.0")
    assert found.divergence.ulps == 0
    assert found.divergence.causes == ("the code of the workspace is not the stored code",)
    assert replay(bench.context, original.run_id).verdict == "identical"


def test_in_place_takes_todays_code_and_everything_else_from_the_store(bench, tmp_path):
    from research.datasets.snapshot import add_snapshot

    (tmp_path / "d.txt").write_text("1")
    add_snapshot(bench.context, tmp_path / "d.txt", name="d")
    body = "return {'d': (spec.files / 'd.txt').read_text(), 'p': spec.parameters['p']}"
    spec = "input_dataset='d', parameters={'p': 1}"
    bench.experiment("reads", body, spec=spec)
    original = bench.run("reads", parameters={"p": 2}).manifest
    (tmp_path / "d.txt").write_text("2")
    add_snapshot(bench.context, tmp_path / "d.txt", name="d", version="2")
    bench.experiment("reads", f"# Other code, same answer.\n{body}", spec=spec)

    found = replay(bench.context, original.run_id, in_place=True)

    assert found.verdict == "identical"
    assert found.replayed.metrics == {"d": "1", "p": 2}
    assert found.replayed.recipe_id != original.recipe_id


def test_in_place_without_the_experiment_says_so(bench):
    bench.experiment("gone", "return {}")
    original = bench.run("gone").manifest
    bench.write("gone.py", "DEFAULT_SPEC = (")

    with pytest.raises(BrokenExperiment, match="gone"):
        replay(bench.context, original.run_id, in_place=True)

    assert replay(bench.context, original.run_id).verdict == "identical"


def test_a_replay_that_fails_diverges(bench):
    bench.experiment("fails", "return {}")
    original = bench.run("fails").manifest
    bench.experiment("fails", "raise ValueError('no more')")

    found = replay(bench.context, original.run_id, in_place=True)

    assert (found.verdict, found.divergence.artifact) == ("diverged", "status")
    assert found.divergence.actual == "failed: ValueError: no more"
    assert found.replayed.status == "failed"


def links_of(manifest, bench):
    """Name an object of each kind in a run's closure."""
    artifacts = manifest.outcome.links["artifacts"]
    tables = bench.store.get_tree(artifacts)
    return {
        "code": manifest.recipe.links["code"],
        "file of code": bench.store.get_tree(manifest.recipe.links["code"])["momentum_example.py"].link,
        "bars": manifest.recipe.links["bars"],
        "column of bars": bench.store.get_record(manifest.recipe.links["bars"]).links["close/data"],
        "snapshot": manifest.run.links["snapshot"],
        "artifacts": artifacts,
        "table": tables["equity"].link,
        "column": bench.store.get_record(tables["equity"].link).links["equity/data"],
    }  # fmt: skip


@pytest.mark.parametrize("harm", ["missing", "damaged"])
@pytest.mark.parametrize(
    "kind",
    ["code", "file of code", "bars", "column of bars", "snapshot", "artifacts", "table", "column"],
)
def test_what_is_missing_or_damaged_cannot_be_replayed(copied, fate, kind, harm):
    manifest = copied.manifest(copied.store.resolve("momentum"))
    target = links_of(manifest, copied)[kind]
    if harm == "missing":
        fate.lose(copied.store, target)
    else:
        fate.damage(copied.store, target)

    found = replay(copied.context, manifest.run_id)

    assert found.verdict == "unreplayable"
    assert str(target) in found.reason
    assert harm in found.reason
    assert found.replayed is None
    assert copied.store.get_record(found.record).fields["reason"] == found.reason
    assert verdicts(copied) == ["unreplayable"]


def test_every_attempt_is_in_the_journal(copied):
    run_id = copied.store.resolve("broken")

    for _ in range(2):
        assert replay(copied.context, run_id).verdict == "unreplayable"

    assert verdicts(copied) == ["unreplayable", "unreplayable"]
    assert copied.store.check().ok


def test_a_failed_run_cannot_be_replayed(copied):
    found = replay(copied.context, copied.store.resolve("broken"))

    assert found.verdict == "unreplayable"
    assert "no outcome" in found.reason


@pytest.mark.parametrize("which", ["run_id", "recipe_id", "outcome_id"])
def test_a_run_that_cannot_be_read_is_damage(copied, fate, which):
    manifest = copied.manifest(copied.store.resolve("gamma"))
    fate.damage(copied.store, getattr(manifest, which))

    with pytest.raises(errors.ObjectCorrupt):
        replay(copied.context, manifest.run_id)


def test_what_was_not_recorded_of_today_is_told(copied, tmp_path, monkeypatch):
    site = tmp_path / "site" / "numpy-99.9.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 99.9\n")
    (site / "RECORD").write_text("numpy/__init__.py,sha256=A,1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    original = copied.manifest(copied.store.resolve("sma"))

    found = replay(copied.context, original.run_id)

    # The figures are the same, for numpy is; the recipe says what is said to be there.
    assert found.verdict == "identical"
    assert found.replayed.recipe_id != original.recipe_id
    assert found.drift[0].endswith("then, 99.9 now")
    assert copied.store.get_record(found.record).fields["drift"] == list(found.drift)


def test_a_child_that_cannot_be_started_is_no_verdict(copied, monkeypatch):
    monkeypatch.setattr("sys.executable", "/nothing/python")

    with pytest.raises(OSError, match="nothing"):
        replay(copied.context, copied.store.resolve("gamma"))

    assert verdicts(copied) == []
    newest = next(iter(copied.store.runs(conditions={"kind": "replay"})))
    assert copied.manifest(newest.run_id).error["kind"] == "FileNotFoundError"
    with pytest.raises((RunFailed, OSError)):
        copied.run("gamma_signal_sanity", force=True)


def test_a_replay_is_identical_by_its_outcome_id_alone(bench):
    bench.experiment(
        "side", "(output_dir / str(time.time_ns())).mkdir()\nreturn {}", head="import time"
    )
    run_id = bench.run("side").manifest.run_id

    found = replayer.replay(bench.context, run_id, seeks_causes=False)

    assert found.original.outcome_id != found.replayed.outcome_id
    assert found.verdict == "diverged"
    assert found.divergence is not None


def test_many_at_once(copied, fate):
    copied.experiment("chance", "return {'t': time.time()}", head="import time")
    chance = copied.run("chance").manifest
    lost = copied.manifest(copied.store.resolve("sma"))
    fate.lose(copied.store, lost.recipe.links["code"])

    found = list(replay_all(copied.context, seeks_causes=False))

    told = {each.original.name or each.original.experiment: each.verdict for each in found}
    # The newest first; what failed has no outcome to compare with and is passed over.
    assert list(told.items()) == [
        ("chance", "diverged"),
        ("momentum", "identical"),
        ("gamma", "identical"),
        ("sma", "unreplayable"),
    ]
    assert found[0].original.run_id == chance.run_id
    assert verdicts(copied) == list(told.values())
    assert all(each.record is not None for each in found)
    # A replay is not replayed.
    again = list(replay_all(copied.context, seeks_causes=False, where="experiment = chance"))
    assert [each.original.run_id for each in again] == [chance.run_id]


def test_many_since_a_time(copied):
    assert list(replay_all(copied.context, since="2001-01-01", where="name = gamma")) != []
    assert list(replay_all(copied.context, since="0s", where="name = gamma")) == []
    with pytest.raises(BadInput, match="neither a time"):
        list(replay_all(copied.context, since="yesterday"))


def test_many_of_which_one_cannot_be_read(copied, fate):
    manifest = copied.manifest(copied.store.resolve("gamma"))
    fate.damage(copied.store, manifest.recipe_id)

    found = list(replay_all(copied.context, where="experiment = gamma_signal_sanity"))

    assert [type(each) for each in found] == [Unreadable]
    assert isinstance(found[0].row, RunRow)
    assert found[0].row.run_id == manifest.run_id
    assert verdicts(copied) == []


def test_each_of_many_is_recorded_before_the_next(copied):
    found = replay_all(copied.context)

    next(found)

    assert verdicts(copied) == ["identical"]
    found.close()
    assert verdicts(copied) == ["identical"]


def test_the_recorded_variables_are_a_part_of_the_recorded_environment(bench, monkeypatch):
    bench.experiment("zone", "return {'t': time.localtime(0).tm_hour}", head="import time")
    with monkeypatch.context() as earlier:
        earlier.setitem(environment.VARIABLES, "TZ", "NPT-5:45")
        original = bench.run("zone").manifest

    today = replay(bench.context, original.run_id, seeks_causes=False)
    then = replay(bench.context, original.run_id, rebuilding=Rebuilding())

    assert (today.verdict, len(today.drift)) == ("diverged", 1)
    assert (then.verdict, then.drift, then.is_rebuilt) == ("identical", (), False)
    assert then.replayed.recipe_id == original.recipe_id
