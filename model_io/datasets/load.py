"""Cameras and photos of a data set of any kind: Blender (NeRF-Synthetic), NSVF, nerfstudio, instant-ngp, COLMAP, LLFF.

The loaders of NeRF, NSVF and KiloNeRF send a pixel's ray through its integer coordinates, ``(x - cx) / fx``; our
:class:`~kilonerf.model_io.Camera` has pixel centres at +0.5. So 0.5 is added to cx and cy of the first two kinds, and a
scene's pictures come out exactly as its training saw them. The other kinds have their centres at +0.5 themselves.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DatasetError
from .blender import read_blender, transforms_file
from .colmap import find_model, read_colmap
from .inspection import Inspection
from .llff import FILE as LLFF_FILE
from .llff import read_llff
from .nerfstudio import is_nerfstudio, read_nerfstudio, split_names
from .nsvf import is_nsvf, nsvf_splits, read_nsvf
from .photo_files import list_photos
from .pictures import Size
from .views import SPLITS, Dataset, PathLike, known_split


def load_dataset(
    path: PathLike, split: str = "test", size: Size | None = None, *, strict: bool = False, photos: bool = False
) -> Dataset:
    """Read a split of a data set, whichever kind it is.

    Args:
        path: a folder, or a ``.json`` file: a Blender one (``split`` is then not used) or a nerfstudio one.
        split: "train", "val" or "test".
        size: width and height for a Blender or nerfstudio data set without photos.
        strict: refuse what would be left out with a line in ``notes``, as poses without a photo.
        photos: refuse a data set of poses only.

    Raises:
        DatasetError: there is none, or something in it cannot be read: all that is wrong with it, ``faults``, if there
            are several things.
    """
    return load_splits(path, (split,), size, strict=strict, photos=photos)[0]


def load_splits(
    path: PathLike, splits: Sequence[str], size: Size | None = None, *, strict: bool = False, photos: bool = False
) -> list[Dataset]:
    """Read several splits, so that their faults are found together; as :func:`load_dataset`.

    Raises:
        DatasetError: as :func:`load_dataset`.
    """
    inspection, datasets = Inspection(strict=strict, photos=photos), []
    said: set[str] = set()
    for split in splits:
        with inspection.collecting():
            dataset = _read(Path(path), split, size, inspection)
            if not dataset.views and not inspection.faulty:
                inspection.add(f"{path}: expected views in the {split} split, got none")
            notes = [note for note in inspection.take_notes() if note not in said]
            said.update(notes)
            datasets.append(replace(dataset, notes=tuple(notes)))
    inspection.close(Path(path))
    return datasets


def load_for_training(
    path: PathLike, split: str = "train", *, strict: bool = False, photos: bool = True
) -> tuple[Dataset, Dataset | None]:
    """Read the split to learn, and another one, with photos, to look at meanwhile: test, else val.

    What is wrong with the other split is no fault unless it is ``strict``: it is said in the first one's notes.

    Args:
        path: as of :func:`load_dataset`.
        split: to learn.
        strict: as of :func:`load_dataset`, for both.
        photos: whether the split to learn must have photos.

    Raises:
        DatasetError: as :func:`load_dataset`.
    """
    if strict:
        other = _other_split(path, split)
        both = load_splits(path, (split, *([other] if other else [])), strict=True, photos=photos)
        return both[0], both[1] if other else None
    dataset = load_dataset(path, split, photos=photos)
    try:
        other = _other_split(path, split)
        if other is None:
            return dataset, None
        second = load_dataset(path, other, photos=True)
    except DatasetError as error:
        reason = error.faults[0] if error.faults else str(error)
        more = f" (and {len(error.faults) - 1} more)" if error.faults else ""
        note = f"no previews while training, for the split for testing cannot be read: {reason}{more}"
        return replace(dataset, notes=(*dataset.notes, note)), None
    notes = tuple(note for note in second.notes if note not in dataset.notes)
    return dataset, replace(second, notes=notes)


def available_splits(path: PathLike) -> tuple[str, ...]:
    """Which of train, val and test a data set has; a Blender ``.json`` file has one of unknown name: ().

    Raises:
        DatasetError: a ``transforms.json`` cannot be read.
    """
    folder = Path(path)
    if is_nsvf(folder):
        return nsvf_splits(folder)
    if _has_split_files(folder):
        return tuple(split for split in SPLITS if (folder / f"transforms_{split}.json").is_file())
    file = _single_file(folder)
    if file is not None:
        return split_names(file)
    held_out = folder.is_dir() and (find_model(folder) is not None or (folder / LLFF_FILE).is_file())
    return ("train", "test") if held_out else ()


def photos_without_poses(path: PathLike) -> list[Path]:
    """The photos of a folder (or of ``images/`` in it) that has no poses of any kind; else []."""
    folder = Path(path)
    if not folder.is_dir() or is_nsvf(folder) or _has_split_files(folder) or _single_file(folder) is not None:
        return []
    if (folder / LLFF_FILE).is_file() or find_model(folder) is not None:
        return []
    return list_photos(folder / "images") or list_photos(folder)


def _other_split(path: PathLike, split: str) -> str | None:
    splits = available_splits(path)
    return next((name for name in ("test", "val") if name in splits and name != split), None)


def _read(path: Path, split: str, size: Size | None, inspection: Inspection) -> Dataset:
    if is_nsvf(path):
        return read_nsvf(path, split, inspection)
    file = _single_file(path)
    if file is not None:
        return read_nerfstudio(file, split, size, inspection)
    if not path.is_dir() or _has_split_files(path):
        file = transforms_file(path, split)
        if not file.exists() and path.is_dir():
            there = ", ".join(available_splits(path))
            raise DatasetError(f"{file}: expected a file, got nothing there; of splits there are {there} (--split)")
        if is_nerfstudio(file):
            return read_nerfstudio(file, None, size, inspection)
        return read_blender(file, size, inspection)
    if find_model(path) is not None:
        return read_colmap(path, split, inspection)
    if (path / LLFF_FILE).is_file():
        return read_llff(path, split, inspection)
    photos = photos_without_poses(path)
    hint = f"; there are {len(photos)} photos, whose poses kilonerf-train can find" if photos else ""
    raise DatasetError(
        f"{path}: expected transforms_{known_split(split)}.json (Blender) or pose/ and intrinsics.txt (NSVF), "
        f"transforms.json (nerfstudio), sparse/0/ (COLMAP) or {LLFF_FILE} (LLFF), got none of them{hint}"
    )


def _has_split_files(folder: Path) -> bool:
    """Whether there is a file for each split. Others of like names, as ``transforms_backup.json``, are none."""
    return folder.is_dir() and any((folder / f"transforms_{split}.json").is_file() for split in SPLITS)


def _single_file(path: Path) -> Path | None:
    """The ``transforms.json`` that holds all splits, or None."""
    if path.is_dir():
        file = path / "transforms.json"
        return file if file.is_file() and not _has_split_files(path) else None
    if path.name == "transforms.json":  # whatever its fields are: as its folder is read
        return path if path.is_file() else None
    own = path.suffix == ".json" and path.stem.removeprefix("transforms_") not in SPLITS and is_nerfstudio(path)
    return path if own else None
