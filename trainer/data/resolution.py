"""How small photos should be made before training: finer than the networks can show, they only cost time and memory."""

import numpy as np

from kilonerf.model_io import Dataset

from .bounds import Bounds

PIXELS_PER_VOXEL = 2.5  # along a side of an occupancy voxel of the innermost level: what networks learn to show


def fitting_downscale(dataset: Dataset, bounds: Bounds, voxels: int) -> int:
    """By which factor photos are made smaller if nobody says.

    Args:
        dataset: its cameras.
        bounds: of the scene, in the cameras' unit.
        voxels: occupancy voxels along the longest side of the (innermost) box.

    Returns:
        the largest factor that leaves :data:`PIXELS_PER_VOXEL`; at least 1.
    """
    cameras = [view.camera for view in dataset.views]
    low, high = np.array(bounds.box_min), np.array(bounds.box_max)
    voxel, middle = float((high - low).max()) / voxels, (low + high) / 2
    distances = [max(float(np.linalg.norm(camera.position - middle)), voxel) for camera in cameras]
    sharpest = float(np.median([camera.fx for camera in cameras] / np.array(distances))) * voxel
    most = min(min(camera.width, camera.height) for camera in cameras)
    return min(max(1, int(sharpest / PIXELS_PER_VOXEL)), most)
