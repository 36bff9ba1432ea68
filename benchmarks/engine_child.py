"""What the engine's benchmark measures in a process of its own.

    python benchmarks/engine_child.py first 5000 SEED      the first result, in plain Python
    python benchmarks/engine_child.py large 10000000 SEED  the largest resident size, as JSON

The first is timed from outside, start-up included; its bars are read from a file, as an experiment
reads them.
"""

import json
import resource
import sys
import time


def first(file: str) -> None:
    """Read bars and signals from a file; simulate once."""
    import numpy as np

    from research.simulation.engine import simulate

    with np.load(file) as columns:
        bars = {name: columns[name] for name in columns if name not in ("entries", "exits")}
        result = simulate(
            bars,
            columns["entries"],
            columns["exits"],
            execution={"slippage": {"base": 0.0005}},
            costs={"taker_fee_bps": 10.0},
        )
    print(result.metrics["total_return"])


def large(bar_count: int, seed: int) -> None:
    """Make bars, note what they take, simulate, and say the largest resident size."""
    from benchmarks import engine_market
    from research.simulation.engine import simulate

    market = engine_market.make_market(bar_count, seed)
    entries, exits = market.signals[0]
    held = sum(column.nbytes for column in market.bars.values()) + entries.nbytes + exits.nbytes
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    started = time.perf_counter()
    result = simulate(market.bars, entries, exits, **engine_market.PLAIN)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    answer = {
        "input_bytes": held,
        "before_bytes": before,
        "peak_bytes": peak,
        "seconds": seconds,
        "trades": len(result.trades["pnl"]),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    if sys.argv[1] == "first":
        first(sys.argv[2])
    else:
        large(int(sys.argv[2]), int(sys.argv[3]))
