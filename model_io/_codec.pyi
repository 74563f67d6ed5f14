"""Types of the native extension (knf/voxel_coder.cpp)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def encode_voxels(occupancy: Sequence[NDArray[np.uint8]], cells: Sequence[NDArray[np.uint8]]) -> bytes:
    """See voxel_coder.encode_voxels; one [ox, oy, oz] and one [rx, ry, rz] for each level."""

def decode_voxels(data: bytes, occupancy: Sequence[NDArray[Any]], cells: Sequence[NDArray[np.uint8]]) -> bool:
    """Fill ``occupancy``; whether the data ended where the voxels did."""
