"""The capsule: the folder that a child runs in, and the child.

Owns the protocol of ``docs/format.md`` section 6 from the outside: it writes the code tree, the
inputs and the request, and starts the child with the pinned environment and no other variable.
What it left, ``answer`` reads back. Knows nothing of runs, refs or the journal.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from research.errors import BadInput, BrokenExperiment
from research.experiments import environment, limits
from research.experiments.answer import Answer, read_answer, read_result
from research.experiments.child_error import ChildError, death, read_error
from research.experiments.closure import brokers
from research.experiments.conditions import AS_PINNED, Conditions
from research.experiments.spec import ExperimentSpec
from rosdb import (
    ObjectId,
    Record,
    Store,
    errors,
    remove_folder,
    write_folder,
)

VERSION: Final = 1

_HARNESS: Final = Path(__file__).parent / "child" / "harness.py"


class Capsule:
    """A private folder with code, input and output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self._child: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self._reached: limits.Reached | None = None
        for name in ("code", "input", "output", "home"):
            (folder / name).mkdir()

    def fill(self, store: Store, recipe: Record) -> None:
        """Write a recipe's code and inputs.

        Raises: BadInput if the recipe needs a capsule of another version.
        """
        version = recipe.fields["capsule"]
        if version != VERSION:
            raise BadInput(f"the run needs version {version} of the capsule; this is {VERSION}")
        self.write_code(store, recipe.links["code"])
        if "bars" in recipe.links:
            self.write_bars(store, recipe.links["bars"])
        if "files" in recipe.links:
            write_folder(store, recipe.links["files"], self.folder / "input" / "files")

    def write_code(self, store: Store, code: ObjectId) -> None:
        """Check out the code tree."""
        write_folder(store, code, self.folder / "code")

    def write_bars(self, store: Store, table_id: ObjectId) -> None:
        """Write a table's columns as the child reads them."""
        table = store.get_table(table_id)
        folder = self.folder / "input" / "bars"
        folder.mkdir()
        columns = []
        for number, name in enumerate(table):
            column = table.column(name)
            (folder / f"{number}.data").write_bytes(column.data)
            columns.append(
                {"name": name, "dtype": column.dtype, "unit": column.unit, "data": f"{number}.data"}
            )
        text = json.dumps({"rows": table.rows, "columns": columns})
        (folder / "table.json").write_text(text, "utf-8")

    def run(self, recipe: Record, conditions: Conditions = AS_PINNED) -> Answer:
        """Run the child to its end."""
        write_request(self.folder, {**question(recipe), **surroundings(conditions)})
        status = self._start("run", conditions)
        ended = None
        if self._reached is not None:
            message = limits.message_of(self._reached, conditions.limits)
            ended = ChildError(kind=self._reached, message=message, where="")
        return read_answer(self.folder, status, recipe, conditions, ended)

    def stop(self) -> None:
        """End the child with all that it has started; whoever waits for it learns of it."""
        self._is_stopped = True
        if self._child is not None:
            kill_group(self._child.pid)

    def describe(self, experiment_id: str, entry: str) -> dict[str, Any]:
        """Ask the child for an experiment's declaration.

        Raises: BrokenExperiment if it has none to give.
        """
        asked = {"entry": entry, "experiment": experiment_id, "parameters": {}, "seed": 0}
        write_request(self.folder, {"capsule": VERSION, **asked, **surroundings(AS_PINNED)})
        status = self._start("describe")
        result = read_result(self.folder)
        if result is None:
            raise BrokenExperiment(experiment_id, death(status).message)
        if not result["ok"]:
            error = read_error(result)
            place = f" ({error.where})" if error.where else ""
            raise BrokenExperiment(experiment_id, f"{error.kind}: {error.message}{place}")
        spec: dict[str, Any] = result["spec"]
        return spec

    def _start(self, task: str, conditions: Conditions = AS_PINNED) -> int:
        with (
            (self.folder / "log").open("wb") as log,
            subprocess.Popen(
                conditions.command(_HARNESS, self.folder, task),
                stdin=subprocess.PIPE,  # never written to: the child ends when it is closed
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables(self.folder, conditions),
                cwd=self.folder,
                start_new_session=True,
            ) as child,
        ):
            self._child = child
            try:
                if self._is_stopped:
                    kill_group(child.pid)
                if conditions.limits == limits.NO_LIMITS:
                    child.wait()
                else:
                    self._reached = limits.watch(child, conditions.limits)
            finally:
                # Whatever the child has left running ends with it.
                kill_group(child.pid)
                status = child.wait()
        return status


def variables(folder: Path, conditions: Conditions) -> dict[str, str]:
    """Return the environment's variables of a child, and no others: the pinned, and its home."""
    home = str(folder / "home")
    return {**conditions.apply_to(environment.VARIABLES), "HOME": home, "TMPDIR": home}


def question(recipe: Record) -> dict[str, Any]:
    """Return what a child is asked, of a recipe."""
    fields = recipe.fields
    return {
        "capsule": VERSION,
        "entry": fields["entry"],
        "experiment": fields["experiment"],
        "parameters": spell_floats(fields["parameters"]),
        "seed": fields["seed"],
    }


def surroundings(conditions: Conditions) -> dict[str, Any]:
    """Return what a child is told that decides nothing of the outcome."""
    return {"forbidden": sorted(brokers(conditions.forbidden)), **conditions.walls()}


def write_request(folder: Path, request: Mapping[str, Any], name: str = "request.json") -> None:
    """Write what a child is asked into its folder.

    Raises: StoreUnwritable.
    """
    path = folder / name
    try:
        path.write_text(json.dumps(request), "utf-8")
    except OSError as error:
        raise errors.StoreUnwritable(str(path), error.strerror or str(error)) from error


def kill_group(process_id: int) -> None:
    """End a child with all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


@contextlib.contextmanager
def open_capsule() -> Iterator[Capsule]:
    """Make a capsule that belongs to no run, removed at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="ros-"))
    try:
        yield Capsule(folder.resolve())
    finally:
        remove_folder(folder)


def ask_spec(store: Store, experiment_id: str, entry: str, code: ObjectId) -> dict[str, Any]:
    """Ask a child for the declaration of an experiment whose code is in the store.

    Raises: BrokenExperiment.
    """
    with open_capsule() as capsule:
        capsule.write_code(store, code)
        declared = capsule.describe(experiment_id, entry)
    known = ExperimentSpec.__dataclass_fields__
    return {name: value for name, value in declared.items() if name in known}


def spell_floats(value: Any) -> Any:
    """Spell the floats that JSON lacks, as the harness does."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    if isinstance(value, Mapping):
        return {key: spell_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_floats(item) for item in value]
    return value
