"""Hit or miss, and why: the nearest earlier run and what differs, without running."""

import time

import pytest

from research.datasets.snapshot import add_snapshot
from research.errors import UnknownParameter
from research.experiments import capsule
from research.experiments.explain import CANDIDATES_MAX, explain
from rosdb import ObjectId

SPEC = "parameters={'a': 1.0, 'deep': {'list': [1, 2], 'empty': []}, 'none': None}"


@pytest.fixture
def asked(bench, monkeypatch):
    """Give a bench whose experiment has run once, and may not be run any more."""
    bench.write("fees.py", FEES)
    bench.experiment("asked", "return {'a': fees.fee()}", head="import fees", spec=SPEC)
    bench.run("asked")
    monkeypatch.setattr(capsule.Capsule, "_start", None)
    return bench


FEES = """\
RATE = 1


def fee():
    return RATE


class Model:
    size = 1

    def fit(self):
        return self.size

    @property
    def cost(self):
        return 2
"""


def explained(bench, name="asked", **options):
    return explain(bench.context, bench.request(name, **options))


def parts(found):
    return [(each.part, each.name, each.then, each.now) for each in found.differences]


def test_a_hit_names_the_run_that_answers(asked):
    found = explained(asked)

    assert (found.is_hit, found.differences) == (True, ())
    assert found.fingerprint == found.nearest.recipe_id


def test_without_an_earlier_run_there_is_nothing_to_compare(bench):
    bench.experiment("new")

    found = explained(bench, "new")

    assert (found.is_hit, found.nearest, found.differences) == (False, None, ())


def test_nothing_is_stored_and_nothing_runs(asked):
    before = len(list(asked.store.journal())), asked.store.stats().objects

    explained(asked, parameters={"a": 5.0}, seed=7)

    assert (len(list(asked.store.journal())), asked.store.stats().objects) == before


def test_the_fingerprint_is_that_of_the_run(asked):
    assert explained(asked, seed=7).fingerprint == asked.fingerprint("asked", seed=7)


def test_parameters_and_seed_are_named_with_both_values(asked):
    values = {"a": 2, "deep.list[1]": 5, "deep.empty": [3], "none": "x"}

    found = explained(asked, parameters=values, seed=1)

    assert parts(found) == [
        ("parameter", "a", 1.0, 2.0),
        ("parameter", "deep.empty", [], None),
        ("parameter", "deep.empty[0]", None, 3),
        ("parameter", "deep.list[1]", 2, 5),
        ("parameter", "none", None, "x"),
        ("seed", "seed", 42, 1),
    ]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("return RATE", "return 2 * RATE", ["fees.py: fee"]),
        ("return self.size", "return 3", ["fees.py: Model.fit"]),
        ("@property", "@staticmethod", ["fees.py: Model.cost"]),
        ("size = 1", "size = 2", ["fees.py: Model"]),
        ("RATE = 1", "RATE = 2", ["fees.py: module level"]),
        ("RATE = 1", "# A word.\nRATE = 1", ["fees.py: module level"]),
        ("def fee():", "def fee():\n    # A word.", ["fees.py: fee"]),
        ("def fee():", "def dues():", ["fees.py: dues", "fees.py: fee"]),
        ("return RATE", "return 3 * RATE\n\n\nMORE = 1", ["fees.py: fee", "fees.py: module level"]),
        ("class Model", "async def go():\n    pass\n\n\nclass Model", ["fees.py: go", "fees.py: module level"]),
    ],
)  # fmt: skip
def test_code_is_named_by_the_function_that_changed(asked, old, new, names):
    asked.write("fees.py", FEES.replace(old, new, 1))

    found = explained(asked)

    assert [(each.part, each.name) for each in found.differences] == [("code", n) for n in names]


def test_of_a_function_both_sources_are_given(asked):
    asked.write("fees.py", FEES.replace("return RATE", "return 7"))

    assert parts(explained(asked)) == [
        ("code", "fees.py: fee", "def fee():\n    return RATE\n", "def fee():\n    return 7\n")
    ]


def test_order_alone_is_a_difference_of_the_module_level(asked):
    asked.write("fees.py", "def a():\n    pass\ndef b():\n    pass\n" + FEES)
    from research.experiments.source_units import changed_units

    then = b"def a():\n    pass\ndef b():\n    pass\n"
    now = b"def b():\n    pass\ndef a():\n    pass\n"

    assert list(changed_units(then, now)) == ["module level"]
    assert changed_units(then, then) == {}


def test_files_that_came_and_went_are_named(asked):
    (asked.context.experiments_folder / "fees.py").unlink()
    asked.write("fees/__init__.py", FEES)
    asked.write("fees/rates.txt", "1")

    found = explained(asked)

    assert [(d.name, d.then is None, d.now is None) for d in found.differences] == [
        ("fees.py", False, True),
        ("fees/__init__.py", True, False),
    ]


def test_a_file_that_is_no_python_any_more_is_named_whole(asked):
    asked.experiment(
        "asked", "return {'a': fees.fee()}", head="import fees", spec=SPEC + ", include=['t.csv']"
    )
    asked.write("t.csv", "1")

    names = [(each.part, each.name) for each in explained(asked).differences]

    assert names == [("code", "asked.py: module level"), ("code", "t.csv")]


def test_the_dataset_is_named_with_its_files(bench, tmp_path):
    head = "date,open,high,low,close,volume\n2020-01-01,1,9,1,2,10\n"
    for number, rows in enumerate(("2020-01-02,1,9,1,3,10\n", "2020-01-02,1,9,1,4,10\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "bars.csv").write_text(head + rows)
        add_snapshot(bench.context, folder / "bars.csv", name="prices", version=str(number))
    bench.experiment("reads", "return {}", spec="input_kind='bars'")
    bench.run("reads", dataset="prices@0")

    found = explained(bench, "reads", dataset="prices@1")

    assert parts(found)[0] == ("dataset", "dataset", "prices@0", "prices@1")
    assert [each.name for each in found.differences] == ["dataset", "bars.csv"]
    bench.experiment("reads", "return {}", spec="input_kind='both'")
    both = explained(bench, "reads", dataset="prices@0")
    assert ("dataset", "input", "bars", "bars and files") in parts(both)


def test_the_environment_is_named_by_distribution_and_variable(bench, monkeypatch):
    from research.experiments import environment

    bench.experiment("uses", "import yaml\nreturn {}")
    bench.run("uses")
    described = environment.describe

    def other(foreign):
        found = described(foreign)
        replaced = {"pyyaml": {"version": "99.9", "record_hash": "0" * 64}}
        distributions = {**found["distributions"], **replaced}
        return {**found, "variables": {**found["variables"], "TZ": "CET"}, "libc": "musl",
                "distributions": distributions}  # fmt: skip

    then = described({"yaml"})
    monkeypatch.setattr(environment, "describe", other)

    assert parts(explained(bench, "uses")) == [
        ("environment", "TZ", "UTC", "CET"),
        ("environment", "libc", then["libc"], "musl"),
        ("environment", "pyyaml", then["distributions"]["pyyaml"]["version"], "99.9"),
    ]


def test_other_content_of_one_version_is_shown(bench, monkeypatch):
    from research.experiments import environment

    bench.experiment("uses", "import yaml\nreturn {}")
    bench.run("uses")
    monkeypatch.setattr(environment, "record_hash_of", lambda found: "f" * 64)

    changed = {each.name: (each.then, each.now) for each in explained(bench, "uses").differences}

    then, now = changed["pyyaml"]
    assert now.endswith("(ffffffffffff)")
    assert then != now


def test_the_nearest_comes_first_and_of_equals_the_newer(bench):
    bench.experiment("asked", "return {}", spec="parameters={'a': 1, 'b': 1, 'c': 1}")
    bench.run("asked", called="far", parameters={"a": 2, "b": 2, "c": 2})
    bench.run("asked", called="near", parameters={"a": 2, "b": 2})
    bench.run("asked", called="nearest", parameters={"a": 2})
    bench.run("asked", called="farther", parameters={"a": 3, "b": 3, "c": 3})

    assert explained(bench).nearest.name == "nearest"
    assert explained(bench, parameters={"c": 2, "b": 2, "a": 7}).nearest.name == "far"

    bench.run("asked", called="newer", parameters={"a": 5})
    assert explained(bench).nearest.name == "newer"


def test_a_failed_run_of_the_same_question_is_no_hit(bench):
    bench.experiment("fails", "raise ValueError('no')")
    failed = bench.failure("fails")

    found = explained(bench, "fails")

    assert (found.is_hit, found.nearest.run_id) == (False, failed.run_id)
    assert parts(found) == [("status", "status", "failed", None)]


def test_runs_of_other_experiments_and_replays_are_not_looked_at(asked):
    asked.experiment("other", spec=SPEC)

    assert explained(asked, "other").nearest is None


def test_what_cannot_be_asked_is_refused_as_by_a_run(asked):
    with pytest.raises(UnknownParameter):
        explained(asked, parameters={"b": 1})


def test_it_is_fast_among_thousands(asked):
    """The clock is generous; what is bounded is how many records are read."""
    run = asked.store.get_record(explained(asked).nearest.run_id)
    recipe = asked.store.get_record(run.links["recipe"])
    with asked.store.transaction("plant") as tx:
        for number in range(3000):
            fields = {**recipe.fields, "parameters": {**recipe.fields["parameters"], "a": -number}}
            links = {**run.links, "recipe": tx.put_record(recipe.schema, fields, recipe.links)}
            at = {**run.fields, "created_at_ns": run.fields["created_at_ns"] + number}
            run_id = tx.put_record(run.schema, at, links)
            tx.move_ref(f"runs/{run_id}", run_id, expected=None)
    explained(asked, seed=7)
    read: list[ObjectId] = []
    get = asked.store.get_record
    started = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked.store, "get_record", lambda i: read.append(i) or get(i))
        found = explained(asked, seed=7)

    assert time.perf_counter() - started < 2
    assert not found.is_hit
    assert CANDIDATES_MAX <= len(read) < 3 * CANDIDATES_MAX
