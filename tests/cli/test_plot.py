"""Two curves in one plot, told apart without colour."""

import pytest

from cli import plot


def drawn(first, second, width=60, height=6, paint=lambda text, style: text):
    return plot.curves(first, second, width, height, paint)


def dots(lines):
    return sum(bin(ord(c) - 0x2800).count("1") for line in lines for c in line if c >= "⠀")


def test_the_first_is_solid_and_the_second_is_dashed():
    times = list(range(100))
    flat, high = [0.0] * 100, [1.0] * 100

    lines = drawn((times, flat), (times, high))

    assert lines[0].endswith(" b")
    assert lines[-1].endswith(" a")
    assert "⠀⠀" in lines[0].strip("⠀")  # gaps
    assert "⠀" not in lines[-1]
    assert lines[0].startswith("1 ")
    assert lines[-1].startswith("0 ")
    assert max(map(len, lines)) <= 60
    # A steep move is seen wherever it falls.
    for place in range(1, 100):
        step = [0.0] * place + [1.0] * (100 - place)
        found = drawn((times, flat), (times, step))
        assert all(line[2:].strip("⠀ ab") for line in found)


def test_what_lies_later_is_drawn_later():
    early, late = ([0, 1, 2], [1.0, 2.0, 3.0]), ([10, 11, 12], [1.0, 2.0, 3.0])

    only_early, only_late = drawn(early, ([0, 12], [1.0, 1.0])), drawn(late, ([0, 12], [1.0, 1.0]))

    assert only_early != only_late
    assert "a" not in only_early[0]  # it ends before the time does
    assert only_late[0].endswith(" a")


def test_colour_is_for_what_belongs_to_one_curve():
    painted = []

    def paint(text, style):
        if style:
            painted.append(style)
        return text

    drawn(([0, 1], [0.0, 0.0]), ([0, 1], [0.0, 0.0]), paint=paint)
    assert painted.count("cyan") > 0
    painted.clear()
    drawn(([0, 1], [0.0, 0.0]), ([0, 1], [1.0, 1.0]), paint=paint)
    assert set(painted) == {"cyan", "yellow"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_a_gap(value):
    times = [0, 1, 2, 3]

    assert drawn((times, [value] * 4), (times, [value] * 4)) == []
    some = drawn((times, [1.0, value, 1.0, 1.0]), (times, [value] * 4))
    assert 0 < dots(some) < dots(drawn((times, [1.0] * 4), (times, [value] * 4)))
