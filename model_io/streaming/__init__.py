"""Scenes at URLs: ranges of a file on a web server, a cache on disk, scenes that grow (docs/streaming.md)."""
