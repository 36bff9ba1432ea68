"""What an experiment declares, and what it is handed when it runs.

Owns ``ExperimentSpec``. This file travels in the code tree of every run, so it imports nothing of
ours and is changed rarely: a change of it makes a miss of every run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

InputKind = Literal["bars", "files", "both"]


class ParameterError(ValueError):
    """A parameter that cannot be, given the data; an experiment raises it to refuse."""


class InputMissing(LookupError):
    """An experiment asked for an input that its run was not given."""


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """An experiment's declaration; ``run`` receives it with the values of the run filled in.

    ``parameters`` nests; the defaults' types are the types. ``constraints`` are comparisons over
    parameters, such as ``"1 <= fast"`` and ``"fast < slow"``, checked before anything runs.
    ``include`` names modules or files beside the experiment that its imports do not show.
    """

    experiment_id: str
    name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    input_dataset: str | None = None
    input_kind: InputKind | None = None
    seed: int = 42
    include: Sequence[str] = ()
    constraints: Sequence[str] = ()
    input_folder: Path | None = field(default=None, repr=False, compare=False)

    def bars(self) -> dict[str, Any]:
        """Return the declared snapshot's table of bars.

        Shapes: each column (T,), read-only.
        Units:  at_ns in nanoseconds since 1970 UTC, prices as the dataset has them.
        Raises: InputMissing if the run was given no bars.
        """
        import numpy as np

        folder = self._input("bars")
        described = json.loads((folder / "table.json").read_text("utf-8"))
        columns: dict[str, Any] = {}
        for column in described["columns"]:
            # Mapped, not read: runs at one time have the bars in memory once.
            with (folder / column["data"]).open("rb") as file:
                data = mmap(file.fileno(), 0, access=ACCESS_READ) if described["rows"] else b""
            columns[column["name"]] = np.frombuffer(
                data, np.dtype(column["dtype"]).newbyteorder("<")
            )
        return columns

    @property
    def files(self) -> Path:
        """The folder of the declared snapshot's raw files.

        Raises: InputMissing if the run was given no files.
        """
        return self._input("files")

    def _input(self, kind: str) -> Path:
        if self.input_folder is None or not (self.input_folder / kind).is_dir():
            raise InputMissing(
                f"this run was given no {kind}: declare input_dataset, and input_kind if need be"
            )
        return self.input_folder / kind
