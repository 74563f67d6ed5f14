"""Poses for photos that have none: COLMAP's structure from motion (Schönberger and Frahm 2016), run by pycolmap.

The model is kept in ``colmap/sparse/0`` of the photos' folder, where this program and others find it again.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import DatasetError, OutputError
from ..photo_files import listed
from ..pictures import picture_size
from .model import load_pycolmap

FOLDER = "colmap"
_FEWEST_PHOTOS = 3
_ALL_PAIRS = 150  # photos of which every pair is matched; of more, each with those beside it, as of a video
_BESIDE = 20
_LARGEST_SIDE = 1600  # pixels: features of larger photos take longer and place them no better
_FEATURES_AT_ONCE, _PAIRS_AT_ONCE = 8, 200  # photos and pairs between two lines of progress
_MODEL_OF_ONE, _MODEL_OF_SEVERAL = "OPENCV", "SIMPLE_RADIAL"  # lenses: one of all photos bears more parameters


def find_poses(folder: Path, photos: Sequence[Path], say: Callable[[str], None]) -> Path:
    """Find the poses of photos.

    Args:
        folder: the data set; the model is kept in its ``colmap/sparse/0``.
        photos: all in one folder.
        say: takes lines of progress.

    Returns:
        the model's folder.

    Raises:
        DatasetError: pycolmap is not installed, a photo cannot be read, or the photos cannot be placed.
        OutputError: the model cannot be written.
    """
    if len(photos) < _FEWEST_PHOTOS:
        raise DatasetError(
            f"{folder}: expected poses, or at least {_FEWEST_PHOTOS} photos to find them by, got {len(photos)}"
        )
    pycolmap = load_pycolmap(f"{folder}: expected poses of the photos, or pycolmap to find them, got neither")
    sizes = {picture_size(photo) for photo in photos}
    with _workplace(folder) as work:
        # Names without spaces, which end names in COLMAP's lists; the model gets the photos' own.
        names = {f"{number:06d}{photo.suffix.lower()}": photo for number, photo in enumerate(photos)}
        (work / "photos").mkdir()
        for name, photo in names.items():
            (work / "photos" / name).symlink_to(photo.resolve())
        try:
            pycolmap.set_random_seed(0)
            _extract(pycolmap, work, list(names), say, one_lens=len(sizes) == 1)
            _match(pycolmap, work, list(names), say)
            model = _map(pycolmap, work, len(names), say)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise DatasetError(
                f"{folder}: cannot find the photos' poses: COLMAP failed, or ran out of memory"
            ) from error
        if model is None or model.num_reg_images() < _FEWEST_PHOTOS:
            raise DatasetError(
                f"{folder}: cannot find the photos' poses: COLMAP placed too few of the {len(photos)} photos; take "
                "more, sharp ones, each of which shows much of what the ones beside it show, of things that do not "
                "move; or give poses"
            )
        placed = set()
        for image in model.images.values():
            image.name = names[image.name].name
            placed.add(image.name)
        missing = [photo.name for photo in photos if photo.name not in placed]
        say(
            f"{model.num_reg_images()} of {len(photos)} photos are placed, to within "
            f"{model.compute_mean_reprojection_error():.2f} pixels"
            + (f"; not placed, and left out: {listed(missing)}" if missing else "")
        )
        (work / FOLDER / "sparse" / "0").mkdir(parents=True)
        model.write(work / FOLDER / "sparse" / "0")
        try:
            (work / FOLDER).rename(folder / FOLDER)
        except OSError as error:
            if (folder / FOLDER / "sparse" / "0").is_dir():  # another process of this training was faster
                return folder / FOLDER / "sparse" / "0"
            raise OutputError(f"{folder / FOLDER}: cannot write: {error.strerror}") from error
    return folder / FOLDER / "sparse" / "0"


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the photos, on the file system on which the model will be; removed in the end."""
    try:
        work = Path(tempfile.mkdtemp(prefix=".colmap.", suffix=".part", dir=folder))
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot keep the photos' poses there: {error.strerror}; copy the photos to a folder of your own"
        ) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(pycolmap: Any, work: Path, names: list[str], say: Callable[[str], None], *, one_lens: bool) -> None:
    mode = pycolmap.CameraMode.SINGLE if one_lens else pycolmap.CameraMode.AUTO
    reader, options = pycolmap.ImageReaderOptions(), pycolmap.FeatureExtractionOptions()
    reader.camera_model = _MODEL_OF_ONE if one_lens else _MODEL_OF_SEVERAL
    options.max_image_size = _LARGEST_SIDE
    options.num_threads = _threads()
    for begin in range(0, len(names), _FEATURES_AT_ONCE):
        part = names[begin : begin + _FEATURES_AT_ONCE]
        pycolmap.extract_features(
            work / "database.db", work / "photos", part, mode, reader_options=reader, extraction_options=options
        )
        if one_lens:
            reader.existing_camera_id = 1
        say(f"no poses: looking for features, {begin + len(part)} of {len(names)} photos")


def _match(pycolmap: Any, work: Path, names: list[str], say: Callable[[str], None]) -> None:
    count = len(names)
    beside = count if count <= _ALL_PAIRS else _BESIDE
    apart = [*range(1, min(beside + 1, count)), *(1 << power for power in range(5, 20) if beside < 1 << power < count)]
    pairs = [(first, first + step) for step in apart for first in range(count - step)]
    options, matching = pycolmap.ImportedPairingOptions(), pycolmap.FeatureMatchingOptions()
    options.match_list_path = work / "pairs.txt"
    matching.num_threads = _threads()
    for begin in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[begin : begin + _PAIRS_AT_ONCE]
        text = "".join(f"{names[first]} {names[second]}\n" for first, second in part)
        (work / "pairs.txt").write_text(text, encoding="ascii")
        pycolmap.match_image_pairs(work / "database.db", matching, options)
        say(f"no poses: matching photos, {begin + len(part)} of {len(pairs)} pairs")


def _map(pycolmap: Any, work: Path, count: int, say: Callable[[str], None]) -> Any:
    """The largest of the models that COLMAP makes, or None."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = _threads()
    options.min_model_size = _FEWEST_PHOTOS
    (work / "models").mkdir()
    placed = 0

    def first_pair() -> None:
        nonlocal placed
        placed = 2

    def another() -> None:
        nonlocal placed
        placed += 1
        if placed % 5 == 0:
            say(f"no poses: placing photos, {min(placed, count)} of {count}")

    models = pycolmap.incremental_mapping(
        work / "database.db",
        work / "photos",
        work / "models",
        options,
        initial_image_pair_callback=first_pair,
        next_image_callback=another,
    )
    return max(models.values(), key=lambda model: model.num_reg_images(), default=None)


def _threads() -> int:
    """Cores that this process may use, which are fewer than the machine has in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
