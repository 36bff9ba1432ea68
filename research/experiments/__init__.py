"""Experiments: what they declare, how they run, and how their runs are replayed and compared."""
