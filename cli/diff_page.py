"""What differs between two runs, as people read it: inputs, metrics, artifacts, trades, equity."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from cli import plot, render, table_changes
from cli.context import terminal
from research.datasets.diff import SnapshotDiff
from research.experiments.artifact_diff import ArtifactChange, Curve
from research.experiments.diff import Difference, MetricChange
from research.experiments.input_diff import FileChange, Inputs, is_model
from research.experiments.trade_diff import INSTANTS, TRADES, WHY, FirstTrade, TradeDiff
from rosdb import flatten

WIDTH_MAX: Final = 100
HEIGHT: Final = 10
_LINES_SHOWN: Final = 12
_INSTANTS: Final = frozenset(INSTANTS)
_LINE_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


def print_diff(found: Difference, *, with_code: bool, with_outputs: bool) -> None:
    """Print everything that differs; ``with_outputs`` also artifacts, trades and equity."""
    _print_runs(found)
    if found.identical:
        render.line(render.paint("identical: one question, one answer", "green"))
        return
    if found.inputs.differ_by_data_alone:
        render.line(f"\nThey differ only because {_why_data_alone(found.inputs)}.")
    render.heading("Inputs")
    if found.same_inputs:
        render.line("  the same: one fingerprint, two outcomes; it is not deterministic")
    else:
        _print_inputs(found, with_code=with_code)
    if found.same_outcome:
        render.line("\nsame outcome" if found.a.outcome_id is not None else "\nneither completed")
        return
    _print_metrics(found.metrics)
    if with_outputs:
        _print_artifacts(found.outputs.artifacts, told={TRADES} if found.outputs.trades else set())
        if found.outputs.trades is not None:
            _print_trade_diff(found.outputs.trades)
        if found.outputs.curves is not None:
            _print_curves(*found.outputs.curves)


def print_trades(found: Difference) -> None:
    """Print how the trades of two runs differ, one by one."""
    _print_runs(found)
    trades = found.outputs.trades
    if trades is not None:
        _print_trade_diff(trades)
        _print_each_trade(trades)
        return
    render.heading("Trades")
    states = [each.state for each in found.outputs.artifacts if each.name == TRADES]
    changed = [each for each in found.outputs.artifacts if each.name == TRADES and each.table]
    if changed:
        _print_artifacts(changed, told=set())
    else:
        render.line(f"  {states[0]}" if states else "  neither run has a table of trades")


def _print_runs(found: Difference) -> None:
    names = [
        f"{manifest.experiment}  {manifest.name}" if manifest.name else manifest.experiment
        for manifest in (found.a, found.b)
    ]
    width = max(map(len, names))
    for label, name, manifest in zip("ab", names, (found.a, found.b), strict=True):
        run = render.paint(render.short(manifest.run_id), "yellow")
        render.line(f"{label}  {run}  {name.ljust(width)}  {render.status(manifest.status)}")


def _why_data_alone(inputs: Inputs) -> str:
    """Say what of the data differs, and which rows."""
    assert inputs.dataset is not None
    rows = inputs.restated
    if rows is None:
        return f"the data are others: {inputs.dataset.a} in a, {inputs.dataset.b} in b"
    which = ", ".join(table_changes.key_text(rows, r.key, r.row_a) for r in rows.changed[:3])
    more = rows.changed_count - min(3, len(rows.changed))
    which += f" and {more} more" if more else ""
    rows_told = render.count(rows.changed_count, "row")
    verb = "was" if rows.changed_count == 1 else "were"
    return f"{rows_told} of {inputs.dataset.a} {verb} restated in {inputs.dataset.b}: {which}"


# ---- inputs ----


def _print_inputs(found: Difference, *, with_code: bool) -> None:
    inputs = found.inputs
    parameters = [p for p in inputs.parameters if not is_model(p)]
    models = [p for p in inputs.parameters if is_model(p)]
    rows = [
        [word, name, *_shown_parameters(found, name)]
        for word, names in (("parameter", parameters), ("model", models))
        for name in names
    ]
    for word, change in (
        ("experiment", inputs.experiment), ("seed", inputs.seed), ("dataset", inputs.dataset)
    ):  # fmt: skip
        if change is not None:
            rows.append([word, "", *(render.number(v) or "none" for v in (change.a, change.b))])
    rows += [
        ["environment", each.name, each.then or "absent", _version(each.then, each.now)]
        for each in inputs.environment
    ]
    render.table(["", "", "A", "B"], rows, indent="  ")
    for file in inputs.code:
        _print_code(file, with_code=with_code)
    shown = set[str]()
    if inputs.snapshots is not None:
        shown = _print_snapshots(inputs.snapshots)
    for file in inputs.dataset_files:
        if file.path not in shown:
            render.line(f"  dataset file {file.path}: {file.state}")


def _shown_parameters(found: Difference, name: str) -> list[str]:
    """Write a parameter on both sides: one that is null is there all the same."""
    sides = [dict(flatten(each.parameters)) for each in (found.a, found.b)]
    shown = [
        "absent"
        if name not in side
        else "null"
        if side[name] is None
        else render.number(side[name])
        for side in sides
    ]
    return [repr(side.get(name)) for side in sides] if shown[0] == shown[1] else shown


def _version(then: str | None, now: str | None) -> str:
    return f"{now}, with other content" if then == now else now or "absent"


def _print_code(file: FileChange, *, with_code: bool) -> None:
    counts = f"  +{file.lines_added} -{file.lines_removed}" if file.diff else ""
    render.line(f"  code {file.path}: {file.state}{counts}")
    if with_code:
        _print_lines(file.diff.splitlines())


def _print_lines(lines: list[str], indent: str = "") -> None:
    for text in lines:
        render.line(indent + render.paint(text, _LINE_STYLES.get(text[:1], "")))


def _print_snapshots(found: SnapshotDiff) -> set[str]:
    """Print the rows of the data that differ; return the files that are told with them."""
    shown = set()
    if found.bars is not None:
        files = [each.path for each in found.files if each.are_bars]
        render.line(f"  dataset rows of {files[0] if files else 'the bars'}")
        table_changes.print_table_diff(found.bars)
        shown.update(files)
    for each in found.files:
        if each.rows is not None and not each.are_bars:
            render.line(f"  dataset rows of {each.path}")
            table_changes.print_table_diff(each.rows)
            shown.add(each.path)
    return shown


# ---- metrics and artifacts ----


def _print_metrics(metrics: Mapping[str, MetricChange]) -> None:
    render.heading("Metrics")
    if not metrics:
        render.line("  none")
    render.table(
        ["", "A", "B", "CHANGE", "", "BETTER"],
        [
            [
                name,
                _metric(change.a),
                _metric(change.b),
                render.signed(change.difference),
                _percent(change.relative),
                render.paint(change.better or "", "green"),
            ]
            for name, change in metrics.items()
        ],
        right=(1, 2, 3, 4),
        indent="  ",
    )


def _percent(fraction: float | None) -> str:
    text = render.signed(None if fraction is None else fraction * 100, 3)
    return f"{text}%" if text else ""


def _metric(value: Any) -> str:
    return "absent" if value is None else render.number(value)


def _print_artifacts(artifacts: Sequence[ArtifactChange], told: AbstractSet[str]) -> None:
    """Print how each artifact differs; of those that are told elsewhere only that it does."""
    render.heading("Artifacts")
    if not artifacts:
        render.line("  none")
    for each in artifacts:
        state = "the same, within the tolerance" if each.state == "close" else each.state
        render.line(f"  {render.paint(each.name, 'bold')}  {state}")
        if each.name in told:
            continue
        if each.table is not None:
            table_changes.print_table_diff(each.table)
        elif each.text:
            lines = each.text.splitlines()[2:]
            _print_lines(lines[:_LINES_SHOWN], table_changes.INDENT)
            if len(lines) > _LINES_SHOWN:
                render.line(f"    and {render.count(len(lines) - _LINES_SHOWN, 'line')} more")
        elif each.state == "changed" and each.a is not None and each.b is not None:
            for side, entry in (("a", each.a), ("b", each.b)):
                render.line(f"    {side}  {render.short(entry.link)}  {render.size(entry.size)}")


# ---- trades ----


def _print_trade_diff(found: TradeDiff) -> None:
    render.heading("Trades")
    parts = [
        f"{count} {word}"
        for count, word in (
            (found.same_count, "the same"),
            (found.changed_count, "changed"),
            (found.only_a_count, "only in a"),
            (found.only_b_count, "only in b"),
        )
        if count
    ]
    pairs = f"{found.count_a} in a, {found.count_b} in b"
    by = ", ".join(name.removesuffix("_at_ns").removesuffix("_bar") for name in found.paired_by)
    render.line(f"  {pairs}; paired by {by}: {', '.join(parts) or 'none'}")
    if found.first is not None:
        _print_first(found.first)


def _print_first(first: FirstTrade) -> None:
    render.line(f"  the first that differs, in its {', '.join(first.why)}")
    names = list(dict.fromkeys([*(first.a or {}), *(first.b or {})]))
    rows = [
        [
            name.removesuffix("_at_ns").replace("_", " "),
            *(_trade_value(name, (side or {}).get(name)) for side in (first.a, first.b)),
        ]
        for name in names
    ]
    headers = ["" if side else " (no such trade)" for side in (first.a, first.b)]
    render.table(["", f"A{headers[0]}", f"B{headers[1]}"], rows, indent=table_changes.INDENT)


def _trade_value(name: str, value: Any) -> str:
    if value is None or (name == "exit_bar" and value == -1):
        return "open" if name in ("exit_at_ns", "exit_bar") else ""
    return table_changes.value(_INSTANTS, name, value)


def _print_each_trade(found: TradeDiff) -> None:
    """Print the trades that differ by their entry: those of one run, and what changed in others."""
    place = found.paired_by.index(found.entry)
    told: list[tuple[Any, list[list[str]]]] = []
    for side, rows in (("a", found.only_a), ("b", found.only_b)):
        for row in rows:
            entry = row.values[found.entry]
            head = _head(found, [row.values[name] for name in found.paired_by])
            values = [_outline(row.values) if side == each else "" for each in "ab"]
            told.append((entry, [[*head, f"only in {side}", *values]]))
    for changed in found.changed:
        head = _head(found, changed.key[: len(found.paired_by)])
        lines = []
        for name in sorted(changed.cells, key=[*WHY, *changed.cells].index):
            a, b = changed.cells[name]
            values = [_trade_value(name, each) for each in (a, b)]
            if values[0] == values[1]:
                values = [repr(a), repr(b)]
            lines.append([*head, WHY.get(name, name), *values])
            head = [""] * len(head)
        told.append((changed.key[place], lines))
    told.sort(key=lambda each: each[0])
    headers = [n.removesuffix("_at_ns").removesuffix("_bar").upper() for n in found.paired_by]
    render.line()
    render.table([*headers, "", "A", "B"], [line for _, lines in told for line in lines])
    counts = (found.only_a_count, found.only_b_count, found.changed_count)
    left = sum(counts) - len(told)
    if left:
        render.line(f"and {render.count(left, 'trade')} more: --rows N shows more")


def _head(found: TradeDiff, key: Any) -> list[str]:
    return [_trade_value(name, each) for name, each in zip(found.paired_by, key, strict=True)]


def _outline(values: Mapping[str, Any]) -> str:
    """Say of a trade in a few words what came of it."""
    parts = []
    if "exit_reason" in values:
        parts.append(str(values["exit_reason"]))
    if isinstance(values.get("pnl"), float):
        parts.append(f"pnl {render.signed(values['pnl']) or '0'}")
    return ", ".join(parts) or "one trade"


# ---- equity ----


def _print_curves(a: Curve, b: Curve) -> None:
    width = min(terminal().width, WIDTH_MAX)
    lines = plot.curves((a.times, a.values), (b.times, b.values), width, HEIGHT, render.paint)
    if not lines or not all(map(render.can_show, lines)):
        return
    render.heading("Equity")
    render.line(
        f"{render.paint('a', plot.STYLES[0])} solid, {render.paint('b', plot.STYLES[1])} dashed"
    )
    for text in lines:
        render.line(text)
