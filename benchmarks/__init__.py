"""Forager beside its peers, measured in one run: `scripts/bench`, or `python -m benchmarks`."""
