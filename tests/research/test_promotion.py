"""Promotion: gates first, then the record, then the file; nothing half-written stays."""

import os

import pytest
import yaml

from research.errors import BadStrategyName, Refused
from research.promotion import promote as promoter
from research.promotion.config import is_safe
from rosdb import errors

promote = promoter.promote


def configs(bench):
    return bench.folder / "configs" / "strategies"


def promotions(bench):
    return [move for move in bench.store.journal() if move.ref.startswith("promotions/")]


@pytest.fixture
def gamma(copied):
    return copied.store.resolve("gamma")


def test_a_promotion_writes_a_disabled_config_with_its_evidence(copied, gamma):
    made = promote(copied.context, gamma, "trend")

    assert made.path == configs(copied) / "trend.yaml"
    assert made.path.read_bytes() == made.text
    read = yaml.safe_load(made.text)
    manifest = copied.manifest(gamma)
    assert read["enabled"] is False
    assert read["mode"] == "EVAL_ONLY"
    assert read["requires_human_approval"] is True
    assert read["approvals"] == {"requires_human_approval": True, "approved_by": None}
    assert read["strategy_type"] == "gamma_signal_sanity"
    assert read["parameters"] == manifest.parameters
    assert read["provenance"]["run_id"] == str(gamma)
    assert read["provenance"]["fingerprint"] == str(manifest.recipe_id)
    assert read["provenance"]["outcome_id"] == str(manifest.outcome_id)
    assert read["evidence"]["metrics"] == manifest.metrics
    assert read["evidence"]["replay"]["verdict"] == "identical"
    assert read["evidence"]["closure"]["verified_objects"] > 5
    assert os.listdir(configs(copied)) == ["trend.yaml"]


def test_a_promotion_is_recorded_with_what_it_rests_on(copied, gamma):
    made = promote(copied.context, gamma, "trend")

    record = copied.store.get_record(made.record)
    assert copied.store.ref("promotions/trend") == made.record
    assert set(record.links) == {"run", "outcome", "verdict", "config"}
    assert record.links["run"] == gamma
    assert copied.store.get_blob(record.links["config"]) == made.text
    verdict = copied.store.get_record(record.links["verdict"])
    assert verdict.fields["verdict"] == "identical"
    assert copied.store.check().ok


def test_a_second_promotion_supersedes_the_first(copied, gamma):
    first = promote(copied.context, gamma, "trend")
    second = promote(copied.context, copied.store.resolve("momentum"), "trend")
    third = promote(copied.context, gamma, "trend")

    for earlier, later in ((first, second), (second, third)):
        assert copied.store.get_record(later.record).links["supersedes"] == earlier.record
    assert third.path.read_bytes() == third.text
    assert len(promotions(copied)) == 3


def test_a_dry_run_writes_nothing(copied, gamma):
    made = promote(copied.context, gamma, "trend", dry_run=True, config_dir=copied.folder / "new")

    assert made.record is None
    assert is_safe(made.config)
    assert not (copied.folder / "new").exists()
    assert promotions(copied) == []


def test_the_folder_is_made(copied, gamma):
    made = promote(copied.context, gamma, "trend", config_dir=copied.folder / "new" / "deep")

    assert made.path == copied.folder / "new" / "deep" / "trend.yaml"
    assert made.path.exists()


@pytest.mark.parametrize(
    "name",
    ["../../escape", "..", ".", "", "a/b", "/tmp/escape", "Upper", "-a", "_a", "a b", "a\n", "a.b",
     "é", "a\x00", "x" * 65, "a\\b", "~a", "$HOME"],
)  # fmt: skip
def test_a_name_is_never_a_path(copied, gamma, name):
    before = sorted(copied.folder.rglob("*"))

    with pytest.raises(BadStrategyName):
        promote(copied.context, gamma, name)

    assert sorted(copied.folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["a", "0", "null", "true", "no", "1e3", "a_b-c", "x" * 64])
def test_a_name_that_yaml_could_take_for_something_else_stays_text(copied, gamma, name):
    made = promote(copied.context, gamma, name)

    assert yaml.safe_load(made.path.read_text())["strategy"] == name


def refused(bench, run_id, reason, strategy="trend", **options):
    before = {path: path.lstat().st_mtime_ns for path in configs(bench).iterdir()}
    with pytest.raises(Refused, match=reason):
        promote(bench.context, run_id, strategy, **options)
    assert promotions(bench) == []
    assert {path: path.lstat().st_mtime_ns for path in configs(bench).iterdir()} == before


def test_a_failed_run_is_refused(copied):
    refused(copied, copied.store.resolve("broken"), "gate completed: the run failed")


def test_a_replay_is_refused(copied, gamma):
    from research.experiments.replay import replay

    replayed = replay(copied.context, gamma).replayed.run_id

    refused(copied, replayed, "gate completed: it is a replay")


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_damaged_closure_is_refused(copied, fate, gamma, harm):
    artifacts = copied.manifest(gamma).outcome.links["artifacts"]
    target = copied.store.get_tree(artifacts)["series_summary.json"].link
    if harm == "missing":
        fate.lose(copied.store, target)
    else:
        fate.damage(copied.store, target)

    refused(copied, gamma, f"gate closure: object {target} is {harm}")


def test_a_run_that_does_not_replay_is_refused(bench):
    bench.experiment(
        "chance",
        "save_table(output_dir, 't', {'a': [time.time_ns()]})\nreturn {}",
        head="import time\nfrom research import save_table",
    )
    run_id = bench.run("chance").manifest.run_id

    refused(bench, run_id, "gate replay: diverged at t, column a, row 0")


@pytest.mark.parametrize(
    "text",
    ["", "enabled: true\n", "strategy: trend\nenabled: true\nmode: LIVE\n", "not: [yaml"],
)
def test_a_file_that_is_not_ours_is_not_overwritten(copied, gamma, text):
    (configs(copied) / "trend.yaml").write_text(text)

    refused(copied, gamma, "written or changed by hand")

    assert (configs(copied) / "trend.yaml").read_text() == text


def test_a_file_that_was_enabled_by_hand_is_neither_kept_as_ours_nor_overwritten(copied, gamma):
    made = promote(copied.context, gamma, "trend")
    edited = made.text.replace(b"enabled: false", b"enabled: true")
    made.path.write_bytes(edited)

    with pytest.raises(Refused, match="changed by hand"):
        promote(copied.context, gamma, "trend")

    assert made.path.read_bytes() == edited


def test_a_file_of_another_strategy_is_not_ours(copied, gamma):
    other = promote(copied.context, gamma, "other")
    (configs(copied) / "trend.yaml").write_bytes(other.text)

    with pytest.raises(Refused, match="written or changed by hand"):
        promote(copied.context, gamma, "trend")


@pytest.mark.parametrize("target", ["nothing", "a file", "our own text"])
def test_a_link_is_not_followed(copied, gamma, tmp_path, target):
    outside = tmp_path / "outside.yaml"
    if target == "a file":
        outside.write_text("enabled: true\n")
    elif target == "our own text":
        outside.write_bytes(promote(copied.context, gamma, "trend", dry_run=True).text)
    before = outside.read_bytes() if outside.exists() else None
    (configs(copied) / "trend.yaml").symlink_to(outside)

    refused(copied, gamma, "symbolic link")

    assert (outside.read_bytes() if outside.exists() else None) == before


def test_a_folder_in_the_files_place_is_refused(copied, gamma):
    (configs(copied) / "trend.yaml").mkdir()

    refused(copied, gamma, "is no file")


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_recorded(
    copied, gamma, monkeypatch
):
    (copied.folder / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        promote(copied.context, gamma, "trend", config_dir=copied.folder / "file")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError):
        promote(copied.context, gamma, "trend")

    assert promotions(copied) == []
    assert os.listdir(configs(copied)) == []


def test_a_crash_between_record_and_file_is_mended_by_promoting_again(copied, gamma, monkeypatch):
    first = promote(copied.context, gamma, "trend")

    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(promoter, "_write", crash)
        with pytest.raises(Crash):
            promote(copied.context, copied.store.resolve("momentum"), "trend")
    # Recorded, and the file is still the one before: ours, so it may be replaced.
    assert len(promotions(copied)) == 2
    assert first.path.read_bytes() == first.text

    again = promote(copied.context, copied.store.resolve("momentum"), "trend")

    assert again.path.read_bytes() == again.text
    assert copied.store.get_blob(
        copied.store.get_record(copied.store.ref("promotions/trend")).links["config"]
    ) == again.text  # fmt: skip


def test_a_disk_that_fills_up_leaves_no_half_file(copied, gamma, monkeypatch):
    import rosdb.disk

    promote(copied.context, copied.store.resolve("momentum"), "trend")
    before = (configs(copied) / "trend.yaml").read_bytes()
    write = rosdb.disk.write_synced

    def full(handle, data):
        if str(configs(copied)) in handle.name:
            handle.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        write(handle, data)

    monkeypatch.setattr(rosdb.disk, "write_synced", full)
    with pytest.raises(errors.StoreUnwritable, match="No space"):
        promote(copied.context, gamma, "trend")

    assert os.listdir(configs(copied)) == ["trend.yaml"]
    assert (configs(copied) / "trend.yaml").read_bytes() == before


def test_a_run_that_says_it_is_live_is_promoted_as_disabled(bench):
    live = {"enabled": True, "mode": "LIVE", "requires_human_approval": False,
            "approvals": {"approved_by": "me"}, "safety": {"execution": "ENABLED"}}  # fmt: skip
    text = "x\n---\nenabled: true\nmode: LIVE\n"
    bench.experiment(
        "enabled",
        f"return {{'enabled': True, 'mode': 'LIVE', 'text': {text!r}, 'nan': float('nan')}}",
        spec=f"parameters={live | {text: text}!r}",
    )
    run_id = bench.run("enabled").manifest.run_id

    made = promote(bench.context, run_id, "enabled")

    read = yaml.safe_load(made.path.read_text())
    assert is_safe(read)
    assert read["parameters"]["enabled"] is True
    assert read["parameters"][text] == text
    assert len(list(yaml.safe_load_all(made.path.read_text()))) == 1
