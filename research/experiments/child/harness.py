"""The child: runs one experiment in its capsule and writes down what came of it.

A script of the standard library alone, started by path, so that nothing of ours is imported but
the code tree that the capsule holds. It decides nothing about the outcome and is left out of the
code tree; ``docs/format.md`` section 6 is its contract.

    python -P -s harness.py FOLDER           run the experiment of FOLDER
    python -P -s harness.py FOLDER describe  write down its declaration
"""

import _thread
import atexit
import dataclasses
import importlib
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

_OURS = "research/"
_BUILTIN = "research/experiments/builtin/"
_WALLED = ("landlock", "namespaces", "sandbox-exec")


def main(folder: str, task: str) -> int:
    """Run the experiment, or describe it; the result goes to ``result.json``."""
    os.chdir(folder)
    request = read_request()
    watchers = Watchers(request)
    found: dict[str, Any] = {}
    # Opened now: the guard never sleeps, not even while the interpreter goes down, where the
    # experiment's finalizers run. Registered first, it is written last: after its exit handlers.
    result = open_result()
    sandbox = _confine(folder, request)
    end_with_the_parent()
    atexit.register(watchers.write, result, found, sandbox)
    watchers.install(sandbox)
    answer(found, request, task, watchers.code, sandbox)
    return 0


class Watchers:
    """The guard and the watch of this process: what they are told, and what they have seen."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.code = str(Path("code").absolute())
        self.guard, self.watch = load("guard"), load("nondeterminism")
        self._request = request
        self._packages = [os.path.realpath(path) + os.sep for path in request["loadable"]]
        self._started_with = set(sys.modules)
        self._names: dict[str, str] = {}

    def install(self, sandbox: dict[str, Any]) -> None:
        """Begin to watch; what may not be read is not searched for modules."""
        request = self._request
        self.watch.watch(self.code, self.guard.refuse if request.get("strict") else None)
        self.guard.install(
            Path.cwd(),
            request["readable"],
            request["loadable"],
            request["forbidden"],
            self.code,
            {"random": self.watch.watch_random},
            self.watch.note,
            sandbox["level"] in _WALLED,
        )
        # A folder that may not be read would be searched all the same, and that is a refusal.
        sys.path[:] = [self.code, *(path for path in sys.path if self.guard.is_readable(path))]

    def write(self, handle: int, found: dict[str, Any], sandbox: dict[str, Any]) -> None:
        """Write what came of it; one refusal, even one that was swallowed, is a failure."""
        names = self._loaded()
        found["loaded"] = sorted({name.partition(".")[0] for name in names})
        unseeded = self.watch.finish()
        hidden = [name for name in names if self.guard.is_forbidden(name)]
        if self.guard.refusals:
            error = _error("Refused", self.guard.refusals[0], self.guard.places[0])
            found = {"ok": False, "error": error}
        elif hidden:  # under another name, which no gate could know
            message = f"it tried to import {hidden[0]!r}, which research code may not"
            found = {"ok": False, "error": _error("Refused", message, "")}
        elif unseeded is not None:
            found = {"ok": False, "error": _error("Refused", unseeded, "")}
        found |= {"sandbox": sandbox, "nondeterminism": self.watch.notes}
        try:
            text = json.dumps(_to_json(found))
        except (TypeError, ValueError, RecursionError) as error:
            text = json.dumps({"ok": False, "error": _error(type(error).__name__, str(error), "")})
        left = text.encode()
        while left:
            left = left[os.write(handle, left) :]

    def forget(self) -> None:
        """Forget what a run that has ended did."""
        self.guard.forget()
        self.watch.forget()

    def modules(self) -> list[str]:
        """Name the modules that were imported, in their order."""
        return [name for name in list(sys.modules) if name not in self._started_with]

    def _loaded(self) -> list[str]:
        """Name what was imported from the installed packages, by its place, not by its name."""
        files = {getattr(sys.modules.get(name), "__file__", None) for name in self.modules()}
        return sorted({self._name_of(file) for file in files if isinstance(file, str)} - {""})

    def _name_of(self, file: str) -> str:
        """Name the module that a file is when it is imported; empty if it is of no package."""
        found = self._names.get(file)
        if found is None:
            real = os.path.realpath(file)
            folder = next((each for each in self._packages if real.startswith(each)), None)
            parts = [] if folder is None else real[len(folder) :].split(os.sep)
            if parts:
                parts[-1] = parts[-1].partition(".")[0]  # of an extension module all its endings
            found = ".".join(parts).removesuffix(".__init__")
            self._names[file] = found
        return found

    def remember_loaded(self) -> None:
        """Look up where what is loaded comes from, once for all copies of this process."""
        self._loaded()


def read_request(name: str = "request.json") -> dict[str, Any]:
    """Read what is asked of this child."""
    found: dict[str, Any] = json.loads(Path(name).read_text("utf-8"), object_hook=_from_json)
    return found


def open_result(how: int = os.O_CREAT | os.O_EXCL) -> int:
    """Open the file of the result, which nobody else may have made."""
    return os.open("result.json", os.O_WRONLY | how, 0o600)


def answer(
    found: dict[str, Any],
    request: dict[str, Any],
    task: str,
    code: str,
    sandbox: dict[str, Any],
    bars: Any = None,
) -> None:
    """Do what is asked, and put into ``found`` what came of it; ``bars`` may give the bars."""
    try:
        if request.get("sandbox") == "required" and sandbox["level"] not in _WALLED:
            raise PermissionError(f"the sandbox is required, and only {sandbox['level']} was had")
        found.update(describe(request) if task == "describe" else run(request, bars))
    except BaseException as error:
        _print_error(error, code)
        found.update({"ok": False, "error": _error_of(error, code)})


def run(request: dict[str, Any], bars: Any = None) -> dict[str, Any]:
    """Import the entry module and call ``run``."""
    module = importlib.import_module(request["entry"])
    spec = dataclasses.replace(
        module.DEFAULT_SPEC,
        parameters=request["parameters"],
        seed=request["seed"],
        input_folder=Path("input"),
    )
    if bars is not None:
        object.__setattr__(spec, "bars", bars)
    metrics = module.run(spec, Path("output"))
    return {"ok": True, "metrics": _plain_metrics(metrics)}


def describe(request: dict[str, Any]) -> dict[str, Any]:
    """Import the entry module and return its declaration."""
    spec = importlib.import_module(request["entry"]).DEFAULT_SPEC
    fields = {
        f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name != "input_folder"
    }
    return {"ok": True, "spec": fields}


def end_with_the_parent() -> None:
    """End when the other end of standard input is closed: with the parent, however that ends."""
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    _thread.start_new_thread(wait, ())


def _confine(folder: str, request: dict[str, Any]) -> dict[str, Any]:
    """Put up the kernel's walls, unless only the hook was asked for; say which stand."""
    if request.get("sandbox", "best") == "hook":
        return {"level": "hook", "parts": ["hook"]}
    reached = load("confine").confine(
        os.path.realpath(folder),
        request["readable"],
        load,
        is_wrapped=request.get("wrapped", False),
    )
    return {"level": reached.level, "parts": reached.parts}


def load(name: str) -> ModuleType:
    """Load a file that lies beside this one, under no name that an experiment could import."""
    location = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_ros_{name}", location)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = False  # ours, compiled once: it saves each run some milliseconds
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = True
    return module


def _plain_metrics(metrics: Any) -> dict[str, Any]:
    if not isinstance(metrics, dict):
        raise TypeError(f"run returned {type(metrics).__name__}, not a dict of metrics")
    plain = {}
    for name, value in metrics.items():
        if type(name) is not str or not name:
            raise TypeError(f"metric name {name!r} is not text")
        if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()
        if type(value) not in (bool, int, float, str):
            raise TypeError(
                f"metric {name!r} is {type(value).__name__}; a metric is a float, int, bool or str"
            )
        plain[name] = value
    return plain


def _error_of(error: BaseException, code: str) -> dict[str, str]:
    kind = type(error).__name__
    message = str(error) or kind
    if isinstance(error, SystemExit):
        message = f"it called exit({error.code!r})"
    elif isinstance(error, ModuleNotFoundError):
        message += (
            " (not installed, and not in this run's code: declare a computed import in include)"
        )
    return _error(kind, message, _place(error, code))


def _print_error(error: BaseException, code: str) -> None:
    """Print where it went wrong: from the experiment's first line on, without ours around it."""
    told = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        each = waiting.pop()
        if each is not None:
            each.stack = _own_frames(each.stack, code)
            waiting += [each.__cause__, each.__context__]
    print("".join(told.format()), end="", file=sys.stderr)


def _own_frames(stack: traceback.StackSummary, code: str) -> traceback.StackSummary:
    ours = os.path.dirname(__file__) + os.sep
    kept: list[traceback.FrameSummary] = []
    for frame in stack:
        own = frame.filename.removeprefix(code + os.sep)
        if not frame.filename.startswith(ours) and (kept or own != frame.filename):
            kept.append(traceback.FrameSummary(own, frame.lineno, frame.name, line=frame.line))
    return traceback.StackSummary.from_list(kept) if kept else stack


def _place(error: BaseException, code: str) -> str:
    """Find the line of the experiment's own code that the error passed through last."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        (frame.filename[len(code) + 1 :], frame.lineno)
        for frame in frames
        if frame.filename.startswith(code + os.sep)
    ]
    own = [place for place in places if not place[0].startswith(_OURS) or _BUILTIN in place[0]]
    return "{}, line {}".format(*(own or places)[-1]) if places else ""


def _error(kind: str, message: str, where: str) -> dict[str, str]:
    return {"kind": kind, "message": message[:2000], "where": where}


def _to_json(value: Any) -> Any:
    """Spell the floats that JSON lacks."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _from_json(value: dict[str, Any]) -> Any:
    if set(value) == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "run"))
