"""Benchmarks of the store: how fast, how small, beside the tools that people have.

They print tables and assert nothing about time. What is measured, and how, stands in
``docs/benchmarks.md``. They use the store by its one door, as any outsider.
"""
