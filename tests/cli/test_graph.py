"""The drawing of lineage: every node once, in order, in a lane that leads to its parent."""

from hypothesis import given
from hypothesis import strategies as st

from cli.graph import Node, draw


def drawn(*nodes: tuple[str, str | None]) -> list[str]:
    lines = draw([Node(id=name, parent=parent) for name, parent in nodes])
    return [f"{prefix:<5} {node.id}" if node else prefix for prefix, node in lines]


def test_a_replay_stands_on_its_run():
    assert drawn(("r", "a"), ("b", None), ("a", None)) == ["*     r", "| *   b", "*     a"]


def test_two_replays_join():
    assert drawn(("s", "a"), ("r", "a"), ("a", None)) == ["*     s", "| *   r", "|/", "*     a"]


def test_a_lane_passes_over_those_between():
    nodes = (("s", "a"), ("q", "b"), ("r", "a"), ("a", None), ("b", None))
    assert drawn(*nodes) == ["*     s", "| *   q", "| | * r", "|_|/", "* |   a", "  *   b"]


def test_what_ends_is_not_taken_for_a_child_of_the_next():
    assert drawn(("r", "a"), ("a", None), ("b", None)) == ["*     r", "*     a", "", "*     b"]
    assert drawn(("b", None), ("r", "a"), ("a", None)) == ["*     b", "", "*     r", "*     a"]
    assert drawn(("a", None), ("b", None)) == ["*     a", "*     b"]
    assert drawn(("a", "elsewhere"), ("b", "a")) == ["*     a", "*     b"]


@st.composite
def histories(draw_: st.DrawFn) -> list[Node]:
    count = draw_(st.integers(0, 12))
    parents = [draw_(st.none() | st.integers(place + 1, count + 2)) for place in range(count)]
    return [Node(id=str(n), parent=None if p is None else str(p)) for n, p in enumerate(parents)]


@given(histories())
def test_whoever_follows_a_lane_down_comes_to_the_parent(nodes):
    lines = list(draw(nodes))
    assert [node for _, node in lines if node] == nodes
    places = {node.id: row for row, (_, node) in enumerate(lines) if node}

    for row, (prefix, node) in enumerate(lines):
        assert prefix == prefix.rstrip()
        if node is None:
            continue
        assert prefix.count("*") == 1
        if node.parent not in places:
            continue
        column = prefix.index("*")
        for below, _ in lines[row + 1 : places[node.parent]]:
            below = below.ljust(80)
            if column and below[column] not in "|*" and below[column - 1] == "/":
                column = joined(below, column)
            assert below[column] == "|", (prefix, below)
        assert lines[places[node.parent]][0][column] == "*"


def joined(line: str, column: int) -> int:
    """Follow a lane that goes left: over the underscores, to the lane that it joins."""
    at = column - 1
    while at > 0 and (
        line[at - 1] == "_" or (line[at - 1] == "|" and line[at - 2 : at - 1] == "_")
    ):
        at -= 1
    return at - 1
