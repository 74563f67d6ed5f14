"""The CPU renderer measured, and its page docs/performance.md: ``python -m benchmarks.performance``."""
