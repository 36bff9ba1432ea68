"""Promotion: evidence first, then a record in the journal, then the file.

Owns the order of writing. The gates are asked first; what they answered is the evidence. The record
goes before the file: a config without a record cannot come to be, and a record whose file a crash
left unwritten is mended by promoting again.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.errors import BadStrategyName, GateRefused, Refused
from research.experiments.replay import Replay
from research.experiments.runs import RunManifest
from research.promotion.config import STRATEGY_PATTERN, config_text, strategy_config
from research.promotion.gate_settings import read_settings
from research.promotion.gates import Case, Gate, ask_gates, refusing
from research.promotion.promotions import history
from rosdb import PROMOTIONS, Link, ObjectId, Store, create_file, replace_file

SCHEMA: Final = "promotion/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion, or what one would be; ``record`` is None in a dry run.

    Where a dry run is refused there is no config, and its text is empty.
    """

    strategy: str
    path: Path
    config: Mapping[str, Any] | None
    text: bytes
    evidence: Mapping[str, Any]
    gates: Sequence[Gate]
    record: Link | None

    @property
    def is_refused(self) -> bool:
        """Whether a gate refuses."""
        return bool(refusing(self.gates))


def promote(
    context: Context,
    run_id: ObjectId,
    strategy: str,
    *,
    config_dir: Path | None = None,
    dry_run: bool = False,
) -> Promotion:
    """Write a disabled config for a run, once its evidence is in.

    Raises: BadStrategyName; BadInput if the gates' settings cannot be read; GateRefused, unless it
        is a dry run; Refused if the file is not ours to replace.
    """
    if not STRATEGY_PATTERN.fullmatch(strategy):
        raise BadStrategyName(strategy)
    store = context.store
    path = (config_dir or context.workspace / "configs" / "strategies") / f"{strategy}.yaml"
    previous = store.ref(PROMOTIONS + strategy)
    _check_target(store, path, previous)
    case = Case(context, run_id, read_settings(context.workspace))
    gates = ask_gates(case)
    evidence = _evidence(case, gates)
    if refused := refusing(gates):
        if not dry_run:
            raise GateRefused([(gate.name, gate.explanation) for gate in refused])
        return Promotion(
            strategy=strategy,
            path=path,
            config=None,
            text=b"",
            evidence=evidence,
            gates=gates,
            record=None,
        )
    config = strategy_config(
        strategy=strategy,
        experiment=case.manifest.experiment,
        parameters=case.manifest.parameters,
        provenance=_provenance(case.manifest),
        evidence=evidence,
    )
    text = config_text(config)
    record = None
    if not dry_run:
        _make_folder(path.parent)
        # Asked again: the gates may have taken minutes, in which somebody edited the file.
        _check_target(store, path, previous)
        assert case.replayed is not None
        record = _record(context, case.manifest, strategy, evidence, text, case.replayed, previous)
        _write(store, path, text, record)
    return Promotion(
        strategy=strategy,
        path=path,
        config=config,
        text=text,
        evidence=evidence,
        gates=gates,
        record=record,
    )


def _evidence(case: Case, gates: Sequence[Gate]) -> dict[str, Any]:
    """Return what the gates found, as plain data."""
    found = case.replayed
    evidence: dict[str, Any] = {
        "closure": {"verified_objects": case.object_count},
        "replay": {
            "verdict": None if found is None else found.verdict,
            "run": str(found.replayed.run_id) if found and found.replayed else None,
        },
        "metrics": dict(case.manifest.metrics),
        "trials": {
            "family": case.trials.family.label,
            "count": case.trials.count,
            "deflated": None if case.deflated is None else case.deflated.to_fields(),
        },
        **case.settings.to_fields(),
        "gates": [gate.to_fields() for gate in gates],
    }
    return evidence


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
    verdict: Replay,
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
        fields = {
            "strategy": strategy,
            "evidence": dict(evidence),
            "created_at_ns": context.now_ns(),
            "who": context.store.who,
        }
        record = tx.put_record(SCHEMA, fields, links)
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
    for _, record in history(store, promotion):
        yield store.get_blob(record.links["config"])


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
