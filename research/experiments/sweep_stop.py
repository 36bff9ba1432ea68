"""When a sweep ends early: ``metrics.sharpe < 0 after 20``.

Owns the little language of the rule, and its tally.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from research.errors import BadInput

_RULE: Final = re.compile(
    r"\s*(?:metrics\.)?(?P<metric>[A-Za-z_]\w*)\s*(?P<sign><=|>=|<|>|==|=)\s*"
    r"(?P<bound>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s+after\s+(?P<count>\d+)\s*"
)
_SIGNS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
}


@dataclass(slots=True)
class EarlyStop:
    """A comparison that ends a sweep: once so many runs or more have ended, and it holds for each.

    A run without the metric, a failed one among them, does not hold against it.
    """

    text: str
    metric: str
    sign: str
    bound: float
    count: int
    seen: int = 0
    is_against: bool = False

    @classmethod
    def parse(cls, text: str) -> "EarlyStop":
        """Read a rule.

        Raises: BadInput.
        """
        found = _RULE.fullmatch(text)
        if found is None or int(found["count"]) < 1:
            raise BadInput(f"--early-stop {text!r}: write it as 'metrics.sharpe < 0 after 20'")
        return cls(
            text=" ".join(text.split()),
            metric=found["metric"],
            sign=found["sign"],
            bound=float(found["bound"]),
            count=int(found["count"]),
        )

    def takes(self, metrics: Mapping[str, Any]) -> bool:
        """Take in a run's metrics; tell whether the sweep is to end."""
        self.seen += 1
        value = metrics.get(self.metric)
        if isinstance(value, int | float) and not _SIGNS[self.sign](value, self.bound):
            self.is_against = True
        return self.seen >= self.count and not self.is_against
