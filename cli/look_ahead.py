"""How a check for look-ahead looks: the verdict, the cuts, and the first decision that knew."""

from typing import Any, Final

from cli import render
from research.experiments.export import instant_text
from research.experiments.look_ahead import Cut, Decision, LookAheadReport

_WORDS: Final = {"clean": "clean", "looks_ahead": "it looks ahead", "uncheckable": "uncheckable"}
_STYLES: Final = {"clean": "green", "looks_ahead": "red", "uncheckable": "yellow"}
_STATES: Final = {"same": "green", "differs": "red", "failed": "yellow"}


def print_look_ahead(found: LookAheadReport) -> None:
    """Print the verdict, the cuts, and the first decision that is not the same."""
    word = render.paint(_WORDS[found.verdict], _STYLES[found.verdict])
    render.line(f"\n{render.paint('Look-ahead', 'bold')}  {word}")
    if found.reason:
        render.paragraph(found.reason)
    if found.cuts:
        render.table(
            ["  CUT AFTER", "BAR", "ROWS", "UP TO THERE"],
            [_row(cut) for cut in found.cuts],
            right=(1, 2),
        )
    if found.verdict == "clean":
        render.paragraph(f"compared: {', '.join(found.tables)}")
    if found.undated:
        render.paragraph(f"without dates, and not compared: {', '.join(found.undated)}")
    if found.first is not None:
        _print_first(found.first)


def _row(cut: Cut) -> list[str]:
    state = render.paint(cut.state, _STATES[cut.state])
    return [
        f"  {_instant(cut.at_ns)}",
        str(cut.bar),
        str(cut.row_count) if cut.state != "failed" else "",
        f"{state}: {' '.join(cut.error.split())}" if cut.error else state,
    ]


def _print_first(first: Decision) -> None:
    render.heading("First decision that knew what came later")
    render.pairs(
        {
            "decided": f"{_instant(first.at_ns)}, bar {first.bar}",
            "table": first.artifact,
            "row": first.row,
            "column": first.column,
            "with all bars": _value(first.column, first.whole),
            "with the cut": _value(first.column, first.cut),
            "cut after": f"{_instant(first.cut_at_ns)}, bar {first.cut_bar}",
        }
    )
    if first.is_rounding:
        render.paragraph(
            "The two differ by rounding only: a transform or a sum over all bars goes into it."
        )


def _instant(at_ns: int) -> str:
    """Write an instant; a midnight as its day."""
    return instant_text(at_ns)[:19].replace("T", " ").removesuffix(" 00:00:00")


def _value(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    is_instant = column.endswith("at_ns") and isinstance(value, int)
    return _instant(value) if is_instant else repr(value)
