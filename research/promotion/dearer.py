"""Dearer: the same run at a multiple of its costs.

Owns which parameters are costs: every number under ``costs``, and the base and the impact of
``execution.slippage``. The question is asked of the stored code and data, as a replay asks it. It
is no trial, for nobody chooses by it: unless the store has its answer, nothing of it is recorded.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from research import statistics
from research.context import Context
from research.errors import Untold
from research.experiments import capsule, run, runs
from research.experiments.conditions import conditions_of
from research.experiments.curves import read_curve
from research.experiments.run import UNKEEPABLE
from research.experiments.runs import RunManifest
from rosdb import ObjectId, Record, Store, record_id

_SLIPPAGE: Final = ("base", "volume_impact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dearer:
    """What a run earns at a multiple of its costs, and which parameters were multiplied."""

    total_return: float
    paths: tuple[str, ...]


def ask_dearer(context: Context, manifest: RunManifest, multiple: float) -> Dearer:
    """Ask a completed run's question again at a multiple of its costs.

    Raises: Untold if it has no costs, fails at them, or does not say what it earns.
    """
    parameters, paths = multiply_costs(manifest.parameters, multiple)
    if not paths:
        raise Untold("none of its parameters is a cost above 0 (costs.*, execution.slippage.*)")
    recipe = manifest.recipe
    question = Record(recipe.schema, {**recipe.fields, "parameters": parameters}, recipe.links)
    known = run.find_answer(context, record_id(question))
    if known is not None and known.outcome_id is not None:
        return Dearer(total_return=_earned(context.store, known), paths=paths)
    with tempfile.TemporaryDirectory(prefix="ros-") as folder:
        scratch = Store.init(Path(folder) / "store")
        try:
            answered = _answered(context, scratch, manifest, question)
            return Dearer(total_return=_earned(scratch, answered), paths=paths)
        finally:
            scratch.close()


def multiply_costs(
    parameters: Mapping[str, Any], multiple: float
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters with their costs multiplied, and the paths of those that changed."""
    changed: list[str] = []
    made = dict(parameters)
    if isinstance(parameters.get("costs"), Mapping):
        made["costs"] = _multiplied(parameters["costs"], multiple, "costs", changed)
    execution = parameters.get("execution")
    if isinstance(execution, Mapping) and isinstance(execution.get("slippage"), Mapping):
        slippage = execution["slippage"]
        part = {name: slippage[name] for name in _SLIPPAGE if name in slippage}
        dearer = _multiplied(part, multiple, "execution.slippage", changed)
        made["execution"] = {**execution, "slippage": {**slippage, **dearer}}
    return made, tuple(changed)


def _multiplied(
    values: Mapping[str, Any], multiple: float, path: str, changed: list[str]
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{path}.{name}"
        if isinstance(value, Mapping):
            made[name] = _multiplied(value, multiple, here, changed)
        elif type(value) in (int, float) and value != 0:
            # Of its own type: a parameter that counts stays a whole number where it can.
            made[name] = type(value)(value * multiple)
            changed.append(here)
        else:
            made[name] = value
    return made


def _answered(
    context: Context, scratch: Store, manifest: RunManifest, question: Record
) -> RunManifest:
    with capsule.open_capsule() as box:
        box.fill(context.store, question)
        answer = box.run(question, conditions_of(context))
        if answer.error is not None:
            raise Untold(f"at these costs it fails: {answer.error.kind}: {answer.error.message}")
        try:
            with scratch.transaction("dearer") as tx:
                links: dict[str, ObjectId] = {"artifacts": answer.collect(tx)}
                fields = {"metrics": dict(answer.metrics or {})}
                outcome_id = tx.put_record(runs.OUTCOME_SCHEMA, fields, links)
        except UNKEEPABLE as fault:
            raise Untold(f"at these costs it fails: {type(fault).__name__}: {fault}") from None
    return replace(manifest, outcome_id=outcome_id, outcome=scratch.get_record(outcome_id))


def _earned(store: Store, manifest: RunManifest) -> float:
    """Return what a run has earned: by its equity curve, else by the metric of that name."""
    assert manifest.outcome_id is not None

    try:
        return read_curve(store, manifest.outcome_id).total_return()
    except (Untold, statistics.StatisticsError):
        told: Any = manifest.metrics.get("total_return")
        if type(told) in (int, float):
            return float(told)
        raise Untold("it saves no equity curve and tells no total_return") from None
