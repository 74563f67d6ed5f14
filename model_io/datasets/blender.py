"""NeRF-Synthetic: ``transforms_<split>.json`` as Blender's script of NeRF wrote it, one lens for all."""

import math
from pathlib import Path
from typing import Any

from ..camera.camera import Camera
from ..errors import DatasetError
from .files import is_number, json_frames, read_json
from .inspection import Inspection
from .photo_files import PhotoFolders, view_names
from .pictures import Size
from .poses import Pose, pose_matrix, rigid_poses
from .views import Dataset, PathLike, View, known_split


def load_blender(path: PathLike, split: str = "test", size: Size | None = None) -> list[View]:
    """Read ``transforms_<split>.json`` of a folder, or a ``.json`` file of that form.

    The picture size is that of the photos, else "w" and "h" of the file, else ``size``. Poses without a photo are left
    out where others have one.

    Raises:
        DatasetError: file or photos are malformed, or of different sizes.
    """
    inspection, views = Inspection(), []
    with inspection.collecting():
        views = read_blender(transforms_file(Path(path), split), size, inspection).views
    inspection.close(Path(path))
    return views


def transforms_file(path: Path, split: str) -> Path:
    """A split's file in a folder; any other path is the file itself."""
    return path / f"transforms_{known_split(split)}.json" if path.is_dir() else path


def read_blender(file: Path, size: Size | None, inspection: Inspection) -> Dataset:
    """As :func:`load_blender`, but faults go into ``inspection`` and views without one are returned.

    Raises:
        DatasetError: a fault that leaves nothing to go on with.
    """
    document = read_json(file)
    angle = document.get("camera_angle_x")
    if not is_number(angle) or not 0 < angle < math.pi:
        inspection.add(f"{file}: camera_angle_x: expected an angle between 0 and pi, got {angle!r:.40}")
        angle = None
    fields, names = [], []
    for number, frame in enumerate(json_frames(file, document)):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path", ""), str):
            inspection.add(f"{file}: frames[{number}]: expected an object with file_path and transform_matrix")
            continue
        names.append(frame.get("file_path", f"frame_{number:04d}"))
        fields.append((f"{file}: frames[{number}].transform_matrix", frame.get("transform_matrix")))
    if not names:
        return Dataset("blender", [])
    found = PhotoFolders(file.parent).find(names)
    poses: list[Pose | None] = [None] * len(names)
    for index in found.kept:
        with inspection.collecting():
            poses[index] = pose_matrix(*fields[index])
    poses = rigid_poses(str(file), poses, names, inspection)
    inspection.missing_photos(file, found, names)
    images = found.paths
    picture_size = inspection.common_size(images)
    if picture_size is None and not any(images):
        picture_size = said_size(file, document, size)
    if angle is None or picture_size is None:
        return Dataset("blender", [])
    inspection.note_orientations(images, [None] * len(images))
    width, height = picture_size
    focal = 0.5 * width / math.tan(0.5 * angle)
    # Integer pixel coordinates in the file, pixel centres at +0.5 in Camera.
    principal = {"cx": 0.5 * width + 0.5, "cy": 0.5 * height + 0.5}
    views = [
        View(Camera.from_matrix(pose, width, height, fx=focal, **principal), image, name)
        for pose, image, name in zip(poses, images, view_names(names), strict=True)
        if pose is not None
    ]
    return Dataset("blender", views)


def said_size(file: Path, document: dict[str, Any], given: Size | None) -> Size:
    """The size of pictures that are not there: "w" and "h" of the file, else ``given``.

    Raises:
        DatasetError: neither is there, or it is no size.
    """
    size = (document.get("w"), document.get("h")) if "w" in document and "h" in document else given
    if size is None:
        raise DatasetError(f"{file}: expected photos or a given size, got neither (none of its file_path exists)")
    width, height = size
    if not (is_number(width) and is_number(height) and 1 <= width <= 2**16 and 1 <= height <= 2**16):
        raise DatasetError(f"{file}: expected a size from 1x1 to 65536x65536 pixels, got {width!r:.20}x{height!r:.20}")
    return int(width), int(height)
