"""Requests as people write them: a simulation, and a sweep over one.

Owns ``SimulationRequest`` and ``ParameterSweepRequest``: their fields, their JSON, and which
question of an experiment they are. However a request is spelled and in whatever order, equal ones
are equal, and ask one question::

    SimulationRequest(strategy="sma_crossover", cost_model={"taker_fee_bps": 5})
    SimulationRequest.from_json({"costModel": {"takerFeeBps": 5.0}, "strategy": "sma_crossover"})

A model that is given is the whole model: a field that it does not name has the model's default,
which does nothing. A model that is not given is the experiment's own.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from research.errors import BadInput
from research.experiments.recipe import Request
from research.experiments.request_fields import (
    MODELS,
    STRATEGY_PARAMETERS,
    field_path,
    fit,
    leaves,
    model_parameters,
    neutral,
    plain,
    take_model,
    take_names,
    unknown,
)
from research.simulation.costs import CostModel
from research.simulation.execution import ExecutionModel
from research.simulation.parameters import camel_case
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.sizing import Sizing


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyConfig:
    """Which experiment is run, and the parameters that are its own, by dotted path or nested."""

    id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named: object = self.id
        if not isinstance(named, str) or not named:
            raise BadInput(f"strategy.id is the id of an experiment, not {named!r}")
        given: object = self.parameters
        if not isinstance(given, Mapping):
            raise BadInput(f"{STRATEGY_PARAMETERS} is a mapping, not {given!r}")
        object.__setattr__(self, "parameters", plain(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationRequest:
    """What is to be simulated: an experiment over a dataset, with these models.

    ``strategy`` is the experiment's id, or ``{"id": …, "parameters": {…}}``; ``data_snapshot`` is
    ``NAME`` or ``NAME@VERSION``, by default the experiment's own. Each model is its class or a
    mapping of its fields, in snake_case or camelCase. ``run_config`` holds the seed.

    Raises: UnknownParameter with the nearest names, BadInput if a value cannot be.
    """

    strategy: StrategyConfig
    data_snapshot: str | None = None
    execution_model: ExecutionModel | None = None
    cost_model: CostModel | None = None
    risk_model: RiskModel | None = None
    sizing: Sizing | None = None
    run_config: RunConfig | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategy", _take_strategy(self.strategy))
        snapshot: object = self.data_snapshot
        if snapshot is not None and (not isinstance(snapshot, str) or not snapshot):
            raise BadInput(f"data_snapshot is NAME or NAME@VERSION, not {snapshot!r}")
        for name, (model, _) in MODELS.items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, take_model(name, model, given))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "SimulationRequest":
        """Read from camelCase; snake_case is read too.

        Raises: UnknownParameter with the nearest names, BadInput if a value cannot be.
        """
        values = take_names("SimulationRequest", [each.name for each in fields(cls)], document)
        if values.get("strategy") is None:
            raise BadInput("SimulationRequest: strategy is missing: name an experiment")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Write what is given, in camelCase; the names of the strategy's parameters are its own."""
        document: dict[str, Any] = {
            "strategy": {"id": self.strategy.id, "parameters": plain(self.strategy.parameters)}
        }
        if self.data_snapshot is not None:
            document["dataSnapshot"] = self.data_snapshot
        for name in MODELS:
            model = getattr(self, name)
            if model is not None:
                document[camel_case(name)] = plain(model.to_json())
        return document

    def to_request(self, declared: Mapping[str, Any]) -> Request:
        """Return the question that an experiment with these default parameters is asked.

        Raises: UnknownParameter if the experiment has no such model.
        """
        overrides = list(self.strategy.parameters.items())
        for name, (_, parameter) in MODELS.items():
            given = getattr(self, name)
            if given is not None:
                overrides += _model_overrides(self.strategy.id, declared, name, given, parameter)
        return Request(
            experiment_id=self.strategy.id,
            overrides=tuple(sorted(overrides, key=lambda override: override[0])),
            dataset=self.data_snapshot,
            seed=None if self.run_config is None else self.run_config.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepParameter:
    """A field of a request by its path, and the values that it takes."""

    path: str
    values: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", field_path(self.path))
        values: object = plain(self.values)
        if not isinstance(values, list) or not values:
            raise BadInput(f"{self.path}: its values are a list that is not empty, not {values!r}")
        object.__setattr__(self, "values", tuple(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSweepRequest:
    """A request, and the fields of it that are varied: all combinations, in sorted order.

    Each parameter is ``{"path": …, "values": […]}``, the path spelled as a field of the request
    (``cost_model.taker_fee_bps``, ``riskModel.takeProfit[0].multiple``,
    ``strategy.parameters.fast``). With ``random_count`` so many points are drawn of the grid. A
    point's seed follows from its own values, or is the base request's (``has_common_seed``).

    Raises: UnknownParameter with the nearest names, BadInput.
    """

    base_request: SimulationRequest
    parameters: Sequence[SweepParameter]
    max_concurrency: int = 1
    random_count: int | None = None
    has_common_seed: bool = False
    is_fail_fast: bool = False
    early_stop: str | None = None

    def __post_init__(self) -> None:
        base: object = self.base_request
        if not isinstance(base, SimulationRequest):
            base = SimulationRequest.from_json(_mapping("base_request", base))
            object.__setattr__(self, "base_request", base)
        object.__setattr__(self, "parameters", _take_parameters(self.parameters))
        check_concurrency(self.max_concurrency)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ParameterSweepRequest":
        """Read from camelCase; snake_case is read too.

        Raises: UnknownParameter with the nearest names, BadInput.
        """
        values = take_names("ParameterSweepRequest", [each.name for each in fields(cls)], document)
        for name in ("base_request", "parameters"):
            if name not in values:
                raise BadInput(f"ParameterSweepRequest: {name} is missing")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Write every field, in camelCase."""
        return {
            "baseRequest": self.base_request.to_json(),
            "parameters": [
                {"path": _camel_path(each.path), "values": plain(each.values)}
                for each in self.parameters
            ],
            "maxConcurrency": self.max_concurrency,
            "randomCount": self.random_count,
            "hasCommonSeed": self.has_common_seed,
            "isFailFast": self.is_fail_fast,
            "earlyStop": self.early_stop,
        }


def check_concurrency(count: object) -> None:
    """Refuse a number of simulations at once that is none.

    Raises: BadInput.
    """
    if type(count) is not int or count < 1:
        raise BadInput(f"max_concurrency is a whole number of at least 1, not {count!r}")


def _take_strategy(given: object) -> StrategyConfig:
    if isinstance(given, StrategyConfig):
        return given
    if isinstance(given, str):
        return StrategyConfig(id=given)
    values = take_names("strategy", ("id", "parameters"), given)
    if "id" not in values:
        raise BadInput("strategy.id is missing: name an experiment")
    return StrategyConfig(**values)


def _take_parameters(given: object) -> tuple[SweepParameter, ...]:
    """Return the varied fields, sorted by path.

    Raises: BadInput if one is given twice or lies within another.
    """
    if not isinstance(given, list | tuple) or not given:
        raise BadInput("parameters is a list of {'path': …, 'values': […]} that is not empty")
    taken = []
    for each in given:
        if not isinstance(each, SweepParameter):
            values = take_names("parameters", ("path", "values"), each)
            if len(values) != 2:
                raise BadInput("parameters: each has a path and values")
            each = SweepParameter(**values)
        taken.append(each)
    taken.sort(key=lambda parameter: parameter.path)
    for one, other in itertools.pairwise(taken):
        if one.path == other.path:
            raise BadInput(f"parameters: {one.path} is given twice")
    return tuple(taken)


def _model_overrides(
    experiment: str, declared: Mapping[str, Any], name: str, model: Any, parameter: str
) -> list[tuple[str, Any]]:
    """Return a model's fields as parameters of an experiment.

    Raises: UnknownParameter if it declares none of them.
    """
    values = model_parameters(model)
    if name == "run_config":
        # The seed is the run's; the rest concerns an experiment that asks for it, or is refused.
        del values["seed"]
        return list(leaves(parameter, fit(declared.get(parameter, {}), values, neutral(name))))
    if not isinstance(declared.get(parameter), Mapping):
        known = [field for field, (_, own) in MODELS.items() if own in declared]
        raise unknown(experiment, name, [*known, *map(str, declared)])
    return list(leaves(parameter, fit(declared[parameter], values, neutral(name))))


def _mapping(owner: str, given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise BadInput(f"{owner} is a SimulationRequest or a mapping, not {given!r}")
    return given


def _camel_path(path: str) -> str:
    """Spell a field's path as JSON does; the strategy's own names stay."""
    if path.startswith(f"{STRATEGY_PARAMETERS}."):
        return path
    return ".".join(camel_case(part) for part in path.split("."))
