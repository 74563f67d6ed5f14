"""Where other programs' coordinates are in those of a scene, which are its data set's."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import CameraPathError
from ...files.json_values import is_array, is_object
from ...files.text import read_text

Float = NDArray[np.float64]

NGP_SCALE, NGP_OFFSET = 0.33, (0.5, 0.5, 0.5)
"""instant-ngp's own, where a data set says none (``NerfDataset``, nerf_loader.h)."""
LARGEST_FILE = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Similarity:
    """From another program's world to the scene's: ``p -> scale * rotation @ p + offset``.

    Attributes:
        rotation: [3, 3].
        offset: [3].
        scale: more than 0.
    """

    rotation: Float = field(default_factory=lambda: np.eye(3))
    offset: Float = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0

    def to_scene(self, c2w: ArrayLike) -> Float:
        """A camera-to-world matrix [4, 4] of the other program's world, in the scene's."""
        matrix = np.array(c2w, np.float64)
        matrix[:3, :3] = self.rotation @ matrix[:3, :3]
        matrix[:3, 3] = self.scale * self.rotation @ matrix[:3, 3] + self.offset
        return matrix

    def from_scene(self, c2w: ArrayLike) -> Float:
        """The inverse of :meth:`to_scene`."""
        matrix = np.array(c2w, np.float64)
        matrix[:3, :3] = self.rotation.T @ matrix[:3, :3]
        matrix[:3, 3] = self.rotation.T @ (matrix[:3, 3] - self.offset) / self.scale
        return matrix


@dataclass(frozen=True)
class Worlds:
    """What is known about a scene's data set; without it, other programs' defaults hold.

    Attributes:
        dataparser: nerfstudio's ``dataparser_transforms.json`` of a training; None: it changed no coordinates.
        transforms: the data set's ``transforms.json``: ``applied_transform`` and ``applied_scale`` for nerfstudio,
            ``scale`` and ``offset`` for instant-ngp.
        origin: of the scene's coordinates in those of its data set, see ``scene_origin``.
    """

    dataparser: Path | None = None
    transforms: Path | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def nerfstudio(self) -> Similarity:
        """The normalised world of nerfstudio.

        The transform that it saves is from before what the data set's ``applied_transform`` did; the scene's
        coordinates, as those of the file's poses, are from after that. Its scale has ``applied_scale`` in it.

        Raises:
            CameraPathError: a file cannot be read, or holds no similarity.
        """
        if self.dataparser is None:
            return self._placed(Similarity())
        document = _object(self.dataparser)
        transform = _affine(document.get("transform"), f"{self.dataparser}: transform")
        scale = _positive(document.get("scale"), f"{self.dataparser}: scale")
        applied, applied_scale = np.eye(4), 1.0
        if self.transforms is not None:
            meta = _object(self.transforms)
            if "applied_transform" in meta:
                applied = _affine(meta["applied_transform"], f"{self.transforms}: applied_transform")
            if "applied_scale" in meta:
                applied_scale = _positive(meta["applied_scale"], f"{self.transforms}: applied_scale")
        back = applied @ np.linalg.inv(transform)
        return self._placed(Similarity(back[:3, :3], back[:3, 3], applied_scale / scale))

    def instant_ngp(self) -> Similarity:
        """instant-ngp's unit cube, its axes still in the data set's order.

        Raises:
            CameraPathError: ``transforms`` cannot be read.
        """
        scale, offset = NGP_SCALE, np.array(NGP_OFFSET)
        if self.transforms is not None:
            meta = _object(self.transforms)
            if "scale" in meta:
                scale = _positive(meta["scale"], f"{self.transforms}: scale")
            if "offset" in meta:
                offset = _vector(meta["offset"], 3, f"{self.transforms}: offset")
        return self._placed(Similarity(offset=-offset / scale, scale=1.0 / scale))

    def lichtfeld(self) -> Similarity:
        """LichtFeld Studio's window: y and z point the other way than in its data set."""
        return self._placed(Similarity(np.diag([1.0, -1.0, -1.0])))

    def _placed(self, similarity: Similarity) -> Similarity:
        return Similarity(similarity.rotation, similarity.offset - np.array(self.origin), similarity.scale)


def _object(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(file, LARGEST_FILE, CameraPathError))
    except (ValueError, RecursionError) as error:
        raise CameraPathError(f"{file}: expected JSON, got: {error}") from error
    if not is_object(document):
        raise CameraPathError(f"{file}: expected an object, got {type(document).__name__}")
    return document


def _affine(value: Any, where: str) -> Float:
    """[4, 4] from three or four rows of four numbers: a rotation and a translation."""
    rows = [_vector(row, 4, where) for row in value] if is_array(value) else []
    if len(rows) not in (3, 4):
        raise CameraPathError(f"{where}: expected 3 or 4 rows of 4 numbers, got {repr(value)[:80]}")
    matrix = np.eye(4)
    matrix[:3] = rows[:3]
    if np.abs(matrix[:3, :3].T @ matrix[:3, :3] - np.eye(3)).max() > 1e-3:
        raise CameraPathError(f"{where}: expected a rotation without scale, got {matrix[:3, :3].tolist()}")
    return matrix


def _vector(value: Any, count: int, where: str) -> Float:
    numbers = value if is_array(value) else []
    if len(numbers) != count or not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers):
        raise CameraPathError(f"{where}: expected {count} numbers, got {repr(value)[:80]}")
    return np.array(numbers, np.float64)


def _positive(value: Any, where: str) -> float:
    number = float(_vector([value], 1, where)[0])
    if number <= 0.0:
        raise CameraPathError(f"{where}: expected more than 0, got {number}")
    return number
