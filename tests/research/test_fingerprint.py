"""The fingerprint: equal questions have equal ones, other questions others (Law 1)."""

from dataclasses import replace

import pytest

ROWS = "date,open,high,low,close,volume\n"


def bars(*closes):
    lines = [f"2020-01-{day:02},1,9,1,{close},10" for day, close in enumerate(closes, 1)]
    return ROWS + "\n".join(lines) + "\n"


def test_a_fingerprint_repeats_at_another_time_in_another_place(bench, new_bench, tmp_path):
    bench.experiment("place", "return {'a': 1.0}")
    other = new_bench("other place/ä")
    other.experiment("place", "return {'a': 1.0}")
    later = replace(other.context, now_ns=lambda: 4_000_000_000_000_000_000, agent="another agent")

    here = bench.run("place")
    there = type(bench)(later).run("place")

    assert here.manifest.recipe_id == there.manifest.recipe_id
    assert here.manifest.outcome_id == there.manifest.outcome_id
    assert here.manifest.run_id != there.manifest.run_id


def test_a_repeated_question_is_answered_and_executes_nothing(bench, monkeypatch):
    bench.experiment("once", "return {'a': 1.0}")
    first = bench.run("once")
    monkeypatch.setattr("research.experiments.capsule.Capsule._start", None)

    again = bench.run("once")

    assert again.is_cached
    assert again.manifest.run_id == first.manifest.run_id
    assert again.manifest.metrics == {"a": 1.0}


def test_the_code_is_in_the_fingerprint(bench):
    bench.experiment("coded", "return {'a': 1.0}")
    before = bench.run("coded")
    bench.experiment("coded", "return {'a': 2.0}")

    after = bench.run("coded")

    assert after.manifest.recipe_id != before.manifest.recipe_id
    assert (before.manifest.metrics, after.manifest.metrics) == ({"a": 1.0}, {"a": 2.0})


@pytest.mark.parametrize("where", ["module", "function", "second"])
def test_a_changed_helper_is_never_a_stale_answer(bench, where):
    imported = "from fees import fee" if where != "second" else "from between import fee"
    body = "return {'fee': fee()}"
    bench.write("between.py", "def fee():\n    import fees\n    return fees.fee()\n")
    bench.write("fees.py", "def fee():\n    return 1.0\n")
    if where == "function":
        bench.experiment("helped", f"{imported}\n{body}")
    else:
        bench.experiment("helped", body, head=imported)
    assert bench.run("helped").manifest.metrics == {"fee": 1.0}

    bench.write("fees.py", "def fee():\n    return 2.0\n")

    assert bench.run("helped").manifest.metrics == {"fee": 2.0}


def test_a_file_that_is_not_imported_is_not_in_the_fingerprint(bench):
    bench.experiment("alone")
    before = bench.fingerprint("alone")
    bench.write("fees.py", "FEE = 1\n")
    bench.experiment("other")

    assert bench.fingerprint("alone") == before


def test_the_data_is_in_the_fingerprint_its_name_is_not(bench, tmp_path):
    from research.datasets.snapshot import add_snapshot

    bench.experiment(
        "reads", "return {'c': float(spec.bars()['close'][1])}", spec="input_kind='bars'"
    )
    for name, text in {"a": bars(2, 3, 4), "same": bars(2, 3, 4), "other": bars(2, 5, 4)}.items():
        (tmp_path / "bars.csv").write_text(text)
        add_snapshot(bench.context, tmp_path / "bars.csv", name=name)

    # As many rows, another price: a hash of the row count would not see it.
    a, same, other = (bench.run("reads", dataset=name) for name in ("a", "same", "other"))

    assert same.is_cached
    assert same.manifest.recipe_id == a.manifest.recipe_id
    assert other.manifest.recipe_id != a.manifest.recipe_id
    assert (a.manifest.metrics["c"], other.manifest.metrics["c"]) == (3.0, 5.0)


def test_seed_and_parameters_are_in_the_fingerprint_the_name_is_not(bench):
    bench.experiment("asked", "return {}", spec="parameters={'a': 1.0, 'b': {'c': [1, 2]}}")
    found = {
        bench.fingerprint("asked"),
        bench.fingerprint("asked", seed=1),
        bench.fingerprint("asked", parameters={"a": 2}),
        bench.fingerprint("asked", parameters={"b.c[1]": 3}),
        bench.fingerprint("asked", parameters={"b.c": [1]}),
    }

    assert len(found) == 5
    assert bench.fingerprint("asked", parameters={"a": 1, "b.c[1]": 2.0}) in found
    first = bench.run("asked", called="first")
    second = bench.run("asked", called="second")
    assert second.is_cached
    assert second.manifest.run_id == first.manifest.run_id
    assert second.manifest.name == "second"


def test_a_name_is_not_taken_from_another_run(bench):
    from research.errors import NameTaken

    bench.experiment("asked", spec="parameters={'a': 1.0}")
    bench.run("asked", called="mine")
    before = len(list(bench.store.journal()))

    with pytest.raises(NameTaken):
        bench.run("asked", called="mine", parameters={"a": 2.0})

    assert len(list(bench.store.journal())) == before


def test_a_failed_run_gives_its_name_up(bench):
    bench.experiment("asked", "raise ValueError('no')")
    bench.failure("asked", called="mine")
    bench.experiment("asked", "return {'a': 1}")

    assert bench.run("asked", called="mine").manifest.metrics == {"a": 1}
    assert bench.manifest(bench.store.resolve("mine")).status == "completed"


@pytest.mark.parametrize("name", ["../../escape", "a/b", "", "-x", "a b", "deadbeef", "ä"])
def test_a_run_is_not_called_what_could_be_taken_for_something_else(bench, name):
    from rosdb.errors import BadName

    bench.experiment("asked")

    with pytest.raises(BadName):
        bench.run("asked", called=name)

    assert not list(bench.store.journal())
