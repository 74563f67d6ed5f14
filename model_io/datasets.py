"""Cameras and photos of a data set: Blender ``transforms_*.json`` (NeRF-Synthetic) and NSVF folders.

The loaders of NeRF, NSVF and KiloNeRF send a pixel's ray through its integer coordinates, ``(x - cx) / fx``; our
:class:`~kilonerf.model_io.Camera` has pixel centres at +0.5. So 0.5 is added to cx and cy here, and a scene's pictures
come out exactly as its training saw them.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .errors import DatasetError
from .text_file import read_text

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "val", "test")
_EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".webp")
_MAX_TEXT = 64 * 2**20  # bytes of a transforms file
PathLike = str | os.PathLike[str]
Size = tuple[int, int]  # width, height in pixels


@dataclass(frozen=True)
class View:
    """One camera of a data set.

    Attributes:
        camera: OpenGL axes, pixel centres at +0.5.
        image_path: its photo, or None where the data set has poses only.
        name: its name in the data set, as "r_0".
    """

    camera: Camera
    image_path: Path | None
    name: str


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    Attributes:
        kind: "blender" or "nsvf".
        views: its cameras, in the data set's order.
        near: z-depth of the first sample, where the data set says it.
        far: z-depth of the last sample, where the data set says it.
        background: RGB in [0, 1], where the data set says it.
    """

    kind: str
    views: list[View]
    near: float | None = None
    far: float | None = None
    background: tuple[float, float, float] | None = None


def load_dataset(path: PathLike, split: str = "test", size: Size | None = None) -> Dataset:
    """Read a split of a data set, whichever kind it is.

    Args:
        path: a folder, or a Blender ``.json`` file (``split`` is then not used).
        split: "train", "val" or "test".
        size: width and height for a Blender data set without photos.

    Raises:
        DatasetError: there is none, or something in it cannot be read; one line with the file.
    """
    folder = Path(path)
    if _is_nsvf(folder):
        near, far = near_and_far(folder) or (None, None)
        return Dataset("nsvf", load_nsvf(folder, split), near, far, background_color(folder))
    if folder.is_dir() and not any(folder.glob("transforms_*.json")):
        raise DatasetError(
            f"{folder}: expected transforms_{split}.json (Blender) or pose/ and intrinsics.txt (NSVF), got neither"
        )
    return Dataset("blender", load_blender(folder, split, size))


def available_splits(path: PathLike) -> tuple[str, ...]:
    """Which of train, val and test a data set's folder has; a ``.json`` file has one of unknown name: ()."""
    folder = Path(path)
    if _is_nsvf(folder):
        return tuple(split for number, split in enumerate(SPLITS) if any((folder / "pose").glob(f"{number}_*.txt")))
    return tuple(split for split in SPLITS if (folder / f"transforms_{split}.json").is_file())


def load_blender(path: PathLike, split: str = "test", size: Size | None = None) -> list[View]:
    """Read ``transforms_<split>.json`` of a folder, or a ``.json`` file of that form.

    The picture size is that of the photos, else "w" and "h" of the file, else ``size``.

    Raises:
        DatasetError: file or photos are missing, malformed or of different sizes.
    """
    file = Path(path)
    if file.is_dir():
        file = file / f"transforms_{_known(split)}.json"
    document = _read_json(file)
    angle = document.get("camera_angle_x")
    if not _is_number(angle) or not 0 < angle < math.pi:
        raise DatasetError(f"{file}: camera_angle_x: expected an angle between 0 and pi, got {angle!r:.40}")
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DatasetError(f"{file}: frames: expected a list of at least one frame")
    poses, names = [], []
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path", ""), str):
            raise DatasetError(f"{file}: frames[{number}]: expected an object with file_path and transform_matrix")
        poses.append(_matrix(f"{file}: frames[{number}].transform_matrix", frame.get("transform_matrix")))
        names.append(frame.get("file_path", f"frame_{number:04d}"))
    images = _all_or_none(file, [_find_image(file.parent, name) for name in names], names)
    width, height = _blender_size(file, document, images, size)
    focal = 0.5 * width / math.tan(0.5 * angle)
    return [
        View(_camera(pose, width, height, focal, focal, 0.5 * width, 0.5 * height), image, _view_name(name))
        for pose, image, name in zip(poses, images, names, strict=True)
    ]


def load_nsvf(path: PathLike, split: str = "test") -> list[View]:
    """Read a split of an NSVF folder: ``intrinsics.txt``, ``pose/<0|1|2>_*.txt``, and ``rgb/`` if there is one.

    The poses' y and z columns are negated: OpenCV's axes become OpenGL's.

    Raises:
        DatasetError: a file is missing or malformed, or photos are missing or of different sizes.
    """
    folder = Path(path)
    prefix = f"{SPLITS.index(_known(split))}_"
    files = sorted((folder / "pose").glob(f"{prefix}*.txt"))
    if not files:
        raise DatasetError(f"{folder / 'pose'}: expected poses of the {split} split ({prefix}*.txt), got none")
    fx, fy, cx, cy, said = _intrinsics(folder / "intrinsics.txt")
    names = [file.stem for file in files]
    images: list[Path | None] = [None] * len(files)
    if (folder / "rgb").is_dir():
        images = _all_or_none(folder / "rgb", [_find_image(folder / "rgb", name) for name in names], names)
    size = _common_size(images) or said
    if size is None:
        raise DatasetError(f"{folder / 'intrinsics.txt'}: expected a last line 'height width' or photos, got neither")
    return [
        View(_camera(_nsvf_pose(file), *size, fx, fy, cx, cy), image, file.stem)
        for file, image in zip(files, images, strict=True)
    ]


def load_image(view: View, background: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> NDArray[np.float32]:
    """A view's photo, float32 [H, W, 3] in [0, 1], laid over ``background`` where it is transparent.

    Raises:
        DatasetError: the view has no photo, or it cannot be read or has not the camera's size.
    """
    if view.image_path is None:
        raise DatasetError(f"view {view.name}: expected a photo, got none in this data set")
    with _opened(view.image_path) as image:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.float32) / np.float32(255)
    expected = (view.camera.height, view.camera.width)
    if pixels.shape[:2] != expected:
        got = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise DatasetError(f"{view.image_path}: expected {expected[1]}x{expected[0]} pixels, got {got}")
    alpha = pixels[..., 3:]
    blended = pixels[..., :3] * alpha + (1 - alpha) * np.asarray(background, dtype=np.float32)
    return blended.astype(np.float32, copy=False)


def near_and_far(path: PathLike) -> tuple[float, float] | None:
    """Near and far of an NSVF folder: ``near_and_far.txt``, else from all cameras' distances to ``bbox.txt``.

    Without the file, near is the smallest distance of a camera to the box and far the largest one to a corner, as in
    the original code. None if the folder has neither file nor box and poses.

    Raises:
        DatasetError: a file is malformed.
    """
    folder = Path(path)
    if (folder / "near_and_far.txt").is_file():
        near, far = _numbers(folder / "near_and_far.txt", 2)
        return near, far
    files = sorted((folder / "pose").glob("[012]_*.txt"))
    if not files or not (folder / "bbox.txt").is_file():
        return None
    lower, upper = np.asarray(_numbers(folder / "bbox.txt", 6)).reshape(2, 3)
    positions = np.stack([_nsvf_pose(file)[:3, 3] for file in files])
    to_box = np.linalg.norm(np.maximum(np.maximum(lower - positions, positions - upper), 0), axis=1)
    to_corner = np.linalg.norm(np.maximum(np.abs(positions - lower), np.abs(positions - upper)), axis=1)
    return float(to_box.min()), float(to_corner.max())


def background_color(path: PathLike) -> tuple[float, float, float] | None:
    """``background_color.txt`` of an NSVF folder, or None.

    Raises:
        DatasetError: it is malformed.
    """
    file = Path(path) / "background_color.txt"
    if not file.is_file():
        return None
    red, green, blue = _numbers(file, 3)
    return red, green, blue


def _is_nsvf(folder: Path) -> bool:
    return (folder / "pose").is_dir() and (folder / "intrinsics.txt").is_file()


def _camera(pose: NDArray[np.float64], width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> Camera:
    # Integer pixel coordinates in the file, pixel centres at +0.5 in Camera.
    return Camera.from_matrix(pose, width, height, fx=fx, fy=fy, cx=cx + 0.5, cy=cy + 0.5)


def _known(split: str) -> str:
    if split not in SPLITS:
        raise DatasetError(f"split: expected one of {', '.join(SPLITS)}, got {split!r:.40}")
    return split


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matrix(field: str, value: Any) -> NDArray[np.float64]:
    """A camera-to-world matrix [4, 4] from rows of numbers, 3x4 or 4x4."""
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise DatasetError(f"{field}: expected a matrix of 4x4 numbers, got {value!r:.60}")
    if not np.isfinite(matrix).all():
        raise DatasetError(f"{field}: expected finite numbers, got {matrix.tolist()}")
    return np.concatenate([matrix[:3], [[0.0, 0.0, 0.0, 1.0]]])


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(file, _MAX_TEXT, DatasetError))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: expected JSON, got {str(error)[:120]}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{file}: expected a JSON object, got {type(document).__name__}")
    return document


def _rows(file: Path) -> list[list[float]]:
    """The numbers of a text file, line by line; empty lines are left out."""
    try:
        lines = read_text(file, _MAX_TEXT, DatasetError).splitlines()
        rows = [[float(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise DatasetError(f"{file}: expected numbers, got {error}") from error
    if not all(math.isfinite(number) for row in rows for number in row):
        raise DatasetError(f"{file}: expected finite numbers")
    return [row for row in rows if row]


def _numbers(file: Path, count: int) -> list[float]:
    """The first ``count`` numbers of a text file."""
    numbers = [number for row in _rows(file) for number in row]
    if len(numbers) < count:
        raise DatasetError(f"{file}: expected {count} numbers, got {len(numbers)}")
    return numbers[:count]


def _nsvf_pose(file: Path) -> NDArray[np.float64]:
    numbers = np.asarray([number for row in _rows(file) for number in row])
    if numbers.size not in (12, 16):
        raise DatasetError(f"{file}: expected 12 or 16 numbers, got {numbers.size}")
    pose = _matrix(str(file), numbers.reshape(-1, 4))
    pose[:3, 1:3] *= -1  # OpenCV (y down, looks along +z) to OpenGL
    return pose


def _intrinsics(file: Path) -> tuple[float, float, float, float, Size | None]:
    """fx, fy, cx, cy and the size, if the file says it."""
    rows = _rows(file)
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
    if fx <= 0 or fy <= 0 or (size is not None and min(size) < 1):
        raise DatasetError(f"{file}: expected focal lengths and sizes > 0, got {fx}, {fy}, {size}")
    return fx, fy, cx, cy, size


def _view_name(file_path: str) -> str:
    path = Path(file_path)
    return path.stem if path.suffix.lower() in _EXTENSIONS else path.name


def _find_image(folder: Path, name: str) -> Path | None:
    # The extension is added to the whole name: a name may have dots of its own.
    candidates = (folder / f"{name}{extension}" for extension in _EXTENSIONS)
    return next((path for path in candidates if path.is_file()), None)


def _all_or_none(where: Path, images: list[Path | None], names: list[str]) -> list[Path | None]:
    """A data set has photos for every pose or, as a bare list of poses, for none."""
    missing = [name for image, name in zip(images, names, strict=True) if image is None]
    if missing and len(missing) < len(names):
        raise DatasetError(f"{where}: expected a photo for every pose, got none for {missing[0]} (of {len(missing)})")
    return images


def _common_size(images: list[Path | None]) -> Size | None:
    sizes = {path: _image_size(path) for path in images if path is not None}
    if not sizes:
        return None
    first = next(iter(sizes.values()))
    for path, size in sizes.items():
        if size != first:
            raise DatasetError(f"{path}: expected {first[0]}x{first[1]} as the others, got {size[0]}x{size[1]}")
    return first


def _image_size(path: Path) -> Size:
    """Width and height; reads the header only."""
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    """A picture; whatever goes wrong with it is one DatasetError."""
    from PIL import Image  # here, so that a viewer starts without it

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot read this picture: {error}") from error


def _blender_size(file: Path, document: dict[str, Any], images: list[Path | None], given: Size | None) -> Size:
    from_images = _common_size(images)
    if from_images is not None:
        return from_images
    size = (document.get("w"), document.get("h")) if "w" in document and "h" in document else given
    if size is None:
        raise DatasetError(f"{file}: expected photos or a given size, got neither (none of its file_path exists)")
    width, height = size
    if not (_is_number(width) and _is_number(height) and 1 <= width <= 2**16 and 1 <= height <= 2**16):
        raise DatasetError(f"{file}: expected a size from 1x1 to 65536x65536 pixels, got {width!r:.20}x{height!r:.20}")
    return int(width), int(height)
