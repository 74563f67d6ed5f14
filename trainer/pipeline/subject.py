"""What a training is of: views, their photos and the box around the scene."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kilonerf.model_io import DatasetError, UsageError
from kilonerf.model_io.datasets import Dataset, View, load_for_training, photos_without_poses
from kilonerf.model_io.datasets.colmap import find_poses

from ..data.bounds import Bounds, find_bounds
from ..data.captures import capture_bounds
from ..data.frame import Frame
from ..data.photos import DEFAULT_MEMORY, Photos
from ..data.resolution import fitting_downscale
from ..data.silhouettes import plain_background

PREVIEWS = 3
_LOOKED_AT = 1000  # pixels of the longer side of photos that a box is found by, where their size is chosen by it


@dataclass(frozen=True)
class Subject:
    """What is trained on.

    Attributes:
        dataset: views for training, inside ``frame``.
        photos: their pixels, likewise; None where only a finished teacher is distilled.
        bounds: the box around the scene, likewise.
        source: a name for the data, for the scene's provenance.
        frame: what it is brought into for training, and back from.
        found: the box in the data set's own coordinates.
        downscale: by which factor the photos are smaller than their files.
    """

    dataset: Dataset
    photos: Photos | None
    bounds: Bounds
    source: str
    frame: Frame = field(default_factory=Frame)
    found: Bounds | None = None
    downscale: int = 1


def find_missing_poses(path: Path, say: Callable[[str], None]) -> None:
    """COLMAP finds the poses of photos that have none, and keeps them there; nothing to do for other data sets.

    Raises:
        DatasetError: they cannot be found.
    """
    unplaced = photos_without_poses(path)
    if unplaced:
        find_poses(path, unplaced, say)


def read_subject(
    path: Path,
    *,
    split: str = "train",
    downscale: int | None = None,
    voxels: int = 256,
    memory: int = DEFAULT_MEMORY,
    box: Sequence[float] | None = None,
    levels: int | None = None,
    with_photos: bool = True,
    strict: bool = False,
    say: Callable[[str], None] | None = None,
) -> tuple[Subject, list[View]]:
    """Read a data set for training. COLMAP first finds the poses of photos that have none, and keeps them there.

    Args:
        path: the data set.
        split: the split to learn.
        downscale: photos are made smaller by this factor; left out: by what fits the scene (:mod:`..data.resolution`).
        voxels: occupancy voxels along the longest side of the box, for that.
        memory: bytes of photos that are kept in memory; more are streamed from a temporary file.
        box: lower and upper corner of the box around the scene, six numbers; found if left out.
        levels: of nested boxes; 1: everything is in the box. Found if left out, as far as the box is.
        with_photos: whether their pixels are needed.
        strict: refuse a data set of which anything would be left out.
        say: takes lines about what is left out, and of progress while COLMAP finds poses.

    Returns:
        the subject, and some views to look at while training, of another split if there is one.

    Raises:
        DatasetError: the data set cannot be read, has no views for training, or nothing to find a box by.
        UsageError: the box is none.
    """
    say = say or (lambda line: None)
    find_missing_poses(path, say)
    dataset, other = load_for_training(path, split, strict=strict, photos=with_photos)
    for note in dict.fromkeys((*dataset.notes, *(other.notes if other else ()))):
        say(f"note: {' '.join(note.split())}")
    if not dataset.views:
        raise DatasetError(f"{path}: expected views to train on, got none in split {split}")
    factor = downscale or (-(-_longest(dataset) // _LOOKED_AT) if with_photos else 1)
    photos = Photos(dataset.views, downscale=factor, memory=memory) if with_photos else None
    bounds = _bounds(dataset, photos, box, levels)
    if downscale is None and photos is not None:
        downscale = fitting_downscale(dataset, bounds, voxels)
        if downscale != factor:
            photos = Photos(dataset.views, downscale=downscale, memory=memory)
            bounds = _bounds(dataset, photos, box, levels)
        if downscale > 1:
            size = f"{photos.cameras[0].width}x{photos.cameras[0].height} pixels"
            say(
                f"photos are made smaller by {downscale}, to {size}: the networks hold no finer details "
                "(--downscale 1 keeps them)"
            )
    looked_at = [view for view in (other or dataset).views if view.image_path is not None]
    previews = looked_at[:: max(1, -(-len(looked_at) // PREVIEWS))]
    if photos is not None and dataset.background is None and bounds.source.startswith("silhouettes"):
        dataset = replace(dataset, background=plain_background(photos))
    frame = Frame.of([view.camera for view in dataset.views], bounds)
    say(str(bounds) + ("" if frame.is_identity else f"; {frame}"))
    if photos is not None:
        photos = photos.placed([frame.camera(camera) for camera in photos.cameras])
    source = Path(path).resolve().name
    subject = Subject(frame.dataset(dataset), photos, frame.bounds(bounds), source, frame, bounds, downscale or 1)
    return subject, [frame.seen(view) for view in previews]


def _bounds(dataset: Dataset, photos: Photos | None, box: Sequence[float] | None, levels: int | None) -> Bounds:
    """The box that was asked for, or else what is found."""
    if box is not None:
        x0, y0, z0, x1, y1, z1 = box
        if not (x0 < x1 and y0 < y1 and z0 < z1):
            raise UsageError(f"--box: expected a lower corner below the upper one, got {tuple(box)}")
        return Bounds((x0, y0, z0), (x1, y1, z1), "the command line", levels=levels or 1)
    bounds = find_bounds(dataset, photos)
    if levels != 1 and (bounds.surrounded or levels is not None):
        return capture_bounds(dataset, levels)
    return bounds


def _longest(dataset: Dataset) -> int:
    return max(max(view.camera.width, view.camera.height) for view in dataset.views)
