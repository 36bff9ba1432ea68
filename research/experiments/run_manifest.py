"""The canonical manifest of a run: one JSON document, in a schema with a version.

Owns how a ``RunManifest`` is written to JSON and read back. A document is a claim: reading it reads
the run of that id from the store and compares all that the document says of it. The fingerprint in
it is the recipe's id, as everywhere.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from research.errors import BadInput
from research.experiments import runs
from research.experiments.export import instant_text, jsonable
from research.experiments.parameters import copied
from research.experiments.runs import RunManifest
from rosdb import Store

SCHEMA_VERSION: Final = 1

_MOVES: Final = frozenset(
    """
    name status error seconds outcome metrics artifacts sandbox nondeterminism
    """.split()
)
"""What may have changed since a document was written of a run that had not ended."""


def manifest_to_json(store: Store, manifest: RunManifest) -> dict[str, Any]:
    """Write a run as its canonical manifest; NaN and the infinities become text.

    ``artifacts`` maps each path to its kind and id; parameters keep their own names.

    Raises: ObjectMissing, ObjectCorrupt if the list of its artifacts cannot be read.
    """
    run, recipe = manifest.run.fields, manifest.recipe
    found = runs.artifacts(store, manifest)
    return {
        "schemaVersion": SCHEMA_VERSION,
        "runId": str(manifest.run_id),
        "name": manifest.name,
        "kind": run["kind"],
        "replayOf": None if manifest.replay_of is None else str(manifest.replay_of),
        "createdAt": instant_text(manifest.created_at_ns),
        "status": manifest.status,
        "error": None if manifest.error is None else dict(manifest.error),
        "seconds": manifest.seconds,
        "fingerprint": str(manifest.recipe_id),
        "experiment": manifest.experiment,
        "entry": recipe.fields["entry"],
        "parameters": jsonable(copied(manifest.parameters)),
        "seed": manifest.seed,
        "dataset": manifest.dataset,
        "inputs": {name: str(link) for name, link in sorted(recipe.links.items())},
        "environment": copied(recipe.fields["environment"]),
        "provenance": copied({name: run[name] for name in ("user", "host", "agent", "ros", "git")}),
        "sandbox": None if manifest.sandbox is None else copied(manifest.sandbox),
        "nondeterminism": copied(manifest.nondeterminism),
        "outcome": None if manifest.outcome_id is None else str(manifest.outcome_id),
        "metrics": jsonable(dict(manifest.metrics)),
        "artifacts": {
            path: {"kind": entry.kind, "id": str(entry.link)} for path, entry in found.items()
        },
    }


def manifest_from_json(store: Store, document: object) -> RunManifest:
    """Return the run that a manifest tells of, once all that it says was found to be so.

    What a run's end brings may be newer in the store where the document says that it had not ended.

    Raises: BadInput naming what is not so, or is of another schema; RefMissing if the store has no
            such run.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("runId"), str):
        raise BadInput("a manifest is a mapping with a runId")
    version = document.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise BadInput(f"the manifest has schemaVersion {version!r}; this reads {SCHEMA_VERSION}")
    manifest = runs.read_run(store, store.resolve(document["runId"]))
    stored = manifest_to_json(store, manifest)
    for name in document:
        if name not in stored:
            near = difflib.get_close_matches(str(name), stored, n=1) or ["no field like it"]
            raise BadInput(f"a manifest has no field {name!r}; nearest: {near[0]}")
    loose = _MOVES if document.get("status") in runs.UNFINISHED else {"name"}
    for name, value in stored.items():
        if name not in document:
            raise BadInput(f"the manifest says nothing of {name}")
        if name not in loose and not _is_same(document[name], value):
            raise BadInput(f"the manifest's {name} is not what the store holds")
    return manifest


def _is_same(claimed: Any, stored: Any) -> bool:
    """Compare plain data, types too: 1 is not 1.0, and neither is true."""
    if isinstance(stored, dict):
        return (
            isinstance(claimed, Mapping)
            and claimed.keys() == stored.keys()
            and all(_is_same(claimed[key], value) for key, value in stored.items())
        )
    if isinstance(stored, list):
        return (
            isinstance(claimed, list)
            and len(claimed) == len(stored)
            and all(map(_is_same, claimed, stored))
        )
    return type(claimed) is type(stored) and repr(claimed) == repr(stored)
