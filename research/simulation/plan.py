"""From models to the kernel's numbers.

Owns which field goes into which slot, and the units there: times in nanoseconds, rates as
fractions, infinity for "no limit".
"""

import math
from dataclasses import dataclass

from research.simulation import slots
from research.simulation.costs import CostModel
from research.simulation.execution import SLIPPAGE_KINDS, ExecutionModel
from research.simulation.risk import ROUNDING, RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.sizing import SIZING_KINDS, Sizing
from research.simulation.units import BPS, HOUR_NS, MINUTE_NS, MS_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold what the kernel is told: the models' numbers, the ladder's legs, and the seed."""

    numbers: tuple[float, ...]
    legs: tuple[float, ...]
    seed: int
    needs_volume: bool
    """A bar without volume would leave a model undefined."""


def plan_of(
    cash: float,
    sizing: Sizing,
    execution: ExecutionModel,
    costs: CostModel,
    risk: RiskModel,
    config: RunConfig,
) -> Plan:
    """Return the plan of models that go together."""
    p = [0.0] * slots.MODEL_SLOTS
    p[slots.CASH] = cash
    p[slots.SIZE_KIND] = float(SIZING_KINDS.index(sizing.kind))
    p[slots.SIZE_VALUE] = sizing.amount
    p[slots.IS_FAIL_FAST] = float(config.error_mode == "fail_fast")
    p[slots.HAS_EVENTS] = float(config.event_log)
    _put_execution(p, execution)
    _put_costs(p, costs)
    _put_risk(p, risk)
    return Plan(
        numbers=tuple(p),
        legs=_legs(risk),
        seed=config.seed,
        needs_volume=_needs_volume(execution),
    )


def _legs(risk: RiskModel) -> tuple[float, ...]:
    """Return the ladder's legs: each multiple, and the fraction sold when it is done."""
    legs: list[float] = []
    done = 0.0
    for leg in risk.take_profit:
        done += leg.fraction
        legs += [leg.multiple, 1.0 if done >= 1.0 - ROUNDING else done]
    return tuple(legs)


def _needs_volume(execution: ExecutionModel) -> bool:
    """Tell whether a bar without volume would leave a model undefined."""
    slippage, failures = execution.slippage, execution.failures
    return (
        (slippage.volume_impact > 0.0 and slippage.impact_of == "volume_share")
        or (failures.base_rate > 0.0 and failures.congestion_multiplier != 1.0)
        or execution.partial_fills.volume_share is not None
    )


def _put_execution(p: list[float], execution: ExecutionModel) -> None:
    latency, slippage = execution.latency, execution.slippage
    failures, partial = execution.failures, execution.partial_fills
    p[slots.LATENCY_P50_NS] = latency.p50 * MS_NS
    p[slots.LATENCY_P90_NS] = latency.p90 * MS_NS
    p[slots.LATENCY_P99_NS] = latency.p99 * MS_NS
    p[slots.LATENCY_JITTER_NS] = latency.jitter * MS_NS
    p[slots.SLIPPAGE_KIND] = float(SLIPPAGE_KINDS.index(slippage.kind))
    p[slots.SLIPPAGE_BASE] = slippage.base
    p[slots.SLIPPAGE_IMPACT] = slippage.volume_impact
    p[slots.SLIPPAGE_PER_UNIT] = float(slippage.impact_of == "units")
    p[slots.SLIPPAGE_MAX] = _or_none(slippage.max)
    p[slots.FAILURE_RATE] = failures.base_rate
    p[slots.FAILURE_CONGESTION] = failures.congestion_multiplier
    p[slots.FAILURE_RETRIES] = float(failures.retries)
    p[slots.FAILURE_BACKOFF_BARS] = float(failures.backoff_bars)
    p[slots.PARTIAL_PROBABILITY] = partial.probability
    p[slots.PARTIAL_LEAST], p[slots.PARTIAL_MOST] = partial.fill_range
    p[slots.PARTIAL_VOLUME_SHARE] = _or_none(partial.volume_share)


def _put_costs(p: list[float], costs: CostModel) -> None:
    p[slots.TAKER_RATE] = costs.taker_fee_bps / BPS
    p[slots.MAKER_RATE] = costs.maker_fee_bps / BPS
    p[slots.FIXED_FEE] = costs.fixed_fee
    p[slots.MINIMUM_FEE] = costs.minimum_fee
    p[slots.PRIORITY_FEE] = costs.priority_fee
    p[slots.PRIORITY_FEE_MAX] = _or_none(costs.priority_fee_max)
    p[slots.BORROW_RATE] = costs.borrow_bps_per_year / BPS


def _put_risk(p: list[float], risk: RiskModel) -> None:
    stop, limit, throttle, again = (
        risk.stop_loss,
        risk.time_limit,
        risk.throttle,
        risk.re_entry,
    )
    p[slots.STOP_INITIAL] = stop.initial or 0.0
    p[slots.STOP_TRAILING] = stop.trailing or 0.0
    p[slots.STOP_ACTIVATION] = stop.activation or 0.0
    p[slots.HOLD_BARS_MAX] = _or_none(limit.bars)
    p[slots.HOLD_NS_MAX] = _or_none(limit.hours, HOUR_NS)
    p[slots.MAX_DRAWDOWN] = _or_none(risk.max_drawdown)
    p[slots.MAX_DAILY_LOSS] = _or_none(risk.max_daily_loss)
    p[slots.MAX_LOSSES] = _or_none(risk.max_consecutive_losses)
    p[slots.MAX_POSITION] = _or_none(risk.max_position)
    p[slots.MAX_EXPOSURE] = _or_none(risk.max_exposure)
    p[slots.THROTTLE_TRADES] = _or_none(throttle.max_trades)
    p[slots.THROTTLE_NS] = _or_none(throttle.window_minutes, MINUTE_NS)
    pause, pause_after_loss = again.cooldown_bars, again.cooldown_after_loss_bars
    p[slots.COOLDOWN_BARS] = float(pause)
    p[slots.COOLDOWN_LOSS_BARS] = float(pause if pause_after_loss is None else pause_after_loss)
    p[slots.MAX_ENTRIES] = _or_none(again.max_entries)


def _or_none(value: float | None, unit: float = 1.0) -> float:
    return math.inf if value is None else value * unit
