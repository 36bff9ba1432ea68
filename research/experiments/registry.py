"""The registry: which experiments there are, and what each declares.

Owns the three places they come from (built in, the workspace's ``research/experiments/``, the
entry points ``ros.experiments`` of installed packages) and the reading of ``DEFAULT_SPEC``. A spec
of literals is read from the source, so that listing and cached runs execute nothing; any other is
asked of a child process.
"""

import ast
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from research.errors import BrokenExperiment, ExperimentMissing
from research.experiments.spec import ExperimentSpec

Origin = Literal["builtin", "workspace", "package"]

BUILTIN: Final[Mapping[str, str]] = {
    "gamma_signal_sanity": "research.experiments.builtin.gamma_signal_sanity",
    "sma_crossover": "research.experiments.builtin.sma_crossover",
}
ENTRY_POINT_GROUP: Final = "ros.experiments"

_PACKAGE_FOLDER: Final = Path(__file__).parents[2]
_FIELDS: Final = {f.name for f in fields(ExperimentSpec)} - {"input_folder"}


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
        return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


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
    unknown = declared.keys() - _FIELDS
    if unknown:
        raise BrokenExperiment(
            registration.experiment_id, f"ExperimentSpec has no field {sorted(unknown)[0]!r}"
        )
    try:
        return ExperimentSpec(**declared)
    except TypeError as error:
        raise BrokenExperiment(registration.experiment_id, str(error)) from None


def _from_packages() -> dict[str, Registration]:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found: dict[str, Registration] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
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
        if path.name == "registry.py" or not path.stem.isidentifier():
            continue
        declared = _declared_id(path)
        if declared is not None:
            name = declared or path.stem
            if name in found:
                raise BrokenExperiment(
                    name, f"{path.name} and {found[name].path.name} both declare that id"
                )
            found[name] = _in_workspace(name, path.stem, folder)
    for name, module in _workspace_registry(folder).items():
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
    names = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    call = _spec_call(body)
    if "run" not in names or (call is None and not _binds_spec(body)):
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
    try:
        return {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
    except ValueError:
        return None


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


def _binds_spec(body: list[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == "DEFAULT_SPEC" and isinstance(node.ctx, ast.Store)
        for statement in body
        for node in ast.walk(statement)
    )


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
