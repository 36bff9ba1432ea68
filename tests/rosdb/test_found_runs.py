"""Runs as an iterator, and as the frames of pandas and polars."""

from datetime import UTC, datetime

import pytest

from rosdb import errors, one_type


@pytest.fixture
def filled(store, put_run):
    put_run(store, parameters={"fast": 5, "deep": {"x": 0.5}}, metrics={"sharpe": 1, "ok": True})
    put_run(store, parameters={"fast": 10}, metrics={"sharpe": 0.5, "label": "é"}, name="best")
    put_run(store, parameters={"fast": 20}, status="failed", dataset=None, experiment="gamma")
    return store


def test_it_is_an_iterator_that_asks_when_it_is_asked(filled, put_run):
    found = filled.runs("params.fast > 5")
    broken = filled.runs("params.fast >")
    late = put_run(filled, parameters={"fast": 50})

    assert next(found).run_id == late
    assert len(list(found)) == 2
    assert list(found) == []
    with pytest.raises(errors.BadExpression):
        next(broken)


def test_columns_have_one_type_each(filled):
    columns = filled.runs().columns()

    assert list(columns)[:3] == ["run", "name", "experiment"]
    assert columns["params.fast"] == [20, 10, 5]
    assert columns["params.deep.x"] == [None, None, 0.5]
    assert columns["metrics.sharpe"] == [None, 0.5, 1.0]
    assert columns["metrics.ok"] == [None, None, True]
    assert columns["dataset"] == [None, "sp500", "sp500"]
    assert columns["created"][0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert filled.runs("fast = 1e9").columns()["run"] == []


@pytest.mark.parametrize(
    ("values", "one"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, True, "a", None, 0.1], ["1", "true", "a", None, "0.1"]),
        ([2**64 - 1, 1], [2.0**64, 1.0]),
        ([None, None], [None, None]),
        ([True, None], [True, None]),
    ],
)
def test_a_column_of_several_types_is_made_one(values, one):
    made = one_type(values)

    assert made == one
    assert list(map(type, made)) == list(map(type, one))


def test_pandas_and_polars_have_the_same_columns_and_types(filled):
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    pandas, polars = filled.runs().to_pandas(), filled.runs().to_polars()

    assert list(pandas.columns) == polars.columns == list(filled.runs().columns())
    assert str(pandas["params.fast"].dtype) == "Int64"
    assert str(pandas["metrics.ok"].dtype) == "boolean"
    assert str(pandas["metrics.sharpe"].dtype) == "float64"
    assert str(pandas["created"].dt.tz) == "UTC"
    assert polars["created"].to_list() == filled.runs().columns()["created"]
    assert polars["metrics.sharpe"].to_list() == [None, 0.5, 1.0]
    assert polars["name"].to_list() == [None, "best", None]
    assert filled.runs("fast = 1e9").to_pandas().empty
    assert filled.runs("fast = 1e9").to_polars().is_empty()


def test_a_damaged_run_stays_in_the_frame(filled, fate):
    run = filled.resolve("best")
    fate.lose(filled, filled.get_record(run).links["recipe"])

    columns = filled.runs().columns()

    assert columns["status"] == ["failed", "damaged", "completed"]
    assert columns["run"][1] == str(run)
    assert columns["params.fast"] == [20, None, 5]
