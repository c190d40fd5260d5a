"""Measurements against a named baseline taken in the same run; `python -m benchmarks [names]`."""
