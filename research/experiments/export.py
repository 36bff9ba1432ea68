"""Runs as plain files and text.

Owns what ``ros checkout`` writes and ``ros show RUN:PATH`` prints: ``spec.json``, ``metrics.json``
and the artifacts, tables as CSV. Exports are never identities (their writers may change).
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from research.context import Context
from research.errors import BadInput
from research.experiments.divergence import column_values
from research.experiments.runs import RunManifest, artifacts
from rosdb import Entry, Table, write_blob


def target_folder(context: Context, manifest: RunManifest) -> Path:
    """Return where a run is checked out if nobody says where."""
    results = context.workspace / "research" / "results"
    return results / manifest.experiment / str(manifest.run_id)


def checkout(context: Context, manifest: RunManifest, target: Path) -> list[Path]:
    """Write a run's spec, metrics and artifacts to a new or empty folder.

    Raises: BadInput if something is there already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"{target} is there already, and not empty")
    target.mkdir(parents=True, exist_ok=True)
    written = [
        _write_json(target / "spec.json", spec_document(manifest)),
        _write_json(target / "metrics.json", jsonable(manifest.metrics)),
    ]
    (target / "artifacts").mkdir()
    for name, entry in artifacts(context.store, manifest).items():
        path = target / "artifacts" / (f"{name}.csv" if entry.kind == "table" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "table":
            path.write_text(table_csv(context.store.get_table(entry.link)), "utf-8", newline="")
        else:
            write_blob(context.store, entry.link, path, entry.mode)
        written.append(path)
    return written


def artifact_bytes(context: Context, entry: Entry) -> Iterator[bytes]:
    """Yield an artifact as it is printed: a file as it is, a table as CSV."""
    if entry.kind == "table":
        yield table_csv(context.store.get_table(entry.link)).encode()
        return
    with context.store.open_blob(entry.link) as source:
        while chunk := source.read(1024 * 1024):
            yield chunk


def table_csv(table: Table) -> str:
    """Write a table as CSV: floats by ``repr``, so that they read back to the bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(table))
    columns = [[_cell(v) for v in column_values(table, name)] for name in table]
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def spec_document(manifest: RunManifest) -> dict[str, Any]:
    """Return the question and its provenance as plain data."""
    run, recipe = manifest.run.fields, manifest.recipe.fields
    return {
        "experiment_id": manifest.experiment,
        "entry": recipe["entry"],
        "parameters": jsonable(manifest.parameters),
        "seed": manifest.seed,
        "dataset": manifest.dataset,
        "inputs": {k: str(v) for k, v in manifest.recipe.links.items()},
        "run": str(manifest.run_id),
        "fingerprint": str(manifest.recipe_id),
        "outcome": None if manifest.outcome_id is None else str(manifest.outcome_id),
        "status": manifest.status,
        "error": None if manifest.error is None else dict(manifest.error),
        "seconds": manifest.seconds,
        "created_at": instant_text(manifest.created_at_ns),
        "kind": run["kind"],
        "replay_of": None if manifest.replay_of is None else str(manifest.replay_of),
        "provenance": {
            "user": run["user"],
            "host": run["host"],
            "agent": run["agent"],
            "ros": run["ros"],
            "git": run["git"],
        },
        "environment": recipe["environment"],
    }


def instant_text(at_ns: int) -> str:
    """Write an instant in ISO, UTC, to the microsecond."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    instant = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return instant.isoformat().replace("+00:00", "Z")


def jsonable(value: Any) -> Any:
    """Spell NaN and the infinities as the strings that JSON can hold."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return repr(value)
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    return value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
    return path
