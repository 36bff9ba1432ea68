"""The look-ahead check: an honest experiment passes, and whoever knows the future is named.

Most experiments here run on the shipped index. One that cheats differs from an honest one in a
line, so that nothing but the line can be what is found.
"""

import pickle
from typing import Any

import numpy as np
import pytest

from research.errors import BadInput, RunFailed, UnknownParameter
from research.experiments.bar_cuts import choose_cuts, cut_bars
from research.experiments.look_ahead import LookAheadReport, check_look_ahead

ON_BARS = 'input_dataset="sp500-daily", input_kind="bars"'
HEAD = """
import numpy as np
from research import save_table, simple_moving_average, simulate, crossovers


def average(values, window):
    return simple_moving_average(values, window)


def centred(values, window):
    half = window // 2
    whole = np.convolve(values, np.full(window, 1 / window), "valid")
    return np.concatenate([np.full(half, np.nan), whole, np.full(half, np.nan)])


def save_trades(output_dir, bars, entries, exits):
    result = simulate(bars, entries, exits)
    save_table(output_dir, "trades", result.trades)
"""
CROSSOVER = """
bars = spec.bars()
close = bars["close"]
entries, exits = crossovers(average(close, 20), average(close, 100))
save_trades(output_dir, bars, entries, exits)
return {"last": float(close[-1]), "bars": len(close)}
"""
# What a strategy would like to know, each as the entries and exits that follow from it.
CHEATS = {
    "tomorrow's close": """
        tomorrow = np.append(close[1:], close[-1])
        entries, exits = tomorrow > close * 1.01, tomorrow < close * 0.99
    """,
    "a centred moving average": """
        entries, exits = crossovers(centred(close, 21), centred(close, 101))
    """,
    "the mean of the whole sample": """
        score = (close - close.mean()) / close.std()
        entries, exits = score < -0.5, score > 0.5
    """,
    "the peak of the whole series": """
        entries = close < 0.5 * close.max()
        exits = close > 0.9 * close.max()
    """,
    "averages filled from behind": """
        backwards = average(close[::-1].copy(), 50)[::-1]
        entries, exits = backwards > close * 1.02, backwards < close * 0.98
    """,
    "the last price": """
        entries, exits = close < close[-1] * 0.4, close > close[-1] * 0.5
    """,
    "the number of bars": """
        entries = np.arange(len(close)) % (len(close) // 50) == 10
        exits = np.roll(entries, 5)
    """,
}


@pytest.fixture
def check(bench):
    """Give a function that writes an experiment and checks it."""

    def made(
        run: str, *, spec: str = ON_BARS, name: str = "tried", **options: Any
    ) -> LookAheadReport:
        bench.experiment(name, run, HEAD, spec)
        return check_look_ahead(name, bench.context, **options)

    return made


def body(decisions: str, save: str = "save_trades(output_dir, bars, entries, exits)") -> str:
    lines = [line.strip() for line in decisions.strip().splitlines()]
    return "\n".join(["bars = spec.bars()", 'close = bars["close"]', *lines, save, "return {}"])


def saved(columns: str) -> str:
    return f'save_table(output_dir, "rows", {{"at_ns": bars["at_ns"], {columns}}})'


# --- Clean ---------------------------------------------------------------------------------------


def test_an_honest_crossover_is_clean(check):
    found = check(CROSSOVER)

    assert found.verdict == "clean"
    assert found.first is None
    assert found.reason == ""
    assert found.tables == ["trades"]
    assert [cut.state for cut in found.cuts] == ["same"] * 5
    assert all(a.bar < b.bar for a, b in zip(found.cuts, found.cuts[1:], strict=False))
    assert found.cuts[-1].row_count > found.cuts[0].row_count > 0


def test_the_builtin_crossover_is_clean(bench):
    found = check_look_ahead("sma_crossover", bench.context, 3, parameters={"fast": 10})

    assert found.verdict == "clean"
    assert len(found.cuts) == 3
    assert "trades" in found.tables


def test_every_model_of_the_engine_is_honest(check):
    models = """
        entries, exits = crossovers(average(close, 5), average(close, 20))
        day = 86_400_000.0
        result = simulate(bars, entries, exits, size=10.0, seed=7, execution={
            "latency": {"p50": day, "p90": 3 * day, "p99": 9 * day, "jitter": day},
            "slippage": {"base": 0.001, "volume_impact": 0.5, "kind": "square_root"},
            "failures": {"base_rate": 0.2, "congestion_multiplier": 3.0, "retries": 2},
            "partial_fills": {"probability": 0.5, "fill_range": [0.2, 0.8]},
        }, risk={
            "stop_loss": {"initial": -0.03, "trailing": -0.04},
            "take_profit": [{"multiple": 1.02, "fraction": 0.5}],
            "time_limit": {"bars": 30},
        })
        save_table(output_dir, "events", result.events)
        series = {"equity": result.equity, "exposure": result.exposure, "fell": result.drawdown}
    """
    save = 'save_table(output_dir, "trades", result.trades)\n' + saved("**series")

    found = check(body(models, save), cuts=9)

    assert found.verdict == "clean", found.first
    assert found.tables == ["events", "rows", "trades"]


@pytest.mark.parametrize(
    "save",
    [
        saved('"signal": entries'),
        saved('"position": np.cumsum(entries.astype(int) - exits), "close": close'),
        'at = bars["at_ns"][entries].astype("datetime64[ns]")\n'
        'save_table(output_dir, "rows", {"when": at, "close": close[entries]})',
        'save_table(output_dir, "rows", {"bar": np.flatnonzero(entries)})',
    ],
)
def test_signals_are_compared_however_they_are_dated(check, save):
    honest = "entries, exits = crossovers(average(close, 20), average(close, 100))"
    cheating = "entries, exits = crossovers(centred(close, 21), centred(close, 101))"

    assert check(body(honest, save)).verdict == "clean"
    assert check(body(cheating, save), name="cheats").verdict == "looks_ahead"


def test_positions_closed_at_the_end_of_the_data_are_no_look_ahead(check):
    closed = """
        entries, exits = crossovers(average(close, 20), average(close, 100))
        into, out = np.flatnonzero(entries), np.flatnonzero(exits)
        last = len(close) - 1
        out = np.array([out[out > bar][0] if (out > bar).any() else last for bar in into])
        rows = {"entry_bar": into, "exit_bar": out, "pnl": close[out] - close[into]}
    """

    assert check(body(closed, 'save_table(output_dir, "trades", rows)')).verdict == "clean"


# --- Looking ahead -------------------------------------------------------------------------------


@pytest.mark.parametrize("known", CHEATS)
def test_whoever_knows_the_future_is_found(check, known):
    found = check(body(CHEATS[known]))

    assert found.verdict == "looks_ahead"
    assert found.first is not None
    assert found.first.artifact == "trades"
    assert found.first.whole != found.first.cut
    assert found.first.bar <= found.first.cut_bar
    assert found.first.cut_bar in [cut.bar for cut in found.cuts if cut.state == "differs"]


@pytest.mark.parametrize("known", CHEATS)
def test_whoever_knows_the_future_is_found_by_the_signals(check, known):
    found = check(body(CHEATS[known], saved('"signal": entries')), cuts=3)

    assert found.verdict == "looks_ahead"


def test_one_bar_is_found_at_the_bar_of_the_decision(bench, check):
    known = """
        entries = np.append(close[1:], close[-1]) > close * 1.01
        exits = np.arange(len(close)) % 10 == 0
    """

    found = check(body(known), cuts=3)

    first = found.first
    assert first is not None
    run = bench.manifest(found.run_id)
    table = bench.store.get_table(
        bench.store.get_tree(run.outcome.links["artifacts"])["trades"].link
    )
    assert (first.column, first.cut) == ("entry_bar", "absent")
    assert first.whole == table["entry_bar"][first.row]
    assert first.bar == first.whole - 1 == first.cut_bar
    bars = bench.store.get_table(run.recipe.links["bars"])
    assert first.at_ns == bars["at_ns"][first.bar]
    assert first.cut_at_ns == bars["at_ns"][first.cut_bar]


def test_a_single_cell_is_named(check):
    spoilt = """
        signal = np.zeros(len(close))
        signal[100] = close[3000] if len(close) > 3000 else 0.0
    """

    found = check(body(spoilt, saved('"honest": close, "signal": signal')), cuts=2)

    first = found.first
    assert first is not None
    assert (first.artifact, first.column, first.row, first.bar) == ("rows", "signal", 100, 100)
    assert first.cut == 0.0
    assert first.whole > 0.0
    assert [cut.state for cut in found.cuts] == ["differs", "same"]
    assert first.cut_bar == found.cuts[0].bar
    assert not first.is_rounding


def test_the_first_decision_of_all_cuts_is_named(check):
    """A later cut shows an earlier decision: the earlier one is the first."""
    spoilt = """
        signal = np.zeros(len(close))
        signal[700] = len(close) > 1500
        signal[50] = not 1500 < len(close) < 4900
    """

    found = check(body(spoilt, saved('"signal": signal')), cuts=4)

    assert found.first is not None
    assert found.first.bar == 50


def test_a_row_that_is_only_in_the_cut_is_named(check):
    spoilt = 'at = 200 if len(close) < 3000 else 400\nrows = {"bar": [at], "size": [1.0]}'

    found = check(body(spoilt, 'save_table(output_dir, "rows", rows)'))

    first = found.first
    assert first is not None
    assert (first.bar, first.whole, first.cut) == (200, "absent", 200)


def test_an_exit_that_knew_better_is_found(check):
    best = """
        into = np.arange(100, len(close) - 300, 300)
        ahead = np.minimum(into + 250, len(close) - 1)
        out = np.array([a + int(close[a:b].argmax()) for a, b in zip(into, ahead)])
        rows = {"entry_bar": into, "exit_bar": out, "entry_price": close[into]}
    """

    found = check(body(best, 'save_table(output_dir, "trades", rows)'), cuts=20)

    assert found.first is not None
    assert found.first.column in ("entry_bar", "exit_bar")


def test_what_rounding_does_is_told_apart(check):
    spoilt = "level = close * (1.0 + 1e-15 * len(close))"

    found = check(body(spoilt, saved('"level": level')))

    assert found.verdict == "looks_ahead"
    assert found.first is not None
    assert found.first.is_rounding


def test_an_outcome_dated_by_its_question_is_ahead_and_a_second_date_mends_it(check):
    outcome = """
        into = np.arange(10, len(close) - 20, 7)
        net = close[into + 20] / close[into] - 1
        rows = {"at_ns": bars["at_ns"][into], "net": net}
    """
    save = 'save_table(output_dir, "rows", rows)'
    mended = 'rows["known_at_ns"] = bars["at_ns"][into + 20]\n'

    assert check(body(outcome, save)).verdict == "looks_ahead"
    # The row itself must not be held back until its outcome is known: then it is a trade.
    kept = outcome.replace("len(close) - 20, 7)", "len(close), 7)").replace(
        "net = close[into + 20]", "late = np.minimum(into + 20, len(close) - 1)\n net = close[late]"
    )
    mended = mended.replace("into + 20", "late")
    assert check(body(kept + mended, save), name="mended").verdict == "clean"


# --- Uncheckable ---------------------------------------------------------------------------------


def test_without_dates_there_is_nothing_to_check(check):
    undated = 'np.savetxt(output_dir / "close.csv", close)'
    save = 'save_table(output_dir, "sorted", {"close": np.sort(close)})'

    found = check(body(undated, save))

    assert found.verdict == "uncheckable"
    assert "at_ns" in found.reason
    assert found.cuts == ()
    assert list(found.undated) == ["close.csv", "sorted"]


def test_what_has_dates_is_checked_beside_what_has_none(check):
    found = check(body('(output_dir / "note.txt").write_text("a note")', saved('"close": close')))

    assert found.verdict == "clean"
    assert found.tables == ["rows"]
    assert list(found.undated) == ["note.txt"]


@pytest.mark.parametrize("kind", ["files", "both"])
def test_raw_files_cannot_be_cut(check, kind):
    spec = ON_BARS.replace('"bars"', f'"{kind}"')

    found = check("assert spec.files.is_dir()\nreturn {}", spec=spec)

    assert found.verdict == "uncheckable"
    assert "raw files" in found.reason


def test_without_data_there_is_nothing_to_cut(bench):
    found = check_look_ahead("gamma_signal_sanity", bench.context)

    assert found.verdict == "uncheckable"
    assert "no bars" in found.reason


def test_rows_that_all_lie_behind_the_cuts_prove_nothing(check):
    found = check(body("", 'save_table(output_dir, "rows", {"bar": [len(close) - 1]})'))

    assert found.verdict == "uncheckable"
    assert "before the last cut" in found.reason


def test_an_empty_table_proves_nothing(check):
    found = check(body("", 'save_table(output_dir, "rows", {"bar": [], "price": []})'))

    assert found.verdict == "uncheckable"


def test_an_experiment_that_needs_all_bars_is_uncheckable(check):
    needs = 'if len(close) < 5030: raise ValueError("too few bars")'

    found = check(body(needs, saved('"close": close')))

    assert found.verdict == "uncheckable"
    assert "ValueError: too few bars" in found.reason
    assert {cut.state for cut in found.cuts} == {"failed"}


def test_a_cut_that_fails_does_not_spoil_the_others(check):
    needs = 'if len(close) < 2000: raise ValueError("too few bars")'

    found = check(body(needs, saved('"close": close')))

    assert found.verdict == "clean"
    assert [cut.state for cut in found.cuts] == ["failed", "failed", "same", "same", "same"]
    assert found.cuts[0].error == "ValueError: too few bars"


def test_chance_is_told_from_knowledge(check):
    drawn = "import time\nnoise = time.perf_counter_ns() + np.zeros(len(close))"

    found = check(body(drawn, saved('"noise": noise')))

    assert found.verdict == "uncheckable"
    assert "not deterministic" in found.reason
    assert found.first is None


def test_three_bars_are_the_least(bench, check, tmp_path):
    from research.datasets.snapshot import add_snapshot

    for count in (2, 3):
        path = tmp_path / f"few{count}.csv"
        rows = [f"2020-01-0{day},10,11,9,10,5" for day in range(1, count + 1)]
        path.write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
        add_snapshot(bench.context, path, name=f"few{count}")

    run = body("", saved('"close": close'))
    assert "2 bars" in check(run, dataset="few2").reason
    three = check(run, dataset="few3")
    assert three.verdict == "clean"
    assert [cut.bar for cut in three.cuts] == [1]


# --- What stays as it was ------------------------------------------------------------------------


def test_nothing_of_the_cuts_is_left_in_the_store(bench, check):
    bench.experiment("tried", CROSSOVER, HEAD, ON_BARS)
    bench.run("tried")
    moves = len(list(bench.store.journal()))
    before = bench.store.stats()

    check(CROSSOVER)

    after = bench.store.stats()
    assert len(list(bench.store.journal())) == moves
    assert len(list(bench.store.runs())) == 1
    assert (after.objects, after.stored_bytes) == (before.objects, before.stored_bytes)
    assert bench.store.check().ok


def test_the_run_itself_is_recorded_once(bench, check):
    first, second = check(CROSSOVER), check(CROSSOVER)

    assert first == second
    assert [row.run_id for row in bench.store.runs()] == [first.run_id]
    assert pickle.loads(pickle.dumps(first)) == first


def test_parameters_seed_and_dataset_reach_the_cuts(check):
    wanted = 'assert (spec.parameters["a"]["b"], spec.seed) == (3, 9)\n' + CROSSOVER.strip()

    found = check(
        wanted,
        spec=f'{ON_BARS}, parameters={{"a": {{"b": 2}}}}',
        parameters={"a.b": 3},
        dataset="sp500-daily@1999-2018",
        seed=9,
    )

    assert found.verdict == "clean"


def test_refusals(bench, check):
    with pytest.raises(BadInput, match="cuts is 0"):
        check_look_ahead("sma_crossover", bench.context, 0)
    with pytest.raises(UnknownParameter):
        check_look_ahead("sma_crossover", bench.context, parameters={"no.such": 1})
    with pytest.raises(RunFailed):
        check("raise ValueError('broken')")


# --- The cuts ------------------------------------------------------------------------------------


def test_cuts_are_spread_evenly():
    assert choose_cuts(600, 5, set()) == [99, 199, 299, 399, 499]


def test_cuts_move_to_decisions_nearby():
    assert choose_cuts(600, 5, {0, 90, 240, 599}) == [90, 240, 299, 399, 499]


@pytest.mark.parametrize("bar_count", [3, 4, 5, 17, 1000])
@pytest.mark.parametrize("cuts", [1, 2, 5, 50])
def test_a_bar_follows_every_cut(bar_count, cuts):
    chosen = choose_cuts(bar_count, cuts, set(range(bar_count)))

    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(cuts, bar_count - 2)
    assert all(1 <= bar <= bar_count - 2 for bar in chosen)


def test_cut_bars_show_the_next_open_and_mislead_beyond_it(bench):
    bench.run("sma_crossover")
    bars = bench.store.get_table(bench.manifest(bench.store.resolve("@")).recipe.links["bars"])

    shown = cut_bars(bars, 500)

    assert all(len(column) == 502 for column in shown.values())
    for name, column in shown.items():
        assert np.array_equal(column[:501], bars[name][:501])
    for name in ("at_ns", "open", "volume"):
        assert shown[name][501] == bars[name][501]
    rise = bars["close"][501] / bars["open"][501]
    assert rise != 1.0
    assert shown["close"][501] / shown["open"][501] == pytest.approx(1 / rise)
    for row in range(1, 600):
        last = {name: float(column[-1]) for name, column in cut_bars(bars, row).items()}
        assert last["low"] <= min(last["open"], last["close"])
        assert max(last["open"], last["close"]) <= last["high"]
