"""Nothing that a run holds can make a config that is not disabled."""

import inspect
import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from research.errors import Refused
from research.promotion import config
from research.promotion.config import SAFETY, config_text, is_safe, strategy_config

KEYS = [*SAFETY, "true", "no", "<<", "=", "---", "...", "- a", "? a", "!!python/object:os.system",
        "&anchor", "*anchor", "enabled: true", "'", '"', "#", "%YAML 1.2", "null", "~", "1", "1.0",
        "0x1", "2020-01-01", "\ufeff", "\x85", "\u2028enabled: true", "a\nenabled: true", "\t", " "]  # fmt: skip
TEXTS = st.sampled_from(KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | TEXTS
    | st.sampled_from([1e22, -0.0, 5e-324, 1e-7, float("nan"), float("inf"), float("-inf")])
)
VALUES = st.recursive(
    PLAIN, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=6
)
MAPS = st.dictionaries(TEXTS, VALUES, max_size=4)
LIVE = {"enabled": True, "mode": "LIVE", "requires_human_approval": False,
        "approvals": {"requires_human_approval": False, "approved_by": "me"},
        "safety": {"execution": "ENABLED"}}  # fmt: skip


def exact(value):
    """Tell true from 1, 1 from 1.0 and -0.0 from 0.0."""
    return repr(value)


@given(strategy=TEXTS, experiment=TEXTS, parameters=MAPS, provenance=MAPS, metrics=MAPS)
@example(strategy="a", experiment="a", parameters=LIVE, provenance=LIVE, metrics=LIVE)
@example(
    strategy="a\nenabled: true",
    experiment="x\n---\nenabled: true\n",
    parameters={"a": "x\n---\nenabled: true\n...", "<<": LIVE},
    provenance={"git": "!!python/object/apply:os.system ['true']"},
    metrics={"nan": float("nan"), "big": 2**64 - 1, "list": [[], {}, ""]},
)
def test_whatever_a_run_holds_the_config_is_disabled(
    strategy, experiment, parameters, provenance, metrics
):
    made = strategy_config(
        strategy=strategy,
        experiment=experiment,
        parameters=parameters,
        provenance=provenance,
        evidence={"metrics": metrics},
    )
    text = config_text(made)

    read = yaml.safe_load(text)
    assert read["enabled"] is False
    assert read["mode"] == "EVAL_ONLY"
    assert read["requires_human_approval"] is True
    assert read["approvals"] == {"requires_human_approval": True, "approved_by": None}
    assert read["safety"] == {"execution": "DISABLED"}
    assert exact(read) == exact(made)
    # Each of them stands once at the left margin, whatever reads the file line by line.
    lines = text.decode().splitlines()
    for line in ("enabled: false", "mode: EVAL_ONLY", "requires_human_approval: true"):
        key = line.partition(":")[0]
        assert [each for each in lines if re.match(rf"[\s\"']*{key}[\"']*\s*:", each)
                and not each.startswith((" ", "\t"))] == [line]  # fmt: skip
    assert len(list(yaml.safe_load_all(text))) == 1
    assert not re.search(r"(^|\s)[&*!]\w", re.sub(r"'[^']*'|\"[^\"]*\"", "", text.decode()))


def test_no_parameter_of_the_function_is_a_safety_field():
    names = set(inspect.signature(strategy_config).parameters)

    assert not names & {*SAFETY, "approved_by", "execution"}


def sound():
    return strategy_config(strategy="a", experiment="b", parameters={}, provenance={}, evidence={})


@pytest.mark.parametrize("key", SAFETY)
@pytest.mark.parametrize("value", [True, 0, 1, None, "false", "EVAL_ONLY ", "LIVE", {}, [], "gone"])
def test_a_config_that_is_not_safe_is_never_written(key, value):
    made = sound()
    made[key] = value
    if value == "gone":
        del made[key]
    if key == "requires_human_approval" and value is True:
        return

    assert not is_safe(made)
    with pytest.raises(Refused):
        config_text(made)


def test_what_reads_back_otherwise_is_not_written(monkeypatch):
    made = sound()

    monkeypatch.setattr(
        config.yaml, "dump", lambda data, **_: yaml.safe_dump({**data, "strategy": "other"})
    )
    with pytest.raises(Refused, match="does not read back"):
        config_text(made)
    monkeypatch.setattr(
        config.yaml, "dump", lambda data, **_: yaml.safe_dump({**data, "enabled": True})
    )
    with pytest.raises(Refused, match="would not be disabled"):
        config_text(made)
