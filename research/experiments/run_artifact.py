"""A run as one document: its request, its trades, its PnL, its metrics, and a hash of each input.

Owns ``RunArtifact`` and its JSON. All of it is read from the store, and every hash is computed from
what was read: one that stands in a document is compared, never believed. The hash of a part is
BLAKE3 of the canonical encoding of ``[NAME/v1, PART]``; no clock, host or path goes into one::

    cost_model_hash    BLAKE3 of the encoding of ["cost_model/v1", {"taker_fee_bps": 5.0, …}]
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from research.errors import BadInput
from research.experiments import runs
from research.experiments.artifact_rows import read_rows, same_columns, write_rows
from research.experiments.export import instant_text, jsonable
from research.experiments.parameters import copied
from research.experiments.request_fields import MODELS, model_parameters, take_names
from research.experiments.requests import SimulationRequest, StrategyConfig
from research.experiments.runs import RunManifest
from research.simulation.errors import SimulationError
from research.simulation.parameters import camel_case
from rosdb import Kind, ObjectId, Store, encode_value, id_of

SCHEMA_VERSION: Final = 1
EVENTS: Final = ("events", "trades")
"""The tables that may hold the trade events: the first one that a run has."""

EQUITY: Final = "equity"

_METADATA_TYPES: Final[Mapping[str, Any]] = {
    "run_id": str,
    "fingerprint": str,
    "seconds": float | int | None,
    "git_dirty": bool | None,
}
_PARTS: Final = (
    "schema_version",
    "metadata",
    "request",
    "trade_events",
    "pnl_series",
    "metrics",
    "columns",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetadata:
    """Which run it was, and the hash of everything that went into it.

    ``fingerprint`` is the recipe's id and ``outcome`` the outcome's; equal ones are equal. The hash
    of a model is None where the experiment has none.
    """

    run_id: str
    fingerprint: str
    outcome: str | None
    status: str
    created_at: str
    seconds: float | None
    git_sha: str | None
    git_branch: str | None
    git_dirty: bool | None
    code_hash: str
    environment_hash: str
    data_snapshot_hash: str | None
    strategy_config_hash: str
    execution_model_hash: str | None
    cost_model_hash: str | None
    risk_model_hash: str | None
    sizing_hash: str | None
    run_config_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunArtifact:
    """A recorded run; its request is complete, so performing it asks the same question.

    trade_events  the run's table ``events``; where it keeps none, its ``trades``
    equity        the run's table ``equity``
    metrics       by name, in the order in which the experiment declares them

    Shapes: columns (rows,), read-only, each read when it is asked for.
    """

    metadata: RunMetadata
    request: SimulationRequest
    trade_events: Mapping[str, Any]
    equity: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def pnl_series(self) -> dict[str, Any]:
        """The equity with its gain since the start, ``pnl``; empty where the run keeps no equity.

        The start is the parameter ``cash``, or the first equity where there is none.
        Shapes: columns (T,).
        Units:  pnl in the equity's own.
        """
        columns = {name: self.equity[name] for name in self.equity}
        if EQUITY in columns and len(columns[EQUITY]):
            cash = self.request.strategy.parameters.get("cash")
            is_number = isinstance(cash, int | float) and not isinstance(cash, bool)
            start = float(cash) if is_number else columns[EQUITY][0]  # type: ignore[arg-type]
            columns["pnl"] = columns[EQUITY] - start
            columns["pnl"].setflags(write=False)
        return columns

    def to_json(self) -> dict[str, Any]:
        """Write a document for JSON, names in camelCase; NaN and the infinities become text."""
        events, described_events = write_rows(self.trade_events)
        series, described_series = write_rows(self.pnl_series)
        return {
            "schemaVersion": SCHEMA_VERSION,
            "metadata": {camel_case(k): v for k, v in asdict(self.metadata).items()},
            "request": self.request.to_json(),
            "tradeEvents": events,
            "pnlSeries": series,
            "metrics": jsonable(dict(self.metrics)),
            "columns": {"tradeEvents": described_events, "pnlSeries": described_series},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], store: Store | None = None) -> "RunArtifact":
        """Read a document; its hashes are computed again, and in a store all of it is compared.

        Without the store, the hashes of the request's parts and the PnL are checked; what only the
        store can show (the data's hash, the fingerprint, the metrics) is as the document has it.

        Raises: BadInput naming what is not as it says; with a store, RefMissing.
        """
        values = _take(document)
        metadata = RunMetadata(**values["metadata"])
        request = SimulationRequest.from_json(values["request"])
        _compare_hashes(metadata, request)
        described = take_names("columns", ("trade_events", "pnl_series"), values["columns"])
        series = read_rows("pnlSeries", values["pnl_series"], described.get("pnl_series"))
        artifact = cls(
            metadata=metadata,
            request=request,
            trade_events=read_rows(
                "tradeEvents", values["trade_events"], described.get("trade_events")
            ),
            equity={name: column for name, column in series.items() if name != "pnl"},
            metrics=dict(values["metrics"]),
        )
        if not same_columns(series, artifact.pnl_series):
            raise BadInput("pnlSeries: pnl is not the equity less its start")
        if store is not None:
            _compare(artifact, read_artifact(store, store.resolve(metadata.run_id)))
        return artifact


def read_artifact(store: Store, run_id: ObjectId) -> RunArtifact:
    """Read a run as an artifact.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    return artifact_of(store, runs.read_run(store, run_id))


def artifact_of(store: Store, manifest: RunManifest) -> RunArtifact:
    """Return a run that has been read as an artifact.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    request = request_of(manifest)
    found = runs.artifacts(store, manifest)
    tables = {name: entry.link for name, entry in found.items() if entry.kind == "table"}
    events = next((tables[name] for name in EVENTS if name in tables), None)
    equity = tables.get(EQUITY)
    return RunArtifact(
        metadata=_metadata(manifest, request),
        request=request,
        trade_events={} if events is None else store.get_table(events),
        equity={} if equity is None else store.get_table(equity),
        metrics=manifest.metrics,
    )


def request_of(manifest: RunManifest) -> SimulationRequest:
    """Return the request that a run answers, complete: what was left out has its value of then.

    Parameters that are no model of ours, by name and by fields, stay the strategy's own.
    """
    parameters = copied(manifest.parameters)
    given: dict[str, Any] = {}
    for name, (model, parameter) in MODELS.items():
        if name == "run_config" or not isinstance(parameters.get(parameter), dict):
            continue
        try:
            given[name] = model.from_parameters(parameters[parameter])
        except SimulationError:
            continue
        del parameters[parameter]
    config = {} if not isinstance(parameters.get("run_config"), dict) else parameters["run_config"]
    try:
        model, _ = MODELS["run_config"]
        given["run_config"] = model.from_parameters({**config, "seed": manifest.seed})
        parameters.pop("run_config", None)
    except SimulationError:
        given["run_config"] = model.from_parameters({"seed": manifest.seed})
    return SimulationRequest(
        strategy=StrategyConfig(id=manifest.experiment, parameters=parameters),
        data_snapshot=manifest.dataset,
        **given,
    )


def _metadata(manifest: RunManifest, request: SimulationRequest) -> RunMetadata:
    recipe, git = manifest.recipe, manifest.run.fields["git"] or {}
    given = {name: str(recipe.links[name]) for name in ("bars", "files") if name in recipe.links}
    return RunMetadata(
        run_id=str(manifest.run_id),
        fingerprint=str(manifest.recipe_id),
        outcome=None if manifest.outcome_id is None else str(manifest.outcome_id),
        status=manifest.status,
        created_at=instant_text(manifest.created_at_ns),
        seconds=manifest.seconds,
        git_sha=git.get("commit"),
        git_branch=git.get("branch"),
        git_dirty=git.get("dirty"),
        code_hash=str(recipe.links["code"]),
        environment_hash=hash_part("environment", copied(recipe.fields["environment"])),
        data_snapshot_hash=hash_part("data_snapshot", given) if given else None,
        **_request_hashes(request),
    )


def hash_part(name: str, part: Any) -> str:
    """Return the hash of a part of a run's input, as 64 hex digits."""
    return str(id_of(Kind.BLOB, encode_value([f"{name}/v1", part])))


def _request_hashes(request: SimulationRequest) -> dict[str, Any]:
    """Hash the parts of a request, each as ``RunMetadata`` names it."""
    strategy = {"id": request.strategy.id, "parameters": copied(request.strategy.parameters)}
    hashes: dict[str, Any] = {"strategy_config_hash": hash_part("strategy_config", strategy)}
    for name in MODELS:
        model = getattr(request, name)
        given = None if model is None else hash_part(name, model_parameters(model))
        hashes[f"{name}_hash"] = given
    return hashes


def _take(document: Mapping[str, Any]) -> dict[str, Any]:
    """Take a document apart.

    Raises: BadInput, UnknownParameter with the nearest names.
    """
    values = take_names("RunArtifact", _PARTS, document)
    if values.get("schema_version") != SCHEMA_VERSION:
        raise BadInput(
            f"RunArtifact: schemaVersion {values.get('schema_version')!r} is not {SCHEMA_VERSION}"
        )
    lacking = set(_PARTS) - values.keys()
    own = [each.name for each in fields(RunMetadata)]
    values["metadata"] = take_names("metadata", own, values.get("metadata", {}))
    lacking |= {f"metadata.{name}" for name in own if name not in values["metadata"]}
    if lacking:
        raise BadInput(f"RunArtifact: {min(lacking)} is missing")
    for name, value in values["metadata"].items():
        if not isinstance(value, _METADATA_TYPES.get(name, str | None)):
            raise BadInput(f"metadata: {camel_case(name)} cannot be {value!r}")
    if not isinstance(values["metrics"], Mapping):
        raise BadInput("RunArtifact: metrics is a mapping of names to values")
    return values


def _compare_hashes(metadata: RunMetadata, request: SimulationRequest) -> None:
    for name, computed in _request_hashes(request).items():
        if getattr(metadata, name) != computed:
            raise BadInput(f"metadata: {camel_case(name)} is not that of the request")


def _compare(claimed: RunArtifact, stored: RunArtifact) -> None:
    """Compare a document with what the store holds.

    Raises: BadInput naming the first part that differs.
    """
    for each in fields(RunMetadata):
        if getattr(claimed.metadata, each.name) != getattr(stored.metadata, each.name):
            raise BadInput(f"metadata: {camel_case(each.name)} is not what the store holds")
    parts = {
        "request": claimed.request == stored.request,
        "tradeEvents": same_columns(claimed.trade_events, stored.trade_events),
        "pnlSeries": same_columns(claimed.equity, stored.equity),
        "metrics": jsonable(dict(claimed.metrics)) == jsonable(dict(stored.metrics)),
    }
    for name, is_same in parts.items():
        if not is_same:
            raise BadInput(f"{name} is not what the store holds")
