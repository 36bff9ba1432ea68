"""`ros promote --verify`: promoted, superseded, edited since, or none of ours."""

import copy
import shutil

import pytest
import yaml

from research.context import create_experiment_context
from research.errors import BadInput, NotThere
from research.promotion.config import SAFETY, STRATEGY_PATTERN, config_text, strategy_config
from research.promotion.gate_settings import FILE
from research.promotion.promote import promote
from research.promotion.promotions import promotions
from research.promotion.verify import BYTES_MAX, verify_config
from rosdb import errors


@pytest.fixture(scope="module")
def promoted(benches):
    """Give a workspace in which `trend` was promoted twice and `other` once."""
    bench = benches()
    (bench.folder / FILE).write_text('[gates]\nlook_ahead = "off"\ncosts = "off"\n')
    bench.experiment(
        "toy",
        "return {'sharpe': 1.0}",
        spec="parameters={'k': 0, 'list': [1, 2], 'deep': {'a': 1}}",
    )
    for strategy, k in (("trend", 0), ("trend", 1), ("other", 0)):
        promote(bench.context, bench.run("toy", parameters={"k": k}).manifest.run_id, strategy)
    yield bench
    bench.store.close()


def text_of(bench, strategy, back=0):
    """Return the config of a strategy's promotion, so many before the newest."""
    return bench.store.get_blob(list(promotions(bench.store, strategy))[back].config)


def verified(bench, tmp_path, content, name="trend.yaml"):
    path = tmp_path / name
    path.write_bytes(content)
    return verify_config(bench.context, path)


def test_what_was_promoted_last_is_promoted(promoted):
    path = promoted.folder / "configs" / "strategies" / "trend.yaml"
    found = verify_config(promoted.context, path)

    assert found.verdict == "promoted"
    assert found.is_promoted
    assert found.promotion == found.current == promoted.store.ref("promotions/trend")
    assert (found.strategy, found.changes) == ("trend", ())


def test_what_was_promoted_before_is_superseded(promoted, tmp_path):
    found = verified(promoted, tmp_path, text_of(promoted, "trend", 1))

    assert found.verdict == "superseded"
    assert not found.is_promoted
    assert found.current == promoted.store.ref("promotions/trend")
    assert found.promotion != found.current


def test_the_bytes_decide_and_not_the_files_name(promoted, tmp_path):
    found = verified(promoted, tmp_path, text_of(promoted, "other"), "trend.yaml")

    assert (found.verdict, found.strategy) == ("promoted", "other")


def leaves(value, path=()):
    """List every leaf of a config by its path."""
    if isinstance(value, dict) and value:
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from leaves(item, (*path, place))
    else:
        yield path


def spelled(path):
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def test_each_field_that_is_edited_is_named(promoted, tmp_path):
    original = yaml.safe_load(text_of(promoted, "trend"))
    paths = list(leaves(original))
    assert len(paths) > 80
    for path in paths:
        config = copy.deepcopy(original)
        holder = config
        for part in path[:-1]:
            holder = holder[part]
        holder[path[-1]] = "edited"

        found = verified(promoted, tmp_path, yaml.safe_dump(config).encode())

        assert found.verdict == "edited", path
        assert [change.field for change in found.changes] == [spelled(path)]
        assert found.changes[0].found == "edited"
        assert found.changes[0].is_safety == (path[0] in SAFETY)


@pytest.mark.parametrize(
    ("edit", "field", "was", "is_now"),
    [
        (lambda c: c.update(enabled=True), "enabled", False, True),
        (lambda c: c.update(enabled=0), "enabled", False, 0),
        (lambda c: c.pop("mode"), "mode", "EVAL_ONLY", "absent"),
        (lambda c: c.update(extra=1), "extra", "absent", 1),
        (lambda c: c["parameters"].update(list=[1]), "parameters.list", [1, 2], [1]),
        (lambda c: c["approvals"].update(approved_by="me"), "approvals.approved_by", None, "me"),
    ],
)
def test_what_it_was_and_what_it_is(promoted, tmp_path, edit, field, was, is_now):
    config = yaml.safe_load(text_of(promoted, "trend"))
    edit(config)

    (change,) = verified(promoted, tmp_path, yaml.safe_dump(config).encode()).changes

    assert (change.field, change.promoted, change.found) == (field, was, is_now)


def test_an_edit_is_told_of_the_promotion_that_it_is_nearest_to(promoted, tmp_path):
    edited = text_of(promoted, "trend", 1).replace(b"enabled: false", b"enabled: true", 1)

    found = verified(promoted, tmp_path, edited)

    assert [change.field for change in found.changes] == ["enabled"]
    assert found.promotion != promoted.store.ref("promotions/trend")


def test_safety_fields_stand_first(promoted, tmp_path):
    config = yaml.safe_load(text_of(promoted, "trend"))
    config["strategy_id"], config["mode"] = "x", "LIVE"

    found = verified(promoted, tmp_path, yaml.safe_dump(config).encode())

    assert [change.field for change in found.changes] == ["mode", "strategy_id"]


def test_another_form_of_the_same_is_edited_all_the_same(promoted, tmp_path):
    found = verified(promoted, tmp_path, text_of(promoted, "trend") + b"# mine\n")

    assert (found.verdict, found.changes) == ("edited", ())
    assert "its form alone" in found.explanation


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just text",
        b"- a\n- b\n",
        b"not: [yaml",
        b"\xff\xfe\x00",
        b"!!python/object/apply:os.system ['true']",
        b"strategy: nobody\nenabled: false\n",
        b"strategy: ../../etc/passwd\n",
        b"strategy: [trend]\n",
        b"a: &a [1]\nb: [*a, *a]\nstrategy: trend\n",
        b"[" * 20_000,
        b"strategy: trend\nmode: !!binary x\n",
    ],
)
def test_what_is_none_of_ours_is_foreign(promoted, tmp_path, content):
    found = verified(promoted, tmp_path, content, "stranger.yaml")

    assert found.verdict == "foreign"
    assert found.explanation
    assert found.promotion is None


def test_values_that_only_yaml_has_are_told_as_text(promoted, tmp_path):
    config = text_of(promoted, "trend") + b"day: 2020-01-01\nset: !!set {a}\n"

    changes = verified(promoted, tmp_path, config).changes

    assert [type(change.found) for change in changes] == [str, str]


def test_a_config_of_another_store_is_not_ours(promoted, benches, tmp_path):
    other = benches()
    (other.folder / FILE).write_text('[gates]\nlook_ahead = "off"\ncosts = "off"\n')
    other.experiment("toy", "return {'sharpe': 1.0}", spec="parameters={'k': 0}")
    theirs = promote(other.context, other.run("toy").manifest.run_id, "trend").text

    found = verified(promoted, tmp_path, theirs)
    there = verified(other, tmp_path, text_of(promoted, "trend"))

    assert (found.verdict, there.verdict) == ("edited", "edited")
    assert "provenance.run_id" in [change.field for change in found.changes]
    assert verified(other, tmp_path, text_of(promoted, "other"), "x.yaml").verdict == "foreign"
    other.store.close()


def test_what_is_no_config_at_all(promoted, tmp_path):
    with pytest.raises(OSError, match="nothing"):
        verify_config(promoted.context, tmp_path / "nothing.yaml")
    with pytest.raises(IsADirectoryError):
        verify_config(promoted.context, tmp_path)
    (tmp_path / "long").write_bytes(b" " * (BYTES_MAX + 1))
    with pytest.raises(BadInput, match="it is no config"):
        verify_config(promoted.context, tmp_path / "long")


def test_a_promotion_that_is_damaged_is_an_error_and_no_verdict(promoted, fate, tmp_path):
    shutil.copytree(promoted.folder, tmp_path / "copy")
    context = create_experiment_context(tmp_path / "copy")
    fate.damage(context.store, context.store.ref("promotions/trend"))

    with pytest.raises(errors.ObjectCorrupt):
        verify_config(context, tmp_path / "copy" / "configs" / "strategies" / "trend.yaml")
    context.store.close()


def test_the_history_keeps_what_is_superseded(promoted):
    found = list(promotions(promoted.store))

    assert [(each.strategy, each.is_current) for each in found] == [
        ("other", True), ("trend", True), ("trend", False),
    ]  # fmt: skip
    newest, oldest = found[1], found[2]
    assert newest.supersedes == oldest.promotion
    assert oldest.supersedes is None
    assert newest.created_at_ns > oldest.created_at_ns
    assert newest.who == promoted.store.who
    assert promoted.store.get_blob(oldest.config) == text_of(promoted, "trend", 1)
    assert "drawdown" in newest.warnings
    assert [each.promotion for each in promotions(promoted.store, "trend")] == [
        newest.promotion, oldest.promotion,
    ]  # fmt: skip
    with pytest.raises(NotThere) as caught:
        list(promotions(promoted.store, "trand"))
    assert caught.value.near == ("trend",)
    assert STRATEGY_PATTERN.fullmatch("trend")


def test_a_promotion_of_an_earlier_release_is_verified_listed_and_superseded(benches, tmp_path):
    bench = benches()
    bench.experiment("toy", "return {'sharpe': 1.0}")
    manifest = bench.run("toy").manifest
    evidence = {"closure": {"verified_objects": 9}, "metrics": dict(manifest.metrics)}
    text = config_text(
        strategy_config(
            strategy="old",
            experiment="toy",
            parameters=manifest.parameters,
            provenance={},
            evidence=evidence,
        )
    )
    folder = bench.folder / "configs" / "strategies"
    with bench.store.transaction("promote old") as tx:
        links = {
            "run": manifest.run_id,
            "outcome": manifest.outcome_id,
            "config": tx.put_blob(text),
        }
        record = tx.put_record("promotion/v1", {"strategy": "old", "evidence": evidence}, links)
        tx.move_ref("promotions/old", record, expected=None)
    (folder / "old.yaml").write_bytes(text)

    (entry,) = promotions(bench.store)
    assert (entry.created_at_ns, entry.who, entry.profile, entry.warnings) == (None, None, None, ())
    assert verify_config(bench.context, folder / "old.yaml").verdict == "promoted"
    made = promote(bench.context, manifest.run_id, "old")
    assert bench.store.get_record(made.record).links["supersedes"] == record
    assert verified(bench, tmp_path, text, "old.yaml").verdict == "superseded"
    bench.store.close()
