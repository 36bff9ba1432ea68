"""Promotion: evidence first, then a record in the journal, then the file.

Owns the gates of integrity (the closure verified, the run completed, a replay identical today) and
the order of writing. The record goes before the file: a config without a record cannot come to be,
and a record whose file a crash left unwritten is mended by promoting again.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.errors import BadStrategyName, Refused
from research.experiments import replay, runs
from research.experiments.runs import RunManifest
from research.promotion.config import config_text, strategy_config
from rosdb import PROMOTIONS, Link, ObjectId, Store, create_file, errors, replace_file

SCHEMA: Final = "promotion/v1"
STRATEGY_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion, or what one would be; ``record`` is None in a dry run."""

    strategy: str
    path: Path
    config: Mapping[str, Any]
    text: bytes
    evidence: Mapping[str, Any]
    record: Link | None


def promote(
    context: Context,
    run_id: ObjectId,
    strategy: str,
    *,
    config_dir: Path | None = None,
    dry_run: bool = False,
) -> Promotion:
    """Write a disabled config for a run, once its evidence is in.

    Raises: BadStrategyName, Refused if a gate refuses or the file is not ours to replace.
    """
    if not STRATEGY_PATTERN.fullmatch(strategy):
        raise BadStrategyName(strategy)
    store = context.store
    path = (config_dir or context.workspace / "configs" / "strategies") / f"{strategy}.yaml"
    previous = store.ref(PROMOTIONS + strategy)
    _check_target(store, path, previous)
    manifest = runs.read_run(store, run_id)
    object_count = _verified(context, manifest)
    verdict = _replayed(context, manifest)
    evidence = {
        "closure": {"verified_objects": object_count},
        "replay": {
            "verdict": verdict.verdict,
            "run": str(verdict.replayed.run_id) if verdict.replayed else None,
        },
        "metrics": dict(manifest.metrics),
    }
    config = strategy_config(
        strategy=strategy,
        experiment=manifest.experiment,
        parameters=manifest.parameters,
        provenance=_provenance(manifest),
        evidence=evidence,
    )
    text = config_text(config)
    record = None
    if not dry_run:
        _make_folder(path.parent)
        # Asked again: the replay may have taken minutes, in which somebody edited the file.
        _check_target(store, path, previous)
        record = _record(context, manifest, strategy, evidence, text, verdict, previous)
        _write(store, path, text, record)
    return Promotion(
        strategy=strategy, path=path, config=config, text=text, evidence=evidence, record=record
    )


def _verified(context: Context, manifest: RunManifest) -> int:
    """Gate: everything that the run reaches is what it was, and it completed."""
    try:
        count = replay.check_closure(context, manifest)
    except (errors.ObjectMissing, errors.ObjectCorrupt) as error:
        raise Refused(f"gate closure: {error}") from error
    if manifest.status != "completed":
        raise Refused(f"gate completed: the run {manifest.status}")
    if manifest.replay_of is not None:
        raise Refused(f"gate original: it is a replay; promote {str(manifest.replay_of)[:12]}")
    return count


def _replayed(context: Context, manifest: RunManifest) -> replay.Replay:
    """Gate: executed again, today, it gives the same outcome."""
    found = replay.replay(context, manifest.run_id, seeks_causes=False)
    if found.verdict != "identical" or found.record is None:
        where = ""
        if found.divergence is not None:
            where = f" at {found.divergence.artifact}"
            where += f", column {found.divergence.column}" if found.divergence.column else ""
            where += f", row {found.divergence.row}" if found.divergence.row is not None else ""
        reason = f": {found.reason}" if found.reason else where
        raise Refused(f"gate replay: {found.verdict}{reason}")
    return found


def _provenance(manifest: RunManifest) -> dict[str, Any]:
    git = manifest.run.fields["git"] or {}
    return {
        "source_experiment": manifest.experiment,
        "run_id": str(manifest.run_id),
        "fingerprint": str(manifest.recipe_id),
        "outcome_id": str(manifest.outcome_id),
        "dataset": manifest.dataset,
        "seed": manifest.seed,
        "git_commit": git.get("commit"),
        "git_dirty": git.get("dirty"),
    }


def _record(
    context: Context,
    manifest: RunManifest,
    strategy: str,
    evidence: Mapping[str, Any],
    text: bytes,
    verdict: replay.Replay,
    previous: ObjectId | None,
) -> Link:
    assert manifest.outcome_id is not None
    assert verdict.record is not None
    with context.store.transaction(f"promote {strategy}") as tx:
        links: dict[str, ObjectId] = {
            "run": manifest.run_id,
            "outcome": manifest.outcome_id,
            "verdict": verdict.record,
            "config": tx.put_blob(text),
        }
        if previous is not None:
            links["supersedes"] = previous
        record = tx.put_record(SCHEMA, {"strategy": strategy, "evidence": dict(evidence)}, links)
        tx.move_ref(PROMOTIONS + strategy, record, expected=previous)
    return record


def _check_target(store: Store, path: Path, previous: ObjectId | None) -> None:
    """Refuse to replace a file that no promotion of this strategy wrote.

    Raises: Refused.
    """
    if path.is_symlink():
        raise Refused(f"{path} is a symbolic link; a config is written to a plain file")
    if not path.exists():
        return
    if not path.is_file():
        raise Refused(f"{path} is no file")
    found = path.read_bytes()
    # Any of ours, not the newest alone: a crash may have come between a record and its file.
    if not any(found == text for text in _written_texts(store, previous)):
        raise Refused(f"{path} was written or changed by hand; it is not overwritten")


def _written_texts(store: Store, promotion: ObjectId | None) -> Iterator[bytes]:
    while promotion is not None:
        record = store.get_record(promotion)
        yield store.get_blob(record.links["config"])
        promotion = record.links.get("supersedes")


def _make_folder(folder: Path) -> None:
    """Make the config's folder, before a promotion is recorded that could not be written.

    Raises: OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(EACCES, os.strerror(EACCES), str(folder))


def _write(store: Store, path: Path, text: bytes, record: ObjectId) -> None:
    """Write the file, unless somebody did since it was last looked at."""
    if os.path.lexists(path):
        _check_target(store, path, record)
        replace_file(path, text, path.parent)
    else:
        try:
            create_file(path, text, path.parent)
        except FileExistsError:
            raise Refused(f"{path} was made by somebody else just now") from None
    if path.read_bytes() != text:
        raise Refused(f"{path} does not read back as it was written")
