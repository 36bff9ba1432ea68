"""The engine: signals over bars in, trades, events, equity and metrics out.

This floor is pure. It reads arrays and plain values and returns them: no store, no clock, no
environment, no printing, no chance but a keyed one. What it does at each bar is told in
`docs/metrics.md`. From the door down:

    engine      simulate(): one asset; portfolio: several with one account; sweep: many points
    inputs      what comes in, as it may be given, and the checks of it
    result      SimulationResult, and the tables of events and trades
    metrics     the figures of docs/metrics.md; equity_figures: their sums
    session     bars made ready, and the memory that the kernel writes into
    compiled    the kernel as Python, or the same functions compiled
    kernel      the loop over bars: entries, exits, protection, decisions, attempts, positions,
                notes, orders, chance; sound: a quick look at bars
    desk, slots where each number of the kernel stands; plan: what the models put there; units
    execution, costs, risk, sizing, run_config   the models; parameters: as plain values
    indicators, view, strategies, calls          what signals are made of
    engines     other engines behind the same question
    errors      what is refused

Import the names from `research`. Nothing is imported here, so that a run which uses one room does
not depend on the others.
"""
