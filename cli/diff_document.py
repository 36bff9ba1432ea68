"""What differs between two runs, as the document of ``ros diff --json``."""

from typing import Any

from cli import table_changes
from research.datasets.diff import FileDiff
from research.experiments.artifact_diff import ArtifactChange
from research.experiments.diff import Difference
from research.experiments.divergence import Divergence
from research.experiments.input_diff import Change, Inputs, is_model
from research.experiments.trade_diff import TradeDiff
from research.table_diff import ChangedRow


def document(found: Difference) -> dict[str, Any]:
    """Return everything that differs as plain values."""
    return {
        "identical": found.identical,
        "a": str(found.a.run_id),
        "b": str(found.b.run_id),
        "same_outcome": found.same_outcome,
        "inputs": {"identical": found.same_inputs, **_inputs(found.inputs)},
        "metrics": {
            name: {
                "a": each.a,
                "b": each.b,
                "change": each.difference,
                "relative": each.relative,
                "better": each.better,
            }
            for name, each in found.metrics.items()
        },
        "artifacts": {each.name: _artifact(each) for each in found.outputs.artifacts},
        "trades": None if found.outputs.trades is None else _trades(found.outputs.trades),
    }


def _inputs(found: Inputs) -> dict[str, Any]:
    rows: dict[str, FileDiff] = {}
    if found.snapshots is not None:
        rows = {each.path: each for each in found.snapshots.files}
    bars = None if found.snapshots is None else found.snapshots.bars
    return {
        "experiment": _pair(found.experiment),
        "parameters": {name: _pair(each) for name, each in found.parameters.items()},
        "models": [name for name in found.parameters if is_model(name)],
        "seed": _pair(found.seed),
        "dataset": _pair(found.dataset),
        "dataset_alone": found.differ_by_data_alone,
        "restated": table_changes.document(found.restated),
        "dataset_files": [
            {
                "path": each.path,
                "state": each.state,
                "rows": table_changes.document(rows[each.path].rows if each.path in rows else None),
            }
            for each in found.dataset_files
        ],
        "bars": table_changes.document(bars),
        "environment": [each.told() for each in found.environment],
        "distributions": [
            {"name": each.name, "a": each.then, "b": each.now} for each in found.environment
        ],
        "code": [
            {
                "path": each.path,
                "state": each.state,
                "lines_added": each.lines_added,
                "lines_removed": each.lines_removed,
                "diff": each.diff,
            }
            for each in found.code
        ],
    }


def _artifact(each: ArtifactChange) -> dict[str, Any]:
    return {
        "state": each.state,
        "a": None if each.a is None else str(each.a.link),
        "b": None if each.b is None else str(each.b.link),
        "bytes": {
            "a": None if each.a is None else each.a.size,
            "b": None if each.b is None else each.b.size,
        },
        "first": None if each.first is None else _first(each.first),
        "rows": table_changes.document(each.table),
        "diff": each.text,
    }


def _first(first: Divergence) -> dict[str, Any]:
    return {
        "column": first.column,
        "row": first.row,
        "a": first.expected,
        "b": first.actual,
    }


def _trades(found: TradeDiff) -> dict[str, Any]:
    first = found.first
    return {
        "paired_by": list(found.paired_by),
        "a": found.count_a,
        "b": found.count_b,
        "same": found.same_count,
        "changed": found.changed_count,
        "only_in_a": found.only_a_count,
        "only_in_b": found.only_b_count,
        "first": None
        if first is None
        else {
            "why": list(first.why),
            "a": None if first.a is None else dict(first.a),
            "b": None if first.b is None else dict(first.b),
        },
        "sample": {
            "only_in_a": [dict(row.values) for row in found.only_a],
            "only_in_b": [dict(row.values) for row in found.only_b],
            "changed": [_changed(found, row) for row in found.changed],
        },
    }


def _changed(found: TradeDiff, row: ChangedRow) -> dict[str, Any]:
    return {
        "trade": dict(zip(found.paired_by, row.key, strict=False)),
        "cells": {name: {"a": a, "b": b} for name, (a, b) in row.cells.items()},
    }


def _pair(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"a": change.a, "b": change.b}
