"""The child: runs one experiment in its capsule and writes down what came of it.

A script of the standard library alone, started by path, so that nothing of ours is imported but
the code tree that the capsule holds. It decides nothing about the outcome and is left out of the
code tree; ``docs/format.md`` section 6 is its contract.

    python -P -s harness.py FOLDER           run the experiment of FOLDER
    python -P -s harness.py FOLDER describe  print its declaration
"""

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

CAPSULE = 1


def main(folder: str, task: str) -> int:
    """Run the experiment, or describe it; the result goes to ``result.json``."""
    os.chdir(folder)
    request = json.loads(Path("request.json").read_text("utf-8"), object_hook=_from_json)
    code = Path("code").absolute()
    guard = _guard()
    sys.path[:] = [str(code), *(p for p in sys.path if p not in request["hidden_paths"])]
    guard.install(Path.cwd(), request["readable"], request["forbidden"], str(code))
    try:
        result = describe(request) if task == "describe" else run(request)
        if guard.refusals:
            result = {"ok": False, "error": _error("Refused", guard.refusals[0], guard.places[0])}
    except BaseException as error:
        traceback.print_exc()
        result = {"ok": False, "error": _error_of(error, str(code), guard)}
    guard.rest()
    Path("result.json").write_text(json.dumps(_to_json(result)), "utf-8")
    return 0


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Import the entry module and call ``run``."""
    module = importlib.import_module(request["entry"])
    spec = dataclasses.replace(
        module.DEFAULT_SPEC,
        parameters=request["parameters"],
        seed=request["seed"],
        input_folder=Path("input"),
    )
    metrics = module.run(spec, Path("output"))
    return {"ok": True, "metrics": _plain_metrics(metrics)}


def describe(request: dict[str, Any]) -> dict[str, Any]:
    """Import the entry module and return its declaration."""
    spec = importlib.import_module(request["entry"]).DEFAULT_SPEC
    fields = {
        f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name != "input_folder"
    }
    return {"ok": True, "spec": fields}


def _guard() -> ModuleType:
    """Load the guard that lies beside this file, under no name that an experiment could import."""
    location = Path(__file__).with_name("guard.py")
    spec = importlib.util.spec_from_file_location("_ros_guard", location)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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


def _error_of(error: BaseException, code: str, guard: ModuleType) -> dict[str, str]:
    if guard.refusals:
        return _error("Refused", guard.refusals[0], guard.places[0])
    kind = type(error).__name__
    message = str(error) or kind
    if isinstance(error, SystemExit):
        message = f"it called exit({error.code!r})"
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(code)]
    where = ""
    if places:
        where = f"{places[-1].filename[len(code) + 1 :]}, line {places[-1].lineno}"
    return _error(kind, message, where)


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
    if set(value) == {"float"} and isinstance(value["float"], str):
        return float(value["float"])
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "run"))
