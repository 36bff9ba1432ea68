"""What an engine refuses.

    SimulationError (a ValueError)
    ├── CannotActOn       a model, or a part of one, that an engine would ignore or read otherwise
    ├── EngineMissing     an optional part that is not installed
    └── UnknownEngine     no engine has this name

The fields, not the text, are the exception's arguments, so that it survives a process pool.
"""

from research.simulation.errors import SimulationError


class CannotActOn(SimulationError):
    """What an engine cannot act on, by the dotted paths that a recipe uses."""

    def __init__(self, engine: str, parts: tuple[str, ...], reason: str = "") -> None:
        super().__init__(engine, parts, reason)
        self.engine = engine
        self.parts = parts
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.engine} cannot act on {', '.join(self.parts)}"
        return f"{text}: {self.reason}" if self.reason else text


class EngineMissing(SimulationError):
    """An engine whose package is not installed."""

    def __init__(self, engine: str, package: str) -> None:
        super().__init__(engine, package)
        self.engine = engine
        self.package = package

    def __str__(self) -> str:
        return f"{self.engine} is not installed: pip install '{self.package}'"


class UnknownEngine(SimulationError):
    """A name that no engine has, and those that there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"no engine is called {self.name!r}; there are {', '.join(self.known)}"
