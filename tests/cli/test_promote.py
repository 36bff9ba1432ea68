"""`ros trials`, `ros promote` with its gates, `--verify`, `ros promotions`, and holdouts."""

import pytest

from cli.exits import NO, NOT_FOUND, USAGE
from research.promotion.gates import GATES


@pytest.fixture
def quick(copied):
    """Give a workspace whose gates run nothing but the replay."""
    (copied.folder / "promotion.toml").write_text('[gates]\nlook_ahead = "off"\ncosts = "off"\n')
    return copied


def test_trials_are_counted_and_drawn(finished):
    done = finished.inside("trials", "sma_crossover")

    assert done.status == 0
    assert "sma_crossover on sp500-daily" in done.text
    assert "trials      2\n" in done.text
    assert "Sharpe ratios of 2 trials" in done.text
    assert "█" in done.text
    found = finished.json("trials", "sma_crossover")
    best = max(finished.json("log", "--experiment", "sma_crossover"), key=lambda run: run["metrics"]["sharpe"])  # fmt: skip
    assert (found["count"], found["failed"], found["effective"]) == (2, 0, 2)
    assert found["best"]["run"] == best["run"]
    assert found["best"]["dsr"] < found["best"]["psr"]
    assert sum(each["count"] for each in found["histogram"]) == 2


def test_trials_of_nothing(finished):
    finished.inside("trials", "sma").failed(NOT_FOUND, "no tried experiment is called 'sma'")
    finished.inside("trials", "odd", "--dataset", "x").failed(NOT_FOUND, "dataset")
    assert finished.json("trials", "broken")["failed"] == 1
    assert finished.json("trials", "odd")["best"] is None


def test_the_deflated_ratio_stands_beside_the_raw_one(finished):
    text = finished.inside("show", "sma").text
    (line,) = [line for line in text.splitlines() if line.startswith("  sharpe ")]

    deflated = finished.json("show", "sma")["deflated"]
    assert f"dsr {deflated['deflated']:.4f}: 2 trials)" in line
    assert finished.json("show", "gamma")["deflated"] is None


def test_a_dry_run_shows_every_gate(quick):
    done = quick.inside("promote", "sma", "--strategy", "s", "--dry-run")

    assert done.status == 0
    table = done.text.partition("Gates\n")[2].partition("\n\n")[0]
    shown = [line.split()[:2] for line in table.splitlines()]
    assert [gate for _, gate in shown] == list(GATES)
    assert ["off", "costs"] in shown
    assert "would write configs/strategies/s.yaml" in done.text
    assert "\x1b" not in done.text


def test_a_gate_that_refuses_ends_with_one(quick):
    (quick.folder / "promotion.toml").write_text(
        '[gates]\nlook_ahead = "off"\ncosts = "off"\ntrades = "refuse"\n[bounds]\ntrades_min = 500\n'
    )
    quick.inside("promote", "sma", "--strategy", "s").failed(
        NO, "gate trades: 31 trades, below 500", "--dry-run"
    )
    shown = quick.inside("promote", "sma", "--strategy", "s", "--dry-run", "--json")

    assert shown.status == NO
    assert shown.document["refused"] is True
    assert (shown.document["config"], shown.document["promotion"]) == (None, None)
    assert not (quick.folder / "configs" / "strategies" / "s.yaml").exists()
    assert quick.json("promotions") == []


def test_settings_that_cannot_be_are_one_line(quick):
    (quick.folder / "promotion.toml").write_text("[gates]\ntrade = 'warn'\n")

    quick.inside("promote", "sma", "--strategy", "s").failed(USAGE, "did you mean 'trades'?")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sma"],
        ["--strategy", "s"],
        [],
        ["sma", "--verify", "x"],
        ["--verify", "x", "--dry-run"],
        ["--verify", "x", "--strategy", "s"],
    ],
)
def test_what_does_not_go_together(finished, arguments):
    finished.inside("promote", *arguments).failed(USAGE)


def test_a_config_is_verified_and_the_history_listed(quick):
    path = quick.json("promote", "sma", "--strategy", "trend")["path"]
    good = quick.inside("promote", "--verify", path)
    assert (good.status, "promoted" in good.text) == (0, True)
    text = (quick.folder / path).read_text()
    (quick.folder / "old.yaml").write_text(text)
    quick.json("promote", "gamma", "--strategy", "trend")

    old = quick.inside("promote", "--verify", "old.yaml")
    edited = text.replace("enabled: false", "enabled: true").replace("mode: EVAL_ONLY", 'mode: "\\e[2J"')  # fmt: skip
    (quick.folder / "edited.yaml").write_text(edited)
    bad = quick.inside("promote", "--verify", "edited.yaml")
    (quick.folder / "foreign.yaml").write_text("enabled: true\n")
    foreign = quick.inside("promote", "--verify", "foreign.yaml", "--json")

    assert (old.status, "superseded" in old.text) == (NO, True)
    assert bad.status == NO
    assert "\x1b" not in bad.text
    fields = [line.split()[0] for line in bad.text.partition("Edited since")[2].splitlines()[2:]]
    assert fields == ["enabled", "mode"]
    assert (foreign.status, foreign.document["verdict"]) == (NO, "foreign")
    quick.inside("promote", "--verify", "no.yaml").failed(USAGE, "no.yaml")
    history = quick.json("promotions", "trend")
    assert [each["state"] for each in history] == ["current", "superseded"]
    assert history[0]["supersedes"] == history[1]["promotion"]
    listed = quick.inside("promotions").text.splitlines()
    assert len(listed) == 3
    assert "superseded" in listed[2]
    quick.inside("promotions", "trand").failed(NOT_FOUND, "trend")


def test_a_holdout_is_marked_and_its_openings_are_shown(quick):
    assert quick.inside("data", "mark", "sp500-daily").status == USAGE
    assert "now a holdout" in quick.inside("data", "mark", "sp500-daily", "--holdout").text
    assert "already a holdout" in quick.inside("data", "mark", "sp500-daily", "--holdout").text

    assert quick.json("data", "show", "sp500-daily")["holdout"] is True
    assert "HOLDOUT" in quick.inside("data", "list").text
    assert quick.json("trials", "sma_crossover")["holdouts"] == {"sp500-daily@1999-2018": 2}
    shown = quick.inside("promote", "sma", "--strategy", "s", "--dry-run").text
    assert "warn     holdout" in shown
    (quick.folder / "kept.txt").write_text("kept")
    made = quick.json("data", "add", "kept.txt", "--name", "kept", "--holdout")
    assert made["holdout"] is True
    assert quick.json("data", "add", "kept.txt", "--name", "kept")["holdout"] is True


def test_the_log_has_the_deflated_ratio_as_a_column(finished):
    rows = finished.json("log", "--columns", "run,sharpe,dsr")

    for row in rows:
        deflated = finished.json("show", row["run"])["deflated"]
        assert row["dsr"] == (None if deflated is None else deflated["deflated"])
    assert sum(row["dsr"] is not None for row in rows) == 2
    finished.inside("log", "--columns", "dsr2").failed(USAGE, "dsr")
