"""Scenes from original KiloNeRF checkpoints (fine-tuned and distilled files, occupancy.pth, bbox.txt, yamls).

Only this module, through ``restricted_pickle``, imports torch.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..camera.camera import Camera
from ..datasets import background_color, near_and_far
from ..errors import CheckpointError, SceneError
from ..knf.format import cast_layers
from ..scene.box import Box
from ..scene.cells import occupied_cells
from ..scene.checks import check_resolutions
from ..scene.scene import KiloNeRFScene
from .config import OriginalConfig, find_config, read_box
from .layout import OriginalNetworks, read_networks
from .restricted_pickle import read_torch_file

PAPER_FACTOR = 16  # occupancy voxels per network cell and axis in all of the paper's scenes
IMPORT_STEPS = ("reading the checkpoint", "reading the occupancy grid", "arranging the networks")
PathLike = str | os.PathLike[str]


def import_checkpoint(
    checkpoint: PathLike,
    *,
    occupancy: PathLike,
    bbox: PathLike,
    config: PathLike | None = None,
    resolution: tuple[int, int, int] | None = None,
    near: float | None = None,
    far: float | None = None,
    num_samples: int | None = None,
    background: tuple[float, float, float] | None = None,
    dtype: DTypeLike = "float16",
    keep_empty: bool = False,
    start_camera: Camera | None = None,
    training_poses: ArrayLike | None = None,  # [M, 4, 4]
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> KiloNeRFScene:
    """Make a scene from an original checkpoint; nothing that its pickle names is run.

    What is not given is looked for: the resolution in the yamls (:func:`find_config`), in a distilled file's cells,
    or as a sixteenth of the occupancy grid where the number of networks agrees; samples, near and far in the yamls;
    what the data set's other text files beside the box say (:func:`near_and_far`, :func:`background_color`).

    Args:
        checkpoint: a fine-tuned or a distilled checkpoint.
        occupancy: ``occupancy.pth``, a bool tensor [ox, oy, oz].
        bbox: ``bbox.txt``: lower and upper corner of the box.
        config: a yaml, or a folder of yamls, to read in place of those beside the checkpoint.
        resolution: networks on each axis.
        near: z-depth of the first sample.
        far: z-depth of the last sample.
        num_samples: samples per ray.
        background: RGB in [0, 1]; white if nothing says otherwise.
        dtype: float16 or float32.
        keep_empty: keep the networks of cells without an occupied voxel.
        start_camera: where a viewer begins; None: :func:`three_quarter_view` of the box.
        training_poses: camera-to-world matrices to store.
        provenance: more to say about where the scene comes from.
        progress: is told each of :data:`IMPORT_STEPS` when it begins.

    Raises:
        CheckpointError: a file cannot be read, or they do not fit together.
        DatasetError: a text file beside the box is malformed.
        SceneError: the result breaks a rule of ``Scene``: a weight is NaN, or too large for float16.
    """
    progress(IMPORT_STEPS[0])
    networks = _named(checkpoint, read_networks, read_torch_file(checkpoint))
    progress(IMPORT_STEPS[1])
    occupied = _occupancy(occupancy)
    settings = find_config(Path(checkpoint), None if config is None else Path(config))
    box = read_box(bbox) if settings.domain is None else settings.domain
    grid = _resolution(networks, resolution or settings.resolution, occupied.shape)
    try:
        check_resolutions(occupied.shape, grid)
    except SceneError as error:
        raise CheckpointError(f"{occupancy}: {error}") from error
    _check_domains(networks, box, grid)
    near, far, num_samples = _sampling(Path(bbox), settings, near, far, num_samples)
    progress(IMPORT_STEPS[2])
    kept = np.ones(grid, dtype=bool) if keep_empty else occupied_cells(occupied, grid)
    rows = np.flatnonzero(kept)
    network_index = np.full(grid, -1, dtype=np.int32)
    network_index.reshape(-1)[rows] = np.arange(len(rows), dtype=np.int32)
    layers = {name: np.ascontiguousarray(array[rows]) for name, array in networks.layers.items()}
    try:
        return KiloNeRFScene(
            box_min=box[0],
            box_max=box[1],
            occupancy=occupied,
            network_index=network_index,
            layers=cast_layers(layers, dtype),
            near=near,
            far=far,
            num_samples=num_samples,
            background=background or background_color(Path(bbox).parent) or (1.0, 1.0, 1.0),
            start_camera=start_camera or three_quarter_view(Box(*box)),
            training_poses=None if training_poses is None else np.asarray(training_poses, dtype=np.float32),
            provenance=_provenance(Path(checkpoint), networks, settings) | dict(provenance or {}),
        )
    except SceneError as error:
        raise SceneError(f"{checkpoint}: {error}") from error


def three_quarter_view(box: Box, size: int = 800) -> Camera:
    """A camera before, beside and above the box (z up), far enough to see all of it."""
    centre, radius = box.middle, float(np.linalg.norm(box.size)) / 2
    fov_y = math.radians(40.0)
    direction = np.array([0.6, -0.65, 0.45])
    eye = centre + direction / np.linalg.norm(direction) * radius / math.sin(fov_y / 2)
    return Camera.look_at(eye, centre, size, size, fov_y=fov_y)


def _named(path: PathLike, read: Any, value: object) -> Any:
    try:
        return read(value)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _occupancy(path: PathLike) -> NDArray[np.bool_]:
    tensor = read_torch_file(path)
    array = tensor.numpy() if hasattr(tensor, "numpy") else None
    if array is None or array.dtype != np.bool_ or array.ndim != 3:
        got = type(tensor).__name__ if array is None else f"{array.dtype} {list(array.shape)}"
        raise CheckpointError(f"{path}: expected a bool tensor [ox, oy, oz], got {got}")
    return np.ascontiguousarray(array)


def _resolution(
    networks: OriginalNetworks, wanted: tuple[int, int, int] | None, occupancy: tuple[int, ...]
) -> tuple[int, int, int]:
    if wanted is not None:
        if math.prod(wanted) != networks.num_networks:
            raise CheckpointError(
                f"resolution: expected a grid of {networks.num_networks} networks (so many has the checkpoint), "
                f"got {list(wanted)} = {math.prod(wanted)}"
            )
        return wanted
    if networks.domains is not None:
        rx, ry, rz = (len(np.unique(networks.domains[:, 0, axis])) for axis in range(3))
    else:
        rx, ry, rz = (size // PAPER_FACTOR for size in occupancy)
    if rx * ry * rz != networks.num_networks:
        raise CheckpointError(
            f"resolution: expected 'fixed_resolution' in a yaml beside the checkpoint, got none, and no grid of "
            f"{networks.num_networks} networks follows from an occupancy of {list(occupancy)}: "
            "give --resolution RX RY RZ, or the yamls' folder by --config"
        )
    return rx, ry, rz


def _check_domains(networks: OriginalNetworks, box: NDArray[np.float32], grid: tuple[int, int, int]) -> None:
    """A distilled file says each network's cell: it must be the one that box and resolution give."""
    if networks.domains is None:
        return
    box_min, box_max = box.astype(np.float64)
    cell = (box_max - box_min) / grid
    corner = np.stack(np.unravel_index(np.arange(networks.num_networks), grid), axis=-1) * cell + box_min
    error = np.abs(networks.domains - np.stack([corner, corner + cell], axis=1)) / cell
    if not (error < 1e-3).all():
        worst = int(np.nan_to_num(error, nan=np.inf).max(axis=(1, 2)).argmax())
        raise CheckpointError(
            f"network {worst}: expected the cell {corner[worst].tolist()} .. {(corner[worst] + cell).tolist()} by box "
            f"and resolution, got {networks.domains[worst, 0].tolist()} .. {networks.domains[worst, 1].tolist()}"
        )


def _sampling(
    bbox: Path, settings: OriginalConfig, near: float | None, far: float | None, num_samples: int | None
) -> tuple[float, float, int]:
    near = settings.near if near is None else near
    far = settings.far if far is None else far
    if near is None or far is None:
        said = near_and_far(bbox.parent)
        if said is None:
            raise CheckpointError(
                f"near, far: expected them in a yaml or in {bbox.parent / 'near_and_far.txt'}, got neither: "
                "give --near and --far"
            )
        near = said[0] if near is None else near
        far = said[1] if far is None else far
    num_samples = settings.num_samples if num_samples is None else num_samples
    if num_samples is None:
        raise CheckpointError(
            "num_samples: expected 'num_samples_per_ray' in the fine-tuning's yaml, got none: give --samples "
            "(384 in the paper), or the yamls' folder by --config"
        )
    return near, far, num_samples


def _provenance(checkpoint: Path, networks: OriginalNetworks, settings: OriginalConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"made_by": "kilonerf-import", "checkpoint": checkpoint.name, "layout": networks.kind}
    if networks.global_step is not None:
        found["global_step"] = networks.global_step
    if settings.files:
        found["config"] = ["/".join(path.parts[-2:]) for path in settings.files]
    return found | {"networks_in_checkpoint": networks.num_networks}
