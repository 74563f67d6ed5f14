"""Offline: from photos to a scene. The viewer never imports it.

Imports model_io and kernels.
"""
