"""The registry: which experiments there are, and what each declares.

Owns the three places they come from (built in, the workspace's ``research/experiments/``, the
entry points ``ros.experiments`` of installed packages) and the reading of ``DEFAULT_SPEC``. A spec
of literals is read from the source, so that listing and cached runs execute nothing; any other is
asked of a child process.
"""

import ast
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from research.errors import BrokenExperiment, ExperimentMissing
from research.experiments.spec import ExperimentSpec
from rosdb import check_label

Origin = Literal["builtin", "workspace", "package"]

BUILTIN: Final[Mapping[str, str]] = {
    "breakout": "research.experiments.builtin.breakout",
    "call_ladder": "research.experiments.builtin.call_ladder",
    "gamma_signal_sanity": "research.experiments.builtin.gamma_signal_sanity",
    "rsi_reversion": "research.experiments.builtin.rsi_reversion",
    "sma_crossover": "research.experiments.builtin.sma_crossover",
}
ENTRY_POINT_GROUP: Final = "ros.experiments"

_PACKAGE_FOLDER: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where an experiment is: its module, and the folder from which that is imported."""

    experiment_id: str
    module: str
    origin: Origin
    root: Path

    @property
    def path(self) -> Path:
        """The module's file."""
        stem = self.root.joinpath(*self.module.split("."))
        package = stem / "__init__.py"
        return package if package.is_file() else stem.with_suffix(".py")


def registrations(experiments_folder: Path) -> dict[str, Registration]:
    """Return every experiment by its id; the workspace's hide the packages', those hide ours.

    Raises: BrokenExperiment if the workspace's registry cannot be read.
    """
    found = {
        name: Registration(
            experiment_id=name, module=module, origin="builtin", root=_PACKAGE_FOLDER
        )
        for name, module in BUILTIN.items()
    }
    found |= _from_packages()
    found |= _from_workspace(experiments_folder)
    return found


def find(experiments_folder: Path, experiment_id: str) -> Registration:
    """Return one experiment.

    Raises: ExperimentMissing with the nearest names.
    """
    # The two cheap places first: asking every installed package costs more than a cached run.
    known: dict[str, Registration] = _from_workspace(experiments_folder)
    if experiment_id in known:
        return known[experiment_id]
    if experiment_id not in BUILTIN:
        known = registrations(experiments_folder)
        if experiment_id not in known:
            near = difflib.get_close_matches(experiment_id, list(known), n=3, cutoff=0.5)
            raise ExperimentMissing(experiment_id, near)
        return known[experiment_id]
    return Registration(
        experiment_id=experiment_id,
        module=BUILTIN[experiment_id],
        origin="builtin",
        root=_PACKAGE_FOLDER,
    )


def read_spec(
    registration: Registration, ask_child: Callable[[Registration], dict[str, Any]]
) -> ExperimentSpec:
    """Return an experiment's declaration, from its source or, failing that, from a child.

    Raises: BrokenExperiment.
    """
    declared = _literal_spec(registration)
    if declared is None:
        declared = ask_child(registration)
        _check_id(registration, declared.get("experiment_id"))
    unknown = declared.keys() - _FITS.keys()
    if unknown:
        raise BrokenExperiment(
            registration.experiment_id, f"ExperimentSpec has no field {sorted(unknown)[0]!r}"
        )
    for field, value in declared.items():
        if not _FITS[field](value):
            raise BrokenExperiment(registration.experiment_id, f"{field} cannot be {value!r}")
    try:
        return ExperimentSpec(**declared)
    except TypeError as error:
        raise BrokenExperiment(registration.experiment_id, str(error)) from None


def _check_id(registration: Registration, said: Any) -> None:
    """Refuse an id that only executing the module shows: nobody could find it by that name.

    Raises: BrokenExperiment.
    """
    stands_by_file_name = registration.experiment_id == registration.module
    if registration.origin == "workspace" and stands_by_file_name and said != registration.module:
        raise BrokenExperiment(
            registration.experiment_id,
            f"it calls itself {said!r}: write that id as a literal, or enter it in registry.py",
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


# A declaration is a file that people edit: each field is checked before anything is built on it.
_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "experiment_id": _is_text,
    "name": _is_text,
    "description": _is_text,
    "parameters": lambda value: isinstance(value, Mapping),
    "metrics": _is_texts,
    "input_dataset": lambda value: value is None or _is_text(value),
    "input_kind": lambda value: value in (None, "bars", "files", "both"),
    "seed": lambda value: type(value) is int,
    "include": _is_texts,
    "constraints": _is_texts,
}


def _from_packages() -> dict[str, Registration]:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found: dict[str, Registration] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        check_label("experiment id", point.name)
        top = find_spec(point.module.partition(".")[0])
        if top is not None and top.origin is not None:
            root = Path(top.origin).parent
            found[point.name] = Registration(
                experiment_id=point.name,
                module=point.module,
                origin="package",
                root=root.parent if top.submodule_search_locations else root,
            )
    return found


def _from_workspace(folder: Path) -> dict[str, Registration]:
    found: dict[str, Registration] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.py")):
        if path.name == "registry.py" or not path.stem.isidentifier() or not path.is_file():
            continue
        declared = _declared_id(path)
        if declared is not None:
            name = declared or path.stem
            check_label("experiment id", name)
            if name in found:
                raise BrokenExperiment(
                    name, f"{path.name} and {found[name].path.name} both declare that id"
                )
            found[name] = _in_workspace(name, path.stem, folder)
    for name, module in _workspace_registry(folder).items():
        check_label("experiment id", name)
        found = {k: r for k, r in found.items() if r.module != module}
        found[name] = _in_workspace(name, module, folder)
    return found


def _in_workspace(name: str, module: str, folder: Path) -> Registration:
    return Registration(experiment_id=name, module=module, origin="workspace", root=folder)


def _workspace_registry(folder: Path) -> dict[str, str]:
    """Read ``EXPERIMENTS = {"id": "module"}`` of the workspace's own ``registry.py``."""
    path = folder / "registry.py"
    if not path.is_file():
        return {}
    for node in _parse(path, "registry").body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="EXPERIMENTS")], value=value)
                | ast.AnnAssign(target=ast.Name(id="EXPERIMENTS"), value=value)
            ) if value is not None:
                try:
                    entries = ast.literal_eval(value)
                    return {str(k): str(v).removesuffix(".py") for k, v in entries.items()}
                except (ValueError, AttributeError):
                    raise BrokenExperiment(
                        "registry", "EXPERIMENTS is a dict of id to module, written as literals"
                    ) from None
    return {}


def _declared_id(path: Path) -> str | None:
    """Return the id that a module declares; "" if it is not a literal; None if it is none."""
    try:
        source = path.read_text("utf-8")
        if "DEFAULT_SPEC" not in source:
            return None
        body = ast.parse(source).body
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return path.stem if b"DEFAULT_SPEC" in path.read_bytes() else None
    call = _spec_call(body)
    if not _binds(body, "run") or (call is None and not _binds(body, "DEFAULT_SPEC")):
        return None
    for keyword in [] if call is None else call.keywords:
        if keyword.arg == "experiment_id" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


def _literal_spec(registration: Registration) -> dict[str, Any] | None:
    """Read the one top-level ``DEFAULT_SPEC = ExperimentSpec(...)``, if all in it is literal."""
    body = _parse(registration.path, registration.experiment_id).body
    call = _spec_call(body)
    mentions = sum(
        isinstance(node, ast.Name) and node.id == "DEFAULT_SPEC"
        for statement in body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
    )
    if call is None or call.args or mentions != 1:
        return None
    declared: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            return None  # **more
        try:
            declared[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, RecursionError):
            return None
    return declared


def _spec_call(body: list[ast.stmt]) -> ast.Call | None:
    for node in body:
        match node:
            case (
                ast.Assign(
                    targets=[ast.Name(id="DEFAULT_SPEC")],
                    value=ast.Call(func=ast.Name(id="ExperimentSpec")) as call,
                )
                | ast.AnnAssign(
                    target=ast.Name(id="DEFAULT_SPEC"),
                    value=ast.Call(func=ast.Name(id="ExperimentSpec")) as call,
                )
            ):
                return call
    return None


def _binds(body: list[ast.stmt], name: str) -> bool:
    """Tell whether a module binds a name: by an assignment, a definition or an import."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            if statement.name == name:
                return True
            continue
        for node in ast.walk(statement):
            match node:
                case ast.Name(id=found, ctx=ast.Store()) if found == name:
                    return True
                case ast.FunctionDef(name=found) if found == name:
                    return True
                case ast.alias(name=found, asname=given) if (given or found) == name:
                    return True
    return False


def _parse(path: Path, experiment_id: str) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except FileNotFoundError:
        raise BrokenExperiment(experiment_id, f"there is no {path.name}") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BrokenExperiment(experiment_id, f"{path.name}{line}: {reason}") from None


def listing(
    experiments_folder: Path, ask_child: Callable[[Registration], dict[str, Any]]
) -> Iterator[tuple[Registration, ExperimentSpec | BrokenExperiment]]:
    """List every experiment with its declaration, or why it cannot be read; by id."""
    for _, registration in sorted(registrations(experiments_folder).items()):
        try:
            yield registration, read_spec(registration, ask_child)
        except BrokenExperiment as error:
            yield registration, error
