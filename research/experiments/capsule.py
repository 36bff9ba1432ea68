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
import site
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.errors import BrokenExperiment
from research.experiments import environment
from research.experiments.closure import brokers
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
# What an interpreter and its libraries read by themselves: their own files, the time zones, the
# machine's description. Nothing that a dataset could be.
_SYSTEM_READABLE: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/sys/devices/system/cpu",
    "/System/Library",
)
# Where a system's own interpreter lives there is more than interpreters.
_SHARED_PREFIXES: Final = frozenset({"/", "/usr", "/usr/local"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildError:
    """Why the child did not answer."""

    kind: str
    message: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came out of a capsule: metrics, or an error; the folder holds the artifacts."""

    metrics: Mapping[str, Any] | None
    error: ChildError | None
    log: bytes
    log_bytes_cut: int


class Capsule:
    """A private folder with code, input and output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self._child: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
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

    def run(self, recipe: Record) -> Answer:
        """Run the child to its end."""
        fields = recipe.fields
        self._write_request(
            entry=fields["entry"],
            experiment=fields["experiment"],
            parameters=fields["parameters"],
            seed=fields["seed"],
        )
        status, log, cut = self._start("run")
        result = self._read_result()
        if result is None:
            return _answer(_death(status), log, cut)
        if not result["ok"]:
            return _answer(_read_error(result), log, cut)
        unforeseen = environment.unforeseen(fields["environment"], result["loaded"])
        if unforeseen:
            module = unforeseen[0]
            message = (
                f"it imported {module!r}, which its imports do not show, so that no fingerprint"
                f" holds it: import it by a plain statement, or declare include=[{module!r}]"
            )
            error = ChildError(kind="UndeclaredImport", message=message, where="")
            return _answer(error, log, cut)
        return Answer(metrics=result["metrics"], error=None, log=log, log_bytes_cut=cut)

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
            raise BrokenExperiment(experiment_id, _death(status).message)
        if not result["ok"]:
            error = _read_error(result)
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
        self, *, entry: str, experiment: str, parameters: Mapping[str, Any], seed: int
    ) -> None:
        request = {
            "capsule": VERSION,
            "entry": entry,
            "experiment": experiment,
            "parameters": spell_floats(parameters),
            "seed": seed,
            "forbidden": sorted(brokers()),
            "readable": _readable(),
            "loadable": site.getsitepackages(),
        }
        (self.folder / "request.json").write_text(json.dumps(request), "utf-8")

    def _start(self, task: str) -> tuple[int, bytes, int]:
        variables = dict(environment.VARIABLES)
        variables["HOME"] = variables["TMPDIR"] = str(self.folder / "home")
        log_path = self.folder / "log"
        # -P and -s: neither the working directory nor the user's site-packages is importable.
        # Not -I: it would ignore PYTHONHASHSEED. -u: a log in the order of what happened, and
        # whole up to a sudden death.
        command = [sys.executable, "-P", "-s", "-B", "-u", str(_HARNESS), str(self.folder), task]
        with (
            log_path.open("wb") as log,
            subprocess.Popen(
                command,
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
                status = child.wait()
            finally:
                # Whatever the child has left running ends with it.
                _kill_group(child.pid)
                child.wait()
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


def _read_error(result: Mapping[str, Any]) -> ChildError:
    """Read an error; text that no record could hold (a name of bad bytes) is spelled out."""
    parts = {k: str(v).encode("utf-8", "backslashreplace") for k, v in result["error"].items()}
    return ChildError(**{name: part.decode("utf-8") for name, part in parts.items()})


def _readable() -> list[str]:
    """Return the folders of the interpreter and its distributions."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix} - _SHARED_PREFIXES
    return sorted({*prefixes, *site.getsitepackages(), str(_HARNESS.parent), *_SYSTEM_READABLE})


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


def _death(status: int) -> ChildError:
    if status < 0:
        name = next((s.name for s in signal.Signals if s == -status), f"signal {-status}")
        return ChildError(kind="Killed", message=f"the child was ended by {name}", where="")
    return ChildError(
        kind="Died", message=f"the child ended with status {status} and no result", where=""
    )


def _answer(error: ChildError, log: bytes, cut: int) -> Answer:
    return Answer(metrics=None, error=error, log=log, log_bytes_cut=cut)
