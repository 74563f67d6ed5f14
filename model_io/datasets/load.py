"""Cameras and photos of a data set: Blender (NeRF-Synthetic), NSVF, nerfstudio and instant-ngp, COLMAP.

The loaders of NeRF, NSVF and KiloNeRF send a pixel's ray through its integer coordinates, ``(x - cx) / fx``; our
:class:`~kilonerf.model_io.Camera` has pixel centres at +0.5. So 0.5 is added to cx and cy of the first two kinds, and a
scene's pictures come out exactly as its training saw them. The other two kinds have their centres at +0.5 themselves.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import DatasetError
from .blender import read_blender, transforms_file
from .colmap import find_model, read_colmap
from .inspection import Inspection
from .nerfstudio import is_nerfstudio, read_nerfstudio, split_names
from .nsvf import background_color, bounding_box, is_nsvf, near_and_far, read_nsvf
from .pictures import Size
from .views import SPLITS, Dataset, PathLike, known_split


def load_dataset(path: PathLike, split: str = "test", size: Size | None = None) -> Dataset:
    """Read a split of a data set, whichever kind it is.

    Args:
        path: a folder, or a ``.json`` file: a Blender one (``split`` is then not used) or a nerfstudio one.
        split: "train", "val" or "test".
        size: width and height for a Blender or nerfstudio data set without photos.

    Raises:
        DatasetError: there is none, or something in it cannot be read: all that is wrong with it, ``faults``, if there
            are several things.
    """
    return load_splits(path, (split,), size)[0]


def load_splits(path: PathLike, splits: Sequence[str], size: Size | None = None) -> list[Dataset]:
    """Read several splits, so that their faults are found together; as :func:`load_dataset`.

    Raises:
        DatasetError: as :func:`load_dataset`.
    """
    inspection, datasets = Inspection(), []
    for split in splits:
        with inspection.collecting():
            datasets.append(_read(Path(path), split, size, inspection))
    inspection.close(Path(path))
    return datasets


def available_splits(path: PathLike) -> tuple[str, ...]:
    """Which of train, val and test a data set has; a Blender ``.json`` file has one of unknown name: ().

    Raises:
        DatasetError: a ``transforms.json`` cannot be read.
    """
    folder = Path(path)
    if is_nsvf(folder):
        return tuple(split for number, split in enumerate(SPLITS) if any((folder / "pose").glob(f"{number}_*.txt")))
    if _has_split_files(folder):
        return tuple(split for split in SPLITS if (folder / f"transforms_{split}.json").is_file())
    file = _single_file(folder)
    if file is not None:
        return split_names(file)
    return ("train", "test") if folder.is_dir() and find_model(folder) is not None else ()


def _read(path: Path, split: str, size: Size | None, inspection: Inspection) -> Dataset:
    if is_nsvf(path):
        return _read_nsvf(path, split, inspection)
    file = _single_file(path)
    if file is not None:
        return Dataset("nerfstudio", read_nerfstudio(file, split, size, inspection))
    if not path.is_dir() or _has_split_files(path):
        return _read_split_file(transforms_file(path, split), size, inspection)
    if find_model(path) is not None:
        views, points = read_colmap(path, split, inspection)
        return Dataset("colmap", views, points=points)
    raise DatasetError(
        f"{path}: expected transforms_{known_split(split)}.json (Blender) or pose/ and intrinsics.txt (NSVF), "
        "transforms.json (nerfstudio) or sparse/0/ (COLMAP), got none of them"
    )


def _read_nsvf(folder: Path, split: str, inspection: Inspection) -> Dataset:
    near, far, background, box = None, None, None, None
    with inspection.collecting():
        near, far = near_and_far(folder) or (None, None)
    with inspection.collecting():
        background = background_color(folder)
    with inspection.collecting():
        box = bounding_box(folder)
    return Dataset("nsvf", read_nsvf(folder, split, inspection), near, far, background, box)


def _read_split_file(file: Path, size: Size | None, inspection: Inspection) -> Dataset:
    if is_nerfstudio(file):
        return Dataset("nerfstudio", read_nerfstudio(file, None, size, inspection))
    return Dataset("blender", read_blender(file, size, inspection))


def _has_split_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("transforms_*.json"))


def _single_file(path: Path) -> Path | None:
    """The ``transforms.json`` that holds all splits, or None."""
    if path.is_dir():
        file = path / "transforms.json"
        return file if file.is_file() and not _has_split_files(path) else None
    own = path.suffix == ".json" and path.stem.removeprefix("transforms_") not in SPLITS and is_nerfstudio(path)
    return path if own else None
