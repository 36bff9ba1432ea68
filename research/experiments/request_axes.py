"""A sweep's fields as axes over an experiment's parameters.

Owns the way from a ``ParameterSweepRequest`` to the ``SweepRequest`` that is performed. Where a
field lies within a value that the base request gives as one (a leg of a ladder that it spells out),
that whole value becomes the axis, so that nothing of the experiment's own default shows through.
Pure.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from research.errors import BadInput
from research.experiments.executors import Means
from research.experiments.request_fields import (
    MODELS,
    field_value,
    fit,
    leaves,
    neutral,
    parameter_path,
    plain,
    split_path,
    unknown,
)
from research.experiments.requests import ParameterSweepRequest, SweepParameter
from research.experiments.sweep import SweepRequest
from research.experiments.sweep_points import POINTS_MAX, Axis, check_axes

Override = tuple[str, Any]


def to_sweep_request(asked: ParameterSweepRequest, declared: Mapping[str, Any]) -> SweepRequest:
    """Return the sweep of an experiment with these default parameters.

    Raises: UnknownParameter with the nearest names, BadInput.
    """
    axes = [_axis(each, asked.base_request.strategy.id, declared) for each in asked.parameters]
    check_axes(axes)
    request = asked.base_request.to_request(declared)
    overrides, axes = _folded(request.overrides, axes)
    return SweepRequest(
        request=type(request)(
            experiment_id=request.experiment_id,
            overrides=overrides,
            dataset=request.dataset,
            seed=request.seed,
        ),
        axes=axes,
        random_count=asked.random_count,
        has_common_seed=asked.has_common_seed,
        means=Means(jobs=asked.max_concurrency),
        is_fail_fast=asked.is_fail_fast,
        early_stop=asked.early_stop,
    )


def _axis(parameter: SweepParameter, experiment: str, declared: Mapping[str, Any]) -> Axis:
    """Return one field as an axis, its values as the experiment's parameters have them."""
    path = parameter_path(parameter.path)
    values = [field_value(parameter.path, value) for value in parameter.values]
    head, *rest = split_path(parameter.path)
    if head in MODELS:
        own = MODELS[str(head)][1]
        if not isinstance(declared.get(own), Mapping):
            raise unknown(experiment, parameter.path, list(dict(leaves("", plain(declared)))))
        here, idle = _below(declared[own], rest), _below(neutral(str(head)), rest)
        values = [fit(here, value, idle) for value in values]
    return Axis(path=path, values=tuple(values))


def _below(values: Any, steps: Sequence[str | int]) -> Any:
    """Return what stands at some names within nested maps; None where nothing does."""
    for step in steps:
        values = values.get(step) if isinstance(values, Mapping) else None
    return values


def _folded(
    overrides: Sequence[Override], axes: Sequence[Axis]
) -> tuple[tuple[Override, ...], list[Axis]]:
    """Let the axes decide what both name; join the axes that lie within one override's value."""
    kept: list[Override] = []
    left = list(axes)
    for path, value in overrides:
        if any(_lies_within(path, axis.path) for axis in axes):
            continue
        inner = [axis for axis in axes if _lies_within(axis.path, path)]
        if not inner:
            kept.append((path, value))
            continue
        left = [axis for axis in left if axis not in inner]
        left.append(_joined(path, value, inner))
    return tuple(kept), left


def _joined(path: str, value: Any, inner: Sequence[Axis]) -> Axis:
    """Return the axis of a whole value: every combination of what is varied within it."""
    if math.prod(len(axis.values) for axis in inner) > POINTS_MAX:
        raise BadInput(f"{path}: more than {POINTS_MAX} points")
    depth = len(split_path(path))
    made = []
    for values in itertools.product(*(axis.values for axis in inner)):
        changed = plain(value)
        for axis, each in zip(inner, values, strict=True):
            _put(changed, split_path(axis.path)[depth:], each, axis.path)
        made.append(changed)
    return Axis(path=path, values=tuple(made))


def _put(value: Any, steps: Sequence[str | int], new: Any, path: str) -> None:
    """Set what stands at some steps within a value.

    Raises: BadInput if the value has no such place.
    """
    here = value
    for place, step in enumerate(steps):
        is_last = place == len(steps) - 1
        if isinstance(here, dict) and isinstance(step, str) and (is_last or step in here):
            pass
        elif not (isinstance(here, list) and isinstance(step, int) and step < len(here)):
            raise BadInput(f"{path}: the base request gives no such place")
        if is_last:
            here[step] = new
        else:
            here = here[step]


def _lies_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))
