"""Performing a run: from a request to a recorded outcome.

Owns the life of a run: look the recipe up; if it was never answered, record the run (pending),
start its child (running), record what came of it (completed or failed), each a move of the run's
ref. The lease, a kernel lock that ends with the process, tells a running run from a dead one.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research.context import Context
from research.datasets.snapshot import Snapshot
from research.errors import BadInput, RunFailed
from research.experiments import capsule, code_key, kernels, known_bases, ledger, recipe, runs
from research.experiments.answer import Answer
from research.experiments.child_error import ChildError
from research.experiments.conditions import Conditions, conditions_of
from research.experiments.limits import NO_LIMITS, Limits
from research.experiments.name import check_free, told_if_taken
from research.experiments.options import read_options
from research.experiments.recipe import Request
from research.experiments.runs import RunManifest
from rosdb import (
    RUNS,
    Link,
    ObjectId,
    Record,
    Transaction,
    check_run_name,
    errors,
    record_id,
)

UNKEEPABLE: Final = (errors.BadName, errors.BadTable, errors.NotCanonical, OSError)
"""What the artifacts of a run may raise that cannot be kept: it has failed."""

INTERRUPTION: Final = {"kind": "interrupted", "message": "it was interrupted", "where": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """A run, and whether it was answered from the store."""

    manifest: RunManifest
    is_cached: bool
    contradicts: RunManifest | None = None
    """An earlier run of the same recipe with another outcome: it is not deterministic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run stands beyond its status; empty while it runs."""

    seconds: float | None = None
    error: Mapping[str, str] | None = None
    outcome: Link | None = None
    log: bytes = b""
    log_bytes_cut: int = 0
    sandbox: Mapping[str, Any] | None = None
    nondeterminism: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What a run has come to: its last state, and its outcome if it completed."""

    state: Link
    status: runs.Status
    outcome: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A run that is recorded, and what it asks."""

    run_id: Link
    recipe_id: Link
    question: Record
    snapshot: Snapshot | None
    is_trial: bool

    def enter(
        self,
        tx: Transaction,
        status: str,
        outcome: Link | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Enter it into the ledger as it ends; a replay is no trial."""
        if self.is_trial:
            line = ledger.line_of(self.run_id, self.recipe_id, status, outcome, metrics)
            experiment = self.question.fields["experiment"]
            ledger.enter(tx, experiment, ledger.dataset_of(self.snapshot), [line])


def run(
    context: Context,
    request: Request,
    *,
    name: str | None = None,
    force: bool = False,
    limits: Limits = NO_LIMITS,
) -> Performed:
    """Answer a request from the store, or run it and record the run.

    A run that reaches a limit is kept as failed; limits stand in no recipe.

    Raises: BadInput and NotThere in their kinds; RunFailed, when the run is kept as failed.
    """
    store = context.store
    if name is not None:
        check_run_name(name)
    base = None if force else known_bases.recall(context, request.experiment_id, request.dataset)
    if base is not None:
        # Nothing has to be put to look it up.
        fields = recipe.ask_fields(base, request.overrides, request.seed)
        earlier = find_answer(context, record_id(Record(recipe.SCHEMA, fields, base.links)))
        if earlier is not None:
            return Performed(manifest=_named(context, earlier, name), is_cached=True)
    with contextlib.ExitStack() as kept:
        kept.enter_context(store.writing())  # until the run leads to its recipe
        with store.transaction(f"recipe of {request.experiment_id}") as tx:
            base = known_bases.build(context, tx, request.experiment_id, request.dataset)
            question = recipe.ask(tx, base, request.overrides, request.seed)
            earlier = find_answer(context, question.recipe)
            if earlier is not None and not force:
                tx.abandon()
        if earlier is not None and not force:
            return Performed(manifest=_named(context, earlier, name), is_cached=True)
        run_id = execute(
            context,
            question.recipe,
            kept,
            snapshot=question.snapshot,
            metrics=question.spec.metrics,
            name=name,
            conditions=conditions_of(context, limits),
        )
    manifest = runs.read_run(store, run_id, name)
    if manifest.error is not None:
        raise failure_of(manifest, question.code)
    contradicts = earlier if earlier and earlier.outcome_id != manifest.outcome_id else None
    return Performed(manifest=manifest, is_cached=False, contradicts=contradicts)


def find_answer(context: Context, recipe_id: ObjectId) -> RunManifest | None:
    """Return the completed run that answers a recipe here, if there is one.

    Where the workspace is strict, one that read the clock or chance is no answer.
    Raises: BadInput if the workspace's options cannot be read.
    """
    found = runs.find_completed(context.store, recipe_id)
    if found is not None and found.nondeterminism and read_options(context.workspace).strict:
        return None
    return found


def execute(
    context: Context,
    recipe_id: Link,
    kept: contextlib.ExitStack,
    *,
    snapshot: Snapshot | None = None,
    metrics: Sequence[str] = (),
    replay_of: RunManifest | None = None,
    name: str | None = None,
    conditions: Conditions | None = None,
    why: str = "run pending",
) -> Link:
    """Record a run of a stored recipe, execute it in a child, and record what came of it.

    ``kept`` is what keeps the recipe in the store; it is closed once the run leads there. Without
    ``conditions``, they are what the workspace says. ``why`` is what the journal says of the run.

    Raises: NameTaken; KeyboardInterrupt, after the run was recorded as failed.
    """
    store = context.store
    before = check_free(store, name, None)
    given = conditions_of(context) if conditions is None else conditions
    with contextlib.ExitStack() as stack:
        with told_if_taken(store, name), store.transaction(why) as tx:
            git = context.git()
            run_id = put_run(context, tx, recipe_id, snapshot, list(metrics), replay_of, git=git)
            # Held before anyone can see the run, so that nobody takes it for a dead one.
            stack.enter_context(store.lease(run_id))
            if name is not None:
                tx.move_ref(runs.name_ref(name), run_id, expected=before)
        kept.close()
        asked = _Asked(
            run_id=run_id,
            recipe_id=recipe_id,
            question=store.get_record(recipe_id),
            snapshot=snapshot,
            is_trial=replay_of is None,
        )
        _perform(context, asked, given)
    return run_id


def put_run(
    context: Context,
    tx: Transaction,
    recipe_id: Link,
    snapshot: Snapshot | None,
    metrics: list[str],
    replay_of: RunManifest | None,
    *,
    git: Mapping[str, Any] | None,
) -> Link:
    """Put a run's record and move its ref to it: the run is pending."""
    links: dict[str, ObjectId] = {"recipe": recipe_id}
    dataset: Mapping[str, str] | None = None
    if snapshot is not None:
        links["snapshot"] = snapshot.link
        dataset = {"name": snapshot.name, "version": snapshot.version}
    if replay_of is not None:
        links["replay_of"] = replay_of.run_id
        dataset, metrics = replay_of.run.fields["dataset"], replay_of.run.fields["metric_names"]
        if "snapshot" in replay_of.run.links:
            links["snapshot"] = replay_of.run.links["snapshot"]
    fields = {
        "created_at_ns": context.now_ns(),
        "process_id": context.process_id,
        "kind": "run" if replay_of is None else "replay",
        "user": context.user,
        "host": context.host,
        "agent": context.agent,
        "ros": context.software,
        "git": git,
        "dataset": dataset,
        "metric_names": metrics,
    }
    run_id = tx.put_record(runs.RUN_SCHEMA, fields, links)
    tx.move_ref(f"{RUNS}{run_id}", run_id, expected=None)
    return run_id


def _perform(context: Context, asked: _Asked, conditions: Conditions) -> None:
    """Start the child, wait for it, and move the run to what came of it."""
    started = context.monotonic()
    running = _move_status(context, asked.run_id, asked.run_id, "running", Ending())
    try:
        with context.store.scratch(asked.run_id) as folder:
            box = capsule.Capsule(folder.resolve())
            box.fill(context.store, asked.question)
            kernels.lay_beside(kernels.kernels_for(context, asked.question), folder / "code")
            answer = box.run(asked.question, conditions)
            _record(context, asked, running, answer, context.monotonic() - started)
    except BaseException as fault:
        error = {"kind": type(fault).__name__, "message": str(fault)[:2000], "where": ""}
        if isinstance(fault, KeyboardInterrupt):
            error = dict(INTERRUPTION)
        ending = Ending(seconds=context.monotonic() - started, error=error)
        # What failed us may fail this too; a run without an ending is shown as interrupted.
        with contextlib.suppress(errors.StoreError):
            _fail(context, asked, running, ending)
        raise


def _fail(context: Context, asked: _Asked, running: Link, ending: Ending) -> None:
    with context.store.transaction("run failed") as tx:
        put_status(context, tx, asked.run_id, running, "failed", ending)
        asked.enter(tx, "failed")


def _record(context: Context, asked: _Asked, running: Link, answer: Answer, seconds: float) -> None:
    """Record the outcome, or the failure; an output that is no artifact is a failure too."""
    with context.store.transaction("run ended") as tx:
        landed = put_answer(context, tx, asked.run_id, running, answer, seconds)
        asked.enter(tx, landed.status, landed.outcome, answer.metrics)


def put_answer(
    context: Context,
    tx: Transaction,
    run_id: Link,
    running: Link,
    answer: Answer,
    seconds: float,
) -> Landed:
    """Put what a run's child left, and move the run to it: completed, or failed."""
    error, outcome = answer.error, None
    if error is None:
        try:
            links = {"artifacts": answer.collect(tx)}
            fields = {"metrics": dict(answer.metrics or {})}
            outcome = tx.put_record(runs.OUTCOME_SCHEMA, fields, links)
        except (*UNKEEPABLE, RecursionError) as fault:
            error = ChildError(kind=type(fault).__name__, message=str(fault), where="")
    ending = Ending(
        seconds=seconds,
        error=None if error is None else dataclasses.asdict(error),
        outcome=outcome,
        log=answer.log,
        log_bytes_cut=answer.log_bytes_cut,
        sandbox=answer.sandbox,
        nondeterminism=answer.nondeterminism,
    )
    status: runs.Status = "completed" if error is None else "failed"
    tx.why = f"run {status}"
    state = put_status(context, tx, run_id, running, status, ending)
    return Landed(state=state, status=status, outcome=outcome)


def _move_status(
    context: Context, run_id: Link, before: Link, status: runs.Status, ending: Ending
) -> Link:
    with context.store.transaction(f"run {status}") as tx:
        return put_status(context, tx, run_id, before, status, ending)


def put_status(
    context: Context,
    tx: Transaction,
    run_id: Link,
    before: Link,
    status: runs.Status,
    ending: Ending,
) -> Link:
    """Put how a run stands, and move its ref there."""
    links: dict[str, ObjectId] = {"run": run_id}
    if ending.outcome is not None:
        links["outcome"] = ending.outcome
    if ending.log:
        links["log"] = tx.put_blob(ending.log)
    fields: dict[str, Any] = {
        "status": status,
        "at_ns": context.now_ns(),
        "seconds": ending.seconds,
        "error": None if ending.error is None else dict(ending.error),
        "log_bytes_cut": ending.log_bytes_cut,
    }
    if ending.sandbox is not None:
        fields["sandbox"] = dict(ending.sandbox)
        fields["nondeterminism"] = [dict(each) for each in ending.nondeterminism]
    link = tx.put_record(runs.STATUS_SCHEMA, fields, links)
    tx.move_ref(f"{RUNS}{run_id}", link, expected=before)
    return link


def _named(context: Context, manifest: RunManifest, name: str | None) -> RunManifest:
    """Give an earlier run the name that was asked for, unless it has it already."""
    if name is None or manifest.name == name:
        return manifest
    before = check_free(context.store, name, manifest.run_id)
    if before != manifest.run_id:
        with told_if_taken(context.store, name), context.store.transaction(f"name {name}") as tx:
            tx.move_ref(runs.name_ref(name), manifest.run_id, expected=before)
    return runs.read_run(context.store, manifest.run_id, name)


def failure_of(manifest: RunManifest, code: recipe.Code) -> Exception:
    """Return the error that a failed run is told by."""
    error = manifest.error or {}
    where = error.get("where", "")
    path, _, line = where.partition(", line ")
    if line.isdigit() and path in code.paths and isinstance(code.files[path], bytes):
        # What ran was the file's normal form: its line stands in the run, the file's is told.
        source = code.paths[path].read_bytes()
        where = f"{path}, line {code_key.line_in_source(source, int(line))}"
    if error.get("kind") == "ParameterError":
        return BadInput(f"{manifest.experiment}: {error['message']}")
    return RunFailed(
        manifest.experiment,
        str(manifest.run_id),
        error.get("kind", ""),
        error.get("message", ""),
        where,
    )
