"""``ros sweep``: its document, its table, its exit statuses."""


def test_a_sweep_and_the_same_again(ros):
    ros.ok("init")
    words = ("sweep", "sma_crossover", "--grid", "fast=5,10", "--grid", "costs.taker_fee_bps=0,5")

    first = ros.json(*words)

    assert (first["total"], first["executed"], first["cached"], first["failed"]) == (4, 4, 0, 0)
    assert [each["params"] for each in first["runs"]] == [
        {"costs.taker_fee_bps": fee, "fast": fast} for fee in (0, 5) for fast in (5, 10)
    ]
    assert len({each["metrics"]["total_return"] for each in first["runs"]}) == 4
    assert {len(each["run"]) for each in first["runs"]} == {64}
    again = ros.json(*words, "--jobs", "1")
    assert (again["executed"], again["cached"]) == (0, 4)
    assert [each["run"] for each in again["runs"]] == [each["run"] for each in first["runs"]]
    text = ros.ok(*words).text
    assert "4 points: 0 executed, 4 from the store, 0 failed" in text
    assert "costs.taker_fee_bps" in text
    assert len(ros.json("log", "--all")) == 4


def test_an_inert_axis_is_told(ros):
    ros.ok("init")
    done = ros("sweep", "sma_crossover", "--grid", "costs.borrow_bps_per_year=0,5")

    assert done.status == 0
    assert "costs.borrow_bps_per_year changes no outcome" in done.error


def test_what_cannot_be_swept(ros):
    ros.ok("init")
    for words, complaint in (
        (("--grid", "nothing=1,2"), "nothing"),
        (("--grid", "fast"), "K=V1,V2"),
        ((), "at least one axis"),
        (("--grid", "fast=1,2", "--param", "fast=3"), "by --param and by --grid"),
        (("--grid", "fast=1,2", "--early-stop", "soon"), "early-stop"),
    ):
        done = ros("sweep", "sma_crossover", *words)
        assert done.status == 2
        assert complaint in done.error
    assert ros("sweep", "no_such_thing", "--grid", "a=1").status == 3


ODD = """
from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="odd", parameters={"a": 0})


def run(spec, output_dir):
    return {"q": 10 / (spec.parameters["a"] - 2)}
"""


def test_a_failed_point_is_told_with_its_reason(ros):
    ros.ok("init")
    (ros.folder / "research" / "experiments" / "odd.py").write_text(ODD)

    done = ros("sweep", "odd", "--grid", "a=1,2,3", "--timeout", "1m", "--memory", "1GiB")

    assert done.status == 4
    assert "failed with ZeroDivisionError: division by zero (ros show " in done.error
    rows = [line.split() for line in done.text.splitlines()[1:]]
    assert rows[0] == ["a", "run", "status", "q"]
    assert [row[2:] for row in rows[1:]] == [["completed", "-10"], ["failed"], ["completed", "10"]]
    document = ros("sweep", "odd", "--grid", "a=1,2,3", "--json")
    assert document.status == 4


def test_means_that_cannot_be(ros):
    ros.ok("init")
    for words, complaint in (
        (("--jobs", "0"), "--jobs 0: at least 1"),
        (("--executor", "dask"), "--executor 'dask': one of local, ray"),
        (("--timeout", "soon"), "--timeout 'soon'"),
        (("--memory", "much"), "--memory 'much'"),
    ):
        done = ros("sweep", "sma_crossover", "--grid", "fast=5,10", *words)
        assert done.status == 2
        assert complaint in done.error
    assert ros.json("log") == []
