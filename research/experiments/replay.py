"""Replay: a run executed again from what the store holds, and compared to the bit.

Owns the verdict (``verdict/v1``). The code is the stored tree, the input the stored input; of
today there is only the interpreter with its distributions, and where those differ from the
recorded ones the verdict says so. Law 1 in one line: the two outcome ids are equal, or it diverged.
"""

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from research.context import Context
from research.experiments import environment, recipe, registry, run, runs
from research.experiments.divergence import Divergence, first_divergence
from research.experiments.runs import RunManifest
from rosdb import REPLAYS, Link, ObjectId, Transaction, errors

SCHEMA: Final = "verdict/v1"

Verdict = Literal["identical", "diverged", "unreplayable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found."""

    verdict: Verdict
    original: RunManifest
    replayed: RunManifest | None
    divergence: Divergence | None
    reason: str = ""
    record: Link | None = None


def replay(context: Context, run_id: ObjectId, *, in_place: bool = False) -> Replay:
    """Execute a run again and compare; the attempt is recorded.

    In place, the code is today's of the workspace instead of the stored one; all else is stored.

    Raises: ObjectMissing, ObjectCorrupt if the run itself cannot be read; in place, BadInput.
    """
    store = context.store
    original = runs.read_run(store, run_id)
    if original.outcome is None:
        reason = f"its status is {original.status}: there is no outcome to compare with"
        return _unreplayable(context, original, reason)
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until the replay's run leads to its recipe
        try:
            check_closure(context, original)
            with store.transaction("replay") as tx:
                question = _today(context, tx, original, in_place)
        except (errors.ObjectMissing, errors.ObjectCorrupt, errors.NotCanonical) as error:
            return _unreplayable(context, original, str(error))
        replayed_id = run.execute(context, question, kept, replay_of=original)
    replayed = runs.read_run(store, replayed_id)
    # Law 1 decides, by the two ids; the comparison only finds out where.
    is_same = replayed.outcome_id == original.outcome_id
    verdict: Verdict = "identical" if is_same else "diverged"
    divergence = None if is_same else _compare(context, original, replayed)
    found = Replay(verdict=verdict, original=original, replayed=replayed, divergence=divergence)
    return _recorded(context, found)


def check_closure(context: Context, manifest: RunManifest) -> int:
    """Re-hash everything that a run reaches; return the number of objects.

    Raises: ObjectMissing, ObjectCorrupt for the first that is not what it was.
    """
    starts = [manifest.run_id, *filter(None, [manifest.outcome_id])]
    count, damaged = context.store.verify_closure(starts)
    for error in damaged.values():
        raise error
    return count


def _today(context: Context, tx: Transaction, original: RunManifest, in_place: bool) -> Link:
    """Put the recipe that the replay answers: the original's, in today's environment."""
    fields, links = dict(original.recipe.fields), dict(original.recipe.links)
    recorded = fields["environment"]
    if in_place:
        registration = registry.find(context.experiments_folder, original.experiment)
        found = recipe.collect_code(registration, recipe.read_spec(context, registration))
        links["code"] = recipe.put_code(tx, found)
        fields["entry"] = registration.module
        fields["environment"] = environment.describe(found.foreign)
    else:
        fields["environment"] = environment.describe_again(recorded)
    return tx.put_record(original.recipe.schema, fields, links)


def _compare(context: Context, original: RunManifest, replayed: RunManifest) -> Divergence:
    """Find where two different outcomes differ."""
    causes = _causes(original, replayed)
    if replayed.outcome is None:
        error = replayed.error or {}
        return Divergence(
            artifact="status",
            expected="completed",
            actual=f"failed: {error.get('kind')}: {error.get('message')}",
            causes=causes,
        )
    found = first_divergence(context.store, original, replayed)
    if found is None:
        found = Divergence(
            artifact="folders",
            expected=str(original.outcome_id),
            actual=str(replayed.outcome_id),
        )
    return replace(found, causes=causes)


def _causes(original: RunManifest, replayed: RunManifest) -> list[str]:
    """Name what was not the same, as evidence; an unchanged world points at the experiment."""
    causes = environment.differences(
        original.recipe.fields["environment"], replayed.recipe.fields["environment"]
    )
    if original.recipe.links["code"] != replayed.recipe.links["code"]:
        causes.insert(0, "the code of the workspace is not the stored code")
    return causes or ["same code, input and environment: the experiment is not deterministic"]


def _unreplayable(context: Context, original: RunManifest, reason: str) -> Replay:
    found = Replay(
        verdict="unreplayable", original=original, replayed=None, divergence=None, reason=reason
    )
    return _recorded(context, found)


def _recorded(context: Context, found: Replay) -> Replay:
    """Keep the verdict; its ref is the replaying run's, or the original's if nothing ran."""
    links: dict[str, ObjectId] = {"original": found.original.run_id}
    if found.replayed is not None:
        links["replayed"] = found.replayed.run_id
    fields: dict[str, Any] = {
        "verdict": found.verdict,
        "divergence": None if found.divergence is None else found.divergence.to_fields(),
        "reason": found.reason,
    }
    ref = f"{REPLAYS}{found.replayed.run_id if found.replayed else found.original.run_id}"
    with context.store.transaction(f"replay {found.verdict}") as tx:
        record = tx.put_record(SCHEMA, fields, links)
        # A second attempt with the same end moves the ref to where it is: the journal has both.
        tx.move_ref(ref, record, expected=context.store.ref(ref))
    return replace(found, record=record)
