"""Benchmarks as data: each `*.toml` here is a matrix of conditions and tasks with the figures that are expected.

`matrix` says what such a file holds, `reproduce` runs it and compares.
"""

from whyrank.benchmarks.matrix import Benchmark, Condition, names, read_benchmark
from whyrank.benchmarks.reproduce import Row, missing, reproduce

__all__ = ["Benchmark", "Condition", "Row", "missing", "names", "read_benchmark", "reproduce"]
