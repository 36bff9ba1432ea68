"""The conditions of a child: under which interpreter, with which variables, what is held still.

Owns the choice that a capsule is started with. A run is always started as pinned; a replay may
have the interpreter of a rebuilt environment, and the search for a cause changes one thing.
"""

import site
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.experiments import sandbox
from research.experiments.limits import NO_LIMITS, Limits
from research.experiments.options import read_options
from research.experiments.sandbox import Wanted

_HELD: Final = Path(__file__).parent / "child" / "held.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """An interpreter other than ours: where it is, what it reads, where its packages are."""

    executable: str
    readable: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is not as it is for every run; empty for a run as pinned."""

    variables: Mapping[str, str | None] = field(default_factory=dict)
    """Instead of, or beside, the pinned ones; a variable of None is not set."""

    held: Mapping[str, str] = field(default_factory=dict)
    """Factors that ``child/held.py`` holds, and in which state."""

    interpreter: Interpreter | None = None

    limits: Limits = NO_LIMITS
    """What a run may take before it is ended and recorded as failed."""

    forbidden: tuple[str, ...] = ()
    """Modules that the workspace forbids, besides the list of brokers."""

    sandbox: Wanted = "best"
    is_strict: bool = False
    """Which walls are asked for; whether sources of nondeterminism are refused."""

    def apply_to(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with those that are changed."""
        changed = {**variables, **self.variables}
        return {name: value for name, value in changed.items() if value is not None}

    def command(self, harness: Path, folder: Path, task: str) -> list[str]:
        """Return the command of a child, by way of the system's sandbox where it has one."""
        # -P and -s: neither the working directory nor the user's site-packages is importable.
        # Not -I: it would ignore PYTHONHASHSEED. -u: a log in the order of what happened, and
        # whole up to a sudden death.
        python = sys.executable if self.interpreter is None else self.interpreter.executable
        script = [str(harness), str(folder), task]
        if self.held:
            states = ",".join(f"{factor}={state}" for factor, state in sorted(self.held.items()))
            script = [str(_HELD), *script, states]
        command = [python, "-P", "-s", "-B", "-u", *script]
        if self.sandbox == "hook":
            return command
        return sandbox.wrapped(command, folder, self._readable())

    def walls(self) -> dict[str, Any]:
        """Return what the child is told of its walls: which, and what may be read and loaded."""
        other = self.interpreter
        return {
            "sandbox": self.sandbox,
            "strict": self.is_strict,
            "wrapped": self.sandbox != "hook" and sandbox.can_wrap(),
            "readable": self._readable(),
            "loadable": site.getsitepackages() if other is None else list(other.packages),
        }

    def _readable(self) -> list[str]:
        more = self.interpreter.readable if self.interpreter else ()
        return [*sandbox.readable_folders(), *more]


AS_PINNED: Final = Conditions()


def conditions_of(context: Context, limits: Limits = NO_LIMITS) -> Conditions:
    """Return the conditions of a run in a workspace.

    Raises: BadInput if the workspace's options cannot be read, or require more of a sandbox than
    there is.
    """
    options = read_options(context.workspace)
    sandbox.check(options.sandbox)
    return Conditions(
        limits=limits,
        forbidden=options.forbidden,
        sandbox=options.sandbox,
        is_strict=options.strict,
    )
