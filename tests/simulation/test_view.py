"""What a strategy may look at: nothing of later bars, and each indicator once."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation import indicators as formulas
from research.simulation.errors import InvalidBars, LookAhead
from research.simulation.view import Indicators, Past, View, views


@pytest.fixture
def bars(make_bars):
    return make_bars([10.0, 11.0, 12.0, 13.0, 14.0])


def test_view_ends_at_its_bar(bars):
    view = View(bars, 2)
    close = view["close"]

    assert (len(close), close[-1], close[2], close[-3], close[0]) == (3, 12.0, 12.0, 10.0, 10.0)
    assert close[:].tolist() == list(close) == [10.0, 11.0, 12.0]
    assert close[-2:].tolist() == [11.0, 12.0]
    assert close[0:3].tolist() == [10.0, 11.0, 12.0]
    assert close[::-1].tolist() == close[2::-1].tolist() == [12.0, 11.0, 10.0]
    assert np.asarray(close, dtype=np.int64).tolist() == [10, 11, 12]
    assert float(np.mean(close)) == 11.0
    assert set(view) == set(bars)
    assert view.bar == 2


def test_view_cannot_be_moved(bars):
    view = View(bars, 2)
    with pytest.raises(AttributeError):
        view.bar = 4
    assert len(view["close"]) == 3


@pytest.mark.parametrize(
    ("ask", "asked"),
    [
        (lambda close: close[3], 3),
        (lambda close: close[np.int64(4)], 4),
        (lambda close: close[99], 99),
        (lambda close: close[0:4], 3),
        (lambda close: close[-1:5], 4),
        (lambda close: close[4:], 3),
        (lambda close: close[3::-1], 3),
        (lambda close: close[: len(close) + 1], 3),
    ],
)
def test_whoever_asks_for_a_later_bar_is_told(bars, ask, asked):
    with pytest.raises(LookAhead) as caught:
        ask(View(bars, 2)["close"])

    assert (caught.value.column, caught.value.bar, caught.value.asked) == ("close", 2, asked)
    assert str(caught.value) == f"at bar 2 nothing is known of close at bar {asked}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_no_array_of_a_view_leads_to_a_later_bar(bars):
    past = View(bars, 1)["close"]
    for array in (past[:], past[-1:], np.asarray(past), np.asarray(past, dtype=np.float64)):
        owner = array
        while owner is not None:
            assert len(owner) <= 2
            owner = owner.base


def test_view_cannot_be_written_to(bars):
    with pytest.raises(ValueError, match="read-only"):
        View(bars, 1)["close"][:][0] = 5.0
    with pytest.raises(TypeError):
        View(bars, 1)["close"][0] = 5.0
    assert bars["close"][0] == 10.0
    assert bars["close"].flags.writeable  # the caller's own stay as they were


def test_before_the_first_bar_there_is_nothing(bars):
    with pytest.raises(IndexError, match="begins 3 bars back, not 4"):
        View(bars, 2)["close"][-4]


def test_column_that_is_not_there(bars):
    with pytest.raises(InvalidBars, match="spread"):
        View(bars, 2)["spread"]
    with pytest.raises(InvalidBars, match="spread"):
        Indicators(bars).column("spread")


ENDS = st.none() | st.integers(-8, 8)


@given(bar=st.integers(0, 5), start=ENDS, stop=ENDS, step=st.sampled_from([None, 1, 2, -1, -2]))
def test_a_slice_is_the_arrays_or_is_refused(bar, start, stop, step):
    """A slice of the whole that reaches behind the bar is refused; any other is the same."""
    which = slice(start, stop, step)
    whole = np.arange(6.0)
    names_later = any(end is not None and end > bar + 1 for end in (start, stop))
    try:
        found = Past("close", whole, bar)[which]
    except LookAhead:
        assert names_later or (start == bar + 1 and step is not None and step < 0)
    else:
        assert not names_later
        assert found.tolist() == whole[: bar + 1][which].tolist()


def test_views_go_from_the_first_bar_to_the_last(bars):
    assert [view.bar for view in views(bars)] == [0, 1, 2, 3, 4]
    assert [view["close"][-1] for view in views(bars)] == bars["close"].tolist()


def test_each_indicator_is_computed_once_for_its_parameters(bars, monkeypatch):
    asked = []

    def counted(name):
        original = getattr(formulas, name)

        def compute(*arguments):
            asked.append((name, *arguments[-1:]))
            return original(*arguments)

        monkeypatch.setattr(formulas, name, compute)

    for name in (
        "simple_moving_average",
        "exponential_moving_average",
        "relative_strength_index",
        "donchian_channel",
        "bollinger_bands",
    ):
        counted(name)
    indicators = Indicators(bars)
    for _ in range(2):
        indicators.simple_moving_average(2)
        indicators.simple_moving_average(3)
        indicators.simple_moving_average(2, "open")
        indicators.exponential_moving_average(2)
        indicators.relative_strength_index(2)
        indicators.donchian_channel(2)
        indicators.bollinger_bands(2, 1.0)
        indicators.bollinger_bands(2, 2.0)
    assert len(asked) == 8 + 2  # each pair of bands takes its middle from the formula
    assert indicators.simple_moving_average(2) is indicators.simple_moving_average(2)


def test_kept_indicators_are_the_formulas_and_read_only(bars):
    indicators = Indicators(bars)
    close, high, low = bars["close"], bars["high"], bars["low"]
    found = [
        indicators.simple_moving_average(2),
        indicators.exponential_moving_average(2),
        indicators.relative_strength_index(2),
        *indicators.donchian_channel(2),
        *indicators.bollinger_bands(2, 1.5),
        indicators.simple_moving_average(2, "open"),
    ]
    expected = [
        formulas.simple_moving_average(close, 2),
        formulas.exponential_moving_average(close, 2),
        formulas.relative_strength_index(close, 2),
        *formulas.donchian_channel(high, low, 2),
        *formulas.bollinger_bands(close, 2, 1.5),
        formulas.simple_moving_average(bars["open"], 2),
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 1.0
    assert len(indicators) == 5
