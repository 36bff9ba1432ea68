"""Runs that were found: an iterator over their rows, or a frame with a column for each fact.

Owns the table that pandas and polars get. The index says which runs, in which order; what stands in
the columns is read from the records.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rosdb.errors import StoreError
from rosdb.facts import flatten
from rosdb.objects import Link, Record
from rosdb.run_rows import RunRow

_FLOAT_FROM: Final = 2**63


class FoundRuns(Iterator[RunRow]):
    """The runs that answer a question; nothing is asked before the first is wanted."""

    def __init__(self, ask: Callable[[], Iterator[RunRow]], load: Callable[[Link], Record]) -> None:
        self._ask = ask
        self._load = load
        self._rows: Iterator[RunRow] | None = None

    def __next__(self) -> RunRow:
        """Return the next row.

        Raises: BadExpression, at the first.
        """
        if self._rows is None:
            self._rows = self._ask()
        return next(self._rows)

    def columns(self) -> dict[str, list[Any]]:
        """Return the remaining runs as columns: what a run is, then ``params.K``, ``metrics.K``.

        A column has values of one type, or None; where runs disagree it is text.
        """
        table = [self._read(row) for row in self]
        names = dict.fromkeys(name for read in table for name in read)
        names |= dict.fromkeys(_COLUMNS)
        ordered = [*_COLUMNS, *sorted(names.keys() - set(_COLUMNS), key=_facts_last)]
        return {name: one_type([read.get(name) for read in table]) for name in ordered}

    def to_pandas(self) -> Any:
        """Return the remaining runs as a pandas DataFrame. Needs the extra ``pandas``."""
        import pandas as pd

        types = {bool: "boolean", int: "Int64", float: "float64"}
        series = {}
        for name, values in self.columns().items():
            dtype = types.get(_type_of(values))
            if name == "created":
                series[name] = pd.Series(pd.to_datetime(values, utc=True))
            else:
                series[name] = pd.Series(values, dtype=dtype or "object")
        return pd.DataFrame(series)

    def to_polars(self) -> Any:
        """Return the remaining runs as a polars DataFrame. Needs the extra ``polars``."""
        import polars as pl

        types = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
        return pl.DataFrame(
            {
                name: pl.Series(
                    name,
                    values,
                    pl.Datetime("us", "UTC")
                    if name == "created"
                    else types.get(_type_of(values), pl.String),
                )
                for name, values in self.columns().items()
            }
        )

    def _read(self, row: RunRow) -> dict[str, Any]:
        """Return one run's cells; of a run whose records are damaged, what the index knows."""
        read: dict[str, Any] = {
            "run": str(row.run_id),
            "name": row.name,
            "experiment": row.experiment,
            "status": row.status,
            "kind": row.kind,
            "fingerprint": str(row.recipe),
            "outcome": None if row.outcome is None else str(row.outcome),
        }
        try:
            run, recipe = self._load(row.run_id), self._load(row.recipe)
            outcome = None if row.outcome is None else self._load(row.outcome)
            dataset = run.fields["dataset"] or {}
            replay_of = run.links.get("replay_of")
            read |= {
                "created": _instant(run.fields["created_at_ns"]),
                "dataset": dataset.get("name"),
                "version": dataset.get("version"),
                "replay_of": None if replay_of is None else str(replay_of),
                "seed": recipe.fields.get("seed"),
            }
            read |= {f"params.{k}": v for k, v in flatten(recipe.fields["parameters"])}
            if outcome is not None:
                read |= {f"metrics.{k}": v for k, v in outcome.fields["metrics"].items()}
        except (StoreError, LookupError, TypeError, ValueError, AttributeError):
            read["status"] = "damaged"
        return read


_COLUMNS: Final = (
    *("run", "name", "experiment", "status", "kind", "created", "dataset", "version", "seed"),
    *("fingerprint", "outcome", "replay_of"),
)


def one_type(values: Sequence[Any]) -> list[Any]:
    """Return a column's values with one type: integers become floats beside floats, else text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(v is None or -_FLOAT_FROM <= v < _FLOAT_FROM for v in values):
        return list(values)
    if kinds and kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) <= 1:
        return list(values)
    return [None if value is None else _text(value) for value in values]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _type_of(values: Sequence[Any]) -> type:
    return next((type(value) for value in values if value is not None), str)


def _instant(at_ns: int) -> datetime:
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def _facts_last(name: str) -> tuple[bool, str]:
    return name.startswith("metrics."), name
