"""Measurements, not tests: ``python -m benchmarks.performance``, ``benchmarks/gpu_check.sh`` and others (README.md)."""
