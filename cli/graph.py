"""Lineage drawn beside a list, as ``git log --graph`` draws it.

Owns the lanes. Each line of the list is a node that has at most one parent, further down: a replay
the run that it replays, a sweep its newest run, a run of a sweep the next older one::

    *      a replay of the last line
    | o    a sweep of two runs
    | *
    | *
    *      the run that was replayed
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A line of the list: what it is called, and what it comes from, if that is listed below."""

    id: str
    parent: str | None
    sign: str = "*"


def draw(nodes: Sequence[Node]) -> Iterator[tuple[str, Node | None]]:
    """Return the lines of the drawing, each with its node; those that join lanes have none."""
    places = {node.id: place for place, node in enumerate(nodes)}
    lanes: list[str | None] = []
    ended: tuple[int, bool] | None = None  # the lane of the last node, and whether it came from one
    for place, node in enumerate(nodes):
        has_parent = node.parent is not None and places.get(node.parent, -1) > place
        waiting = [number for number, wanted in enumerate(lanes) if wanted == node.id]
        for number in reversed(waiting[1:]):
            yield _join(lanes, waiting[0], number), None
            lanes[number] = None
            _close(lanes)
        if waiting:
            mine = waiting[0]
        else:
            mine = next((n for n, wanted in enumerate(lanes) if wanted is None), len(lanes))
            if ended is not None and ended[0] == mine and (ended[1] or has_parent):
                yield _row(lanes, mine, " "), None  # or it would look like the last one's parent
            lanes[mine : mine + 1] = [node.id]
        yield _row(lanes, mine, node.sign), node
        lanes[mine] = node.parent if has_parent else None
        ended = None if has_parent else (mine, bool(waiting))
        _close(lanes)


def _row(lanes: Sequence[str | None], mine: int, sign: str) -> str:
    signs = [sign if n == mine else " " if lane is None else "|" for n, lane in enumerate(lanes)]
    return " ".join(signs).rstrip()


def _join(lanes: Sequence[str | None], target: int, source: int) -> str:
    """Draw a lane that ends in another on its left: ``|/``, and ``|_|/`` over one between."""
    drawn = list(" ".join(" " if lane is None else "|" for lane in lanes))
    drawn[2 * source] = " "
    drawn[2 * source - 1] = "/"
    for column in range(2 * target + 1, 2 * source - 1):
        if drawn[column] == " ":
            drawn[column] = "_"
    return "".join(drawn).rstrip()


def _close(lanes: list[str | None]) -> None:
    while lanes and lanes[-1] is None:
        lanes.pop()
