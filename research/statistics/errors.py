"""What the statistics refuse.

    StatisticsError (a ValueError)
    ├── DegenerateSample     the sample, or what is asked of it, has no such figure
    └── InvalidArgument      an argument is outside its bound

Each class has typed fields and one template. The fields, not the text, are the exception's
arguments, so that it survives a process pool.
"""


class StatisticsError(ValueError):
    """A figure that cannot be had from what was given."""


class DegenerateSample(StatisticsError):
    """A sample that has no such figure: `what` it is, and the `reason` in words."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class InvalidArgument(StatisticsError):
    """A value outside its bound; `found` is the value as Python shows it."""

    def __init__(self, name: str, found: str, bound: str) -> None:
        super().__init__(name, found, bound)
        self.name = name
        self.found = found
        self.bound = bound

    def __str__(self) -> str:
        return f"{self.name} is {self.found}; it must be {self.bound}"
