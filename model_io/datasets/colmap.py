"""COLMAP sparse models: ``sparse/0/{cameras,images,points3D}.{bin,txt}`` beside ``images/``, read by pycolmap.

The world of a model is turned so that the mean up direction of all its cameras is +z, the up direction of this program;
origin and scale stay. COLMAP's cameras look along +z with y down, with pixel centres at +0.5.
"""

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..files.downloads import broken_download
from .files import pose_matrix
from .inspection import Inspection
from .lens import Lens, pinhole_camera
from .pictures import find_picture
from .views import View, all_or_none, held_out, known_split, view_name

if TYPE_CHECKING:
    import pycolmap

# The parameters of the models that we read; both in COLMAP's own order.
_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
}
_SMALLEST_RECORD = {"cameras": 24, "images": 73, "points3D": 51}  # bytes
_SEEN_BY = 3  # views that a sparse point needs to count


def find_model(folder: Path) -> Path | None:
    """Where a data set's sparse model lies, or None: ``sparse/0``, ``colmap/sparse/0``, ``sparse``, or the folder."""
    candidates = (folder / "sparse" / "0", folder / "colmap" / "sparse" / "0", folder / "sparse", folder)
    return next((path for path in candidates if _files(path)), None)


def read_colmap(folder: Path, split: str, inspection: Inspection) -> tuple[list[View], NDArray[np.float64]]:
    """Read a split of a sparse model (every 8th view is for testing) and its points.

    Args:
        folder: the data set, with ``images/`` and the model.
        split: "train" or "test".
        inspection: takes the faults; views without one are returned.

    Returns:
        views: those that COLMAP found a pose for.
        points: float64 [P, 3], those that three views or more have seen.

    Raises:
        DatasetError: pycolmap is not installed, the model cannot be read, or it has no views.
    """
    path = find_model(folder)
    if path is None:
        raise DatasetError(f"{folder}: expected a COLMAP model (sparse/0/cameras.bin, images.bin), got none")
    model = _read(path)
    records: list[tuple[str, int, NDArray[np.float64]]] = []
    for image in model.images.values():
        with inspection.collecting():
            if image.has_pose:
                records.append((image.name, image.camera_id, _pose(f"{path}: image {image.name}", image)))
    if not records:
        raise DatasetError(f"{path}: expected views with a pose, got none")
    upright = _upright(np.stack([pose for _, _, pose in records]))
    chosen = [records[index] for index in held_out([name for name, _, _ in records], known_split(split))]
    photos = folder / "images"
    names = [name for name, _, _ in chosen]
    images = [find_picture(photos, name) for name in names]
    all_or_none(photos, images, names, inspection)
    views = []
    for (name, camera_id, pose), image in zip(chosen, images, strict=True):
        with inspection.collecting(f"{path}: camera {camera_id}: "):
            lens = _lens(model.cameras[camera_id])
            if image is not None:
                inspection.expect_size(image, (lens.width, lens.height), "the model says")
            camera = pinhole_camera(lens, upright @ pose)
            views.append(View(camera, image, view_name(name), lens if lens.distorts else None))
    seen = [point.xyz for _, point in sorted(model.points3D.items()) if point.track.length() >= _SEEN_BY]
    points = np.asarray(seen, dtype=np.float64).reshape(-1, 3)
    return views, points[np.isfinite(points).all(axis=1)] @ upright[:3, :3].T


def _files(folder: Path) -> list[Path]:
    """The files of a model: all binary or, if one of those is missing, all text."""
    for suffix in (".bin", ".txt"):
        files = [folder / f"{name}{suffix}" for name in ("cameras", "images", "points3D")]
        if all(file.is_file() for file in files):
            return files
    return []


def _read(path: Path) -> "pycolmap.Reconstruction":
    try:
        import pycolmap
    except ImportError as error:
        raise DatasetError(
            f"{path}: expected pycolmap to read this COLMAP model, got none (pip install kilonerf-view[train])"
        ) from error
    for file in _files(path):
        _check_length(file)
    try:
        return pycolmap.Reconstruction(path)
    except (ValueError, RuntimeError, IndexError, OverflowError, MemoryError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"{path}: cannot read this COLMAP model: {said:.160}") from error


def _check_length(file: Path) -> None:
    """Refuse a binary file that ends too early: pycolmap reads on past its end, and may do so for hours.

    Raises:
        DatasetError: it is shorter than the counts in it say, or cannot be read.
    """
    if file.suffix != ".bin":
        return
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot read: {error.strerror or error}") from error
    broken = broken_download(file)
    if broken:
        raise DatasetError(f"{file}: expected a whole COLMAP file, got {broken}")
    try:
        (count,), end = struct.unpack_from("<Q", data), 8
        if count * _SMALLEST_RECORD[file.stem] > len(data):
            raise struct.error
        for _ in range(count):
            end = _record_end(file.stem, data, end)
        if end > len(data):
            raise struct.error
    except (struct.error, ValueError) as error:  # ValueError: a name without an end
        raise DatasetError(f"{file}: expected a whole COLMAP file, got one that ends too early") from error


def _record_end(kind: str, data: bytes, start: int) -> int:
    """Where the record ends that starts at ``start``; at the least, for cameras of models that we do not read."""
    if kind == "cameras":  # id, model, width, height; parameters
        model = struct.unpack_from("<i", data, start + 4)[0]
        return start + 24 + 8 * len(list(_PARAMETERS.values())[model] if 0 <= model < len(_PARAMETERS) else ())
    if kind == "images":  # id, quaternion, translation, camera; name; 2D points of 24 bytes
        name_end = data.index(b"\0", start + 64) + 1
        return name_end + 8 + 24 * struct.unpack_from("<Q", data, name_end)[0]
    # id, position, colour, error; the track's elements of 8 bytes
    return start + 51 + 8 * struct.unpack_from("<Q", data, start + 43)[0]


def _pose(where: str, image: Any) -> NDArray[np.float64]:
    """Camera-to-world [4, 4] with OpenGL axes."""
    world_to_camera = np.asarray(image.cam_from_world().matrix(), dtype=np.float64)
    rotation = world_to_camera[:, :3]
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ world_to_camera[:, 3]
    pose[:3, 1:3] *= -1  # y down, looks along +z: to OpenGL
    return pose_matrix(where, pose)


def _upright(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation [4, 4] that turns the cameras' mean up direction to +z."""
    turn = np.eye(4)
    up = poses[:, :3, 1].mean(axis=0)
    length = np.linalg.norm(up)
    if length < 1e-3:  # cameras rolled in all directions: no up to speak of
        return turn
    x, y, z = up / length
    if z < -1 + 1e-9:
        turn[:3, :3] = np.diag([1.0, -1.0, -1.0])
        return turn
    # Rodrigues' formula for the axis up x (0, 0, 1) = (y, -x, 0).
    cross = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])
    turn[:3, :3] = np.eye(3) + cross + cross @ cross / (1 + z)
    return turn


def _lens(camera: Any) -> Lens:
    names = _PARAMETERS.get(camera.model_name)
    if names is None:
        raise DatasetError(f"expected a model of {', '.join(_PARAMETERS)}, got {camera.model_name}")
    values = dict(zip(names, map(float, camera.params), strict=True))
    focal = values.pop("f", 1.0)
    values = {"fx": focal, "fy": focal} | values
    if not np.isfinite(list(values.values())).all() or values["fx"] <= 0 or values["fy"] <= 0:
        raise DatasetError(f"expected finite parameters and focal lengths > 0, got {values}")
    return Lens(int(camera.width), int(camera.height), **values)
