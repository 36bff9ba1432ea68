"""Gates: the questions that a run is asked before a config is written from it.

Owns their order, what each asks, and the rule from an answer to a verdict. A gate that is not met,
or whose answer cannot be told, does what the settings say of it; those of integrity refuse whatever
they say. Once one of these has refused, the others are not asked: they would judge a run that is
not what it seems.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from research import statistics
from research.context import Context
from research.errors import BadInput, ResearchError, Untold
from research.experiments import look_ahead, replay, runs
from research.experiments.curves import Curve, read_curve, sample_returns
from research.experiments.ledger import Trials, read_trials
from research.experiments.luck import Deflated, deflate, family_of
from research.experiments.runs import RunManifest
from research.promotion.dearer import ask_dearer
from research.promotion.gate_settings import INTEGRITY, GateSettings
from research.promotion.trials import openings
from rosdb import ObjectId, errors

Verdict = Literal["pass", "warn", "refuse", "off", "unasked"]

BLOCKS: Final = 16
"""As in the paper on the probability of backtest overfitting; fewer where there are few returns."""

_BLOCKS_MIN: Final = 4
_SWEEP_MIN: Final = 4
"""Fewer different outcomes are no sweep: a rank among three says nothing of a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A question, what was answered, and on what evidence."""

    name: str
    question: str
    verdict: Verdict
    figure: Any
    bound: Any
    explanation: str

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields: they stand in the evidence."""
        return {
            "name": self.name,
            "question": self.question,
            "verdict": self.verdict,
            "figure": self.figure,
            "bound": self.bound,
            "explanation": self.explanation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gate found; ``is_met`` is None where it cannot be told."""

    is_met: bool | None
    figure: Any = None
    bound: Any = None
    said: str = ""


class Case:
    """A run before the gates, and what several of them look at."""

    def __init__(self, context: Context, run_id: ObjectId, settings: GateSettings) -> None:
        self.context, self.settings = context, settings
        self.bounds = settings.bounds
        self.manifest: RunManifest = runs.read_run(context.store, run_id)
        self.object_count: int | None = None
        self.replayed: replay.Replay | None = None
        self.deflated: Deflated | None = None

    @cached_property
    def curve(self) -> Curve:
        """The run's equity curve. Raises: Untold."""
        assert self.manifest.outcome_id is not None
        return read_curve(self.context.store, self.manifest.outcome_id)

    @cached_property
    def trials(self) -> Trials:
        """The trials of its family."""
        return family_of(self.context.store, self.manifest)


def ask_gates(case: Case) -> list[Gate]:
    """Ask every gate in order; the integrity of the run first."""
    asked: list[Gate] = []
    stopper = ""
    for name, (question, ask) in GATES.items():
        action = case.settings.action(name)
        if stopper:
            gate = _silent(name, question, "unasked", f"not asked, for gate {stopper} refuses")
        elif action == "off":
            gate = _silent(name, question, "off", f"turned off: [gates] {name}")
        else:
            answer = _answer(ask, case)
            gate = Gate(
                name=name,
                question=question,
                verdict="pass" if answer.is_met else action,
                figure=answer.figure,
                bound=answer.bound,
                explanation=answer.said,
            )
            if name in INTEGRITY and gate.verdict == "refuse":
                stopper = name
        asked.append(gate)
    return asked


def _silent(name: str, question: str, verdict: Verdict, why: str) -> Gate:
    return Gate(
        name=name, question=question, verdict=verdict, figure=None, bound=None, explanation=why
    )


def _answer(ask: Callable[[Case], Answer], case: Case) -> Answer:
    """Ask one gate; what it cannot tell is no yes."""
    try:
        return ask(case)
    except (Untold, statistics.StatisticsError, BadInput) as fault:
        reason = str(fault)
    except (errors.ObjectMissing, errors.ObjectCorrupt, errors.NotCanonical) as fault:
        reason = str(fault)
    except ResearchError as fault:
        reason = f"{type(fault).__name__}: {fault}"
    return Answer(is_met=None, said=f"cannot be told: {reason}")


def _closure(case: Case) -> Answer:
    try:
        case.object_count = replay.check_closure(case.context, case.manifest)
    except (errors.ObjectMissing, errors.ObjectCorrupt) as error:
        return Answer(is_met=False, said=str(error))
    said = f"{case.object_count} objects verified"
    return Answer(is_met=True, figure=case.object_count, said=said)


def _completed(case: Case) -> Answer:
    manifest = case.manifest
    if manifest.status != "completed":
        return Answer(is_met=False, figure=manifest.status, said=f"the run {manifest.status}")
    if manifest.replay_of is not None:
        said = f"it is a replay; promote {str(manifest.replay_of)[:12]}"
        return Answer(is_met=False, figure="replay", said=said)
    return Answer(is_met=True, figure="completed", said="the run completed")


def _replay(case: Case) -> Answer:
    found = replay.replay(case.context, case.manifest.run_id, seeks_causes=False, is_verified=True)
    case.replayed = found
    if found.verdict == "identical" and found.record is not None:
        return Answer(is_met=True, figure="identical", said="identical, today and here")
    where = ""
    if found.divergence is not None:
        where = f" at {found.divergence.artifact}"
        where += f", column {found.divergence.column}" if found.divergence.column else ""
        where += f", row {found.divergence.row}" if found.divergence.row is not None else ""
    reason = f": {found.reason}" if found.reason else where
    return Answer(is_met=False, figure=found.verdict, said=f"{found.verdict}{reason}")


def _clean(case: Case) -> Answer:
    # The code that ran is an object of the run: what is not committed is stored.
    git = case.manifest.run.fields["git"] or {}
    tree = str(case.manifest.recipe.links["code"])
    if git.get("commit") and not git.get("dirty"):
        commit = git["commit"]
        return Answer(is_met=True, figure=commit, said=f"committed, {commit[:12]}")
    why = "the workspace had changes" if git.get("commit") else "no commit"
    return Answer(is_met=True, figure=tree, said=f"stored, tree {tree[:12]} ({why})")


def _look_ahead(case: Case) -> Answer:
    found = look_ahead.examine(case.context, case.manifest)
    if found.verdict == "uncheckable":
        raise Untold(found.reason)
    if found.first is None:
        said = f"{len(found.cuts)} cuts of the data changed nothing before them"
        return Answer(is_met=True, figure="clean", bound="clean", said=said)
    first = found.first
    said = (
        f"with the bars after bar {first.cut_bar} cut off, {first.artifact} differs in column"
        f" {first.column}, row {first.row}"
    )
    return Answer(is_met=False, figure="looks_ahead", bound="clean", said=said)


def _trades(case: Case) -> Answer:
    least, count = case.bounds.trades_min, _trade_count(case)
    told = f"{count} trade" + ("" if count == 1 else "s")
    said = told if count >= least else f"{told}, below {least}"
    return Answer(is_met=count >= least, figure=count, bound=least, said=said)


def _trade_count(case: Case) -> int:
    """Count the rows of its table of trades, else take the metric's word."""
    entry = runs.artifacts(case.context.store, case.manifest).get("trades")
    if entry is not None and entry.kind == "table":
        return case.context.store.get_table(entry.link).rows
    told: Any = case.manifest.metrics.get("trade_count")
    if type(told) in (int, float) and math.isfinite(told):
        return int(told)
    raise Untold("it saves no table 'trades' and tells no trade_count")


def _deflated_sharpe(case: Case) -> Answer:
    least = case.bounds.deflated_sharpe_min
    found = deflate(case.context.store, case.manifest, case.trials, case.curve)
    case.deflated = found
    said = (
        f"{found.deflated:.4f} that its Sharpe ratio is more than the best of"
        f" {found.trial_count} worthless trials"
        if found.trial_count > 1
        else f"{found.deflated:.4f} that its Sharpe ratio is above 0; nothing else was tried"
    )
    is_met = found.deflated >= least
    said += "" if is_met else f", below {least}"
    return Answer(is_met=is_met, figure=found.deflated, bound=least, said=said)


def _overfitting(case: Case) -> Answer:

    most = case.bounds.overfitting_max
    outcomes = case.trials.outcomes
    if len(outcomes) < _SWEEP_MIN:
        said = f"there was no sweep: {len(outcomes)} of the trials differ, below {_SWEEP_MIN}"
        return Answer(is_met=True, bound=most, said=said)
    assert case.manifest.outcome_id is not None
    sample = sample_returns(case.context.store, outcomes, case.manifest.outcome_id)
    if sample is None:
        raise Untold("of all trials no second has a curve at the times of this one")
    blocks = min(BLOCKS, len(sample.returns) // 2 // 2 * 2)
    if blocks < _BLOCKS_MIN:
        raise Untold(f"{len(sample.returns)} returns are too few to cut into halves")
    pbo = statistics.probability_of_backtest_overfitting(sample.returns, blocks).pbo
    told = f"{sample.count} trials" if sample.count == sample.total else (
        f"{sample.count} of {sample.total} trials"
    )  # fmt: skip
    said = f"in {pbo:.1%} of the halves of time the best of {told} is below the median in the rest"
    said += "" if pbo <= most else f", above {most:.1%}"
    return Answer(is_met=pbo <= most, figure=pbo, bound=most, said=said)


def _costs(case: Case) -> Answer:
    multiple = case.bounds.cost_multiple
    found = ask_dearer(case.context, case.manifest, multiple)
    said = f"at {multiple:g} times its costs it earns {found.total_return:.2%}"
    said += f" ({len(found.paths)} parameters: {', '.join(found.paths)})"
    return Answer(is_met=found.total_return > 0.0, figure=found.total_return, bound=0.0, said=said)


def _drawdown(case: Case) -> Answer:
    most = case.bounds.drawdown_max
    figure = case.curve.drawdown()
    said = f"the largest fall is {figure:.2%}" + ("" if figure <= most else f", above {most:.2%}")
    return Answer(is_met=figure <= most, figure=figure, bound=most, said=said)


def _holdout(case: Case) -> Answer:
    most = case.bounds.holdout_openings_max
    store = case.context.store
    opened = openings(store, read_trials(store, case.manifest.experiment))
    figure = max((each.count for each in opened), default=0)
    said = ", ".join(f"{each.dataset} was opened by {each.count}" for each in opened)
    said = f"{said} of the experiment's trials" if opened else "no holdout was opened"
    said += "" if figure <= most else f", above {most}"
    return Answer(is_met=figure <= most, figure=figure, bound=most, said=said)


GATES: Final[Mapping[str, tuple[str, Callable[[Case], Answer]]]] = {
    "closure": ("Is every object of the run what it was?", _closure),
    "completed": ("Did the run complete, and is it no replay?", _completed),
    "replay": ("Does it give the same outcome again, today and here?", _replay),
    "clean": ("Is the code committed, or stored?", _clean),
    "look_ahead": ("Does nothing decided before a cut change with the bars after it?", _look_ahead),
    "trades": ("Are there enough trades?", _trades),
    "deflated_sharpe": ("Is its Sharpe ratio more than luck, given all trials?", _deflated_sharpe),
    "overfitting": ("Does the best of half of the time do well in the rest?", _overfitting),
    "costs": ("Is a profit left at a multiple of its costs?", _costs),
    "drawdown": ("Is the largest fall bearable?", _drawdown),
    "holdout": ("Was each holdout opened as often as allowed, or less?", _holdout),
}
"""Name, what it asks, and who answers; in the order in which they are asked."""


def refusing(asked: Sequence[Gate]) -> list[Gate]:
    """Return the gates that refuse."""
    return [gate for gate in asked if gate.verdict == "refuse"]
