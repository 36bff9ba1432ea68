"""What the engine refuses.

    SimulationError (a ValueError)
    ├── InvalidBars       a column of the bars breaks a rule of bars
    ├── InvalidSignals    entries or exits are not one bool for each bar
    ├── InvalidField      a model's field, or an argument, is outside its bound
    ├── UnknownField      a name that a model does not have in this version
    ├── InvalidCalls      a line of a table of calls says no time or no asset
    ├── LookAhead         a strategy asked for a bar that has not come yet
    ├── OrderRefused      an order was rejected or failed, and the config says to stop then
    └── NonFiniteEquity   the account outgrew what a float can hold

Each class has typed fields and one template. The fields, not the text, are the exception's
arguments, so that it survives a process pool.
"""


class SimulationError(ValueError):
    """A question that the engine does not answer as it was asked."""


class InvalidBars(SimulationError):
    """A broken rule of bars; row -1 where it concerns the table or a whole column."""

    def __init__(self, column: str, row: int, reason: str, asset: str = "") -> None:
        super().__init__(column, row, reason, asset)
        self.column = column
        self.row = row
        self.reason = reason
        self.asset = asset

    def __str__(self) -> str:
        place = f"{self.column}, row {self.row}" if self.row >= 0 else self.column
        owner = f"bars of {self.asset}" if self.asset else "bars"
        return f"{owner}: {place}: {self.reason}"


class InvalidSignals(SimulationError):
    """An array of signals that is not one bool for each bar."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class InvalidField(SimulationError):
    """A value outside its bound; `found` is the value as Python shows it."""

    def __init__(self, model: str, field: str, found: str, bound: str) -> None:
        super().__init__(model, field, found, bound)
        self.model = model
        self.field = field
        self.found = found
        self.bound = bound

    def __str__(self) -> str:
        return f"{self.model}: {self.field} is {self.found}; it must be {self.bound}"


class UnknownField(SimulationError):
    """A name that a model does not have, and those that it has."""

    def __init__(self, model: str, field: str, known: tuple[str, ...]) -> None:
        super().__init__(model, field, known)
        self.model = model
        self.field = field
        self.known = known

    def __str__(self) -> str:
        return f"{self.model} has no field {self.field!r}; it has {', '.join(self.known)}"


class InvalidCalls(SimulationError):
    """A table of calls that cannot be read; the header is line 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"calls, line {self.line}: {self.reason}"


class LookAhead(SimulationError):
    """The bar at which a strategy stood, and the later one that it asked for."""

    def __init__(self, column: str, bar: int, asked: int) -> None:
        super().__init__(column, bar, asked)
        self.column = column
        self.bar = bar
        self.asked = asked

    def __str__(self) -> str:
        return f"at bar {self.bar} nothing is known of {self.column} at bar {self.asked}"


class OrderRefused(SimulationError):
    """The first order that nothing came of, where the config says to stop at it."""

    def __init__(self, bar: int, reason: str) -> None:
        super().__init__(bar, reason)
        self.bar = bar
        self.reason = reason

    def __str__(self) -> str:
        return f"the order at bar {self.bar} was refused: {self.reason}"


class NonFiniteEquity(SimulationError):
    """The first bar at whose close the account's worth is no finite number."""

    def __init__(self, bar: int) -> None:
        super().__init__(bar)
        self.bar = bar

    def __str__(self) -> str:
        return f"the equity at the close of bar {self.bar} is not a finite number"
