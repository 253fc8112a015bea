"""Federated averaging without training, for `BENCHMARKS.md`."""
