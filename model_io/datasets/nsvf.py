"""NSVF folders: ``intrinsics.txt``, ``pose/``, ``rgb/``; all four data sets of the KiloNeRF paper have this form.

Names begin with the number of their split: 0 train, 1 val, 2 test. NSVF's real captures (Tanks and Temples,
BlendedMVS) have 0 and 1 only: there, 1 is for testing.
"""

from pathlib import Path

import numpy as np

from ..camera.camera import Camera
from ..errors import DatasetError
from .files import read_numbers, read_rows
from .inspection import Inspection
from .photo_files import PhotoFolders, list_photos
from .pictures import Size
from .poses import FARTHEST, Pose, pose_matrix, rigid_poses
from .views import SPLITS, Box, Dataset, PathLike, Vector, View, known_split


def is_nsvf(folder: Path) -> bool:
    """Whether a folder is of this kind."""
    return (folder / "pose").is_dir() and (folder / "intrinsics.txt").is_file()


def load_nsvf(path: PathLike, split: str = "test") -> list[View]:
    """Read a split of an NSVF folder: ``intrinsics.txt``, ``pose/<0|1|2>_*.txt``, and ``rgb/`` if there is one.

    The poses' y and z columns are negated: OpenCV's axes become OpenGL's.

    Raises:
        DatasetError: a file is missing or malformed, or photos are missing, without pose, or of different sizes.
    """
    inspection, views = Inspection(), []
    with inspection.collecting():
        views = read_nsvf(Path(path), split, inspection).views
    inspection.close(Path(path))
    return views


def nsvf_splits(folder: Path) -> tuple[str, ...]:
    """Which of train, val and test an NSVF folder has."""
    there = [split for number, split in enumerate(SPLITS) if any((folder / "pose").glob(f"{number}_*.txt"))]
    return tuple("test" if split == "val" and "test" not in there else split for split in there)


def read_nsvf(folder: Path, split: str, inspection: Inspection) -> Dataset:
    """As :func:`load_nsvf`, but faults go into ``inspection`` and views without one are returned.

    Raises:
        DatasetError: a fault that leaves nothing to go on with.
    """
    near, far, background, box = None, None, None, None
    with inspection.collecting():
        near, far = near_and_far(folder) or (None, None)
    with inspection.collecting():
        background = background_color(folder)
    with inspection.collecting():
        box = bounding_box(folder)
    return Dataset("nsvf", _views(folder, split, inspection), near, far, background, box)


def _views(folder: Path, split: str, inspection: Inspection) -> list[View]:
    prefix = f"{SPLITS.index(known_split(split))}_"
    files = _pose_files(folder, prefix)
    if not files and split == "test":
        files = _pose_files(folder, "1_")
        if files:
            prefix = "1_"
            inspection.note(f"{folder.name}: no poses 2_*: those of 1_* are for testing, as in NSVF's real captures")
    if not files:
        there = ", ".join(nsvf_splits(folder)) or "none"
        raise DatasetError(
            f"{folder / 'pose'}: expected poses of the {split} split ({prefix}*.txt), got none; of splits "
            f"it has {there}"
        )
    names = [file.stem for file in files]
    found = PhotoFolders(folder, ("rgb", "images")).find(names)
    inspection.missing_photos(folder, found, names)
    for photo in list_photos(folder / "rgb"):
        if photo.name.startswith(prefix) and photo.stem not in names:
            inspection.add(f"{folder / 'pose'}: expected a pose for every photo, got none for {photo.name}")
    poses: list[Pose | None] = [None] * len(files)
    for index in found.kept:
        with inspection.collecting():
            poses[index] = _pose(files[index])
    poses = rigid_poses(str(folder / "pose"), poses, names, inspection)
    fx, fy, cx, cy, said = _intrinsics(folder / "intrinsics.txt")
    size = inspection.common_size(found.paths) or said
    if size is None:
        raise DatasetError(f"{folder / 'intrinsics.txt'}: expected a last line 'height width' or photos, got neither")
    inspection.note_orientations(found.paths, [None] * len(names))
    reduction = found.reduction  # its lens is of photos of full size
    # Integer pixel coordinates in the file, pixel centres at +0.5 in Camera.
    lens = {"fx": fx / reduction, "fy": fy / reduction, "cx": (cx + 0.5) / reduction, "cy": (cy + 0.5) / reduction}
    return [
        View(Camera.from_matrix(pose, *size, **lens), image, name)
        for pose, image, name in zip(poses, found.paths, names, strict=True)
        if pose is not None
    ]


def _pose_files(folder: Path, prefix: str) -> list[Path]:
    return sorted(path for path in (folder / "pose").glob(f"{prefix}*.txt") if not path.name.startswith("."))


def near_and_far(path: PathLike) -> tuple[float, float] | None:
    """Near and far of an NSVF folder: ``near_and_far.txt``, else from all cameras' distances to ``bbox.txt``.

    Without the file, near is the smallest distance of a camera to the box and far the largest one to a corner, as in
    the original code. None if the folder has neither file nor box and poses.

    Raises:
        DatasetError: a file is malformed.
    """
    folder = Path(path)
    if (folder / "near_and_far.txt").is_file():
        near, far = read_numbers(folder / "near_and_far.txt", 2)
        return near, far
    files = sorted((folder / "pose").glob("[012]_*.txt"))
    if not files or not (folder / "bbox.txt").is_file():
        return None
    box = np.asarray(read_numbers(folder / "bbox.txt", 6))
    if np.abs(box).max() > FARTHEST:
        raise DatasetError(f"{folder / 'bbox.txt'}: expected corners within {FARTHEST:g}, got {box.tolist()}")
    box_min, box_max = box.reshape(2, 3)
    positions = np.stack([_pose(file)[:3, 3] for file in files])
    to_box = np.linalg.norm(np.maximum(np.maximum(box_min - positions, positions - box_max), 0), axis=1)
    to_corner = np.linalg.norm(np.maximum(np.abs(positions - box_min), np.abs(positions - box_max)), axis=1)
    return float(to_box.min()), float(to_corner.max())


def background_color(path: PathLike) -> Vector | None:
    """``background_color.txt`` of an NSVF folder, or None.

    Raises:
        DatasetError: it is malformed.
    """
    file = Path(path) / "background_color.txt"
    if not file.is_file():
        return None
    red, green, blue = read_numbers(file, 3)
    return red, green, blue


def bounding_box(path: PathLike) -> Box | None:
    """``bbox.txt`` of an NSVF folder, lower and upper corner, or None; the voxel size after them is not used.

    Raises:
        DatasetError: it is malformed.
    """
    file = Path(path) / "bbox.txt"
    if not file.is_file():
        return None
    x0, y0, z0, x1, y1, z1 = numbers = read_numbers(file, 6)
    if not (x0 < x1 and y0 < y1 and z0 < z1):
        raise DatasetError(f"{file}: expected a lower and a higher corner, got {numbers}")
    return (x0, y0, z0), (x1, y1, z1)


def _pose(file: Path) -> Pose:
    numbers = np.asarray([number for row in read_rows(file) for number in row])
    if numbers.size not in (12, 16):
        raise DatasetError(f"{file}: expected 12 or 16 numbers, got {numbers.size}")
    pose = pose_matrix(str(file), numbers.reshape(-1, 4))
    pose[:3, 1:3] *= -1  # OpenCV (y down, looks along +z) to OpenGL
    return pose


def _intrinsics(file: Path) -> tuple[float, float, float, float, Size | None]:
    """fx, fy, cx, cy and the size, if the file says it."""
    rows = read_rows(file)
    size: Size | None = None
    if len(rows) in (3, 4) and all(len(row) == len(rows) for row in rows):
        fx, fy, cx, cy = rows[0][0], rows[1][1], rows[0][2], rows[1][2]
    elif rows and len(rows[0]) >= 3:
        fx, cx, cy = rows[0][:3]
        fy = fx
        if len(rows) > 1 and len(rows[-1]) == 2:
            size = (int(rows[-1][1]), int(rows[-1][0]))
    else:
        raise DatasetError(f"{file}: expected a 3x3 or 4x4 matrix, or a first line 'f cx cy'")
    if fx <= 0 or fy <= 0 or (size is not None and not 1 <= min(size) <= max(size) <= 2**16):
        raise DatasetError(f"{file}: expected focal lengths and sizes > 0, got {fx}, {fy}, {size}")
    return fx, fy, cx, cy, size
