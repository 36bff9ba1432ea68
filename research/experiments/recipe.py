"""The recipe: the question that a run asks, built from what was asked for.

Owns the record ``recipe/v1``: which code, which input, which parameters, which environment. Two
equal questions become one id here or nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.datasets.snapshot import Snapshot, find_snapshot
from research.errors import BadInput
from research.experiments import capsule, closure, code_key, environment, parameters, registry
from research.experiments.options import read_options
from research.experiments.spec import ExperimentSpec
from rosdb import Link, Transaction, put_files

SCHEMA: Final = "recipe/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks to be run."""

    experiment_id: str
    overrides: Sequence[tuple[str, Any]] = ()
    dataset: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An experiment's code: the files of its tree, where they are from, and what is foreign."""

    files: Mapping[str, Path | bytes]
    paths: Mapping[str, Path]
    foreign: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A recipe, with what was used to build it that is no part of it."""

    recipe: Link
    fields: Mapping[str, Any]
    links: Mapping[str, Link]
    snapshot: Snapshot | None
    spec: ExperimentSpec
    code: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What all questions of one experiment share: its code, its input, its environment."""

    experiment_id: str
    """The one that was asked for: a registry may name an experiment otherwise than its spec."""

    spec: ExperimentSpec
    entry: str
    code: Code
    snapshot: Snapshot | None
    environment: Mapping[str, Any]
    links: Mapping[str, Link]
    is_pure: bool = False
    """It is one of the built-in experiments, which keep nothing from one run to the next."""


def build(context: Context, tx: Transaction, request: Request) -> Question:
    """Build the recipe of a request, its code tree and inputs put into the transaction.

    Raises: BadInput and NotThere in all their kinds.
    """
    base = build_base(context, tx, request.experiment_id, request.dataset)
    return ask(tx, base, request.overrides, request.seed)


def build_base(context: Context, tx: Transaction, experiment_id: str, dataset: str | None) -> Base:
    """Find and put what all questions of an experiment over a dataset share.

    Raises: BadInput and NotThere in all their kinds.
    """
    registration = registry.find(context.experiments_folder, experiment_id)
    spec = read_spec(context, registration)
    code = collect_code(context, registration, spec.include)
    snapshot = snapshot_of(context, spec, dataset)
    return Base(
        experiment_id=experiment_id,
        spec=spec,
        entry=registration.module,
        code=code,
        snapshot=snapshot,
        environment=environment.describe(code.foreign),
        links={"code": put_code(tx, code), **_inputs(spec, snapshot)},
        is_pure=registration.origin == "builtin",
    )


def ask(
    tx: Transaction, base: Base, overrides: Sequence[tuple[str, Any]], seed: int | None
) -> Question:
    """Put the recipe of one question: the base with these parameters and this seed.

    Raises: BadInput.
    """
    return put_question(tx, base, ask_fields(base, overrides, seed))


def put_question(tx: Transaction, base: Base, fields: Mapping[str, Any]) -> Question:
    """Put the recipe of one question whose fields are known."""
    recipe = tx.put_record(SCHEMA, fields, base.links)
    return Question(
        recipe=recipe,
        fields=fields,
        links=base.links,
        snapshot=base.snapshot,
        spec=base.spec,
        code=base.code,
    )


def ask_fields(
    base: Base, overrides: Sequence[tuple[str, Any]], seed: int | None
) -> dict[str, Any]:
    """Return the fields of one question's recipe.

    Raises: BadInput.
    """
    values = parameters.apply_overrides(base.experiment_id, base.spec.parameters, overrides)
    parameters.check_constraints(base.experiment_id, base.spec.constraints, values)
    return {
        "capsule": capsule.VERSION,
        "experiment": base.experiment_id,
        "entry": base.entry,
        "parameters": values,
        "seed": _seed(base.spec, seed),
        "environment": base.environment,
    }


def put_code(tx: Transaction, code: Code) -> Link:
    """Put an experiment's code as a tree."""
    return put_files(tx, code.files)


def collect_code(
    context: Context, registration: registry.Registration, include: Sequence[str] = ()
) -> Code:
    """Collect the code of an experiment as it is today, with the facade that it needs.

    Where the workspace says so, a file of its own is taken in its normal form. Our own modules stay
    as they are: they change by release, and writing them anew would take longer than a look-up.

    Raises: BrokenExperiment, ForbiddenImport; BadInput if the workspace's options cannot be read.
    """
    options = read_options(context.workspace)
    found = closure.collect(registration, include, options.forbidden)
    files: dict[str, Path | bytes] = dict(found.files)
    if options.code == "syntax":
        files |= {
            name: code_key.normal_form(path.read_bytes())
            for name, path in found.files.items()
            if name.endswith(".py") and not name.startswith(f"{closure.FACADE}/")
        }
    if found.facade:
        files[closure.FACADE_PATH] = found.facade.encode()
    return Code(files=files, paths=found.files, foreign=frozenset(found.foreign))


def read_spec(context: Context, registration: registry.Registration) -> ExperimentSpec:
    """Return what an experiment declares.

    Raises: BrokenExperiment, ForbiddenImport.
    """
    return registry.read_spec(registration, lambda r: ask_child(context, r))


def ask_child(context: Context, registration: registry.Registration) -> dict[str, Any]:
    """Ask a child process what an experiment declares.

    Raises: BrokenExperiment, ForbiddenImport.
    """
    with context.store.transaction("read a declaration") as tx:
        code = put_code(tx, collect_code(context, registration))
    return capsule.ask_spec(context.store, registration.experiment_id, registration.module, code)


def snapshot_of(context: Context, spec: ExperimentSpec, asked: str | None) -> Snapshot | None:
    """Return the snapshot that is asked for, or the one that the experiment declares.

    Raises: BadInput and NotThere in their kinds.
    """
    name = asked if asked is not None else spec.input_dataset
    if name is None:
        return None
    if spec.input_dataset is None and spec.input_kind is None:
        raise BadInput(f"{spec.experiment_id} takes no dataset")
    return find_snapshot(context, name)


def _inputs(spec: ExperimentSpec, snapshot: Snapshot | None) -> dict[str, Link]:
    if snapshot is None:
        return {}
    kind = spec.input_kind or ("bars" if snapshot.bars is not None else "files")
    links: dict[str, Link] = {}
    if kind in ("bars", "both"):
        if snapshot.bars is None:
            raise BadInput(f"{spec.experiment_id} asks for bars; {snapshot.label} holds none")
        links["bars"] = snapshot.bars
    if kind in ("files", "both"):
        links["files"] = snapshot.files
    return links


def _seed(spec: ExperimentSpec, asked: int | None) -> int:
    seed = spec.seed if asked is None else asked
    if not -(2**63) <= seed < 2**63:
        raise BadInput(f"seed {seed} does not fit 64 bits")
    return seed
