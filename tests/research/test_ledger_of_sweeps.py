"""The ledger of sweeps and of families, with children of their own."""

import signal

import pytest

from research.datasets.snapshot import add_snapshot
from research.experiments import ledger, sweep
from research.experiments.sweep import SweepRequest
from research.experiments.sweep_points import Axis


def count(bench, experiment, dataset=""):
    return sum(each.count for each in ledger.read_trials(bench.store, experiment, dataset))


def runs_of(bench, experiment):
    return [row.run_id for row in bench.store.runs(conditions={"experiment": experiment})]


def forget(bench, experiment):
    """Take away all that the runs are, but for the ledger."""
    with bench.store.transaction("forget") as tx:
        for run_id in runs_of(bench, experiment):
            tx.move_ref(f"runs/{run_id}", None, expected=bench.store.ref(f"runs/{run_id}"))
    bench.store.plan_collection(grace_seconds=0).execute()
    assert runs_of(bench, experiment) == []


def test_a_sweep_has_one_record_for_many_runs_and_each_is_counted_once(bench):
    bench.experiment(
        "grid",
        "if spec.parameters['k'] == 3:\n    raise ValueError('three')\n"
        "return {'sharpe': spec.parameters['k'] / 2}",
        spec="parameters={'k': 0, 'other': 0}, metrics=['sharpe']",
    )
    asked = SweepRequest(request=bench.request("grid"), axes=[Axis(path="k", values=(1, 2, 3, 4))])

    made = sweep.sweep(bench.context, asked)
    again = sweep.sweep(bench.context, asked)

    assert (made.executed, again.cached) == (4, 3)
    (trials,) = ledger.read_trials(bench.store, "grid")
    assert (trials.count, trials.failed_count) == (4, 1)
    assert sorted(trials.ratios) == [0.5, 1.0, 2.0]
    assert len(list(bench.store.refs("trials/"))) < 5

    forget(bench, "grid")
    assert count(bench, "grid") == 4


def test_a_sweep_that_is_interrupted_has_counted_what_it_began(bench, monkeypatch):
    bench.experiment(
        "slow",
        "import time\ntime.sleep(0.05 if spec.parameters['k'] < 2 else 60)\nreturn {}",
        spec="parameters={'k': 0}",
    )
    axes = [Axis(path="k", values=tuple(range(4)))]

    def stop(done, failed, total):
        if done >= 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(bench.context, SweepRequest(request=bench.request("slow"), axes=axes), stop)

    recorded = len(runs_of(bench, "slow"))
    assert recorded >= 2
    assert count(bench, "slow") == recorded
    forget(bench, "slow")
    assert count(bench, "slow") == recorded


def test_families_are_apart_by_experiment_and_dataset_and_not_by_version(bench, tmp_path):
    for version, text in (("1", "a"), ("2", "b")):
        path = tmp_path / f"{version}.txt"
        path.write_text(text)
        add_snapshot(bench.context, path, name="words", version=version)
    bench.experiment("reader", "return {}", spec="input_dataset='words', input_kind='files'")
    bench.experiment("other", "return {}", spec="input_dataset='words', input_kind='files'")
    for dataset in ("words@1", "words@2"):
        bench.run("reader", dataset=dataset)
    bench.run("other")

    (trials,) = ledger.read_trials(bench.store, "reader")

    assert (trials.family.dataset, trials.count) == ("words", 2)
    assert trials.of_version("1").count == 1
    assert count(bench, "other", "words") == 1
    assert count(bench, "reader", "nothing") == 0
