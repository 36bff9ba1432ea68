"""Why the figures of two runs are not the same, as people read it and as a document."""

from fractions import Fraction
from typing import Any, Final

from cli import render
from cli.context import terminal
from research.experiments.because import INPUTS_MAX, Attribution, Because

_DIGITS: Final = 4
_CELL_WIDTH: Final = 13


def print_because(found: Because) -> None:
    """Print the inputs, and how the change of each metric is shared out among them."""
    render.heading("Because")
    if not found.inputs:
        _print_no_inputs(found)
        return
    numbers = {each.name: str(place) for place, each in enumerate(found.inputs, 1)}
    render.paragraph(_told_method(found))
    render.table(
        ["", "INPUT", "A", "B"],
        [
            [numbers[each.name], each.name, _value(each.name, each.a), _value(each.name, each.b)]
            for each in found.inputs
        ],
        indent="  ",
    )
    for each in found.failed:
        error = each.manifest.error or {}
        swapped = ", ".join(each.swapped) or "nothing swapped"
        told = f"with {swapped}, run {render.short(each.manifest.run_id)}"
        render.paragraph(f"failed: {told}: {error.get('message', each.manifest.status)}")
    if found.drift:
        render.paragraph(
            "Runs are made in today's environment, which is not the recorded one:"
            f" {'; '.join(found.drift)}. What that changes stands under ENVIRONMENT."
        )
    if found.a.nondeterminism or found.b.nondeterminism:
        render.paragraph("A run read the clock or chance: part of a share may be that.")
    _print_shares(found, numbers)
    for reason in dict.fromkeys(found.unexplained.values()):
        names = [name for name, each in found.unexplained.items() if each == reason]
        render.line()
        render.paragraph(f"Not shared out, for {reason}: {', '.join(names)}.")


def _print_no_inputs(found: Because) -> None:
    if found.a.recipe_id == found.b.recipe_id:
        render.line("  one question: nothing can be swapped; what differs is chance")
    else:
        render.paragraph(
            "They differ in their environments alone, which cannot be swapped here:"
            " ros replay --rebuild-env makes a recorded one anew."
        )


def _told_method(found: Because) -> str:
    new = sum(not each.is_cached for each in found.between)
    runs = f"{render.count(len(found.between), 'run')}, {new} of them made now"
    if found.method == "all orders":
        return (
            "Each input's share of the change: what its swap adds, on average over all orders of"
            f" swapping (Shapley values). {runs}."
        )
    why = (
        f"more than {INPUTS_MAX} inputs differ"
        if len(found.inputs) > INPUTS_MAX
        else (f"{render.count(len(found.failed), 'run')} in between failed")
    )
    return (
        f"What each input changes by itself: {why}, so shares cannot be exact. What only several"
        f" together change stands under REMAINDER. {runs}."
    )


def _print_shares(found: Because, numbers: dict[str, str]) -> None:
    """Print the metrics that changed, a column for each input, as many beside another as fit."""
    changed = {name: each for name, each in found.metrics.items() if each.change}
    if not changed:
        render.line("\n  no metric changed")
        return
    columns = [(number, name) for name, number in numbers.items()]
    if any(each.environment for each in changed.values()):
        columns.append(("ENVIRONMENT", ""))
    if any(each.remainder for each in changed.values()):
        columns.append(("REMAINDER", ""))
    room = terminal().width - max(map(len, changed)) - _CELL_WIDTH - 4
    width = max(1, room // _CELL_WIDTH)
    for start in range(0, len(columns), width):
        shown = columns[start : start + width]
        render.line()
        render.table(
            ["", "CHANGE", *(title for title, _ in shown)],
            [
                [name, _signed(each.change), *(_cell(each, *column) for column in shown)]
                for name, each in changed.items()
            ],
            right=range(1, len(shown) + 2),
            indent="  ",
        )


def _cell(each: Attribution, title: str, name: str) -> str:
    if title == "ENVIRONMENT":
        return _signed(each.environment)
    if title == "REMAINDER":
        return _signed(each.remainder)
    share = each.shares[name]
    return "unknown" if share is None else _signed(share)


def _signed(share: Fraction) -> str:
    return render.signed(float(share), _DIGITS) or "0"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    return render.short(value) if name == "code" else render.number(value)


def document(found: Because) -> dict[str, Any]:
    """Return what each change is due to as plain values; floats are the nearest to the shares."""
    return {
        "method": found.method,
        "inputs": [{"name": each.name, "a": each.a, "b": each.b} for each in found.inputs],
        "runs": [
            {
                "swapped": list(each.swapped),
                "run": str(each.manifest.run_id),
                "cached": each.is_cached,
                "status": each.manifest.status,
                "error": None if each.manifest.error is None else dict(each.manifest.error),
            }
            for each in found.between
        ],
        "environment": list(found.drift),
        "metrics": {name: _attribution(each) for name, each in found.metrics.items()},
        "unexplained": dict(found.unexplained),
    }


def _attribution(each: Attribution) -> dict[str, Any]:
    return {
        "a": each.a,
        "b": each.b,
        "change": float(each.change),
        "shares": {n: None if s is None else float(s) for n, s in each.shares.items()},
        "alone": {n: None if s is None else float(s) for n, s in each.alone.items()},
        "environment": float(each.environment),
        "remainder": float(each.remainder),
    }
