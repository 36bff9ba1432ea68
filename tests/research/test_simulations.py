"""Simulations from Python: runs like any other, and documents of them that are never believed."""

import copy
import importlib
import json

import numpy as np
import pytest

import research
from research import (
    Experiment,
    ParameterSweepRequest,
    RunArtifact,
    RunManifest,
    SimulationRequest,
    replay_simulation,
    run_batch_simulation,
    run_parameter_sweep,
    run_single_simulation,
)
from research.errors import BadInput, ExperimentMissing, RunFailed, UnknownParameter
from research.experiments import registry, runs
from research.experiments.run_artifact import hash_part, read_artifact, request_of
from research.experiments.run_manifest import manifest_from_json, manifest_to_json
from rosdb import errors

QUICK = SimulationRequest(
    strategy={"id": "sma_crossover", "parameters": {"fast": 10}},
    data_snapshot="sp500-daily",
    execution_model={"slippage": {"base": 0.001}},
    cost_model={"taker_fee_bps": 5},
    risk_model={"take_profit": [{"multiple": 1.05, "fraction": 0.5}]},
    run_config={"seed": 7},
)
GAMMA = SimulationRequest(strategy="gamma_signal_sanity")


def as_json(value):
    """Write and read, as a file would."""
    return json.loads(json.dumps(value, allow_nan=False))


def run_count(bench):
    return len(list(bench.store.runs()))


def test_a_simulation_is_a_run_like_any_other(copied):
    before = run_count(copied)

    artifact = run_single_simulation(QUICK, copied.context, name="quick")

    run_id = copied.store.resolve("quick")
    manifest = copied.manifest(run_id)
    assert artifact.metadata.run_id == str(run_id)
    assert artifact.metadata.fingerprint == str(manifest.recipe_id)
    assert run_count(copied) == before + 1
    assert copied.statuses(run_id) == ["pending", "running", "completed"]
    assert artifact.metrics == manifest.metrics
    # The command line, asked the same in its own words, has the answer.
    performed = copied.run(
        "sma_crossover",
        seed=7,
        parameters={
            "fast": 10,
            "execution.slippage.base": 0.001,
            "costs.taker_fee_bps": 5,
            "risk.take_profit[0].multiple": 1.05,
            "risk.take_profit[0].fraction": 0.5,
        },
    )
    assert performed.is_cached
    assert performed.manifest.run_id == run_id


def test_what_the_command_line_ran_is_answered(copied):
    artifact = run_single_simulation(SimulationRequest(strategy="sma_crossover"), copied.context)

    assert artifact.metadata.run_id == str(copied.store.resolve("sma"))
    forced = run_single_simulation(artifact.request, copied.context, force=True)
    assert forced.metadata.run_id != artifact.metadata.run_id
    assert forced.metadata.fingerprint == artifact.metadata.fingerprint
    assert forced.metadata.outcome == artifact.metadata.outcome


@pytest.mark.parametrize("name", ["sma", "gamma", "momentum"])
def test_the_request_of_a_run_asks_the_runs_question(copied, name):
    manifest = copied.manifest(copied.store.resolve(name))
    request = request_of(manifest)
    before = run_count(copied)

    again = run_single_simulation(request, copied.context)

    assert again.metadata.run_id == str(manifest.run_id)
    assert again.request == request
    assert SimulationRequest.from_json(as_json(request.to_json())) == request
    assert run_count(copied) == before


def test_tables_and_pnl(finished):
    artifact = read_artifact(finished.store, finished.store.resolve("sma"))

    pnl = artifact.pnl_series
    assert list(pnl) == ["at_ns", "equity", "pnl"]
    assert np.array_equal(pnl["pnl"], pnl["equity"] - 1_000_000.0)
    assert len(artifact.trade_events["trade_id"]) == artifact.metrics["trade_count"]
    assert pnl["pnl"][-1] == pytest.approx(artifact.metrics["total_return"] * 1_000_000)
    gamma = read_artifact(finished.store, finished.store.resolve("gamma"))
    assert gamma.trade_events == {}
    assert gamma.pnl_series["pnl"][0] == 0.0
    assert gamma.metadata.cost_model_hash is None
    assert gamma.metadata.data_snapshot_hash is None


def test_pnl_counts_from_the_cash_not_from_the_first_close(bench):
    bench.experiment(
        "fell_at_once",
        "save_table(output_dir, 'equity', {'equity': [90.0, 110.0]})\nreturn {}",
        head="from research import save_table",
        spec="parameters={'cash': 100.0}",
    )

    artifact = run_single_simulation(SimulationRequest(strategy="fell_at_once"), bench.context)

    assert list(artifact.pnl_series["pnl"]) == [-10.0, 10.0]


def test_the_events_come_before_the_trades(copied):
    artifact = run_single_simulation(SimulationRequest(strategy="call_ladder"), copied.context)

    assert "event_id" in artifact.trade_events
    assert RunArtifact.from_json(as_json(artifact.to_json()), copied.store).metrics


def test_each_hash_follows_from_its_part_alone(copied):
    base = run_single_simulation(QUICK, copied.context)

    def changed(**fields):
        values = {
            "strategy": QUICK.strategy, "execution_model": QUICK.execution_model,
            "cost_model": QUICK.cost_model, "risk_model": QUICK.risk_model,
            "run_config": QUICK.run_config, "data_snapshot": QUICK.data_snapshot,
        }  # fmt: skip
        other = run_single_simulation(SimulationRequest(**values | fields), copied.context)
        mine, theirs = base.metadata, other.metadata
        return {
            name
            for name in theirs.__slots__
            if name.endswith("_hash") and getattr(mine, name) != getattr(theirs, name)
        }

    assert changed() == set()
    assert changed(cost_model={"taker_fee_bps": 6}) == {"cost_model_hash"}
    assert changed(risk_model={}) == {"risk_model_hash"}
    assert changed(run_config={"seed": 8}) == {"run_config_hash"}
    assert changed(execution_model={}) == {"execution_model_hash"}
    assert changed(strategy="sma_crossover") == {"strategy_config_hash"}
    assert changed(sizing={"value": 10}) == {"sizing_hash"}
    # By hand, so that the scheme cannot change unseen.
    fields = {
        "taker_fee_bps": 5.0, "maker_fee_bps": 0.0, "fixed_fee": 0.0, "minimum_fee": 0.0,
        "priority_fee": 0.0, "priority_fee_max": None, "borrow_bps_per_year": 0.0,
    }  # fmt: skip
    assert base.metadata.cost_model_hash == hash_part("cost_model", fields)
    assert hash_part("a", 1) == "09e1307ad25c202173b26cb25800d8ff73b44453859d04a11dd9e2f5b99093e6"


def test_a_forced_run_at_another_time_has_the_same_hashes(copied):
    first = run_single_simulation(GAMMA, copied.context).metadata
    second = run_single_simulation(GAMMA, copied.context, force=True).metadata

    circumstance = {"run_id", "created_at", "seconds"}
    assert first.created_at != second.created_at
    for name in set(first.__slots__) - circumstance:
        assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("name", ["sma", "gamma", "momentum", "broken"])
def test_a_document_of_a_run_reads_back(finished, name):
    artifact = read_artifact(finished.store, finished.store.resolve(name))
    document = as_json(artifact.to_json())

    for found in (
        RunArtifact.from_json(document, finished.store),
        RunArtifact.from_json(document),
    ):
        assert found.metadata == artifact.metadata
        assert found.request == artifact.request
        assert as_json(found.to_json()) == document
    assert document["metadata"]["runId"] == artifact.metadata.run_id
    assert "gitSha" in document["metadata"]
    assert "strategyConfigHash" in document["metadata"]


def test_rows_keep_their_types_to_the_bit(bench):
    bench.experiment(
        "typed",
        """
        masked = np.ma.masked_array([1, 2, 3], [False, True, False])
        save_table(output_dir, "events", {
            "a_float": np.array([float("nan"), -0.0, float("-inf")]), "an_int": [2**62, 0, -1],
            "text": ["nan", "é", ""], "yes": [True, False, True], "some": masked,
            "small": np.array([0.1, 1, 2], dtype="float32"),
            "at": np.array([1, 2, 3], dtype="datetime64[ns]"), "big": np.array([2**64 - 1, 0, 1], dtype="uint64"),
        })
        save_table(output_dir, "equity", {"equity": np.array([3.0, 2.0, 4.5])})
        return {"m": float("nan"), "n": 1}
        """,
        head="import numpy as np\nfrom research import save_table",
    )  # fmt: skip
    artifact = run_single_simulation(SimulationRequest(strategy="typed"), bench.context)
    document = as_json(artifact.to_json())

    found = RunArtifact.from_json(document, bench.store)

    assert document["tradeEvents"][0]["aFloat"] == "nan"
    assert document["tradeEvents"][1]["some"] is None
    assert list(artifact.pnl_series["pnl"]) == [0.0, -1.0, 1.5]
    for name, column in artifact.trade_events.items():
        assert repr(found.trade_events[name].tolist()) == repr(column.tolist())
        if name != "text":
            assert found.trade_events[name].dtype == column.dtype


def changes(document):
    """Give documents in which one thing is not so."""

    def path(*steps, to):
        changed = copy.deepcopy(document)
        here = changed
        for step in steps[:-1]:
            here = here[step]
        here[steps[-1]] = to
        return ".".join(map(str, steps)), changed

    yield path("metadata", "costModelHash", to="0" * 64)
    yield path("metadata", "strategyConfigHash", to=None)
    yield path("metadata", "fingerprint", to="0" * 64)
    yield path("metadata", "dataSnapshotHash", to="0" * 64)
    yield path("metadata", "gitSha", to="0" * 40)
    yield path("metadata", "status", to="failed")
    yield path("metadata", "runId", to=5)
    yield path("metadata", "gitDirty", to="no")
    yield path("request", "costModel", "takerFeeBps", to=1.0)
    yield path("request", "strategy", "parameters", "fast", to=11)
    yield path("request", "dataSnapshot", to="other@1")
    yield path("metrics", "sharpe", to=9.0)
    yield path("tradeEvents", 0, "pnl", to=1e9)
    yield path("tradeEvents", 0, "exitReason", to="luck")
    yield path("pnlSeries", 9, "pnl", to=1e9)
    yield path("pnlSeries", 9, "equity", to=1e9)
    yield path("schemaVersion", to=2)
    yield path("metadata", to={})
    yield path("metadata", "surprise", to=1)
    yield path("surprise", to=1)
    yield path("tradeEvents", 0, to={})
    yield path("columns", "tradeEvents", 0, to={"key": "x", "name": "x", "dtype": "int64"})


def test_no_document_is_believed(finished):
    artifact = read_artifact(finished.store, finished.store.resolve("sma"))

    for where, changed in changes(as_json(artifact.to_json())):
        with pytest.raises(BadInput):
            RunArtifact.from_json(changed, finished.store)
            pytest.fail(where)


def test_what_a_document_alone_can_show_is_checked_without_a_store(finished):
    artifact = read_artifact(finished.store, finished.store.resolve("sma"))
    found = dict(changes(as_json(artifact.to_json())))

    for where in ("metadata.costModelHash", "request.costModel.takerFeeBps", "pnlSeries.9.pnl"):
        with pytest.raises(BadInput):
            RunArtifact.from_json(found[where])
            pytest.fail(where)


# --- Batches, sweeps, replays ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_is_in_the_order_of_its_requests(bench, count):
    requests = [
        SimulationRequest(strategy={"id": "gamma_signal_sanity", "parameters": {"ma_window": w}})
        for w in (5, 6, 5, 7)
    ]
    spelled = SimulationRequest.from_json(
        {"strategy": {"parameters": {"ma_window": 6}, "id": "gamma_signal_sanity"}}
    )

    artifacts = run_batch_simulation([*requests, spelled], bench.context, max_concurrency=count)

    windows = [each.request.strategy.parameters["ma_window"] for each in artifacts]
    assert windows == [5, 6, 5, 7, 6]
    assert run_count(bench) == 3
    assert artifacts[0].metadata.run_id == artifacts[2].metadata.run_id
    assert bench.store.check().ok
    again = run_batch_simulation(requests, bench.context)
    assert [a.metadata.run_id for a in again] == [a.metadata.run_id for a in artifacts[:4]]
    assert run_batch_simulation([], bench.context) == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_failure_in_a_batch_keeps_the_others(bench, count):
    bench.experiment("bad", "raise ValueError('it is bad')")
    requests = [SimulationRequest(strategy="bad"), GAMMA]

    with pytest.raises(RunFailed, match="it is bad"):
        run_batch_simulation(requests, bench.context, max_concurrency=count)

    assert sorted(row.status for row in bench.store.runs()) == ["completed", "failed"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (SimulationRequest(strategy="gama_signal_sanity"), ExperimentMissing),
        (SimulationRequest(strategy={"id": "gamma_signal_sanity", "parameters": {"x": 1}}), UnknownParameter),
        (SimulationRequest(strategy={"id": "gamma_signal_sanity", "parameters": {"ma_window": 0}}), BadInput),
        (SimulationRequest(strategy="gamma_signal_sanity", cost_model={}), UnknownParameter),
        ({"strategy": "gamma_signal_sanity"}, BadInput),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_before_anything_runs(bench, wrong, error):
    with pytest.raises(error):
        run_batch_simulation([GAMMA, wrong], bench.context)

    assert run_count(bench) == 0


@pytest.mark.parametrize("count", [0, -2, True, None])
def test_a_batch_of_no_concurrency_is_refused(bench, count):
    with pytest.raises(BadInput, match="max_concurrency"):
        run_batch_simulation([GAMMA], bench.context, max_concurrency=count)


def test_a_sweep_answers_each_point_with_a_run(bench):
    asked = ParameterSweepRequest(
        base_request=QUICK,
        parameters=[
            {"path": "riskModel.takeProfit[0].multiple", "values": [1.1, 1.02]},
            {"path": "execution_model.slippage.base", "values": [0.002, 0.001]},
        ],
        max_concurrency=2,
        has_common_seed=True,
    )

    swept = run_parameter_sweep(asked, bench.context)

    assert (swept.executed, swept.cached, swept.failed) == (4, 0, 0)
    requests = [request_of(point.manifest) for point in swept.points]
    assert [
        (each.execution_model.slippage.base, each.risk_model.take_profit[0].multiple)
        for each in requests
    ] == [(0.001, 1.02), (0.001, 1.1), (0.002, 1.02), (0.002, 1.1)]
    assert {each.cost_model.taker_fee_bps for each in requests} == {5.0}
    assert {each.strategy.parameters["fast"] for each in requests} == {10}
    # A point of the sweep is the run of its own request, and the same sweep executes nothing.
    single = run_single_simulation(requests[0], bench.context)
    assert single.metadata.run_id == str(swept.points[0].manifest.run_id)
    assert run_parameter_sweep(asked, bench.context).executed == 0


@pytest.mark.parametrize("wrong", [QUICK, {"baseRequest": {}}, None])
def test_a_sweep_of_another_kind_is_refused(bench, wrong):
    with pytest.raises(BadInput, match="ParameterSweepRequest is needed"):
        run_parameter_sweep(wrong, bench.context)


def test_a_replay_by_id_name_and_revision(copied):
    run_id = copied.store.resolve("gamma")

    for revision in (run_id, str(run_id), "gamma", str(run_id)[:10]):
        found = replay_simulation(revision, copied.context)
        assert found.verdict == "identical"
        assert found.original.run_id == run_id
    with pytest.raises(errors.RefMissing):
        replay_simulation("nobody", copied.context)


# --- The canonical manifest -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sma", "gamma", "broken"])
def test_a_manifest_reads_back(finished, name):
    manifest = finished.manifest(finished.store.resolve(name))
    document = as_json(manifest_to_json(finished.store, manifest))

    found = manifest_from_json(finished.store, document)

    assert isinstance(found, RunManifest)
    assert found == manifest
    assert document["schemaVersion"] == 1
    assert document["fingerprint"] == str(manifest.recipe_id)
    assert document["status"] == manifest.status
    assert set(document["artifacts"]) == set(runs.artifacts(finished.store, manifest))


def test_no_manifest_is_believed(finished):
    manifest = finished.manifest(finished.store.resolve("sma"))
    document = as_json(manifest_to_json(finished.store, manifest))

    for name in document.keys() - {"name"}:
        with pytest.raises((BadInput, errors.RefMissing, errors.IdAmbiguous)):
            manifest_from_json(finished.store, {**document, name: "otherwise"})
            pytest.fail(name)
        with pytest.raises(BadInput):
            manifest_from_json(finished.store, {k: v for k, v in document.items() if k != name})
            pytest.fail(name)
    for wrong in ({**document, "fingerprnt": 1}, {**document, "seed": 42.0}, [], None):
        with pytest.raises(BadInput):
            manifest_from_json(finished.store, wrong)


def test_a_manifest_written_before_the_end_says_nothing_of_it(finished):
    manifest = finished.manifest(finished.store.resolve("sma"))
    document = as_json(manifest_to_json(finished.store, manifest))
    early = {
        **document, "status": "running", "outcome": None, "metrics": {}, "artifacts": {},
        "seconds": None,
    }  # fmt: skip

    assert manifest_from_json(finished.store, early) == manifest
    with pytest.raises(BadInput, match="fingerprint"):
        manifest_from_json(finished.store, {**early, "fingerprint": "0" * 64})


# --- The public names -----------------------------------------------------------------------------


def test_every_public_name_is_where_it_is_said_to_be():
    for name in research.HOMES:
        assert getattr(research, name) is not None
    assert {
        "Experiment", "ParameterSweepRequest", "RunArtifact", "RunManifest", "SimulationRequest",
        "replay_simulation", "run_batch_simulation", "run_parameter_sweep",
        "run_single_simulation",
    } <= set(dir(research))  # fmt: skip


def test_built_in_experiments_are_experiments():
    for module in registry.BUILTIN.values():
        assert isinstance(importlib.import_module(module), Experiment)
    assert not isinstance(json, Experiment)
