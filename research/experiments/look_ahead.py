"""The look-ahead check: nothing that was decided at a bar changes when the bars after it do.

Owns the cuts and the verdict. A run is run again on the bars up to a cut, in a capsule like any
other, and what its dated tables (`dated_tables`) say up to the cut has to be what the run said. The
orders of the last bar need a bar to fill at: so one bar more is shown, with its open and its volume
as they were, and high, low and close mirrored at the open, so that whoever knew them is misled.

Nothing of a cut is recorded: its bars and outputs live in a store of their own that is thrown away.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from research.context import Context
from research.errors import BadInput
from research.experiments import capsule, run, runs
from research.experiments.bar_cuts import BARS_MIN, choose_cuts, cut_bars
from research.experiments.conditions import conditions_of
from research.experiments.dated_tables import (
    NEVER,
    DatedTable,
    Mismatch,
    count_known,
    decision_bars,
    first_mismatch,
    read_dates,
)
from research.experiments.recipe import Request
from research.experiments.runs import RunManifest
from rosdb import Link, Store, Table, errors

CUTS: Final = 5

Verdict = Literal["clean", "looks_ahead", "uncheckable"]
State = Literal["same", "differs", "failed"]

_ENGINE: Final = ("research", "simulation", "engine.py")
_ROUNDING: Final = 1e-9
_NO_DATES: Final = (
    "none of its outputs is a table with a time or a bar: save its signals or its trades by"
    " save_table, with a column at_ns or bar"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut: the last bar that was shown as it was, and what came of it.

    ``row_count`` is the number of rows that were compared; ``error`` is why the run failed there.
    """

    bar: int
    at_ns: int
    state: State
    row_count: int = 0
    error: str = ""

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a document."""
        return {
            "bar": self.bar,
            "at_ns": self.at_ns,
            "state": self.state,
            "rows": self.row_count,
            "error": self.error or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided at the close of a bar with all bars, and was not with those up to a cut.

    ``row`` counts from 0. A value is "absent" where there is no such row.
    """

    artifact: str
    column: str
    row: int
    bar: int
    at_ns: int
    whole: Any
    cut: Any
    cut_bar: int
    cut_at_ns: int

    @property
    def is_rounding(self) -> bool:
        """Whether the two values differ in their last digits only."""
        if not (isinstance(self.whole, float) and isinstance(self.cut, float)):
            return False
        most = max(abs(self.whole), abs(self.cut))
        return abs(self.whole - self.cut) <= _ROUNDING * most

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a document."""
        return {
            "artifact": self.artifact,
            "column": self.column,
            "row": self.row,
            "bar": self.bar,
            "at_ns": self.at_ns,
            "whole": self.whole,
            "cut": self.cut,
            "cut_bar": self.cut_bar,
            "cut_at_ns": self.cut_at_ns,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAheadReport:
    """What the check found: the verdict, each cut, and the first decision that is not the same.

    ``tables`` were compared; ``undated`` are the other outputs, which no cut can say anything of.
    """

    verdict: Verdict
    run_id: Link
    cuts: Sequence[Cut] = ()
    first: Decision | None = None
    reason: str = ""
    tables: Sequence[str] = ()
    undated: Sequence[str] = ()

    def to_fields(self) -> dict[str, Any]:
        """Return plain fields for a document."""
        return {
            "verdict": self.verdict,
            "cuts": [cut.to_fields() for cut in self.cuts],
            "first": None if self.first is None else self.first.to_fields(),
            "reason": self.reason or None,
            "tables": list(self.tables),
            "undated": list(self.undated),
        }


class _CutFailed(Exception):
    """An experiment did not complete on fewer bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outputs:
    """A run's dated tables by their name, and the names of its other outputs."""

    dated: Mapping[str, DatedTable]
    undated: Sequence[str]


class _Question:
    """A run's question, to be asked again of other bars; the answers go to the scratch store."""

    def __init__(self, *, context: Context, scratch: Store, manifest: RunManifest) -> None:
        store = context.store
        self._conditions = conditions_of(context)
        self.bars = store.get_table(manifest.recipe.links["bars"])
        self._store = store
        self._scratch = scratch
        self._manifest = manifest
        self._has_engine = _has_engine(store, manifest.recipe.links["code"])

    def recorded(self) -> _Outputs:
        """Return what the run itself has put out."""
        return self._read(self._store, self._manifest)

    def ask(self, bars: Mapping[str, Any]) -> _Outputs:
        """Run the same code with the same parameters on other bars.

        Raises: _CutFailed.
        """
        manifest, scratch = self._manifest, self._scratch
        with capsule.open_capsule() as box:
            box.write_code(self._store, manifest.recipe.links["code"])
            box.write_bars(scratch, scratch.put_table(bars, self.bars.units))
            answer = box.run(manifest.recipe, self._conditions)
            if answer.error is not None:
                raise _CutFailed(f"{answer.error.kind}: {answer.error.message}")
            try:
                with scratch.transaction("a cut's outputs") as tx:
                    links = {"artifacts": answer.collect(tx)}
                    outcome = tx.put_record(runs.OUTCOME_SCHEMA, {"metrics": {}}, links)
            except (errors.BadName, errors.BadTable, OSError) as fault:
                raise _CutFailed(f"{type(fault).__name__}: {fault}") from None
        answered = replace(manifest, outcome_id=outcome, outcome=scratch.get_record(outcome))
        return self._read(scratch, answered)

    def _read(self, store: Store, manifest: RunManifest) -> _Outputs:
        dated: dict[str, DatedTable] = {}
        undated: list[str] = []
        for name, entry in runs.artifacts(store, manifest).items():
            read = None
            if entry.kind == "table":
                table = store.get_table(entry.link)
                read = read_dates(name, table, self.bars["at_ns"], has_engine=self._has_engine)
            if read is None:
                undated.append(name)
            else:
                dated[name] = read
        return _Outputs(dated=dated, undated=undated)


def check_look_ahead(
    experiment_id: str,
    context: Context,
    cuts: int = CUTS,
    *,
    parameters: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    seed: int | None = None,
) -> LookAheadReport:
    """Run an experiment, or take its answer from the store, and check that it knew no future.

    Parameters are named by their dotted paths.

    Raises: BadInput and NotThere in their kinds; RunFailed, when the run is kept as failed.
    """
    check_cuts(cuts)
    overrides = list((parameters or {}).items())
    request = Request(experiment_id=experiment_id, overrides=overrides, dataset=dataset, seed=seed)
    return examine(context, run.run(context, request).manifest, cuts)


def check_cuts(cuts: int) -> None:
    """Refuse a number of cuts that says nothing.

    Raises: BadInput.
    """
    if cuts < 1:
        raise BadInput(f"cuts is {cuts}; it takes 1 at least")


def examine(context: Context, manifest: RunManifest, cuts: int = CUTS) -> LookAheadReport:
    """Check a completed run.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    check_cuts(cuts)
    reason = _no_bars(manifest)
    if reason:
        return LookAheadReport(verdict="uncheckable", run_id=manifest.run_id, reason=reason)
    with _scratch_store() as scratch:
        question = _Question(context=context, scratch=scratch, manifest=manifest)
        whole = question.recorded()
        found = LookAheadReport(
            verdict="uncheckable",
            run_id=manifest.run_id,
            tables=sorted(whole.dated),
            undated=whole.undated,
        )
        if question.bars.rows < BARS_MIN:
            return replace(found, reason=f"its data cannot be cut: {question.bars.rows} bars")
        if not whole.dated:
            return replace(found, reason=_NO_DATES)
        return _cut(question, whole, found, cuts)


def _cut(
    question: _Question, whole: _Outputs, found: LookAheadReport, cuts: int
) -> LookAheadReport:
    """Make the cuts and return what was found with the verdict."""
    bars = question.bars
    decided = {bar for each in whole.dated.values() for bar in decision_bars(each, bars.rows)}
    made: list[Cut] = []
    differing: list[Decision] = []
    for bar in choose_cuts(bars.rows, cuts, decided):
        at_ns = int(bars["at_ns"][bar])
        try:
            part = question.ask(cut_bars(bars, bar))
        except _CutFailed as failure:
            made.append(Cut(bar=bar, at_ns=at_ns, state="failed", error=str(failure)))
            continue
        count = sum(count_known(each, bar) for each in whole.dated.values())
        mismatch = _earliest(whole, part, bar)
        state: State = "same" if mismatch is None else "differs"
        made.append(Cut(bar=bar, at_ns=at_ns, state=state, row_count=count))
        if mismatch is not None:
            differing.append(_decision(mismatch, bars, bar))
    found = replace(found, cuts=tuple(made))
    if not differing:
        return _without_mismatch(found)
    unsteady = _why_unsteady(question, whole)
    if unsteady:
        return replace(found, reason=unsteady)
    first = min(differing, key=lambda each: each.bar)
    return replace(found, verdict="looks_ahead", first=first)


def _no_bars(manifest: RunManifest) -> str:
    """Say why a run's data cannot be cut; empty if it can."""
    links = manifest.recipe.links
    if "files" in links:
        return (
            "it reads the raw files of its dataset, which cannot be cut: take the bars alone,"
            ' input_kind="bars"'
        )
    return "" if "bars" in links else "it takes no bars: there is nothing to cut"


def _has_engine(store: Store, code: Link) -> bool:
    """Tell whether a run's code holds our own engine, whose trades are known to fill at an open."""
    *folders, file = _ENGINE
    for folder in folders:
        entry = store.get_tree(code).get(folder)
        if entry is None:
            return False
        code = entry.link
    return file in store.get_tree(code)


@contextlib.contextmanager
def _scratch_store() -> Iterator[Store]:
    """Make a store that is gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="ros-") as folder:
        store = Store.init(Path(folder) / "store")
        try:
            yield store
        finally:
            store.close()


def _earliest(whole: _Outputs, part: _Outputs, until: int) -> Mismatch | None:
    """Return the earliest mismatch of all tables up to a bar."""
    found = []
    for name, table in sorted(whole.dated.items()):
        mismatch = first_mismatch(table, part.dated.get(name), until)
        found += [] if mismatch is None else [mismatch]
    return min(found, key=lambda each: each.bar, default=None)


def _decision(mismatch: Mismatch, bars: Table, cut: int) -> Decision:
    at_ns = bars["at_ns"]
    return Decision(
        artifact=mismatch.artifact,
        column=mismatch.column,
        row=mismatch.row,
        bar=mismatch.bar,
        at_ns=int(at_ns[mismatch.bar]),
        whole=mismatch.ours,
        cut=mismatch.theirs,
        cut_bar=cut,
        cut_at_ns=int(at_ns[cut]),
    )


def _without_mismatch(found: LookAheadReport) -> LookAheadReport:
    """Return the verdict where no cut showed anything: clean, if there was something to show."""
    if all(cut.state == "failed" for cut in found.cuts):
        return replace(found, reason=f"it fails on every cut: {found.cuts[-1].error}")
    if not any(cut.row_count for cut in found.cuts):
        return replace(found, reason="no row of its dated tables is from before the last cut")
    return replace(found, verdict="clean")


def _why_unsteady(question: _Question, whole: _Outputs) -> str:
    """Say why a difference proves nothing: the same bars do not give the same rows either."""
    try:
        again = question.ask(dict(question.bars))
    except _CutFailed as failure:
        return f"it is not deterministic: run again on all bars it fails ({failure})"
    mismatch = _earliest(whole, again, NEVER - 1)
    if mismatch is None:
        return ""
    return (
        f"it is not deterministic: run again on all bars, {mismatch.artifact} differs in column"
        f" {mismatch.column}, row {mismatch.row}"
    )
