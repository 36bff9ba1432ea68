"""How a sweep looks: its points as a table, and in a document."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cli import render
from research.experiments.sweep_record import RecordedSweep, SweptPoint


def print_sweep(found: RecordedSweep) -> None:
    """Print a recorded sweep with all its points."""
    render.line(render.paint(f"sweep {found.record}", "yellow"))
    render.line(render.paint(found.experiment, "bold"))
    done = Counter(point.status for point in found.points)
    seed = "" if found.seed is None else str(found.seed)
    render.pairs(
        {
            "points": ", ".join(
                f"{count} {word.replace('_', ' ')}" for word, count in done.items()
            ),
            "seed": f"{seed}{' for every point' if found.has_common_seed else ''}",
        }
    )
    render.line()
    print_points(found.points, [point for point in found.points if point.run is not None])


def print_points(points: Sequence[SweptPoint], shown: Sequence[SweptPoint]) -> None:
    """Print a table of some points, and above it what all of them have in common."""
    axes = list(points[0].overrides) if points else []
    values = {axis: {repr(point.overrides[axis]) for point in points} for axis in axes}
    fixed = [axis for axis in axes if len(values[axis]) == 1 and len(points) > 1]
    if fixed:
        render.paragraph(
            "with " + ", ".join(f"{a}={_cell(points[0].overrides[a])}" for a in fixed), ""
        )
    varied = [axis for axis in axes if axis not in fixed]
    has_failed = any(point.is_failed for point in points)
    metrics = list(dict.fromkeys(name for p in shown if p.run for name in p.run.metrics))
    rows = [_row(point, varied, metrics, has_status=has_failed) for point in shown]
    headers = ["RUN", *varied, *(["STATUS"] if has_failed else []), *metrics]
    kept = render.fitting(headers, rows, at_least=len(headers) - len(metrics))
    render.table(headers[:kept], [row[:kept] for row in rows])
    if kept < len(headers):
        render.line(f"{render.count(len(headers) - kept, 'more metric')}: --json has all")


def left_out(points: Sequence[SweptPoint]) -> dict[str, int]:
    """Count the points that have no run, by why."""
    counts = Counter(point.status for point in points if point.run is None)
    return {word.replace("_", " "): count for word, count in counts.items()}


def sweep_document(found: RecordedSweep) -> dict[str, Any]:
    """Return a recorded sweep as plain values."""
    return {
        "sweep": str(found.record),
        "experiment": found.experiment,
        "seed": found.seed,
        "common_seed": found.has_common_seed,
        "total": len(found.points),
        "runs": [point_document(point) for point in found.points],
    }


def point_document(point: SweptPoint) -> dict[str, Any]:
    """Return a point as plain values."""
    return {
        "run": None if point.run is None else str(point.run.run_id),
        "params": dict(point.overrides),
        "status": point.status,
        "metrics": {} if point.run is None else point.run.metrics,
    }


def _row(
    point: SweptPoint, varied: Sequence[str], metrics: Sequence[str], *, has_status: bool
) -> list[str]:
    assert point.run is not None
    found = point.run.metrics
    return [
        render.paint(render.short(point.run.run_id), "yellow"),
        *(_cell(point.overrides[path]) for path in varied),
        *([render.status(point.run.status)] if has_status else []),
        *(_cell(found[name]) if name in found else "" for name in metrics),
    ]


def _cell(value: Any) -> str:
    return "null" if value is None else render.number(value)
