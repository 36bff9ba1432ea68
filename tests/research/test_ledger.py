"""The ledger of trials: whatever befalls runs, the count is what was asked of the data."""

import contextlib
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from research.errors import BadInput, RunFailed
from research.experiments import ledger, replay
from research.experiments import run as runner
from research.experiments.answer import Answer
from research.experiments.child_error import ChildError
from rosdb import Kind, errors


def count(bench, experiment="toy", dataset=""):
    return sum(each.count for each in ledger.read_trials(bench.store, experiment, dataset))


def runs_of(bench, experiment="toy"):
    return [row.run_id for row in bench.store.runs(conditions={"experiment": experiment})]


def collect(bench):
    bench.store.plan_collection(grace_seconds=0).execute()


def rebuild(bench):
    """Delete the index: what it says comes from the journal and the objects."""
    bench.store.close()
    for path in bench.store.path.glob("index.db*"):
        path.unlink()


def copy_closure(source, target, link, tx):
    if source.typed(link).kind is Kind.BLOB:
        tx.put_blob(source.get_blob(link))
        return
    record = source.get_record(link)
    for each in record.links.values():
        copy_closure(source, target, each, tx)
    assert tx.put_record(record.schema, record.fields, record.links) == link


def bring(source, target):
    """Import every run of another store, by its state, as a bundle would; once or again."""
    for name, state in list(source.refs("runs/")):
        if target.ref(name) is None:
            with target.transaction("import") as tx:
                copy_closure(source, target, state, tx)
                tx.move_ref(name, state, expected=None)


class Killed(BaseException):
    pass


@dataclass
class Child:
    """Stands in for the child process alone; records, leases, moves and the ledger are real."""

    says: str = "1"

    def run(self, question):
        if self.says == "interrupt":
            raise KeyboardInterrupt
        if self.says == "kill":
            raise Killed
        error, metrics = None, {"sharpe": float(question.fields["parameters"]["k"])}
        if self.says == "fail":
            error = ChildError(kind="ValueError", message="no", where="")
        else:
            metrics["draw"] = int(self.says)
        return Answer(
            collect=lambda tx: tx.put_tree({}),
            metrics=metrics,
            error=error,
            log=b"",
            log_bytes_cut=0,
        )


@pytest.fixture(scope="module")
def toys(benches):
    """Give a function that makes a workspace with an experiment whose child is a stand-in."""
    child, fail = Child(), runner._fail

    def fail_unless_killed(*arguments):
        if isinstance(sys.exc_info()[1], Killed):
            raise Killed
        fail(*arguments)

    def make():
        bench = benches()
        (bench.store.path / "config.toml").write_text('durability = "none"\n')
        bench.experiment("toy", spec="parameters={'k': 0}")
        return bench, child

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("research.experiments.capsule.Capsule.run", lambda _, q, *__: child.run(q))
        patch.setattr(runner, "_fail", fail_unless_killed)
        yield make


@dataclass
class Model:
    """What was asked, kept by hand: the outcomes of each question that was asked at all."""

    asked: dict[int, set[str]] = field(default_factory=dict)

    def note(self, k, says):
        outcomes = self.asked.setdefault(k, set())
        if says.isdigit():
            outcomes.add(says)

    @property
    def count(self):
        return sum(max(1, len(outcomes)) for outcomes in self.asked.values())


SAYS = st.sampled_from(["1", "1", "2", "fail", "interrupt", "kill"])
STEPS = st.lists(
    st.tuples(st.just("run"), st.integers(0, 3), SAYS, st.booleans())
    | st.tuples(st.sampled_from(["replay", "remove", "forget"]), st.integers(0, 9))
    | st.tuples(st.sampled_from(["collect", "rebuild", "import"])),
    min_size=2,
    max_size=12,
)


def ask(bench, child, k, says, force):
    child.says = says
    with contextlib.suppress(RunFailed, KeyboardInterrupt, Killed):
        return bench.run("toy", parameters={"k": k}, force=force).is_cached
    return False


@given(steps=STEPS)
@example(steps=[("run", 0, "1", False), ("forget", 0), ("collect",), ("rebuild",), ("import",)])
@example(steps=[("run", 0, "kill", False), ("remove", 0), ("collect",), ("run", 0, "1", False)])
@example(steps=[("import",), ("remove", 0), ("import",), ("collect",), ("rebuild",)])
@example(steps=[("run", 0, "fail", False), ("forget", 0), ("collect",)])
@example(steps=[("run", 0, "interrupt", False), ("forget", 0), ("rebuild",)])
@example(steps=[("run", 0, "1", False), ("run", 0, "2", True), ("forget", 1), ("collect",)])
@settings(max_examples=20)
def test_the_count_is_what_was_asked_whatever_befalls_the_runs(toys, steps):
    (bench, child), model, others = toys(), Model(), []
    for verb, *what in steps:
        if verb == "run":
            k, says, force = what
            if not ask(bench, child, k, says, force):
                model.note(k, says)
        elif verb in ("replay", "remove", "forget"):
            found = runs_of(bench)
            if not found:
                continue
            befall(bench, child, verb, found[what[0] % len(found)], others)
        elif verb == "import":
            if not others:
                others.append(toys()[0])
                ask(others[0], child, 7, "1", False)
                ask(others[0], child, 8, "fail", False)
            bring(others[0].store, bench.store)
            model.note(7, "1")
            model.note(8, "fail")
        else:
            {"collect": collect, "rebuild": rebuild}[verb](bench)

        assert count(bench) == model.count, (verb, what)
    rebuild(bench)
    assert count(bench) == model.count
    assert bench.store.check().ok
    for each in (bench, *others):
        each.store.close()


def befall(bench, child, verb, run_id, others):
    child.says = "1"
    if verb == "replay":
        replay.replay(bench.context, run_id, seeks_causes=False)
    elif verb == "remove" or not has_to_be_entered(bench, run_id, others):
        ledger.remove_runs(bench.store, [run_id])
    else:
        # By its ref alone, as whoever holds the store may: its trial stands in the ledger.
        ref = f"runs/{run_id}"
        with bench.store.transaction("forget") as tx:
            tx.move_ref(ref, None, expected=bench.store.ref(ref))


def has_to_be_entered(bench, run_id, others):
    """Tell whether a run ended here: not one that was killed, nor one of another store."""
    state = bench.store.get_record(bench.store.ref(f"runs/{run_id}"))
    is_over = state.schema == "status/v1" and state.fields["status"] in ("completed", "failed")
    return is_over and not any(other.store.has(run_id) for other in others)


def test_a_hit_and_a_replay_are_no_trials_and_a_second_outcome_is(toys):
    bench, child = toys()
    assert not ask(bench, child, 0, "1", False)
    assert ask(bench, child, 0, "2", False)
    replay.replay(bench.context, runs_of(bench)[0], seeks_causes=False)
    ask(bench, child, 0, "1", True)
    assert count(bench) == 1

    ask(bench, child, 0, "2", True)

    assert count(bench) == 2


def test_the_trials_of_a_family_tell_what_they_found(toys):
    bench, child = toys()
    for k, says in ((1, "1"), (2, "1"), (3, "fail"), (3, "kill"), (2, "2")):
        ask(bench, child, k, says, True)

    (trials,) = ledger.read_trials(bench.store, "toy")

    assert trials.family.dataset == ""
    assert (trials.count, trials.failed_count) == (4, 1)
    assert sorted(trials.ratios) == [1.0, 2.0, 2.0]
    assert trials.best()[0] == 2.0
    assert len(trials.outcomes) == 3


def test_a_run_under_way_is_none_yet_and_cannot_be_removed(toys):
    bench, child = toys()
    ask(bench, child, 0, "kill", False)
    (run_id,) = runs_of(bench)
    assert count(bench) == 1

    with bench.store.lease(run_id):
        assert count(bench) == 0
        with pytest.raises(BadInput, match="is running"):
            ledger.remove_runs(bench.store, [run_id])

    ledger.remove_runs(bench.store, [run_id])
    with pytest.raises(errors.RefMissing):
        ledger.remove_runs(bench.store, [run_id])
    assert count(bench) == 1


def test_runs_of_old_without_a_line_are_counted_and_enter_as_they_go(toys, monkeypatch):
    bench, child = toys()
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "enter", lambda *_: None)
        ask(bench, child, 0, "1", False)
        ask(bench, child, 1, "fail", False)
    assert list(bench.store.refs("trials/")) == []
    assert count(bench) == 2

    ledger.remove_runs(bench.store, runs_of(bench))
    collect(bench)
    rebuild(bench)

    assert count(bench) == 2
    (trials,) = ledger.read_trials(bench.store, "toy")
    assert trials.ratios == [0.0]


def test_nothing_in_the_ledger_is_moved_or_removed(toys):
    bench, child = toys()
    ask(bench, child, 0, "1", False)
    ((ref, line),) = bench.store.refs("trials/")
    for new in (None, runs_of(bench)[0]):
        with (
            pytest.raises(errors.BadName, match="never changed"),
            bench.store.transaction("tamper") as tx,
        ):
            tx.move_ref(ref, new, expected=line)

    assert count(bench) == 1
