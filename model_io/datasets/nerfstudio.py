"""nerfstudio and instant-ngp: one ``transforms.json`` for all splits, lenses with distortion, shared or of each frame.

Pixel centres are at +0.5 in these files, as in :class:`~kilonerf.model_io.Camera`. The world is that of the file: what
``applied_transform`` says has been done to its poses already, and ``aabb_scale`` is about instant-ngp's own grid.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .blender import said_size
from .files import is_number, json_frames, pose_matrix, read_json
from .inspection import Inspection
from .lens import Lens, pinhole_camera
from .pictures import Size, find_picture
from .views import SPLITS, View, all_or_none, held_out, known_split, view_name

COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")
_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
# What Blender's script of NeRF never writes.
_OWN_KEYS = {
    "fl_x", "fl_y", "cx", "cy", *COEFFICIENTS, "camera_model", "aabb_scale", "applied_transform", "is_fisheye",
    *(f"{split}_filenames" for split in SPLITS),
}  # fmt: skip


def is_nerfstudio(file: Path) -> bool:
    """Whether a transforms file has fields that only nerfstudio and instant-ngp write."""
    if not file.is_file():
        return False
    document = read_json(file)
    frames = document.get("frames")
    first = frames[0] if isinstance(frames, list) and frames else None
    return not _OWN_KEYS.isdisjoint(document) or (isinstance(first, dict) and not _OWN_KEYS.isdisjoint(first))


def split_names(file: Path) -> tuple[str, ...]:
    """The splits that a ``transforms.json`` has: those it lists, else train and test.

    Raises:
        DatasetError: it cannot be read.
    """
    document = read_json(file)
    listed = tuple(split for split in SPLITS if f"{split}_filenames" in document)
    return listed or ("train", "test")


def read_nerfstudio(file: Path, split: str | None, size: Size | None, inspection: Inspection) -> list[View]:
    """Read a split of a ``transforms.json``; faults go into ``inspection``, views without one are returned.

    Args:
        file: its path.
        split: "train", "val" or "test"; None for all frames, where each split has a file of its own.
        size: of pictures that are not there and of which the file says none.
        inspection: takes the faults.

    Raises:
        DatasetError: a fault that leaves nothing to go on with.
    """
    document = read_json(file)
    frames, names = [], []
    for number, frame in enumerate(json_frames(file, document)):
        if isinstance(frame, dict) and isinstance(frame.get("file_path"), str):
            frames.append((f"{file}: frames[{number}]", frame))
            names.append(frame["file_path"])
        else:
            inspection.add(f"{file}: frames[{number}]: expected an object with file_path and transform_matrix")
    chosen = range(len(frames)) if split is None else _chosen(file, document, names, known_split(split), inspection)
    names = [names[index] for index in chosen]
    images = [find_picture(file.parent, name) for name in names]
    all_or_none(file, images, names, inspection)
    views = []
    for index, image, name in zip(chosen, images, names, strict=True):
        where, frame = frames[index]
        pose: NDArray[np.float64] | None = None
        with inspection.collecting():
            pose = pose_matrix(f"{where}.transform_matrix", frame.get("transform_matrix"))
        lens: Lens | None = None
        with inspection.collecting():
            lens = _lens(where, {**document, **frame}, file, image, size, inspection)
        if lens is not None and pose is not None:
            with inspection.collecting(f"{file}: "):  # without the frame: once where all have the same lens
                camera = pinhole_camera(lens, pose)
                views.append(View(camera, image, view_name(name), lens if lens.distorts else None))
    return views


def _chosen(file: Path, document: dict[str, Any], names: list[str], split: str, inspection: Inspection) -> list[int]:
    """The frames of a split, by the file's lists or by every 8th."""
    if not any(f"{other}_filenames" in document for other in SPLITS):
        return held_out(names, split)
    wanted = document.get(f"{split}_filenames")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise DatasetError(f"{file}: {split}_filenames: expected a list of file names, got {wanted!r:.60}")
    by_path = {Path(name): index for index, name in enumerate(names)}
    for name in wanted:
        if Path(name) not in by_path:
            inspection.add(f"{file}: {split}_filenames: expected file_path of frames, got {name!r}")
    return [by_path[Path(name)] for name in wanted if Path(name) in by_path]


def _lens(
    where: str, fields: dict[str, Any], file: Path, image: Path | None, given: Size | None, inspection: Inspection
) -> Lens | None:
    """The lens of a frame; None if its photo's size is in the way, which is a fault of the photo."""
    model = "OPENCV_FISHEYE" if fields.get("is_fisheye") else fields.get("camera_model", "OPENCV")
    if model not in _MODELS:
        raise DatasetError(f"{where}: camera_model: expected one of {', '.join(_MODELS)}, got {model!r:.40}")
    size = said_size(file, fields, given) if image is None or ("w" in fields and "h" in fields) else None
    if image is not None:
        if size is None:
            size = inspection.photo_size(image)
        elif not inspection.expect_size(image, size, f"{file.name} says"):
            size = None
    if size is None:
        return None
    width, height = size
    for key in ("fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y", *COEFFICIENTS):
        if key in fields and not is_number(fields[key]):
            raise DatasetError(f"{where}: {key}: expected a number, got {fields[key]!r:.40}")
    fx, fy = _focal(fields, "fl_x", "camera_angle_x", width), _focal(fields, "fl_y", "camera_angle_y", height)
    fx, fy = fy if fx is None else fx, fx if fy is None else fy
    if fx is None or fy is None or fx <= 0 or fy <= 0:
        raise DatasetError(f"{where}: expected fl_x > 0 or camera_angle_x between 0 and pi, got fl_x {fx}, fl_y {fy}")
    principal = (float(fields.get("cx", 0.5 * width)), float(fields.get("cy", 0.5 * height)))
    coefficients = {key: float(fields.get(key, 0.0)) for key in COEFFICIENTS}
    return Lens(width, height, fx, fy, *principal, **coefficients)


def _focal(fields: dict[str, Any], focal: str, angle: str, pixels: int) -> float | None:
    if focal in fields:
        return float(fields[focal])
    if angle in fields and 0 < fields[angle] < math.pi:
        return 0.5 * pixels / math.tan(0.5 * fields[angle])
    return None
