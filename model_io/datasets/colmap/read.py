"""COLMAP sparse models: ``sparse/0/{cameras,images,points3D}.{bin,txt}`` beside ``images/``, read by pycolmap.

The world of a model is turned so that the mean up direction of all its cameras is +z, the up direction of this program;
origin and scale stay. COLMAP's cameras look along +z with y down, with pixel centres at +0.5.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from ..inspection import Inspection
from ..lens import Lens, pinhole_camera
from ..photo_files import Found, PhotoFolders, list_photos, listed, view_names
from ..pictures import Size
from ..poses import Pose, pose_matrix, rigid_poses, upright
from ..views import Dataset, View, held_out, known_split
from .model import describe_models, find_model, find_models, names_of_text, read_model

if TYPE_CHECKING:
    import pycolmap

# The parameters of the models that we read, in COLMAP's own order; d1 to d3 are what it calls k4 to k6 of FULL_OPENCV.
_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "d1", "d2", "d3"),
    "SIMPLE_FISHEYE": ("f", "cx", "cy"),
    "FISHEYE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL_FISHEYE": ("f", "cx", "cy", "k1"),
    "RADIAL_FISHEYE": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
    "THIN_PRISM_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "s1", "s2"),
}
_SEEN_BY = 3  # views that a sparse point needs to count


def read_colmap(folder: Path, split: str, inspection: Inspection) -> Dataset:
    """Read a split of a sparse model (every 8th view is for testing) and its points.

    Args:
        folder: the data set, with ``images/`` and the model.
        split: "train" or "test".
        inspection: takes the faults; views without one are returned.

    Returns:
        the views that COLMAP found a pose for, and the points that three views or more have seen.

    Raises:
        DatasetError: pycolmap is not installed, the model cannot be read, or it has no views.
    """
    path = find_model(folder)
    if path is None:
        raise DatasetError(f"{folder}: expected a COLMAP model (sparse/0/cameras.bin, images.bin), got none")
    models = find_models(folder)
    if len(models) > 1:
        inspection.note(f"{path.parent}: {len(models)} models, of which the largest is read: {path.name} "
                        f"(views: {describe_models(models)})")  # fmt: skip
    model = read_model(path)
    texts = {} if (path / "images.bin").is_file() else names_of_text(path)
    names: list[str] = []
    numbers: list[int] = []
    cameras: list[int] = []
    poses: list[Pose | None] = []
    for number, image in model.images.items():
        with inspection.collecting():
            if image.has_pose:
                name = texts.get(number) or _name(path, number, image)
                poses.append(_pose(f"{path}: image {name}", image))
                names.append(name)
                numbers.append(number)
                cameras.append(image.camera_id)
    poses = rigid_poses(str(path), poses, names, inspection)
    whole = [pose for pose in poses if pose is not None]
    if not whole:
        raise DatasetError(f"{path}: expected views with a pose, got none")
    turn = upright(np.stack(whole))
    first = list(range(len(names)))
    if inspection.strict:
        first = held_out(names, known_split(split))
    found = _folders(folder, path).find([names[index] for index in first])
    inspection.missing_photos(folder / "images", found, [names[index] for index in first])
    chosen = found.kept
    if not inspection.strict:  # every 8th of those that have a photo
        chosen = [chosen[index] for index in held_out([names[index] for index in chosen], known_split(split))]
    own_names = view_names(names)
    views: list[View] = []
    view_of_image: dict[int, int] = {}
    images, sizes = [found.paths[index] for index in chosen], []
    for place, image in zip(chosen, images, strict=True):
        index = first[place]
        sizes.append(None)
        with inspection.collecting(f"{path}: camera {cameras[index]}: "):
            lens, full = _lens(model.cameras[cameras[index]], image, found, inspection)
            sizes[-1] = (lens.width, lens.height)
            pose = poses[index]
            if full and pose is not None:
                camera = pinhole_camera(lens, turn @ pose)
                view_of_image[numbers[index]] = len(views)
                views.append(View(camera, image, own_names[index], lens if lens.distorts else None))
    inspection.note_orientations(images, sizes)
    _note_unplaced(found, inspection)
    points, sightings = _points(model, view_of_image)
    return Dataset("colmap", views, points=points @ turn[:3, :3].T, sightings=sightings)


def _points(
    model: "pycolmap.Reconstruction", view_of_image: Mapping[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points that enough views have seen, [P, 3], and which of our views saw which of them, [S, 2]."""
    points: list[NDArray[np.float64]] = []
    sightings: list[tuple[int, int]] = []
    for _, point in sorted(model.points3D.items()):
        if point.track.length() < _SEEN_BY or not np.isfinite(point.xyz).all():
            continue
        images = (element.image_id for element in point.track.elements)
        sightings += [(view_of_image[image], len(points)) for image in images if image in view_of_image]
        points.append(point.xyz)
    return np.asarray(points, np.float64).reshape(-1, 3), np.asarray(sightings, np.int64).reshape(-1, 2)


def _folders(folder: Path, model: Path) -> PhotoFolders:
    """Where the photos may be: in ``images/`` of the data set, also if it is the model's own folder that was given."""
    if model == folder and not any((folder / name).is_dir() for name in ("images", "input")):
        root = next((up for up in list(folder.parents)[:2] if (up / "images").is_dir()), folder)
        return PhotoFolders(root, ("images", ""))
    return PhotoFolders(folder, ("images", "", "input"))


def _name(path: Path, number: int, image: Any) -> str:
    try:
        return str(image.name)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: image {number}: expected a file name in UTF-8, got another one") from error


def _note_unplaced(found: Found, inspection: Inspection) -> None:
    """Say which photos of the folder COLMAP found no pose for."""
    paths = {path for path in found.paths if path is not None}
    parents = {path.parent for path in paths}
    if len(parents) != 1 or inspection.strict:  # strict: only this split's photos were looked for
        return
    (parent,) = parents
    photos = list_photos(parent)
    without = [photo.name for photo in photos if photo not in paths]
    if without:
        verb = "has" if len(without) == 1 else "have"
        count = f"{len(without)} of {len(photos)} photos {verb} no pose in this model"
        inspection.note(f"{parent.name}: {count}: left out: {listed(without)}")


def _pose(where: str, image: Any) -> NDArray[np.float64]:
    """Camera-to-world [4, 4] with OpenGL axes."""
    world_to_camera = np.asarray(image.cam_from_world().matrix(), dtype=np.float64)
    rotation = world_to_camera[:, :3]
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    with np.errstate(all="ignore"):  # pose_matrix refuses what is not finite
        pose[:3, 3] = -rotation.T @ world_to_camera[:, 3]
    pose[:3, 1:3] *= -1  # y down, looks along +z: to OpenGL
    return pose_matrix(where, pose)


def _lens(camera: Any, image: Path | None, found: Found, inspection: Inspection) -> tuple[Lens, bool]:
    """A photo's lens, and whether the photo has the size that it should have (else that is a fault of the photo)."""
    names = _PARAMETERS.get(camera.model_name)
    if names is None:
        raise DatasetError(
            f"expected a model of {', '.join(_PARAMETERS)}, got {camera.model_name}: let COLMAP's image_undistorter "
            "make pinhole photos of it"
        )
    values = dict(zip(names, map(float, camera.params), strict=True))
    focal = values.pop("f", 1.0)
    values = {"fx": focal, "fy": focal} | values
    size: Size = (int(camera.width), int(camera.height))
    if not np.isfinite(list(values.values())).all() or values["fx"] <= 0 or values["fy"] <= 0:
        raise DatasetError(f"expected finite parameters and focal lengths > 0, got {values}")
    if not 1 <= min(size) <= max(size) <= 2**16:
        raise DatasetError(f"expected a size from 1x1 to 65536x65536 pixels, got {size[0]}x{size[1]}")
    lens = Lens(*size, **values, fisheye="FISHEYE" in camera.model_name)
    if image is None:
        return lens, True
    if found.reduction == 1:
        return lens, inspection.expect_size(image, size, "the model says")
    reduced = inspection.reduced_size(image, size, found.reduction)
    return (lens, False) if reduced is None else (lens.scaled(*reduced), True)
