"""Likely causes: why a replay diverged, each by evidence.

Owns the search. The question is asked once more, unchanged: if the second answer is the first, the
environment is looked at, and what is pinned otherwise now is set back to what was recorded. Then
everything that a machine leaves to chance is held still, and one factor at a time is changed: what
changes with it, depends on it. Bounded in runs and in time; Ctrl-C ends it with what it has found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from research.context import Context
from research.experiments import environment
from research.experiments.conditions import Conditions
from research.experiments.factors import (
    ADDRESSES,
    FACTORS,
    FEW_INSTRUCTIONS,
    FOLDER,
    PINNED,
    Factor,
    word_of,
)
from research.experiments.limits import Limits
from research.experiments.runs import RunManifest
from research.experiments.trials import Answered, Trials, open_trials, read_answer

RUNS_MAX: Final = 24
SECONDS_MAX: Final = 120.0

CODE_CHANGED: Final = "the code of the workspace is not the stored code"
UNKNOWN: Final = "same code, input and environment: the experiment is not deterministic"
RESTLESS: Final = (
    "unknown: even with time, chance, addresses, threads, file order and folder held still it"
    " changes from run to run; a library may ask the system by itself"
)
UNSTEADY: Final = (
    "unknown: it changes from run to run, and with none of time, chance, addresses, threads, file"
    " order and folder alone"
)
STEADY: Final = (
    "unknown: run twice today it agrees with itself, and it changes with nothing that could be"
    " changed; the machine, its kernel or its files are not those of the first run"
)

_PATIENCE: Final = 10.0
_SECONDS_MIN: Final = 20.0
_PLACES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What an answer was seen to change with, and where."""

    text: str
    places: frozenset[str]


class _Ended(Exception):
    """The search has used up its runs or its time."""


class _Questioner:
    """Asks again, within the bounds of a search, under the conditions of the replay or others."""

    def __init__(self, context: Context, trials: Trials, replayed: Conditions, own: float) -> None:
        self._monotonic = context.monotonic
        self._until = context.monotonic() + SECONDS_MAX
        self._trials = trials
        seconds = max(_SECONDS_MIN, _PATIENCE * own)
        self._replayed = replace(replayed, limits=Limits(seconds=seconds))

    def ask(self, variables: Mapping[str, str | None] | None = None) -> Answered:
        """Ask with some variables changed.

        Raises: _Ended.
        """
        return self._ask({**self._replayed.variables, **(variables or {})}, {}, "")

    def hold(self, other: str = "") -> Answered:
        """Ask with every factor held still; one of them in its other state.

        Raises: _Ended.
        """
        held = {each.name: "b" if each.name == other else "a" for each in FACTORS}
        place = {"a": "held", "b": "held-elsewhere"}[held.pop(FOLDER)]
        return self._ask(self._replayed.variables, held, place)

    def _ask(
        self, variables: Mapping[str, str | None], held: Mapping[str, str], place: str
    ) -> Answered:
        if self._trials.count >= RUNS_MAX or self._monotonic() > self._until:
            raise _Ended
        return self._trials.ask(replace(self._replayed, variables=variables, held=held), place)


class Search:
    """The search for the causes of one divergence; what it has found stands at any time."""

    def __init__(self, context: Context, original: RunManifest, replayed: RunManifest) -> None:
        self._context = context
        self._original = original
        self._replayed = replayed
        self._then: Mapping[str, Any] = original.recipe.fields["environment"]
        self._now: Mapping[str, Any] = replayed.recipe.fields["environment"]
        self._drift = environment.differences(self._then, self._now)
        self._has_other_code = original.recipe.links["code"] != replayed.recipe.links["code"]
        self._expected = read_answer(context.store, original)
        self._actual = read_answer(context.store, replayed)
        self._is_steady = False
        self._proved: list[str] = []
        self._seen: list[_Seen] = []
        self._unexplained = ""
        self._remark = ""

    def found(self) -> tuple[str, ...]:
        """Return the causes, the likeliest first; without a search, what is not the same."""
        code = [CODE_CHANGED] if self._has_other_code else []
        diverging = self._expected.differs_at(self._actual)
        ranked = sorted(self._seen, key=lambda each: -len(each.places & diverging))
        seen = [each.text for each in ranked]
        # What agrees with itself is not chance's: there, what is not the same comes first.
        order = [self._drift, seen] if self._is_steady else [seen, self._drift]
        lines = [*code, *self._proved, *order[0], *order[1]]
        is_explained = bool(lines if self._is_steady else seen)
        if self._unexplained == RESTLESS or (self._unexplained and not is_explained):
            lines.append(self._unexplained)
        lines = lines or [UNKNOWN]
        return tuple([*lines, self._remark] if self._remark else lines)

    def run(self, conditions: Conditions) -> None:
        """Search; the conditions are those of the replay.

        Raises: KeyboardInterrupt; ``found`` has what was found until then.
        """
        with open_trials(self._context.store, self._replayed) as trials:
            own = self._original.seconds or 0.0
            try:
                self._search(_Questioner(self._context, trials, conditions, own))
            except _Ended:
                self._remark = f"the search ended after {trials.count} runs, with more to be tried"
            except KeyboardInterrupt:
                self._remark = "the search was interrupted, with more to be tried"
                raise

    def _search(self, questioner: _Questioner) -> None:
        self._is_steady = not self._actual.differs_at(questioner.ask())
        if self._is_steady:
            self._set_back(questioner)
            if self._proved or self._has_other_code:
                return
        self._hold(questioner)
        if self._is_steady and not self._seen and not self._drift:
            self._unpin(questioner)
        self._unexplained = self._unexplained or (STEADY if self._is_steady else UNSTEADY)

    def _set_back(self, questioner: _Questioner) -> None:
        """Set what is pinned otherwise now back to what was recorded, one thing at a time."""
        then, now = self._then.get("variables", {}), self._now.get("variables", {})
        tried: dict[str, Mapping[str, str | None]] = {
            name: {name: then.get(name)}
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        }
        had, has = (set(str(each.get("instructions")).split()) for each in (self._then, self._now))
        if had < has:
            tried["instructions"] = FEW_INSTRUCTIONS.others
        for name, variables in tried.items():
            if self._expected.differs_at(questioner.ask(variables)):
                continue
            line = next(each for each in self._drift if each.startswith(f"{name}: "))
            self._drift.remove(line)
            word = FEW_INSTRUCTIONS.word if name == "instructions" else word_of(name)
            text = f"{line}; as it was then, it gives the recorded outcome"
            self._proved.append(f"{word}: {text}" if word else text)

    def _hold(self, questioner: _Questioner) -> None:
        """Hold everything still, twice; then change one factor at a time.

        What depends on addresses changes with everything, for everything moves the memory about:
        it is blamed on nothing else.
        """
        diverging = self._expected.differs_at(self._actual)
        base = questioner.hold()
        restless = base.differs_at(questioner.hold())
        changed: dict[str, frozenset[str]] = {}
        for factor in sorted(FACTORS, key=lambda each: not self._notes(each)):
            for attempt in range(factor.tries):
                if attempt and diverging <= frozenset().union(*changed.values()):
                    break
                places = base.differs_at(questioner.hold(factor.name)) - restless
                if places:
                    changed[factor.name] = places
                    break
        # Once more at the end: what has changed by now changes by itself, if slowly.
        restless |= base.differs_at(questioner.hold()) if changed else frozenset()
        moved = changed.get(ADDRESSES, frozenset())
        for factor in FACTORS:
            places = changed.get(factor.name, frozenset()) - restless
            places -= frozenset() if factor.name == ADDRESSES else moved
            if places:
                self._seen.append(_Seen(text=self._told(factor, places), places=places))
        if restless & diverging:
            self._unexplained = RESTLESS

    def _unpin(self, questioner: _Questioner) -> None:
        """Change what is pinned: in what the answer is sensitive to, the machine may differ."""
        for each in PINNED:
            places = self._actual.differs_at(questioner.ask(each.others))
            if places:
                text = f"{each.word}: it was the same for both, but with another {_shown(places)}"
                self._seen.append(_Seen(text=f"{text} changes", places=places))

    def _told(self, factor: Factor, places: frozenset[str]) -> str:
        evidence = f"with another, and all else held still, {_shown(places)} changes"
        notes = self._notes(factor)
        return f"{factor.word}: {factor.says}; {evidence}" + (f"; {notes[0]}" if notes else "")

    def _notes(self, factor: Factor) -> list[str]:
        """Return what the replay's child has noted of a factor, with the lines that asked."""
        return [
            f"{note['where']} asked for {note['what']}"
            for note in self._replayed.nondeterminism
            if note["where"] and note["what"].startswith(factor.noted)
        ]


def _shown(places: frozenset[str]) -> str:
    """Name some places, and say how many more there are."""
    names = [name for name in sorted(places) if f"{name}:" not in " ".join(places)]
    more = len(names) - _PLACES_SHOWN
    return ", ".join(names[:_PLACES_SHOWN]) + (f" and {more} more" if more > 0 else "")
