"""Federated averaging without training, for `docs/BENCHMARKS.md`."""
