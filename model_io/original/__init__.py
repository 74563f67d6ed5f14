"""Checkpoints of the original KiloNeRF code, read and written; torch is imported here only."""
