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
    assert "axis costs.borrow_bps_per_year is inert" in done.error


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
    assert rows[0] == ["RUN", "a", "STATUS", "q"]
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
        (("--memory", "5"), "--memory 5: 5 bytes, in which nothing runs"),
        (("--grid", "seed=1,2"), "a seed is given by --seed"),
    ):
        done = ros("sweep", "sma_crossover", "--grid", "fast=5,10", *words)
        assert done.status == 2
        assert complaint in done.error
    assert ros.json("log") == []


def test_a_sweep_is_shown_by_its_id(ros):
    ros.ok("init")
    grid = ("--grid", "fast=5,150,10", "--grid", "slow=100", "--grid", "size.value=1.0")
    done = ros.ok("sweep", "sma_crossover", *grid)
    document = ros.json("sweep", "sma_crossover", *grid)

    shown = ros.ok("show", document["sweep"][:10]).text
    again = ros.json("show", document["sweep"])

    assert "1 point skipped: sma_crossover needs fast < slow; fast is 150" in done.error
    assert "3 points: 2 executed, 0 from the store, 1 skipped, 0 failed" in done.text
    table = done.text.splitlines()[1:]
    assert table[0] == "with size.value=1, slow=100"
    assert [row.split()[1] for row in table[1:]] == ["fast", "5", "10"]
    assert shown.splitlines()[0] == f"sweep {document['sweep']}"
    assert shown.splitlines()[-len(table) :] == table
    assert [each["run"] for each in again["runs"]] == [each["run"] for each in document["runs"]]
    assert [each["status"] for each in again["runs"]] == ["completed", "completed", "skipped"]
    ros("show", f"{document['sweep']}:trades").failed(3, "no run")


def test_what_was_not_run_is_told_apart(ros):
    ros.ok("init")
    (ros.folder / "research" / "experiments" / "odd.py").write_text(ODD)

    done = ros("sweep", "odd", "--grid", "a=2,3,4,5", "--fail-fast", "--jobs", "1")

    assert done.status == 4
    assert "4 points: 1 executed, 0 from the store, 3 not run, 1 failed" in done.text
    assert "more" not in done.text


def test_a_null_is_a_value(ros):
    ros.ok("init")
    text = ros.ok("sweep", "sma_crossover", "--grid", "risk.max_drawdown=null,0.5").text

    assert [row.split()[1] for row in text.splitlines()[2:]] == ["0.5", "null"]
