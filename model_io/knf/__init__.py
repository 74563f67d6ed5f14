"""The ``.knf`` file (docs/knf.md)."""
