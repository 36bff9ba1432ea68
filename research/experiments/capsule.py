"""The capsule: the folder that a child runs in, and the child.

Owns the protocol of ``docs/format.md`` section 6 from the outside: it writes the code tree, the
inputs and the request, starts the child with the pinned environment and no other variable, and
reads back what it left. Knows nothing of runs, refs or the journal.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.errors import BrokenExperiment
from research.experiments import environment, limits, sandbox
from research.experiments.child_error import ChildError, death, read_error, with_advice
from research.experiments.closure import brokers
from research.experiments.conditions import AS_PINNED, Conditions
from research.experiments.spec import ExperimentSpec
from rosdb import (
    UTF8,
    WIDTHS,
    Column,
    Entry,
    Link,
    ObjectId,
    Record,
    Store,
    Transaction,
    errors,
    put_folder,
    write_folder,
)

VERSION: Final = 1
LOG_BYTES_MAX: Final = 1024 * 1024
RESULT_BYTES_MAX: Final = 64 * 1024 * 1024
TABLE_SUFFIX: Final = ".table"

_HARNESS: Final = Path(__file__).parent / "child" / "harness.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came out of a capsule: metrics, or an error; the folder holds the artifacts."""

    metrics: Mapping[str, Any] | None
    error: ChildError | None
    log: bytes
    log_bytes_cut: int
    sandbox: Mapping[str, Any] | None = None
    """Which walls stood around the child, as it says."""

    nondeterminism: Sequence[Mapping[str, str]] = ()
    """Where it asked for what no recipe holds: ``what`` and ``where``."""


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

    def write_files(self, store: Store, tree_id: ObjectId) -> None:
        """Write a dataset's raw files."""
        write_folder(store, tree_id, self.folder / "input" / "files")

    def run(self, recipe: Record, conditions: Conditions = AS_PINNED) -> Answer:
        """Run the child to its end."""
        fields = recipe.fields
        self._write_request(
            entry=fields["entry"],
            experiment=fields["experiment"],
            parameters=fields["parameters"],
            seed=fields["seed"],
            conditions=conditions,
        )
        status, log, cut = self._start("run", conditions)
        if self._reached is not None:
            message = limits.message_of(self._reached, conditions.limits)
            return _answer(ChildError(kind=self._reached, message=message, where=""), log, cut)
        result = self._read_result()
        if result is None:
            return _answer(death(status), log, cut)
        metrics, error = _judge(result, recipe, conditions)
        return Answer(
            metrics=metrics,
            error=error,
            log=log,
            log_bytes_cut=cut,
            sandbox=sandbox.read_reached(result.get("sandbox")),
            nondeterminism=sandbox.read_sources(result.get("nondeterminism")),
        )

    def stop(self) -> None:
        """End the child with all that it has started; whoever waits for it learns of it."""
        self._is_stopped = True
        if self._child is not None:
            _kill_group(self._child.pid)

    def describe(self, experiment_id: str, entry: str) -> dict[str, Any]:
        """Ask the child for an experiment's declaration.

        Raises: BrokenExperiment if it has none to give.
        """
        self._write_request(entry=entry, experiment=experiment_id, parameters={}, seed=0)
        status, _, _ = self._start("describe")
        result = self._read_result()
        if result is None:
            raise BrokenExperiment(experiment_id, death(status).message)
        if not result["ok"]:
            error = read_error(result)
            place = f" ({error.where})" if error.where else ""
            raise BrokenExperiment(experiment_id, f"{error.kind}: {error.message}{place}")
        spec: dict[str, Any] = result["spec"]
        return spec

    def collect(self, tx: Transaction) -> Link:
        """Put what the child left in ``output/`` as a tree; a ``NAME.table`` folder is a table.

        Raises: BadTable, BadName if it is not what the protocol says.
        """

        def special(path: Path) -> Entry | None:
            if not path.name.endswith(TABLE_SUFFIX) or not (path / "table.json").is_file():
                return None
            rows, columns = read_columns(path)
            size = sum(len(c.data) + len(c.mask or b"") for c in columns)
            return Entry(kind="table", link=tx.put_columns(rows, columns), size=size)

        if not stat.S_ISDIR(self.output.lstat().st_mode):
            raise errors.BadName("file", "output", "the experiment has put something in its place")
        return put_folder(tx, self.output, special)

    def _write_request(
        self,
        *,
        entry: str,
        experiment: str,
        parameters: Mapping[str, Any],
        seed: int,
        conditions: Conditions = AS_PINNED,
    ) -> None:
        request = {
            "capsule": VERSION,
            "entry": entry,
            "experiment": experiment,
            "parameters": spell_floats(parameters),
            "seed": seed,
            "forbidden": sorted(brokers(conditions.forbidden)),
            **conditions.walls(),
        }
        (self.folder / "request.json").write_text(json.dumps(request), "utf-8")

    def _start(self, task: str, conditions: Conditions = AS_PINNED) -> tuple[int, bytes, int]:
        variables = conditions.apply_to(environment.VARIABLES)
        variables["HOME"] = variables["TMPDIR"] = str(self.folder / "home")
        log_path = self.folder / "log"
        with (
            log_path.open("wb") as log,
            subprocess.Popen(
                conditions.command(_HARNESS, self.folder, task),
                stdin=subprocess.PIPE,  # never written to: the child ends when it is closed
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=self.folder,
                start_new_session=True,
            ) as child,
        ):
            self._child = child
            try:
                if self._is_stopped:
                    _kill_group(child.pid)
                if conditions.limits == limits.NO_LIMITS:
                    child.wait()
                else:
                    self._reached = limits.watch(child, conditions.limits)
            finally:
                # Whatever the child has left running ends with it.
                _kill_group(child.pid)
                status = child.wait()
        return status, *_read_log(log_path)

    def _read_result(self) -> dict[str, Any] | None:
        path = self.folder / "result.json"
        if not path.is_file() or path.stat().st_size > RESULT_BYTES_MAX:
            return None
        try:
            result = json.loads(path.read_text("utf-8"), object_hook=_read_float)
        except ValueError:
            return None
        return result if isinstance(result, dict) and "ok" in result else None


def _kill_group(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


@contextlib.contextmanager
def open_capsule() -> Iterator[Capsule]:
    """Make a capsule that belongs to no run, removed at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="ros-"))
    try:
        yield Capsule(folder.resolve())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ask_spec(store: Store, experiment_id: str, entry: str, code: ObjectId) -> dict[str, Any]:
    """Ask a child for the declaration of an experiment whose code is in the store.

    Raises: BrokenExperiment.
    """
    with open_capsule() as capsule:
        capsule.write_code(store, code)
        declared = capsule.describe(experiment_id, entry)
    known = ExperimentSpec.__dataclass_fields__
    return {name: value for name, value in declared.items() if name in known}


def read_columns(folder: Path) -> tuple[int, list[Column]]:
    """Read a table as a child wrote it. What a child wrote is not trusted.

    Raises: BadTable.
    """
    name = folder.name.removesuffix(TABLE_SUFFIX)
    try:
        files = {path.name: _plain_bytes(path) for path in folder.iterdir()}
        described = json.loads(files.pop("table.json").decode("utf-8"))
        rows = described["rows"]
        columns = [
            Column(
                name=column["name"],
                dtype=column["dtype"],
                unit=column["unit"],
                data=files.pop(column["data"]),
                mask=files.pop(column["mask"]) if column["mask"] else None,
            )
            for column in described["columns"]
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise errors.BadTable(name, f"its files are not a table ({error})") from None
    if files:
        raise errors.BadTable(name, f"{sorted(files)[0]!r} is no file of a table")
    if type(rows) is not int or rows < 0:
        raise errors.BadTable(name, "it has no number of rows")
    for column in columns:
        if {type(text) for text in (column.name, column.dtype, column.unit)} != {str}:
            raise errors.BadTable(name, f"column {column.name!r} is not described in text")
        if column.dtype != UTF8 and column.dtype not in WIDTHS:
            raise errors.BadTable(column.name, f"type {column.dtype} cannot be stored")
    return rows, columns


def _plain_bytes(path: Path) -> bytes:
    """Read a file, but nothing that a link leads to, or that would have us wait."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path.name!r} is no file")
    return path.read_bytes()


def spell_floats(value: Any) -> Any:
    """Spell the floats that JSON lacks, as the harness does."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    if isinstance(value, Mapping):
        return {key: spell_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_floats(item) for item in value]
    return value


def _read_float(value: dict[str, Any]) -> Any:
    if set(value) == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    return value


def _read_log(path: Path) -> tuple[bytes, int]:
    """Return the child's output, its middle cut out where it is too long."""
    size = path.stat().st_size
    with path.open("rb") as log:
        if size <= LOG_BYTES_MAX:
            return log.read(), 0
        half = LOG_BYTES_MAX // 2
        head = log.read(half)
        log.seek(size - half)
        return head + b"\n[...]\n" + log.read(), size - 2 * half


def _judge(
    result: Mapping[str, Any], recipe: Record, conditions: Conditions
) -> tuple[Mapping[str, Any] | None, ChildError | None]:
    """Return a child's metrics, or why it has none to give."""
    if not result["ok"]:
        return None, with_advice(read_error(result), recipe.fields["entry"])
    packages = None if conditions.interpreter is None else conditions.interpreter.packages
    recorded = recipe.fields["environment"]
    unforeseen = environment.unforeseen(recorded, result["loaded"], packages)
    if unforeseen:
        module = unforeseen[0]
        message = (
            f"it imported {module!r}, which its imports do not show, so that no fingerprint"
            f" holds it: import it by a plain statement, or declare include=[{module!r}]"
        )
        return None, ChildError(kind="UndeclaredImport", message=message, where="")
    return result["metrics"], None


def _answer(error: ChildError, log: bytes, cut: int) -> Answer:
    return Answer(metrics=None, error=error, log=log, log_bytes_cut=cut)
