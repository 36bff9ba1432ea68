"""Engines: whoever can answer what `simulate` answers, with the same result.

Owns the question that an engine is asked, the protocol of an engine, and the adapters. An engine
is part of what a result depends on, so its name and its version are data. What each can act on, and
how far their answers agree, stands in `docs/engines.md`.

    protocol    Engine, and simulate_with(): refuses what an engine cannot act on, by name
    question    what an engine is asked: bars, signals and models, checked
    answer      from another engine's trades and equity to a SimulationResult
    native      our own engine
    raptorbt    the adapter of raptorbt, an optional part
    vectorbt    the adapter of vectorbt, which the tests use
    errors      what is refused
"""
