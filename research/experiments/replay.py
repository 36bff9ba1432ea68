"""Replay: a run executed again from what the store holds, and compared to the bit.

Owns the verdict (``verdict/v1``). The code is the stored tree, the input the stored input; of
today there is only the interpreter with its distributions, unless the recorded ones are rebuilt,
and where they differ the verdict says so. Law 1 in one line: the two outcome ids are equal, or it
diverged.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from research.context import Context
from research.experiments import environment, log, recipe, registry, run, runs
from research.experiments.causes import Search
from research.experiments.conditions import Conditions, conditions_of
from research.experiments.divergence import Divergence, first_divergence
from research.experiments.rebuilt_environment import Rebuilding, rebuild
from research.experiments.runs import RunManifest
from rosdb import REPLAYS, Link, ObjectId, RunRow, Transaction, errors

SCHEMA: Final = "verdict/v1"

Verdict = Literal["identical", "diverged", "unreplayable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found; ``drift`` is what of the environment was not as it was recorded."""

    verdict: Verdict
    original: RunManifest
    replayed: RunManifest | None
    divergence: Divergence | None
    drift: tuple[str, ...] = ()
    is_rebuilt: bool = False
    reason: str = ""
    record: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A run of which a record is damaged or missing: nothing can be compared, or recorded."""

    row: RunRow
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Today:
    """The recipe that a replay answers, and under which conditions it is answered."""

    recipe: Link
    conditions: Conditions
    is_rebuilt: bool


def replay(
    context: Context,
    run_id: ObjectId,
    *,
    in_place: bool = False,
    seeks_causes: bool = True,
    rebuilding: Rebuilding | None = None,
    is_verified: bool = False,
) -> Replay:
    """Execute a run again and compare; the attempt is recorded.

    In place, the code is today's of the workspace instead of the stored one; all else is stored.
    ``rebuilding`` asks for the recorded environment instead of today's. ``is_verified`` says that
    the closure was checked a moment ago.

    Raises: ObjectMissing, ObjectCorrupt if the run itself cannot be read; in place, BadInput;
        NotRebuilt; KeyboardInterrupt, after a verdict that was reached by then is recorded.
    """
    store = context.store
    original = runs.read_run(store, run_id)
    if original.outcome is None:
        reason = f"its status is {original.status}: there is no outcome to compare with"
        return _unreplayable(context, original, reason)
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until the replay's run leads to its recipe
        try:
            if not is_verified:
                check_closure(context, original)
            with store.transaction("replay") as tx:
                today = _today(context, tx, original, in_place, rebuilding)
        except (errors.ObjectMissing, errors.ObjectCorrupt, errors.NotCanonical) as error:
            return _unreplayable(context, original, str(error))
        replayed_id = run.execute(
            context, today.recipe, kept, replay_of=original, conditions=today.conditions
        )
    replayed = runs.read_run(store, replayed_id)
    # Law 1 decides, by the two ids; the comparison only finds out where.
    is_same = replayed.outcome_id == original.outcome_id
    then, now = (each.recipe.fields["environment"] for each in (original, replayed))
    found = Replay(
        verdict="identical" if is_same else "diverged",
        original=original,
        replayed=replayed,
        divergence=None if is_same else _compare(context, original, replayed),
        drift=tuple(environment.differences(then, now)),
        is_rebuilt=today.is_rebuilt,
    )
    if found.divergence is None:
        return _recorded(context, found)
    search = Search(context, original, replayed)
    try:
        if seeks_causes:
            search.run(today.conditions)
    except KeyboardInterrupt:
        _recorded(context, _with_causes(found, search))
        raise
    return _recorded(context, _with_causes(found, search))


def replay_all(
    context: Context,
    *,
    since: str | None = None,
    where: str = "",
    in_place: bool = False,
    seeks_causes: bool = True,
    rebuilding: Rebuilding | None = None,
) -> Iterator[Replay | Unreadable]:
    """Replay every completed run, the newest first; each attempt is recorded before the next.

    Raises: BadExpression, BadInput as the log does; what ``replay`` raises.
    """
    asked = list(log.log(context, where=where, since=since))

    def replays() -> Iterator[Replay | Unreadable]:
        for each in asked:
            if each.manifest is None:
                yield Unreadable(row=each.row, reason="its records are damaged or missing")
            elif each.manifest.outcome_id is not None:
                yield replay(
                    context,
                    each.manifest.run_id,
                    in_place=in_place,
                    seeks_causes=seeks_causes,
                    rebuilding=rebuilding,
                )

    return replays()


def _with_causes(found: Replay, search: Search) -> Replay:
    assert found.divergence is not None
    return replace(found, divergence=replace(found.divergence, causes=search.found()))


def check_closure(context: Context, manifest: RunManifest) -> int:
    """Re-hash everything that a run reaches; return the number of objects.

    Raises: ObjectMissing, ObjectCorrupt for the first that is not what it was.
    """
    starts = [manifest.run_id, *filter(None, [manifest.outcome_id])]
    count, damaged = context.store.verify_closure(starts)
    for error in damaged.values():
        raise error
    return count


def _today(
    context: Context,
    tx: Transaction,
    original: RunManifest,
    in_place: bool,
    rebuilding: Rebuilding | None,
) -> _Today:
    """Put the recipe that the replay answers: the original's, in today's environment."""
    fields, links = dict(original.recipe.fields), dict(original.recipe.links)
    recorded = fields["environment"]
    conditions = conditions_of(context)
    if in_place:
        registration = registry.find(context.experiments_folder, original.experiment)
        spec = recipe.read_spec(context, registration)
        found = recipe.collect_code(context, registration, spec.include)
        links["code"] = recipe.put_code(tx, found)
        fields["entry"] = registration.module
        fields["environment"] = environment.describe(found.foreign)
    else:
        fields["environment"] = environment.describe_again(recorded)
    is_rebuilt = False
    if rebuilding is not None:
        variables = _recorded_variables(recorded)
        conditions = replace(conditions, variables=variables)
        fields["environment"] = {**fields["environment"], "variables": recorded["variables"]}
        if _has_other_packages(recorded, fields["environment"]):
            built = rebuild(recorded, rebuilding, context.say)
            fields["environment"] = dict(built.described)
            conditions = replace(conditions, interpreter=built.interpreter)
            is_rebuilt = True
    question = tx.put_record(original.recipe.schema, fields, links)
    return _Today(recipe=question, conditions=conditions, is_rebuilt=is_rebuilt)


def _recorded_variables(recorded: Mapping[str, Any]) -> dict[str, str | None]:
    """Return how the pinned variables have to be changed to be the recorded ones."""
    then = recorded["variables"]
    names = environment.VARIABLES.keys() | then.keys()
    return {
        name: then.get(name)
        for name in sorted(names)
        if then.get(name) != environment.VARIABLES.get(name)
    }


def _has_other_packages(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    parts = ("python", "implementation", "distributions")
    return any(recorded[part] != present[part] for part in parts)


def _compare(context: Context, original: RunManifest, replayed: RunManifest) -> Divergence:
    """Find where two different outcomes differ."""
    if replayed.outcome is None:
        error = replayed.error or {}
        return Divergence(
            artifact="status",
            kind="status",
            expected="completed",
            actual=f"failed: {error.get('kind')}: {error.get('message')}",
        )
    found = first_divergence(context.store, original, replayed)
    return found or Divergence(
        artifact="folders",
        kind="folders",
        expected=str(original.outcome_id),
        actual=str(replayed.outcome_id),
    )


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
        "drift": list(found.drift),
        "rebuilt": found.is_rebuilt,
    }
    ref = f"{REPLAYS}{found.replayed.run_id if found.replayed else found.original.run_id}"
    with context.store.transaction(f"replay {found.verdict}") as tx:
        record = tx.put_record(SCHEMA, fields, links)
        # A second attempt with the same end moves the ref to where it is: the journal has both.
        tx.move_ref(ref, record, expected=context.store.ref(ref))
    return replace(found, record=record)
