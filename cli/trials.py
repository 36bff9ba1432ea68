"""``ros trials``: what was tried of an experiment, and what the best of it is worth."""

from typing import Annotated, Any

import typer

from cli import render
from cli.context import open_context, say
from research.promotion import trials as reporter
from research.promotion.trials import Best, Report

_BAR_WIDTH = 26
_FULL, _PLAIN = "█", "#"

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def trials(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="its id")],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="[that of its newest run]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Count what was tried of an experiment on a dataset, and say what the best of it is worth.

    Runs that are gone are counted; replays and answers from the store are not.
    """
    found = reporter.report(open_context(), experiment, dataset)
    if as_json:
        render.emit(_document(found))
        return
    _print(found)
    for name, count in found.others.items():
        told = f"on {name}: --dataset {name}" if name else "on no dataset"
        say(f"{render.count(count, 'more trial')} {told}")


def _document(found: Report) -> dict[str, Any]:
    best, effective = found.best, found.effective
    deflated = None if best is None else best.deflated
    return {
        "experiment": found.family.experiment,
        "dataset": found.family.dataset or None,
        "count": found.count,
        "failed": found.failed_count,
        "effective": None if effective is None else effective.count,
        "compared": None if effective is None else effective.sample_count,
        "sharpe": reporter.quantiles(found.sharpes),
        "histogram": [
            {"low": each.low, "high": each.high, "count": each.count}
            for each in reporter.histogram(found.sharpes)
        ],
        "expected_maximum_sharpe": None if best is None else _expected(best),
        "best": None
        if best is None
        else {
            "run": str(best.run_id),
            "sharpe": best.sharpe,
            "dsr": None if deflated is None else deflated.deflated,
            "psr": None if deflated is None else deflated.probabilistic,
            "deflated": None if deflated is None else deflated.to_fields(),
            "reason": best.reason or None,
        },
        "holdouts": {each.dataset: each.count for each in found.openings},
        "others": {name: count for name, count in found.others.items() if name},
    }


def _expected(best: Best) -> float | None:
    """Return the maximum that luck shows, on the scale of the metric."""
    if best.deflated is None or best.deflated.per_year is None:
        return None
    return best.deflated.expected_maximum * best.deflated.per_year


def _print(found: Report) -> None:
    render.line(render.paint(found.family.label, "bold"))
    failed = f", {found.failed_count} without an answer" if found.failed_count else ""
    shown: dict[str, Any] = {"trials": f"{found.count}{failed}"}
    if found.effective is not None:
        each = found.effective
        of = f"{each.sample_count}" if each.sample_count == each.total else (
            f"a sample of {each.sample_count} from {each.total}"
        )  # fmt: skip
        shown["effective"] = f"{each.count}, by the likeness of the returns of {of}"
    if found.best is not None:
        shown |= _told_of(found.best)
    for opening in found.openings:
        times = render.count(opening.count, "trial")
        shown[f"holdout {opening.dataset}"] = f"opened by {times}"
    render.pairs(shown)
    if len(found.sharpes) > 1:
        _print_histogram(found)


def _told_of(best: Best) -> dict[str, str]:
    shown = {
        "best": f"{render.paint(render.short(best.run_id), 'yellow')}  sharpe {best.sharpe:.4g}"
    }
    if best.deflated is None:
        return shown | {"deflated": f"cannot be told: {best.reason}"}
    expected = _expected(best)
    if expected is not None:
        shown["luck alone"] = f"{expected:.4g}, the maximum to expect of so many worthless trials"
    shown["psr"] = f"{best.deflated.probabilistic:.4f}, that the best is better than nothing"
    shown["dsr"] = f"{best.deflated.deflated:.4f}, that the best is better than luck"
    return shown


def _print_histogram(found: Report) -> None:
    """Draw how the ratios lie, and where luck's maximum and the best stand among them."""
    render.heading(f"Sharpe ratios of {render.count(len(found.sharpes), 'trial')}")
    bins = reporter.histogram(found.sharpes)
    most = max(each.count for each in bins)
    mark = _FULL if render.can_show(_FULL) else _PLAIN
    expected = None if found.best is None else _expected(found.best)
    rows = []
    for place, each in enumerate(bins):
        is_last = place == len(bins) - 1
        notes = ["best"] if is_last else []
        is_inside = expected is not None and (each.low <= expected < each.high or (
            expected == each.high and is_last))  # fmt: skip
        notes += ["luck's maximum"] if is_inside else []
        length = -(-each.count * _BAR_WIDTH // most) if each.count else 0
        bar = render.paint(mark * length, "cyan")
        span = f"{each.low:8.3f} to {each.high:7.3f}"
        rows.append([span, str(each.count), bar, ", ".join(notes)])
    render.table(["RANGE", "TRIALS", "SHARE", "HERE"], rows, right=(1,))
    if expected is not None and expected > found.sharpes[-1]:
        render.line(f"luck's maximum, {expected:.3f}, is above them all")
