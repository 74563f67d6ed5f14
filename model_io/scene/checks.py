"""Everything that must hold for a Scene, checked once when it is made. Each fault is one SceneError."""

# What is checked here may be of any type, whatever the annotations promise.
# pyright: reportUnnecessaryIsInstance=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import json
import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..camera.camera import Camera
from ..errors import SceneError
from .architecture import tensor_shapes
from .cells import occupied_cells
from .levels import MAX_CELLS, MAX_LEVELS, hole
from .sky import COEFFICIENTS

if TYPE_CHECKING:
    from .base import Scene
    from .scene import KiloNeRFScene

MAX_VOXELS = 2**30  # 1 GiB of memory for the occupancy grid
MAX_FACTOR = 64  # occupancy voxels per network cell and axis
MAX_SAMPLES = 2**16  # samples per ray
MAX_SKY = 1e6
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def fail(field: str, expected: str, got: object) -> NoReturn:
    """Raise the one SceneError that names the field, what was expected and what was there."""
    raise SceneError(f"{field}: expected {expected}, got {got}")


def check_scene(scene: "KiloNeRFScene") -> None:
    """Check every rule of :class:`~kilonerf.model_io.KiloNeRFScene`.

    Raises:
        SceneError: field, expected, got.
    """
    _check_box(scene)
    _check_grids(scene)
    _check_outer(scene)
    _check_layers(scene)
    _check_network_index(scene)
    _check_what_is_shared(scene)


def check_shared(scene: "Scene") -> None:
    """Check what scenes of all kinds have.

    Raises:
        SceneError: field, expected, got.
    """
    _check_box(scene)
    _check_what_is_shared(scene)


def _check_what_is_shared(scene: "Scene") -> None:
    _check_sampling(scene)
    _check_sky(scene)
    _check_extras(scene)


def check_array(field: str, value: Any, dtype: Any, ndim: int) -> None:
    """Check that a value is an array of a dtype, in C order.

    Raises:
        SceneError: field, expected, got.
    """
    if not isinstance(value, np.ndarray):
        fail(field, "a NumPy array", type(value).__name__)
    if value.dtype != np.dtype(dtype):
        fail(field, f"dtype {np.dtype(dtype)}", value.dtype)
    if value.ndim != ndim:
        fail(field, f"{ndim} dimension(s)", f"shape {list(value.shape)}")
    if not value.flags.c_contiguous:
        fail(field, "an array in C order", f"strides {list(value.strides)}")


def _check_box(scene: "Scene") -> None:
    for field in ("box_min", "box_max"):
        corner = getattr(scene, field)
        check_array(field, corner, np.float32, 1)
        if corner.shape != (3,):
            fail(field, "shape [3]", f"shape {list(corner.shape)}")
        if not np.isfinite(corner).all():
            fail(field, "finite numbers", corner.tolist())
    size = scene.box.size
    # Cells are measured in float32: an edge must neither overflow nor vanish there.
    if not (size > 0).all() or not (size < np.finfo(np.float32).max).all():
        fail("box", "box_min < box_max on every axis", f"{scene.box_min.tolist()} .. {scene.box_max.tolist()}")


def _check_grids(scene: "KiloNeRFScene") -> None:
    check_array("network_index", scene.network_index, np.int32, 3)
    check_array("occupancy", scene.occupancy, np.bool_, 3)
    check_resolutions(scene.occupancy.shape, scene.network_index.shape)
    check_voxels(scene)


def check_voxels(scene: "Scene") -> None:
    """Check that voxels have edges that float32 can hold.

    Raises:
        SceneError: field, expected, got.
    """
    voxel_size = scene.cells.voxel_size
    if not (voxel_size >= np.finfo(np.float32).tiny).all():
        fail("box", "voxels with edges above 1e-38", f"edges {voxel_size.tolist()}")


def _check_outer(scene: "KiloNeRFScene") -> None:
    if not scene.outer:
        return
    check_levels(len(scene.outer) + 1, scene.network_index.shape)
    if not np.isfinite(scene.box.size * 2.0 ** len(scene.outer) + np.abs(scene.box.middle)).all():
        fail("box", "levels that float32 can hold", scene.box.size.tolist())
    for number, level in enumerate(scene.outer, start=1):
        for field, first in (("network_index", scene.network_index), ("occupancy", scene.occupancy)):
            array = getattr(level, field)
            check_array(f"{field} of level {number}", array, first.dtype, 3)
            if array.shape != first.shape:
                fail(f"{field} of level {number}", f"shape {list(first.shape)}", f"shape {list(array.shape)}")
        inside = level.network_index[hole(level.network_index.shape)]
        if (inside >= 0).any():
            fail(f"network_index of level {number}", "no network where the next level in is", f"{inside.max()} there")


def check_levels(levels: int, networks: Sequence[int]) -> None:
    """Check how many levels there are, and that the cells of two levels fit.

    Raises:
        SceneError: field, expected, got.
    """
    if not 1 <= levels <= MAX_LEVELS:
        fail("levels", f"1 to {MAX_LEVELS}", levels)
    if levels > 1 and any(count % 4 or count > MAX_CELLS for count in networks):
        fail("network_index", f"multiples of 4 up to {MAX_CELLS} cells on each axis of nested levels", list(networks))


def check_resolutions(occupancy: Sequence[int], networks: Sequence[int]) -> None:
    """Check the two grids' resolutions: each >= 1, occupancy a whole multiple of networks, not absurdly large.

    Raises:
        SceneError: field, expected, got.
    """
    if min(networks) < 1:
        fail("network_index", "at least one cell on every axis", list(networks))
    if math.prod(occupancy) > MAX_VOXELS:
        fail("occupancy", f"at most {MAX_VOXELS} voxels", list(occupancy))
    for axis, voxels, cells in zip("xyz", occupancy, networks, strict=True):
        if voxels < 1 or voxels % cells or voxels // cells > MAX_FACTOR:
            fail(
                "occupancy",
                f"a resolution that is a whole multiple (1 to {MAX_FACTOR}) of the network grid's {list(networks)}",
                f"{list(occupancy)} (axis {axis})",
            )


def _check_layers(scene: "KiloNeRFScene") -> None:
    bias = scene.layers.get("pts_linears.0.bias")
    if bias is None or np.ndim(bias) != 2:
        fail("pts_linears.0.bias", "an array [N, 32]", "nothing" if bias is None else f"shape {list(np.shape(bias))}")
    shapes = tensor_shapes(bias.shape[0])
    if set(scene.layers) != set(shapes):
        missing, extra = sorted(set(shapes) - set(scene.layers)), sorted(set(scene.layers) - set(shapes))
        fail("layers", f"the {len(shapes)} arrays of one network", f"missing {missing}, unknown {extra}")
    if bias.dtype not in (np.dtype(np.float16), np.dtype(np.float32)):
        fail("pts_linears.0.bias", "dtype float16 or float32", bias.dtype)
    for name, shape in shapes.items():
        array = scene.layers[name]
        check_array(name, array, bias.dtype, len(shape))
        if array.shape != shape:
            fail(name, f"shape {list(shape)}", f"shape {list(array.shape)}")
        if not np.isfinite(array).all():
            fail(name, "finite numbers", f"{int(np.count_nonzero(~np.isfinite(array)))} that are not")


def _check_network_index(scene: "KiloNeRFScene") -> None:
    networks = scene.num_networks
    index = np.concatenate([cells.network_index.reshape(-1) for cells in scene.levels])
    if index.min() < -1 or index.max() >= networks:
        fail("network_index", f"values from -1 to {networks - 1}", f"{index.min()} .. {index.max()}")
    cells_of_network = np.bincount(index[index >= 0], minlength=networks)
    if networks and cells_of_network.max() > 1:
        shared = int(cells_of_network.argmax())
        fail("network_index", "each network in one cell only", f"network {shared} in {cells_of_network[shared]} cells")
    for number, cells in enumerate(scene.levels):
        stray = occupied_cells(cells.occupancy, cells.resolution) & (cells.network_index < 0)
        if stray.any():
            where = f"cell {np.argwhere(stray)[0].tolist()}" + (f" of level {number}" if number else "")
            fail("occupancy", "no occupied voxel in a cell without a network", f"one in {where}")


def _check_sampling(scene: "Scene") -> None:
    for field in ("near", "far"):
        value = getattr(scene, field)
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            fail(field, "a finite number", repr(value))
    if not 0 <= scene.near < scene.far:
        fail("near", "0 <= near < far", f"near {scene.near}, far {scene.far}")
    samples = scene.num_samples
    if not isinstance(samples, int | np.integer) or isinstance(samples, bool) or not 2 <= samples <= MAX_SAMPLES:
        fail("num_samples", f"a whole number from 2 to {MAX_SAMPLES}", repr(samples))
    background = scene.background
    if (
        not isinstance(background, tuple | list)
        or len(background) != 3
        or not all(isinstance(value, Real) and 0 <= value <= 1 for value in background)
    ):
        fail("background", "three numbers in [0, 1]", repr(background))


def _check_sky(scene: "Scene") -> None:
    if scene.sky is None:
        return
    check_array("sky", scene.sky, np.float32, 2)
    if scene.sky.shape != (COEFFICIENTS, 3):
        fail("sky", f"shape [{COEFFICIENTS}, 3]", f"shape {list(scene.sky.shape)}")
    if not (np.abs(scene.sky) <= MAX_SKY).all():  # nor is NaN; larger ones might not have a finite sum
        fail("sky", f"numbers from -{MAX_SKY:g} to {MAX_SKY:g}", f"{np.abs(scene.sky).max()}")
    if not scene.outer:
        fail("sky", "several levels around which it is", "a scene of one level")


def _check_extras(scene: "Scene") -> None:
    if scene.start_camera is not None and not isinstance(scene.start_camera, Camera):
        fail("start_camera", "a Camera or None", type(scene.start_camera).__name__)
    poses = scene.training_poses
    if poses is not None:
        check_array("training_poses", poses, np.float32, 3)
        if poses.shape[1:] != (4, 4):
            fail("training_poses", "shape [M, 4, 4]", f"shape {list(poses.shape)}")
        if not np.isfinite(poses).all():
            fail("training_poses", "finite numbers", f"{int(np.count_nonzero(~np.isfinite(poses)))} that are not")
    if scene.preview is not None and (
        not isinstance(scene.preview, bytes) or not scene.preview.startswith(PNG_SIGNATURE)
    ):
        fail("preview", "the bytes of a PNG picture", f"{type(scene.preview).__name__} {scene.preview[:8]!r}")
    try:
        json.dumps(dict(scene.provenance), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        fail("provenance", "JSON values only", error)
