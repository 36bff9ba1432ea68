"""The engine: signals over bars in, trades, events, equity and metrics out.

This floor is pure. It reads arrays and plain values and returns them: no store, no clock, no
environment, no printing, no chance. What it does at each bar is told in `docs/metrics.md`.

    engine      simulate(): checks what it is given, then runs the rooms below
    fills       the loop: which signal becomes an order, and what its fill costs
    result      SimulationResult, and the tables of events and trades
    metrics     the figures of docs/metrics.md
    models      ExecutionModel with its Slippage, CostModel, Sizing
    indicators  moving averages and their crossings
    parameters  reading and writing a model as plain values
    errors      what is refused

Import the names from `research`. Nothing is imported here, so that a run which uses one room does
not depend on the others.
"""
