"""Runs as plain files and text.

Owns what ``ros checkout`` writes and ``ros show RUN:PATH`` prints: ``spec.json``, ``metrics.json``
and the artifacts, tables as CSV. Exports are never identities (their writers may change).
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.datasets.snapshot import new_folder
from research.experiments.divergence import column_values
from research.experiments.runs import RunManifest, artifacts
from rosdb import Entry, Table, write_blob

_SPECIAL: Final = re.compile(r'[,"\r\n]')


def target_folder(context: Context, manifest: RunManifest) -> Path:
    """Return where a run is checked out if nobody says where."""
    results = context.workspace / "research" / "results"
    return results / manifest.experiment / str(manifest.run_id)


def checkout(context: Context, manifest: RunManifest, target: Path) -> list[Path]:
    """Write a run's spec, metrics and artifacts to a new or empty folder.

    Raises: BadInput if something is there already.
    """
    with new_folder(target):
        return _write_run(context, manifest, target)


def _write_run(context: Context, manifest: RunManifest, target: Path) -> list[Path]:
    written = [_write_json(target / "spec.json", spec_document(manifest))]
    if manifest.outcome is None:
        # Empty metrics and an empty folder would look like a result.
        if manifest.log is not None:
            write_blob(context.store, manifest.log, target / "log.txt")
            written.append(target / "log.txt")
        return written
    written.append(_write_json(target / "metrics.json", jsonable(manifest.metrics)))
    (target / "artifacts").mkdir()
    found = artifacts(context.store, manifest)
    for name, entry in found.items():
        is_table = entry.kind == "table"
        # A file of the experiment's own keeps its name.
        suffix = "" if not is_table else ".csv" if f"{name}.csv" not in found else ".table.csv"
        path = target / "artifacts" / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_table:
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
    if not table:
        return ""
    columns = [[csv_cell(value) for value in column_values(table, name)] for name in table]
    rows = [[csv_quoted(name) for name in table], *zip(*columns, strict=True)]
    # A lone empty cell is quoted, or its row would be a blank line and no row.
    return "".join((",".join(row) or '""') + "\n" for row in rows)


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
        "sandbox": None if manifest.sandbox is None else dict(manifest.sandbox),
        "nondeterminism": [dict(each) for each in manifest.nondeterminism],
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


def csv_cell(value: Any) -> str:
    """Write a value as a cell of CSV; one that is missing is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else csv_quoted(str(value))


def csv_quoted(text: str) -> str:
    """Quote a text where it needs it; Python's own writer forgets the carriage return."""
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
    return path
