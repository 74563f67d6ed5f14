"""LLFF: ``poses_bounds.npy`` and photos in ``images/`` or, in smaller sizes, ``images_8`` and the like.

Each of the file's rows has a camera-to-world matrix [3, 5], whose columns are the axes down, right and back, the
position, and (height, width, focal length) of the full photos; and two z-depths between which the scene is. Rows have
no names: they belong to the photos in the order of these. The poses come from COLMAP, with pixel centres at +0.5 and
the principal point in the middle. As of a COLMAP model, the world is turned so that the cameras' mean up direction is
+z.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..files.downloads import broken_download
from .inspection import Inspection
from .lens import Lens, pinhole_camera
from .photo_files import REDUCTIONS, list_photos, view_names
from .pictures import Size
from .poses import Pose, pose_matrix, rigid_poses, upright
from .views import Box, Dataset, View, held_out, known_split

FILE = "poses_bounds.npy"
_MAX_BYTES = 64 * 2**20
_NEAR, _FAR = 0.9, 1.1  # margins on the depths of the file, which are of COLMAP's sparse points


def read_llff(folder: Path, split: str, inspection: Inspection) -> Dataset:
    """Read a split of an LLFF folder (every 8th view is for testing).

    Args:
        folder: with ``poses_bounds.npy``.
        split: "train" or "test".
        inspection: takes the faults; views without one are returned.

    Raises:
        DatasetError: a fault that leaves nothing to go on with.
    """
    file = folder / FILE
    rows = _rows(file)
    photos, reduction = _photos(folder, len(rows), inspection)
    names = view_names([photo.name for photo in photos]) or [f"{number:03d}" for number in range(len(rows))]
    poses: list[Pose | None] = [None] * len(rows)
    for index, row in enumerate(rows):
        with inspection.collecting():
            down, right, back, position = row[:15].reshape(3, 5)[:, :4].T
            poses[index] = pose_matrix(f"{file}: row {index}", np.stack([right, -down, back, position], axis=1))
    poses = rigid_poses(str(file), poses, names, inspection)
    whole = [pose for pose in poses if pose is not None]
    if not whole:
        return Dataset("llff", [])
    turn = upright(np.stack(whole))
    near, far = _NEAR * float(rows[:, 15].min()), _FAR * float(rows[:, 16].max())
    views: list[View | None] = []
    for index, pose in enumerate(poses):
        views.append(None)
        lens: Lens | None = None
        image = photos[index] if photos else None
        with inspection.collecting(f"{file}: row {index}: "):
            lens = _lens(rows[index], image, reduction, inspection)
        if lens is not None and pose is not None:
            views[-1] = View(pinhole_camera(lens, turn @ pose), image, names[index])
    inspection.note_orientations(photos, [None] * len(photos))
    chosen = [views[index] for index in held_out(names, known_split(split))]
    region = _region([view for view in views if view is not None], near, far)
    return Dataset("llff", [view for view in chosen if view is not None], near, far, region=region)


def _rows(file: Path) -> NDArray[np.float64]:  # [N, 17]
    broken = broken_download(file)
    if broken is not None:
        raise DatasetError(f"{file}: expected an array [N, 17], got {broken}")
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DatasetError(f"{file}: expected an array [N, 17] of poses, got {file.stat().st_size} bytes")
        array = np.load(file, mmap_mode="r", allow_pickle=False)  # mapped: a header may promise anything
    except OSError as error:
        raise DatasetError(f"{file}: cannot read: {error.strerror or 'no array of NumPy'}") from error
    except Exception as error:  # a broken header makes NumPy raise nearly anything
        raise DatasetError(f"{file}: expected an array of NumPy, got a damaged file or another one") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != 17 or not len(array):
        got = list(array.shape) if isinstance(array, np.ndarray) else "several arrays"
        raise DatasetError(f"{file}: expected an array [N, 17] of poses and depths, got {got}")
    if array.dtype.kind not in "fiu":
        raise DatasetError(f"{file}: expected numbers, got {array.dtype}")
    rows = array.astype(np.float64)
    if not np.isfinite(rows).all():
        raise DatasetError(
            f"{file}: expected finite numbers, got others in row {int(np.argwhere(~np.isfinite(rows))[0, 0])}"
        )
    if not (rows[:, 15] < rows[:, 16]).all() or not rows[:, 15].min() > 0:
        raise DatasetError(f"{file}: expected 0 < near < far in every row, got others")
    return rows


def _photos(folder: Path, count: int, inspection: Inspection) -> tuple[list[Path], int]:
    """The photos, in the order of the rows, and by what their size is divided; [] for bare poses."""
    searched = []
    for name, reduction in (("images", 1), *((f"images_{number}", number) for number in REDUCTIONS)):
        photos = list_photos(folder / name)
        searched.append(name)
        if len(photos) == count:
            if reduction > 1:
                inspection.note(f"{FILE}: no photos of full size: those of {name} are taken, with the lens divided by "
                                f"{reduction}")  # fmt: skip
            return photos, reduction
        if photos:
            raise DatasetError(
                f"{folder / name}: expected {count} photos, one for each row of {FILE}, got {len(photos)}: rows have "
                "no names, so none can be left out"
            )
    if inspection.photos:
        raise DatasetError(f"{folder}: expected photos for {count} poses, got none: searched {', '.join(searched)}")
    return [], 1


def _lens(row: NDArray[np.float64], image: Path | None, reduction: int, inspection: Inspection) -> Lens | None:
    height, width, focal = row[:15].reshape(3, 5)[:, 4]
    if not (1 <= width <= 2**16 and 1 <= height <= 2**16 and focal > 0):
        raise DatasetError(f"expected height, width and focal length > 0, got {height:g}, {width:g}, {focal:g}")
    full: Size = (round(width), round(height))
    lens = Lens(*full, float(focal), float(focal), 0.5 * full[0], 0.5 * full[1])
    if image is None:
        return lens
    if reduction > 1:
        size = inspection.reduced_size(image, full, reduction)
        return None if size is None else lens.scaled(*size)
    return lens if inspection.expect_size(image, full, f"{FILE} says") else None


def _region(views: list[View], near: float, far: float) -> Box | None:
    """A box around what the cameras see between near and far."""
    corners = []
    for view in views:
        camera = view.camera
        for x in (0, camera.width):
            for y in (0, camera.height):
                ray = camera.matrix[:3, :3] @ ((x - camera.cx) / camera.fx, -(y - camera.cy) / camera.fy, -1.0)
                corners += [camera.position + near * ray, camera.position + far * ray]
    if not corners:
        return None
    lower, upper = np.min(corners, axis=0), np.max(corners, axis=0)
    (x0, y0, z0), (x1, y1, z1) = map(float, lower), map(float, upper)
    return (x0, y0, z0), (x1, y1, z1)
