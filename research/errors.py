"""What can go wrong above the store, and what the command line makes of it.

    ResearchError
    ├── BadInput                   what was asked for cannot be            exit 2
    │   ├── UnknownParameter       no such parameter; knows the nearest
    │   ├── BadParameter           a value of the wrong type or range
    │   ├── ConstraintBroken       parameters that cannot be together
    │   ├── BrokenExperiment       its module cannot be read
    │   ├── ForbiddenImport        it imports a broker's or exchange's software
    │   ├── NameTaken              the name belongs to something else
    │   ├── UnknownColumn          a list has no such column; knows the nearest
    │   └── BadStrategyName
    ├── NotThere                   what was named is not there             exit 3
    │   ├── WorkspaceMissing
    │   ├── ExperimentMissing
    │   ├── DatasetMissing
    │   ├── ArtifactMissing
    │   └── TagMissing
    ├── RunFailed                  the experiment failed; its run is kept  exit 4
    ├── Refused                    a question answered with no             exit 1
    │   └── GateRefused            gates refuse a promotion; knows which
    └── Untold                     a figure that what is there cannot tell exit 1

Fields, not text, are the exceptions' arguments, so that they survive a process pool.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class ResearchError(Exception):
    """Any error above the store."""

    template: ClassVar[str] = "it failed"

    def __str__(self) -> str:
        """Fill the template with the fields."""
        return self.template.format(**vars(self))

    @property
    def hint(self) -> str:
        """The next step, where there is one."""
        return ""


class BadInput(ResearchError):
    """What was asked for cannot be."""

    template = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotThere(ResearchError):
    """What was named is not there."""

    template = "no {what} is called {name!r}"

    def __init__(self, what: str, name: str, near: Sequence[str] = ()) -> None:
        super().__init__(what, name, near)
        self.what = what
        self.name = name
        self.near = tuple(near)

    @property
    def hint(self) -> str:
        """The nearest names."""
        return f"did you mean {', '.join(self.near)}?" if self.near else ""


class Refused(ResearchError):
    """A question answered with no."""

    template = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GateRefused(Refused):
    """Gates refuse a promotion."""

    template = "{told}"

    def __init__(self, gates: Sequence[tuple[str, str]]) -> None:
        ResearchError.__init__(self, gates)
        self.gates = tuple(gates)

    @property
    def told(self) -> str:
        """Each gate, and what it says."""
        return "; ".join(f"gate {name}: {said}" for name, said in self.gates)

    def __str__(self) -> str:
        """Say which gates, and why."""
        return self.told

    @property
    def hint(self) -> str:
        """How to see all of them."""
        return "all gates: the same command with --dry-run"


class Untold(ResearchError):
    """A figure that what is there cannot tell."""

    template = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownParameter(BadInput):
    """No such parameter."""

    template = "{experiment} has no parameter {path!r}"

    def __init__(self, experiment: str, path: str, near: Sequence[str]) -> None:
        ResearchError.__init__(self, experiment, path, near)
        self.experiment = experiment
        self.path = path
        self.near = tuple(near)

    @property
    def hint(self) -> str:
        """The nearest parameters."""
        if self.path == "seed":
            return "a seed is given by --seed; in a sweep each point's follows from it"
        return f"nearest: {', '.join(self.near)}" if self.near else "it has no parameters"


class ConstraintBroken(BadInput):
    """Parameters that are each as they should be, and cannot be together."""

    template = "{experiment} needs {constraint}; {found}"

    def __init__(self, experiment: str, constraint: str, found: str) -> None:
        ResearchError.__init__(self, experiment, constraint, found)
        self.experiment = experiment
        self.constraint = constraint
        self.found = found


class BadParameter(BadInput):
    """A value of the wrong type or range."""

    template = "parameter {path}: {value!r} {reason}"

    def __init__(self, path: str, value: Any, reason: str) -> None:
        ResearchError.__init__(self, path, value, reason)
        self.path = path
        self.value = value
        self.reason = reason


class BrokenExperiment(BadInput):
    """An experiment's module cannot be read."""

    template = "experiment {experiment!r} cannot be read: {reason}"

    def __init__(self, experiment: str, reason: str) -> None:
        ResearchError.__init__(self, experiment, reason)
        self.experiment = experiment
        self.reason = reason


class ForbiddenImport(BadInput):
    """Research code never trades: it imports no broker's software."""

    template = "{where} imports {module!r}: research code cannot reach a broker or an exchange"

    def __init__(self, module: str, where: str) -> None:
        ResearchError.__init__(self, module, where)
        self.module = module
        self.where = where

    @property
    def hint(self) -> str:
        """What to do instead."""
        return "take what you need from it as a dataset: ros data add"


class NameTaken(BadInput):
    """A name belongs to something else already."""

    template = "{what} {name!r} is taken: {owner}"

    def __init__(self, what: str, name: str, owner: str) -> None:
        ResearchError.__init__(self, what, name, owner)
        self.what = what
        self.name = name
        self.owner = owner


class BadStrategyName(BadInput):
    """A strategy's name becomes a file's."""

    template = "strategy name {name!r} is not allowed"

    def __init__(self, name: str) -> None:
        ResearchError.__init__(self, name)
        self.name = name

    @property
    def hint(self) -> str:
        """What is allowed."""
        return "1 to 64 lower-case letters, digits, '_' and '-', starting with a letter or digit"


class WorkspaceMissing(NotThere):
    """No workspace at or above a folder."""

    template = "no workspace at or above {path}"

    def __init__(self, path: str) -> None:
        ResearchError.__init__(self, path)
        self.path = path

    @property
    def hint(self) -> str:
        """How to make one."""
        return "make one with: ros init"


class ExperimentMissing(NotThere):
    """No experiment of that name."""

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        ResearchError.__init__(self, name, near)
        self.what = "experiment"
        self.name = name
        self.near = tuple(near)

    @property
    def hint(self) -> str:
        """The nearest names, or where to look."""
        return super().hint or "list them with: ros experiments"


class DatasetMissing(NotThere):
    """No dataset of that name or version."""

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        ResearchError.__init__(self, name, near)
        self.what = "dataset"
        self.name = name
        self.near = tuple(near)

    @property
    def hint(self) -> str:
        """The nearest names, or how to add one."""
        return super().hint or "list them with: ros data list; add one with: ros data add"


class ArtifactMissing(NotThere):
    """A run has no such output."""

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        ResearchError.__init__(self, name, near)
        self.what = "output"
        self.name = name
        self.near = tuple(near)


class TagMissing(NotThere):
    """A run does not have such a tag."""

    template = "run {run} has no tag {name!r}"

    def __init__(self, name: str, run: str, near: Sequence[str] = ()) -> None:
        ResearchError.__init__(self, name, run, near)
        self.what = "tag"
        self.name = name
        self.run = run
        self.near = tuple(near)


class UnknownColumn(BadInput):
    """A list has no such column."""

    template = "no column is called {name!r}"

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        ResearchError.__init__(self, name, near)
        self.name = name
        self.near = tuple(near)

    @property
    def hint(self) -> str:
        """The nearest columns, or where to look."""
        if self.near:
            return f"did you mean {', '.join(self.near)}?"
        return "docs/commands.md lists them"


class RunFailed(ResearchError):
    """The experiment failed; its run is kept, with its error and log."""

    template = "{experiment} failed: {kind}: {message}{place}"

    def __init__(self, experiment: str, run_id: str, kind: str, message: str, where: str) -> None:
        super().__init__(experiment, run_id, kind, message, where)
        self.experiment = experiment
        self.run_id = run_id
        self.kind = kind
        self.message = message
        self.where = where

    def __str__(self) -> str:
        """Fill the template; the place only where it is known."""
        place = f" (at {self.where})" if self.where else ""
        return self.template.format(
            experiment=self.experiment, kind=self.kind, message=self.message, place=place
        )

    @property
    def hint(self) -> str:
        """Where its log is."""
        return f"its run is kept: ros show {self.run_id[:12]}"
