"""What a simulation is asked with: bars, signals and models, as they may be given, and checked.

Owns the checks and their defaults, which `simulate`, a portfolio, a sweep and other engines share.
It simulates nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from research.bars import first_fault
from research.simulation import compiled, slots
from research.simulation.costs import CostModel
from research.simulation.errors import InvalidBars, InvalidField, InvalidSignals
from research.simulation.execution import ExecutionModel
from research.simulation.parameters import checked_number
from research.simulation.plan import Plan, plan_of
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.session import ARRAYS, unwritable
from research.simulation.sizing import Sizing

M = TypeVar("M", ExecutionModel, CostModel, RiskModel)
Bars = Mapping[str, NDArray[Any]]
Signals = NDArray[np.bool_] | Sequence[bool]

AT_NS_MOST: Final = 2**61
PRICE_LEAST: Final = 1e-200

AT_THE_OPEN: Final = ExecutionModel()
FREE: Final = CostModel()
UNLIMITED: Final = RiskModel()


def planned(
    owner: str,
    size: float | Sizing,
    cash: float,
    execution: ExecutionModel | Mapping[str, Any],
    costs: CostModel | Mapping[str, Any],
    risk: RiskModel | Mapping[str, Any],
    seed: int,
    config: RunConfig | Mapping[str, Any] | None,
) -> Plan:
    """Return the plan that the models make; `owner` is who is named where the cash is refused.

    Raises: InvalidField, UnknownField.
    """
    sizing = as_sizing(size)
    execution = as_model(ExecutionModel, execution)
    costs, risk = as_model(CostModel, costs), as_model(RiskModel, risk)
    cash = checked_number(owner, "cash", cash, above=0.0)
    check_models(sizing, execution, risk)
    return plan_of(cash, sizing, execution, costs, risk, as_config(config, seed))


def bar_count_of(bars: Bars) -> int:
    """Return how many bars there are, be they sound or not."""
    return int(np.size(bars.get("at_ns", ())))


def check_bars(bars: Bars, needs_volume: bool, *, is_compiled: bool, asset: str = "") -> None:
    """Refuse bars that break a rule, or whose volume a model would divide by and cannot.

    Raises: InvalidBars.
    """
    _check_kinds(bars, asset)
    if not (is_compiled and _is_sound(bars)):
        fault = first_fault(bars)
        if fault is not None:
            raise InvalidBars(fault.column, fault.row, fault.reason, asset)
    at_ns = bars["at_ns"]
    if len(at_ns) < 2:
        raise InvalidBars("at_ns", -1, "one row; an order fills at the next one", asset)
    if not -AT_NS_MOST <= at_ns[0] <= at_ns[-1] <= AT_NS_MOST:
        row = 0 if at_ns[0] < -AT_NS_MOST else int((at_ns > AT_NS_MOST).argmax())
        reason = f"{int(at_ns[row])} is more than 73 years from 1970: latencies would not fit"
        raise InvalidBars("at_ns", row, reason, asset)
    if bars["low"].min() < PRICE_LEAST:
        row = int(bars["low"].argmin())
        reason = f"{float(bars['low'][row])!r} is below {PRICE_LEAST:g}, too small to divide by"
        raise InvalidBars("low", row, reason, asset)
    if needs_volume:
        check_volume(bars, asset)


def _check_kinds(bars: Bars, asset: str) -> None:
    """Refuse columns that are no plain arrays: what a mask or an index means is not for us to say.

    Raises: InvalidBars.
    """
    for name in ARRAYS:
        column = bars.get(name)
        if column is not None and type(column) is not np.ndarray:
            reason = f"a {type(column).__name__}; give an array: numpy.asarray(...)"
            raise InvalidBars(name, -1, reason, asset)


def check_volume(bars: Bars, asset: str = "") -> None:
    """Refuse sound bars that have one without volume.

    Raises: InvalidBars.
    """
    if not (bars["volume"] > 0.0).all():
        row = int((bars["volume"] > 0.0).argmin())
        raise InvalidBars("volume", row, "0.0, and the execution model measures by it", asset)


def check_models(sizing: Sizing, execution: ExecutionModel, risk: RiskModel) -> None:
    """Refuse models that do not go together.

    Raises: InvalidField.
    """
    if sizing.kind == "risk" and risk.stop_loss.initial is None:
        raise InvalidField("RiskModel", "stop_loss.initial", "None", "given where the size is risk")


def signal_bits(
    bar_count: int,
    entries: Signals | None,
    exits: Signals | None,
    short_entries: Signals | None,
    short_exits: Signals | None,
) -> NDArray[np.int64]:
    """Return the four signals as the bits of one number for each bar.

    Raises: InvalidSignals.
    """
    bits = np.zeros(bar_count, np.int64)
    for name, given, bit in (
        ("entries", entries, slots.ENTER_LONG),
        ("exits", exits, slots.EXIT_LONG),
        ("short_entries", short_entries, slots.ENTER_SHORT),
        ("short_exits", short_exits, slots.EXIT_SHORT),
    ):
        if given is not None:
            bits += _checked_signals(name, given, bar_count) * np.int64(bit)
    both = slots.ENTER_LONG | slots.ENTER_SHORT
    if short_entries is not None and (bits & both == both).any():
        bar = int((bits & both == both).argmax())
        raise InvalidSignals("short_entries", f"row {bar} enters long and short at once")
    return bits


def as_model(model: type[M], given: object) -> M:
    """Return a model, made of a mapping of its fields if it is one.

    Raises: InvalidField, UnknownField.
    """
    if isinstance(given, model):
        return given
    if not isinstance(given, Mapping):
        raise InvalidField(
            "simulate", model.__name__, repr(given), "one, or a mapping of its fields"
        )
    return model.from_parameters(given)


def as_config(config: RunConfig | Mapping[str, Any] | None, seed: int) -> RunConfig:
    """Return the config, made of a mapping of its fields if it is one, or of the seed alone.

    Raises: InvalidField if two seeds are given; UnknownField.
    """
    if config is None:
        return RunConfig(seed=seed)
    made = config if isinstance(config, RunConfig) else RunConfig.from_parameters(config)
    if seed not in (0, made.seed):
        raise InvalidField("simulate", "seed", repr(seed), "given once, in the config")
    return made


def as_sizing(size: float | Sizing) -> Sizing:
    """Return a bare number as a size in units.

    Raises: InvalidField.
    """
    if isinstance(size, Sizing):
        return size
    return Sizing(value=checked_number("simulate", "size", size, above=0.0))


def _checked_signals(name: str, signals: Signals, bar_count: int) -> NDArray[np.bool_]:
    """Return signals as an array, or refuse what is not one bool for each bar."""
    if isinstance(signals, np.ma.MaskedArray):
        raise InvalidSignals(name, "is masked; say what a masked bar means: filled(False)")
    array = np.asarray(signals)
    if array.ndim != 1:
        raise InvalidSignals(name, f"has {array.ndim} dimensions, not 1")
    if array.dtype != np.bool_:
        raise InvalidSignals(name, f"dtype is {array.dtype}, not bool")
    if len(array) != bar_count:
        raise InvalidSignals(name, f"has {len(array)} rows, but the bars have {bar_count}")
    return array


def _is_sound(bars: Bars) -> bool:
    try:
        columns = [bars[name] for name in ARRAYS]
    except KeyError:
        return False
    count = len(columns[0])
    is_whole = all(each.ndim == 1 and len(each) == count for each in columns)
    is_typed = columns[0].dtype == np.int64 and all(c.dtype == np.float64 for c in columns[1:])
    is_flat = all(each.flags.c_contiguous for each in columns)
    if not (is_whole and is_typed and is_flat and count):
        return False
    at_ns, *others = map(unwritable, columns)
    return bool(compiled.functions().is_sound(at_ns, tuple(others)))
