"""COLMAP: reading sparse models, and making one of photos without poses."""

from .mapping import find_poses
from .model import find_model
from .read import read_colmap

__all__ = ["find_model", "find_poses", "read_colmap"]
