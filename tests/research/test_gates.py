"""Gates: each question, its answer, its evidence, and what a no comes to."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import yaml

from research import statistics
from research.datasets.holdout import holdouts, is_holdout, mark_holdout
from research.datasets.snapshot import add_snapshot, find_snapshot
from research.errors import GateRefused
from research.experiments import ledger, luck, sweep
from research.experiments.curves import read_curve
from research.experiments.sweep import SweepRequest
from research.experiments.sweep_points import Axis
from research.promotion import gates, trials
from research.promotion import promote as promoter
from research.promotion.dearer import multiply_costs
from research.promotion.gate_settings import INTEGRITY, OTHERS, Bounds, GateSettings
from research.promotion.gates import GATES, Case, ask_gates

CURVE = """
import numpy as np
p = spec.parameters
r = p['mean'] - p['costs']['fee'] + 0.01 * np.random.default_rng(p['draw']).normal(size=240)
equity = np.concatenate([[100.0], 100.0 * np.cumprod(1.0 + r)])
save_table(output_dir, 'equity', {'at_ns': np.arange(241) * 86400 * 10**9, 'equity': equity})
save_table(output_dir, 'trades', {'pnl': np.zeros(p['trades'])})
return {'sharpe': float(r.mean() / r.std(ddof=1) * 252**0.5)}
"""
SPEC = "parameters={'mean': 0.0, 'draw': 0, 'trades': 40, 'costs': {'fee': 0.0001}}"


@pytest.fixture(scope="module")
def programme(benches):
    """Give a workspace with twelve trials of noise, and one with an edge, called ``edge``."""
    bench = benches()
    bench.experiment("curve", CURVE, head="from research import save_table", spec=SPEC)
    asked = SweepRequest(
        request=bench.request("curve"), axes=[Axis(path="draw", values=tuple(range(12)))]
    )
    assert sweep.sweep(bench.context, asked).failed == 0
    bench.run("curve", called="edge", parameters={"mean": 0.004, "draw": 99})
    bench.experiment("bare", "return {'sharpe': 1.0}")
    bench.run("bare", called="bare")
    yield bench
    bench.store.close()


def case_of(bench, name, **settings):
    return Case(bench.context, bench.store.resolve(name), GateSettings(**settings))


def answer(case, gate):
    return GATES[gate][1](case)


def equity_of(bench, name):
    manifest = bench.manifest(bench.store.resolve(name))
    return read_curve(bench.store, manifest.outcome_id).equity()


def test_every_setting_is_a_gate_and_every_gate_has_its_setting():
    assert list(GATES) == [*INTEGRITY, *OTHERS]


def test_an_edge_passes_and_what_cannot_be_told_warns(programme):
    asked = ask_gates(case_of(programme, "edge"))

    verdicts = {gate.name: gate.verdict for gate in asked}
    assert verdicts == dict.fromkeys(GATES, "pass") | {"look_ahead": "warn"}
    told = next(gate for gate in asked if gate.name == "look_ahead")
    assert told.explanation == "cannot be told: it takes no bars: there is nothing to cut"
    assert all(gate.explanation and gate.question for gate in asked)


def test_in_the_strict_profile_what_cannot_be_told_refuses(programme):
    case = case_of(programme, "bare", profile="strict")

    refused = [gate.name for gate in gates.refusing(ask_gates(case))]

    assert refused == ["look_ahead", "trades", "deflated_sharpe", "costs", "drawdown"]


def test_a_gate_that_is_off_is_not_asked(programme, monkeypatch):
    monkeypatch.setitem(gates.GATES, "costs", ("?", lambda case: pytest.fail("it was asked")))
    actions = {"costs": "off", "look_ahead": "off", "trades": "refuse"}

    asked = ask_gates(case_of(programme, "bare", actions=actions))

    verdicts = {gate.name: gate.verdict for gate in asked}
    assert (verdicts["costs"], verdicts["look_ahead"]) == ("off", "off")
    assert (verdicts["trades"], verdicts["drawdown"]) == ("refuse", "warn")


def test_once_integrity_refuses_nothing_else_is_asked(programme):
    programme.experiment("broken", "raise ValueError('no')")
    programme.failure("broken", called="broken")

    asked = ask_gates(case_of(programme, "broken"))

    verdicts = [gate.verdict for gate in asked]
    assert verdicts == ["pass", "refuse", *["unasked"] * (len(GATES) - 2)]


def test_the_deflated_ratio_is_that_of_the_returns_and_of_all_trials(programme):
    case = case_of(programme, "edge")
    found = answer(case, "deflated_sharpe")

    equity = equity_of(programme, "edge")
    r = equity[1:] / equity[:-1] - 1
    n, sharpe = len(r), r.mean() / r.std(ddof=1)
    z = (r - r.mean()) / r.std()
    skew, kurtosis = (z**3).mean(), (z**4).mean()
    (family,) = ledger.read_trials(programme.store, "curve")
    ratios = np.array(family.ratios) / 252**0.5
    normal, trial_count = NormalDist(), 13
    expected = ratios.std(ddof=1) * (
        (1 - np.euler_gamma) * normal.inv_cdf(1 - 1 / trial_count)
        + np.euler_gamma * normal.inv_cdf(1 - 1 / (trial_count * math.e))
    )
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    deflated = normal.cdf((sharpe - expected) * math.sqrt(n - 1) / math.sqrt(spread))
    assert found.figure == pytest.approx(deflated, rel=1e-9)
    assert case.deflated.expected_maximum == pytest.approx(expected, rel=1e-9)
    assert case.deflated.trial_count == family.count == 13
    assert case.deflated.per_year == pytest.approx(252**0.5)


def test_the_best_of_noise_is_deflated_below_its_bound(programme):
    best = trials.report(programme.context, "curve").best
    assert best.run_id == programme.store.resolve("edge")
    (family,) = ledger.read_trials(programme.store, "curve")
    noise = sorted(zip(family.answered.sharpe, family.answered.run, strict=True))[-2][1]

    case = Case(programme.context, programme.store.resolve(noise.hex()), GateSettings())
    found = answer(case, "deflated_sharpe")

    assert not found.is_met
    assert found.figure < case.deflated.probabilistic
    assert "below 0.95" in found.said


def test_more_trials_leave_less_of_the_same_ratio(programme):
    manifest = programme.manifest(programme.store.resolve("edge"))
    (family,) = ledger.read_trials(programme.store, "curve")
    figures = []
    for kept in (13, 6, 1):
        columns = family.runs.only([place >= 13 - kept for place in range(13)])
        part = ledger.count_trials(family.family, columns)
        figures.append(luck.deflate(programme.store, manifest, part))

    assert [each.trial_count for each in figures] == [13, 6, 1]
    assert figures[2].deflated == figures[2].probabilistic
    assert figures[2].sharpe_variance is None
    assert all(each.deflated <= each.probabilistic for each in figures)


def test_trials_that_failed_count_and_have_the_variance_of_worthless_returns(programme):
    manifest = programme.manifest(programme.store.resolve("edge"))
    (family,) = ledger.read_trials(programme.store, "curve")
    answered = family.answered
    one = answered.only([run == manifest.run_id.digest for run in answered.run])
    failed = ledger.Trials(family=family.family, runs=one, answered=one, failed_count=99)

    found = luck.deflate(programme.store, manifest, failed)

    assert found.trial_count == 100
    assert found.sharpe_variance == 1 / 240
    assert found.deflated < found.probabilistic


def test_overfitting_is_asked_of_the_returns_of_the_whole_family(programme):
    found = answer(case_of(programme, "edge"), "overfitting")

    (family,) = ledger.read_trials(programme.store, "curve")
    own = equity_of(programme, "edge")
    series = [own[1:] / own[:-1] - 1]
    for run in family.answered.run:
        if run != programme.store.resolve("edge").digest:
            equity = equity_of(programme, run.hex())
            series.append(equity[1:] / equity[:-1] - 1)
    pbo = statistics.probability_of_backtest_overfitting(np.stack(series, axis=1)).pbo
    assert found.figure == pytest.approx(pbo, abs=1e-3)
    assert found.is_met == (pbo <= 0.2)


def test_one_trial_is_no_sweep(programme):
    found = answer(case_of(programme, "bare"), "overfitting")

    assert (found.is_met, found.figure) == (True, None)


def test_costs_are_asked_of_the_stored_run_and_nothing_is_recorded(programme):
    before = [len(list(programme.store.journal())), len(list(programme.store.refs()))]
    found = answer(case_of(programme, "edge"), "costs")
    lost = answer(case_of(programme, "edge", bounds=Bounds(cost_multiple=100)), "costs")

    r = 0.004 - 0.0002 + 0.01 * np.random.default_rng(99).normal(size=240)
    assert found.figure == pytest.approx(np.prod(1 + r) - 1, rel=1e-9)
    assert found.is_met
    assert "costs.fee" in found.said
    assert (lost.is_met, lost.figure < 0) == (False, True)
    assert [len(list(programme.store.journal())), len(list(programme.store.refs()))] == before


def test_costs_that_are_nothing_cannot_be_multiplied(programme):
    programme.run("curve", called="free", parameters={"costs.fee": 0.0, "draw": 5})

    gate = {g.name: g for g in ask_gates(case_of(programme, "free"))}["costs"]

    assert gate.verdict == "warn"
    assert "cannot be told: none of its parameters is a cost above 0" in gate.explanation


def test_every_cost_is_multiplied_and_nothing_else():
    parameters = {
        "costs": {"taker_fee_bps": 10.0, "fixed": 2, "none": None, "on": True, "deep": {"a": 1.5}},
        "execution": {"slippage": {"base": 0.1, "max": 0.5, "kind": "linear"}, "latency": {"p50": 1}},
        "cash": 5.0,
    }  # fmt: skip

    made, paths = multiply_costs(parameters, 2.0)

    assert made == {
        "costs": {"taker_fee_bps": 20.0, "fixed": 4, "none": None, "on": True, "deep": {"a": 3.0}},
        "execution": {"slippage": {"base": 0.2, "max": 0.5, "kind": "linear"}, "latency": {"p50": 1}},
        "cash": 5.0,
    }  # fmt: skip
    assert type(made["costs"]["fixed"]) is int
    assert set(paths) == {"costs.taker_fee_bps", "costs.fixed", "costs.deep.a",
                          "execution.slippage.base"}  # fmt: skip
    assert parameters["costs"]["taker_fee_bps"] == 10.0


def test_the_drawdown_and_the_trades_are_counted_in_what_was_saved(programme):
    equity = equity_of(programme, "edge")
    deepest = max(1 - equity[i:].min() / equity[i] for i in range(len(equity)))
    bounds = Bounds(drawdown_max=deepest * 0.99, trades_min=41)

    fall = answer(case_of(programme, "edge"), "drawdown")
    deep = answer(case_of(programme, "edge", bounds=bounds), "drawdown")
    few = answer(case_of(programme, "edge", bounds=bounds), "trades")

    assert fall.figure == pytest.approx(deepest)
    assert (fall.is_met, deep.is_met) == (True, False)
    assert (few.is_met, few.figure, few.bound) == (False, 40, 41)
    assert few.said == "40 trades, below 41"


@pytest.mark.parametrize("equity", ["[1.0, -1.0, 2.0]", "[1.0, float('nan'), 2.0]", "[1.0, 1.0, 1.0]",
                                    "[1.0]", "[]", "['a', 'b']"])  # fmt: skip
def test_a_curve_that_says_nothing_cannot_be_told_from(programme, equity):
    name = f"odd{abs(hash(equity)) % 10**6}"
    programme.experiment(
        name,
        f"save_table(output_dir, 'equity', {{'equity': {equity}}})\nreturn {{'sharpe': 1.0}}",
        head="from research import save_table",
    )
    programme.run(name, called=name)

    asked = {gate.name: gate for gate in ask_gates(case_of(programme, name))}

    assert asked["deflated_sharpe"].verdict == "warn"
    assert asked["deflated_sharpe"].explanation.startswith("cannot be told: ")


def test_who_opens_a_holdout_is_counted_before_and_after_it_is_marked(bench, tmp_path):
    for version in ("train", "test"):
        (tmp_path / version).write_text(version)
        add_snapshot(bench.context, tmp_path / version, name="words", version=version)
    bench.experiment(
        "reader",
        "return {'sharpe': 1.0}",
        spec="parameters={'k': 0}, input_dataset='words', input_kind='files'",
    )
    bench.run("reader", dataset="words@train", called="read")
    bench.run("reader", dataset="words@test")
    snapshot = find_snapshot(bench.context, "words@test")
    assert not is_holdout(bench.store, snapshot)
    assert answer(case_of(bench, "read"), "holdout").figure == 0

    assert mark_holdout(bench.context, snapshot)
    assert not mark_holdout(bench.context, snapshot)
    once = answer(case_of(bench, "read"), "holdout")
    bench.run("reader", dataset="words@test", parameters={"k": 1})
    bench.run("reader", dataset="words@test", parameters={"k": 1})
    twice = answer(case_of(bench, "read"), "holdout")

    assert list(holdouts(bench.store)) == [("words", "test")]
    assert (once.is_met, once.figure) == (True, 1)
    assert (twice.is_met, twice.figure) == (False, 2)
    assert "words@test was opened by 2" in twice.said
    assert trials.report(bench.context, "reader").openings[0].count == 2


def test_a_refusal_says_which_gates_and_writes_nothing(programme):
    path = programme.folder / "promotion.toml"
    path.write_text('profile = "strict"\n[bounds]\ntrades_min = 50\n')
    edge, store = programme.store.resolve("edge"), programme.store

    with pytest.raises(GateRefused) as caught:
        promoter.promote(programme.context, edge, "edge")
    shown = promoter.promote(programme.context, edge, "edge", dry_run=True)

    assert [name for name, _ in caught.value.gates] == ["look_ahead", "trades"]
    assert "gate trades: 40 trades, below 50" in str(caught.value)
    assert shown.is_refused
    assert (shown.config, shown.text, shown.record) == (None, b"", None)
    assert len(shown.gates) == len(GATES)
    assert store.ref("promotions/edge") is None
    assert not (programme.folder / "configs" / "strategies" / "edge.yaml").exists()


def test_the_evidence_holds_every_gate_and_its_bounds(programme):
    path = programme.folder / "promotion.toml"
    path.write_text("[bounds]\ntrades_min = 50\n")

    made = promoter.promote(programme.context, programme.store.resolve("edge"), "edge")

    evidence = yaml.safe_load(made.path.read_text())["evidence"]
    record = programme.store.get_record(made.record)
    assert evidence == record.fields["evidence"]
    assert evidence["profile"] == "default"
    assert evidence["bounds"]["trades_min"] == 50
    assert [gate["name"] for gate in evidence["gates"]] == list(GATES)
    trades = next(gate for gate in evidence["gates"] if gate["name"] == "trades")
    assert (trades["verdict"], trades["figure"], trades["bound"]) == ("warn", 40, 50)
    assert evidence["trials"]["count"] >= 13
    assert evidence["trials"]["deflated"]["trial_count"] == evidence["trials"]["count"]


def test_what_knew_the_future_is_told_with_its_place(bench, tmp_path):
    rows = "\n".join(
        f"{day:%Y-%m-%d},{p},{p + 1},{p - 1},{p}"
        for day, p in zip(
            np.arange("2020-01-01", "2020-07-01", dtype="M8[D]").astype(object),
            100.0 + np.arange(182),
            strict=True,
        )
    )
    (tmp_path / "bars.csv").write_text(f"date,open,high,low,close\n{rows}\n")
    add_snapshot(bench.context, tmp_path / "bars.csv", name="bars")
    bench.experiment(
        "peek",
        "bars = spec.bars()\n"
        "save_table(output_dir, 'signals', {'at_ns': bars['at_ns'],"
        " 'top': bars['close'] * 0 + bars['close'].max()})\nreturn {}",
        head="from research import save_table",
        spec="input_dataset='bars', input_kind='bars'",
    )
    bench.run("peek", called="peek")

    found = answer(case_of(bench, "peek"), "look_ahead")

    assert not found.is_met
    assert found.figure == "looks_ahead"
    assert "signals differs in column top" in found.said
