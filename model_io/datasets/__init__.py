"""Cameras and photos of a data set: Blender (NeRF-Synthetic), NSVF, nerfstudio and instant-ngp, COLMAP, LLFF.

One module for each kind, and what they share: photos' files, pictures, lenses, poses, the list of faults. ``load``
finds out what kind a folder is.
"""

from .blender import load_blender
from .load import available_splits, load_dataset, load_for_training, load_splits, photos_without_poses
from .nsvf import background_color, load_nsvf, near_and_far
from .views import SPLITS, Dataset, View, load_image, load_mask, load_pixels

__all__ = [
    "SPLITS",
    "Dataset",
    "View",
    "available_splits",
    "background_color",
    "load_blender",
    "load_dataset",
    "load_for_training",
    "load_image",
    "load_mask",
    "load_nsvf",
    "load_pixels",
    "load_splits",
    "near_and_far",
    "photos_without_poses",
]
