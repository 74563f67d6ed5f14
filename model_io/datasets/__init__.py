"""Cameras and photos of a data set: Blender (NeRF-Synthetic), NSVF, nerfstudio and instant-ngp, COLMAP.

One module for each kind, and what they share: views, lenses, files, the list of faults. ``load`` finds out what kind a
folder is.
"""

from .blender import load_blender
from .load import available_splits, load_dataset, load_splits
from .nsvf import background_color, load_nsvf, near_and_far
from .views import SPLITS, Dataset, View, load_image, load_pixels

__all__ = [
    "SPLITS",
    "Dataset",
    "View",
    "available_splits",
    "background_color",
    "load_blender",
    "load_dataset",
    "load_image",
    "load_nsvf",
    "load_pixels",
    "load_splits",
    "near_and_far",
]
