"""The settings of the gates: what is not said is the default, what is not known is refused."""

import tomllib
from dataclasses import asdict

import pytest

import research.promotion
from research import workspace
from research.errors import BadInput
from research.promotion.gate_settings import (
    FILE,
    INTEGRITY,
    OTHERS,
    Bounds,
    GateSettings,
    read_settings,
)


def read(folder, text):
    (folder / FILE).write_text(text)
    return read_settings(folder)


def test_what_init_writes_is_the_defaults_all_of_them_spelled_out(tmp_path):
    workspace.init(tmp_path, bare=False)

    said = tomllib.loads((tmp_path / FILE).read_text())
    assert read_settings(tmp_path).bounds == Bounds()
    assert said["bounds"] == asdict(Bounds())
    assert said["gates"] == dict.fromkeys(OTHERS, "warn")
    assert said["profile"] == GateSettings().profile == "default"


def test_init_leaves_a_file_that_is_there(tmp_path):
    (tmp_path / FILE).write_text('profile = "strict"\n')

    workspace.init(tmp_path, bare=False)

    assert read_settings(tmp_path).profile == "strict"


def test_a_bare_workspace_has_none_and_the_defaults(tmp_path):
    workspace.init(tmp_path, bare=True)

    assert not (tmp_path / FILE).exists()
    assert read_settings(tmp_path) == GateSettings()


def test_what_is_said_holds_and_the_rest_is_the_default(tmp_path):
    found = read(tmp_path, '[gates]\ntrades = "refuse"\ncosts = "off"\n[bounds]\ntrades_min = 7\n')

    assert found.action("trades") == "refuse"
    assert found.action("costs") == "off"
    assert found.action("drawdown") == "warn"
    assert found.bounds == Bounds(trades_min=7)


@pytest.mark.parametrize("text", ["", 'profile = "strict"', '[gates]\nclean = "off"'])
def test_integrity_always_refuses(tmp_path, text):
    found = read(tmp_path, text)

    assert {found.action(gate) for gate in INTEGRITY} == {"refuse"}


def test_under_the_strict_profile_every_gate_refuses(tmp_path):
    found = read(tmp_path, 'profile = "strict"\n[gates]\ntrades = "warn"\n')

    assert {found.action(gate) for gate in (*INTEGRITY, *OTHERS)} == {"refuse"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profil = 'strict'", "did you mean 'profile'"),
        ("[gate]", "did you mean 'gates'"),
        ("[gates]\ntrade = 'warn'", "did you mean 'trades'"),
        ("[gates]\nzzz = 'warn'", "known: clean"),
        ("[bounds]\ntrades_mim = 3", "did you mean 'trades_min'"),
        ("profile = 'lax'", '"default" or "strict"'),
        ("profile = ['strict']", '"default" or "strict"'),
        ("gates = 3", "is a section"),
        ("bounds = []", "is a section"),
        ("[gates]\ntrades = true", '"warn", "refuse" or "off"'),
        ("[gates]\ntrades = ['warn']", '"warn", "refuse" or "off"'),
        ("[gates]\nreplay = 'warn'", "always refuses"),
        ("[gates]\nclosure = 'off'", "always refuses"),
        ("profile = 'strict'\n[gates]\ncosts = 'off'", "under the strict profile none is"),
        ("[bounds]\ntrades_min = -1", "from 0 on, not -1"),
        ("[bounds]\ntrades_min = 1.5", "a whole number"),
        ("[bounds]\ntrades_min = true", "a whole number"),
        ("[bounds]\ndeflated_sharpe_min = 1.1", "from 0 to 1"),
        ("[bounds]\ndeflated_sharpe_min = nan", "from 0 to 1"),
        ("[bounds]\ndrawdown_max = inf", "from 0 to 1"),
        ("[bounds]\ncost_multiple = 0.5", "from 1 to 100"),
        ("[bounds]\noverfitting_max = '0.2'", "a number"),
        ("profile = 'strict", "cannot be read"),
        ("a" * 70_000, "longer than"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, text, said):
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)

    assert FILE in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_no_default(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(BadInput, match="cannot read"):
        read_settings(tmp_path)
    (tmp_path / FILE).rmdir()
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="cannot be read"):
        read_settings(tmp_path)


def test_a_promotion_reads_the_file_before_it_does_anything(bench, monkeypatch):
    from research.promotion import promote

    bench.experiment("plain", "return {}")
    run_id = bench.run("plain").manifest.run_id
    (bench.folder / FILE).write_text("[bounds]\ndrawdown = 0.1\n")
    monkeypatch.setattr(promote, "ask_gates", lambda case: pytest.fail("it asked"))

    with pytest.raises(BadInput, match="did you mean 'drawdown_max'"):
        promote.promote(bench.context, run_id, "plain")
    assert research.promotion
