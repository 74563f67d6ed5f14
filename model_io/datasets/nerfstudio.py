"""nerfstudio and instant-ngp: one ``transforms.json`` for all splits, lenses with distortion, shared or of each frame.

Pixel centres are at +0.5 in these files, as in :class:`~kilonerf.model_io.Camera`. The world is that of the file: what
``applied_transform`` says has been done to its poses already, and instant-ngp's ``scale``, ``offset`` and
``aabb_scale`` are about its own grid: they say where the scene is at most.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .blender import said_size
from .files import is_number, json_frames, read_json
from .inspection import Inspection
from .lens import Lens, pinhole_camera
from .photo_files import Found, PhotoFolders, listed, same_path, view_names
from .pictures import Size
from .poses import Pose, pose_matrix, rigid_poses
from .views import SPLITS, Box, Dataset, Mask, View, held_out, known_split

_COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")  # those that these files have
_PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_MODELS = (*_PINHOLES, "OPENCV_FISHEYE")
_FOREIGN = ("latlong", "equirectangular", *(f"ftheta_p{number}" for number in range(5)))  # instant-ngp's other lenses
# What Blender's script of NeRF never writes.
_OWN_KEYS = {
    "fl_x", "fl_y", "cx", "cy", *_COEFFICIENTS, "camera_model", "aabb_scale", "applied_transform", "is_fisheye",
    "mask_path", *_FOREIGN, *(f"{split}_filenames" for split in SPLITS),
}  # fmt: skip
_NGP_SCALE, _NGP_OFFSET = 0.33, 0.5  # instant-ngp's own, where a file says none


def is_nerfstudio(file: Path) -> bool:
    """Whether a transforms file has fields that only nerfstudio and instant-ngp write."""
    if not file.is_file():
        return False
    document = read_json(file)
    frames = document.get("frames")
    first = frames[0] if isinstance(frames, list) and frames else None
    return not _OWN_KEYS.isdisjoint(document) or (isinstance(first, dict) and not _OWN_KEYS.isdisjoint(first))


def split_names(file: Path) -> tuple[str, ...]:
    """The splits that a ``transforms.json`` has: those of which it lists photos, else train and test.

    Raises:
        DatasetError: it cannot be read.
    """
    document = read_json(file)
    if not _has_lists(document):
        return ("train", "test")
    return tuple(split for split in SPLITS if document.get(f"{split}_filenames"))


def read_nerfstudio(file: Path, split: str | None, size: Size | None, inspection: Inspection) -> Dataset:
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
    frames: list[tuple[str, dict[str, Any]]] = []
    for number, frame in enumerate(json_frames(file, document)):
        if isinstance(frame, dict) and isinstance(frame.get("file_path"), str):
            frames.append((f"{file}: frames[{number}]", frame))
        else:
            inspection.add(f"{file}: frames[{number}]: expected an object with file_path and transform_matrix")
    names = [frame["file_path"] for _, frame in frames]
    if not names:
        return Dataset("nerfstudio", [])
    region: Box | None = None
    with inspection.collecting():
        region = _region(file, document)
    # Every 8th is counted among those that have a photo; where the file lists splits, another's photos may be missing.
    folders = PhotoFolders(file.parent)
    at_once = split is not None and (_has_lists(document) or inspection.strict)
    first = list(range(len(names)))
    if split is not None and at_once:
        first = _chosen(file, document, names, known_split(split), inspection)
    found = folders.find([names[index] for index in first])
    inspection.missing_photos(file, found, [names[index] for index in first])
    chosen = found.kept
    if split is not None and not at_once:
        chosen = [found.kept[index] for index in held_out([names[index] for index in found.kept], known_split(split))]
    images = [found.paths[index] for index in chosen]
    frames = [frames[first[index]] for index in chosen]
    poses: list[Pose | None] = [None] * len(frames)
    for index, (where, frame) in enumerate(frames):
        with inspection.collecting():
            poses[index] = pose_matrix(f"{where}.transform_matrix", frame.get("transform_matrix"))
    poses = rigid_poses(str(file), poses, [frame["file_path"] for _, frame in frames], inspection)
    masks = _masks(file, folders, document, [frame for _, frame in frames], images, inspection)
    own_names = view_names(names)
    views: list[View] = []
    sizes: list[Size | None] = []
    for position, (where, frame) in enumerate(frames):
        lens: Lens | None = None
        with inspection.collecting():
            lens = _lens(file, where, document, frame, replace(found, paths=[images[position]]), size, inspection)
        sizes.append(None if lens is None else (lens.width, lens.height))
        pose = poses[position]
        if lens is not None and pose is not None:
            with inspection.collecting(f"{file}: "):  # without the frame: once where all have the same lens
                camera = pinhole_camera(lens, pose)
                name = own_names[first[chosen[position]]]
                views.append(View(camera, images[position], name, lens if lens.distorts else None, masks[position]))
    inspection.note_orientations(images, sizes)
    return Dataset("nerfstudio", views, region=region)


def _has_lists(document: dict[str, Any]) -> bool:
    return any(f"{split}_filenames" in document for split in SPLITS)


def _chosen(file: Path, document: dict[str, Any], names: list[str], split: str, inspection: Inspection) -> list[int]:
    """The frames of a split, by the file's lists or by every 8th."""
    if not _has_lists(document):
        return held_out(names, split)
    wanted = document.get(f"{split}_filenames")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        there = ", ".join(other for other in SPLITS if document.get(f"{other}_filenames")) or "none"
        raise DatasetError(
            f"{file}: {split}_filenames: expected a list of file names, got {wanted!r:.60}; of splits it has {there} "
            "(--split)"
        )
    by_path = {same_path(name): index for index, name in enumerate(names)}
    for name in wanted:
        if same_path(name) not in by_path:
            inspection.add(f"{file}: {split}_filenames: expected file_path of frames, got {name!r}")
    return [by_path[same_path(name)] for name in wanted if same_path(name) in by_path]


def _masks(
    file: Path,
    folders: PhotoFolders,
    document: dict[str, Any],
    frames: list[dict[str, Any]],
    images: list[Path | None],
    inspection: Inspection,
) -> list[Mask | None]:
    """Those of nerfstudio's ``mask_path``, else instant-ngp's ``dynamic_mask_<name>.png`` beside the photo."""
    said: list[str | None] = []
    for frame, image in zip(frames, images, strict=True):
        name = frame.get("mask_path", document.get("mask_path"))
        said.append(name if image is not None and isinstance(name, str) and name else None)
    names = [name for name in said if name is not None]
    paths = dict(zip(names, PhotoFolders(file.parent, ("", "masks")).find(names).paths, strict=True))
    masks: list[Mask | None] = []
    missing: list[str] = []
    for name, image in zip(said, images, strict=True):
        if name is not None:
            path = paths[name] if paths[name] not in images else None  # a photo of that name is no mask
            mask = None if path is None else Mask(path)
            if path is None:
                missing.append(name)
        else:
            path = None if image is None else folders.sidecar(image, f"dynamic_mask_{image.stem}.png")
            mask = None if path is None else Mask(path, hides_white=True)
        masks.append(mask)
    if missing and inspection.strict:
        inspection.add(f"{file}: mask_path: expected masks, got none for {listed(missing)}")
    elif missing:
        inspection.note(
            f"{file.name}: {len(missing)} masks are not there: their photos are learnt whole: {listed(missing)}"
        )
    if any(masks):
        count = sum(mask is not None for mask in masks)
        inspection.note(f"{file.name}: {count} photos have a mask: what it hides is not learnt")
    return masks


def _lens(
    file: Path,
    where: str,
    document: dict[str, Any],
    frame: dict[str, Any],
    found: Found,  # of this frame
    given: Size | None,
    inspection: Inspection,
) -> Lens | None:
    """The lens of a frame; None if its photo's size is in the way, which is a fault of the photo."""
    fields = document | frame

    def said_at(key: str) -> str:  # once where it is wrong for all
        return where if key in frame else str(file)

    for key in _FOREIGN:
        if fields.get(key):
            raise DatasetError(
                f"{said_at(key)}: {key}: expected a pinhole or OPENCV_FISHEYE lens, got a lens that cannot be "
                "straightened to a pinhole; make perspective photos of it first"
            )
    key = "is_fisheye" if fields.get("is_fisheye") else "camera_model"
    model = "OPENCV_FISHEYE" if fields.get("is_fisheye") else fields.get("camera_model", "OPENCV")
    if model not in _MODELS:
        raise DatasetError(f"{said_at(key)}: camera_model: expected one of {', '.join(_MODELS)}, got {model!r:.40}")
    full = _full_size(file, fields, found, given, inspection)
    if full is None:
        return None
    for key in ("fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y", *_COEFFICIENTS):
        if key in fields and not is_number(fields[key]):
            raise DatasetError(f"{where}: {key}: expected a number, got {fields[key]!r:.40}")
    width, height = full
    fx, fy = _focal(fields, "fl_x", "camera_angle_x", width), _focal(fields, "fl_y", "camera_angle_y", height)
    fx, fy = fy if fx is None else fx, fx if fy is None else fy
    if fx is None or fy is None or fx <= 0 or fy <= 0:
        raise DatasetError(f"{where}: expected fl_x > 0 or camera_angle_x between 0 and pi, got fl_x {fx}, fl_y {fy}")
    principal = (float(fields.get("cx", 0.5 * width)), float(fields.get("cy", 0.5 * height)))
    coefficients = {key: float(fields.get(key, 0.0)) for key in _COEFFICIENTS}
    lens = Lens(width, height, fx, fy, *principal, **coefficients, fisheye=model == "OPENCV_FISHEYE")
    (image,) = found.paths
    if image is None or found.reduction == 1:
        return lens
    size = inspection.reduced_size(image, full, found.reduction)
    return None if size is None else lens.scaled(*size)


def _full_size(
    file: Path, fields: dict[str, Any], found: Found, given: Size | None, inspection: Inspection
) -> Size | None:
    """The size that the lens is of; None if the photo has another, which is a fault."""
    (image,) = found.paths
    said = said_size(file, fields, given) if image is None or ("w" in fields and "h" in fields) else None
    if image is None:
        return said
    if said is None:
        size = inspection.photo_size(image)
        return None if size is None else (size[0] * found.reduction, size[1] * found.reduction)
    if found.reduction == 1 and not inspection.expect_size(image, said, f"{file.name} says"):
        return None
    return said


def _focal(fields: dict[str, Any], focal: str, angle: str, pixels: int) -> float | None:
    if focal in fields:
        return float(fields[focal])
    if angle in fields and 0 < fields[angle] < math.pi:
        return 0.5 * pixels / math.tan(0.5 * fields[angle])
    return None


def _region(file: Path, document: dict[str, Any]) -> Box | None:
    """The cube in which instant-ngp would look for the scene, None if the file says nothing about it.

    Its grid is the unit cube, and positions * scale + offset are in it; aabb_scale makes it so many times as large.
    """
    if not {"aabb_scale", "scale", "offset"} & document.keys():
        return None
    cube, scale, offset = (document.get(key) for key in ("aabb_scale", "scale", "offset"))
    cube, scale = 1 if cube is None else cube, _NGP_SCALE if scale is None else scale
    offset = [_NGP_OFFSET] * 3 if offset is None else offset
    if not (is_number(cube) and cube > 0 and is_number(scale) and scale > 0):
        raise DatasetError(f"{file}: aabb_scale, scale: expected numbers > 0, got {cube!r:.20} and {scale!r:.20}")
    if not (isinstance(offset, list) and len(offset) == 3 and all(map(is_number, offset))):
        raise DatasetError(f"{file}: offset: expected three numbers, got {offset!r:.60}")
    x0, y0, z0 = ((0.5 - 0.5 * cube - value) / scale for value in offset)
    x1, y1, z1 = ((0.5 + 0.5 * cube - value) / scale for value in offset)
    return (x0, y0, z0), (x1, y1, z1)
