"""The photos of a split for training: all pixels in one array, and random batches of rays with what they should see.

A batch depends on the seed and the step only (counter-based random numbers: Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"), never on the batches before it: a resumed run draws the very same ones.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import Camera, DatasetError, OutputError, TrainingError, View
from kilonerf.model_io.datasets import load_mask, load_pixels
from kilonerf.model_io.datasets.inspection import raise_faults

from ..loop.schedule import Prefetcher, uniform

DEFAULT_MEMORY = 4 * 2**30  # bytes of photos that are kept in memory
Background = tuple[float, float, float] | Literal["random"]
_PIXELS, _BACKGROUNDS = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class RayBatch:
    """Rays of random pixels, and what they should see; all tensors on one device.

    Attributes:
        origins: float32 [N, 3], the cameras' positions.
        directions: float32 [N, 3], not normalised: the ray parameter is z-depth, as :class:`Camera` says.
        rgb: float32 [N, 3] in [0, 1], the photo over the background.
        background: float32 [N, 3], the colour behind each ray.
        views: int64 [N], whose photo each is of.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    rgb: torch.Tensor
    background: torch.Tensor
    views: torch.Tensor

    def __getitem__(self, part: slice) -> "RayBatch":
        """Some of the rays; not a copy."""
        return RayBatch(**{name: tensor[part] for name, tensor in vars(self).items()})

    def to(self, device: torch.device | str) -> "RayBatch":
        """The same rays on a device."""
        return RayBatch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


class Photos:
    """All pixels of some views, in memory or, where they take more than is allowed, in a mapped temporary file.

    Pictures may be of different sizes. Colours are kept in 8 bits, also when they are downscaled: rounded to within
    0.5 / 255. The temporary file has no name, so that nothing of it is left however the program ends. Each batch
    then reads as many scattered pages as it has rays: it belongs on a solid-state disk.

    Attributes:
        cameras: one for each view, of the downscaled pictures.
        names: the views' names.
        pixels: uint8 [P, 3 or 4], view after view, row after row; RGBA as soon as one photo has transparency.
        offsets: int64 [V + 1], where each view's pixels begin.
        in_memory: whether the pixels are in memory, not in a file.
    """

    def __init__(
        self,
        views: Sequence[View],
        *,
        downscale: int = 1,
        memory: int = DEFAULT_MEMORY,
        cache_folder: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Read all photos.

        Args:
            views: of a data set.
            downscale: the area of so many pixels squared becomes one; columns and rows left over are cut off at the
                right and the bottom.
            memory: bytes; where the pixels take more, they are streamed from a file.
            cache_folder: where that file is made; the system's folder for temporary files if left out.
            progress: is told the number of photos read and of all.

        Raises:
            DatasetError: photos are missing, broken, or smaller than ``downscale``: all of them are named.
            OutputError: the file cannot be written.
        """
        if not views:
            raise DatasetError("photos: expected at least one view, got none")
        self.cameras, faults = _downscaled_cameras(views, downscale)
        raise_faults("photos", faults)
        self.names = [view.name for view in views]
        self.offsets = np.concatenate([[0], np.cumsum([c.width * c.height for c in self.cameras], dtype=np.int64)])
        self.in_memory = True
        self.pixels = self._read(views, downscale, memory, cache_folder, progress)
        self._learnt = _learnt_pixels(views, downscale, self.offsets)
        self._among: tuple[object, NDArray[np.integer]] | None = None
        self._tables = _camera_tables(self.cameras)
        self._one_size = len({(c.width, c.height) for c in self.cameras}) == 1

    def __len__(self) -> int:
        return len(self.cameras)

    def placed(self, cameras: Sequence[Camera]) -> "Photos":
        """The same pixels, not copied, seen by cameras that are elsewhere."""
        photos = copy(self)
        photos.cameras = list(cameras)
        photos._tables = _camera_tables(photos.cameras)
        return photos

    @property
    def has_alpha(self) -> bool:
        """Whether the photos have transparency."""
        return self.pixels.shape[1] == 4

    def image(self, view: int) -> NDArray[np.uint8]:
        """A view's picture, uint8 [H, W, 3 or 4]; not a copy."""
        camera = self.cameras[view]
        own = self.pixels[self.offsets[view] : self.offsets[view + 1]]
        return own.reshape(camera.height, camera.width, -1)

    def blended(self, view: int, background: tuple[float, float, float]) -> NDArray[np.float32]:
        """A view's picture over a background, float32 [H, W, 3] in [0, 1]."""
        return _over(self.image(view), np.asarray(background, dtype=np.float32))

    def batch(
        self,
        seed: int,
        step: int,
        size: int,
        background: Background = (1.0, 1.0, 1.0),
        among: NDArray[np.integer] | None = None,
    ) -> RayBatch:
        """Draw rays, uniformly from all pixels of all views that no mask hides, with replacement.

        Args:
            seed: of the run, 0 to 2^64 - 1.
            step: of the training, from 0.
            size: number of rays N.
            background: RGB in [0, 1] behind transparent pixels, or "random": another for each ray.
            among: integers [C], draw from these pixels only, given by their places in the array of all.
        """
        pixels = self.draw(seed, step, size, among)
        behind: NDArray[np.float32]
        if background == "random":
            behind = uniform(seed, step, _BACKGROUNDS, 3 * size).reshape(size, 3).astype(np.float32)
        else:
            behind = np.tile(np.asarray(background, dtype=np.float32), (size, 1))
        rgb = _over(np.take(self.pixels, pixels, axis=0), behind)
        return RayBatch(*map(torch.from_numpy, (*self.rays(pixels), rgb, behind, self.views_of(pixels))))

    def num_batches(self, size: int, most: int) -> int:
        """How many batches of ``size`` pixels have about as many as there are, or ``most`` if fewer; at least 1."""
        return max(1, -(-min(most, int(self.offsets[-1])) // size))

    def draw(self, seed: int, step: int, size: int, among: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """The pixels of a batch, int64 [N], by their places in the array of all; arguments as for :meth:`batch`."""
        among = self._unmasked(among)
        count = int(self.offsets[-1]) if among is None else len(among)
        if not count:
            raise TrainingError(
                "training: expected pixels whose rays meet something, got none: everything in the box was found to be "
                "empty; look at the box (--box, kilonerf-info --picture), the poses and the --background"
            )
        pixels = (uniform(seed, step, _PIXELS, size) * count).astype(np.int64)
        return pixels if among is None else among[pixels].astype(np.int64)

    def mean_color(self) -> tuple[float, float, float]:
        """Of some of the pixels, red, green and blue, 0 to 1."""
        red, green, blue = (self.pixels[:: max(1, len(self.pixels) // 100_000), :3].mean(axis=0) / 255.0).tolist()
        return red, green, blue

    def _unmasked(self, among: NDArray[np.integer] | None) -> NDArray[np.integer] | None:
        """Those of ``among`` that no mask hides; the last answer is kept, for ``among`` seldom changes."""
        if self._learnt is None:
            return among
        if self._among is None or self._among[0] is not among:
            kept = np.flatnonzero(self._learnt) if among is None else among[self._learnt[among]]
            if not len(kept):
                raise DatasetError("masks: expected pixels to learn, got none that no mask hides")
            self._among = among, kept
        return self._among[1]

    def rays(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Origins and directions, float32 [N, 3] each, of pixels by their places in the array of all."""
        views = self.views_of(pixels)
        tables = self._tables
        rows, columns = np.divmod(pixels - self.offsets[views], tables.width[views])
        x = (columns + 0.5 - tables.cx[views]) / tables.fx[views]
        y = (rows + 0.5 - tables.cy[views]) / tables.fy[views]
        axes = tables.rotation[views]
        directions = axes[:, :, 0] * x[:, None] - axes[:, :, 1] * y[:, None] - axes[:, :, 2]
        return tables.origin[views], directions.astype(np.float32)

    def views_of(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The views of pixels by their places in the array of all, [N]."""
        if self._one_size:
            return pixels // self.offsets[1]
        return np.searchsorted(self.offsets, pixels, side="right") - 1

    def _read(
        self,
        views: Sequence[View],
        downscale: int,
        memory: int,
        cache_folder: Path | None,
        progress: Callable[[int, int], None] | None,
    ) -> NDArray[np.uint8]:
        """All photos into one array; faults of all of them into one error."""
        count, faults = int(self.offsets[-1]), []
        pixels: NDArray[np.uint8] | None = None
        for index, view in enumerate(views):
            try:
                picture = _downscaled(load_pixels(view), downscale)
            except DatasetError as error:
                faults.append(str(error))
                continue
            if pixels is None:
                pixels = self._allocate(count, picture.shape[2], memory, cache_folder)
            elif picture.shape[2] > pixels.shape[1]:  # the first one with transparency
                pixels = self._widened(pixels, int(self.offsets[index]), memory, cache_folder)
            own = pixels[self.offsets[index] : self.offsets[index + 1]]
            own[:, : picture.shape[2]] = picture.reshape(-1, picture.shape[2])
            own[:, picture.shape[2] :] = 255
            if progress is not None:
                progress(index + 1, len(views))
        raise_faults("photos", faults)
        assert pixels is not None  # noqa: S101 - there is a view, and each has pixels or a fault
        return pixels

    def _allocate(self, count: int, channels: int, memory: int, cache_folder: Path | None) -> NDArray[np.uint8]:
        size = count * channels
        if size <= memory:
            return np.empty((count, channels), np.uint8)
        self.in_memory = False
        try:
            with tempfile.TemporaryFile(prefix="kilonerf-photos-", dir=cache_folder) as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk ends the program in the middle of a write
                    os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "r+", shape=(count, channels))
        except OSError as error:
            where = cache_folder or tempfile.gettempdir()
            raise OutputError(f"{where}: cannot cache {size} bytes of photos: {error.strerror or error}") from error

    def _widened(
        self, pixels: NDArray[np.uint8], filled: int, memory: int, cache_folder: Path | None
    ) -> NDArray[np.uint8]:
        """RGBA for what was RGB; the photos so far are opaque."""
        wide = self._allocate(len(pixels), 4, memory, cache_folder)
        wide[:filled, :3] = pixels[:filled]
        wide[:filled, 3] = 255
        return wide


def prefetched_batches(
    photos: Photos,
    rays: int,
    background: Background,
    *,
    random_background: bool,
    seed: int,
    device: torch.device | str = "cpu",
    among: NDArray[np.integer] | None = None,
) -> Prefetcher[RayBatch]:
    """Batches by their steps on a device, made one step ahead.

    Args:
        photos: of these.
        rays: of a batch.
        background: RGB behind the photos, or "random": other colours for each ray.
        random_background: where photos have transparency, every other batch has random colours behind them.
        seed: of the batches.
        device: where they are needed.
        among: as in :meth:`Photos.batch`.
    """
    behind: tuple[Background, Background] = (background, background)
    if random_background and photos.has_alpha:
        behind = (background, "random")
    return Prefetcher(lambda step: photos.batch(seed, step, rays, behind[step % 2], among=among).to(device))


@dataclass(frozen=True)
class _CameraTables:
    """What :meth:`Photos.rays` looks up for each ray, [V] and [V, 3, 3]."""

    origin: NDArray[np.float32]
    rotation: NDArray[np.float64]
    width: NDArray[np.int64]
    fx: NDArray[np.float64]
    fy: NDArray[np.float64]
    cx: NDArray[np.float64]
    cy: NDArray[np.float64]


def _camera_tables(cameras: Sequence[Camera]) -> _CameraTables:
    return _CameraTables(
        origin=np.array([camera.position for camera in cameras], np.float32),
        rotation=np.array([camera.matrix[:3, :3] for camera in cameras]),
        width=np.array([camera.width for camera in cameras]),
        fx=np.array([camera.fx for camera in cameras]),
        fy=np.array([camera.fy for camera in cameras]),
        cx=np.array([camera.cx for camera in cameras]),
        cy=np.array([camera.cy for camera in cameras]),
    )


def _learnt_pixels(
    views: Sequence[View], downscale: int, offsets: NDArray[np.int64]
) -> NDArray[np.bool_] | None:  # [P]
    """Which pixels no mask hides, view after view; None where no view has a mask.

    Raises:
        DatasetError: a mask cannot be read: all of them are named.
    """
    if not any(view.mask for view in views):
        return None
    learnt, faults = np.ones(int(offsets[-1]), np.bool_), []
    for index, view in enumerate(views):
        try:
            mask = load_mask(view)
        except DatasetError as error:
            faults.append(str(error))
            continue
        if mask is not None:
            height, width = mask.shape[0] // downscale, mask.shape[1] // downscale
            blocks = mask[: height * downscale, : width * downscale].reshape(height, downscale, width, downscale)
            learnt[offsets[index] : offsets[index + 1]] = blocks.all(axis=(1, 3)).reshape(-1)
    raise_faults("masks", faults)
    return learnt


def _downscaled_cameras(views: Sequence[View], downscale: int) -> tuple[list[Camera], list[str]]:
    """The cameras of the downscaled pictures, and a line for each view that has no photo or too small a one."""
    cameras, faults = [], []
    if downscale < 1:
        raise DatasetError(f"downscale: expected at least 1, got {downscale}")
    for view in views:
        camera = view.camera
        if view.image_path is None:
            faults.append(f"view {view.name}: expected a photo, got none in this data set")
        elif min(camera.width, camera.height) < downscale:
            size = f"{camera.width}x{camera.height}"
            faults.append(f"{view.image_path}: expected at least {downscale} pixels each way to downscale, got {size}")
        else:
            cameras.append(camera.downscaled(downscale))
    return cameras, faults


def _downscaled(pixels: NDArray[np.uint8], downscale: int) -> NDArray[np.uint8]:
    """Each block of ``downscale`` squared pixels becomes their mean; colours count as much as they are opaque."""
    if downscale == 1:
        return pixels
    height, width, channels = pixels.shape[0] // downscale, pixels.shape[1] // downscale, pixels.shape[2]
    cut = pixels[: height * downscale, : width * downscale]
    blocks = cut.reshape(height, downscale, width, downscale, channels).astype(np.float32)
    if channels == 3:
        mean = blocks.mean(axis=(1, 3))
    else:
        alpha = blocks[..., 3:]
        weight = alpha.sum(axis=(1, 3))
        color = (blocks[..., :3] * alpha).sum(axis=(1, 3)) / np.maximum(weight, 1e-6)
        mean = np.concatenate([color, weight / downscale**2], axis=-1)
    return np.rint(mean).astype(np.uint8)


def _over(
    pixels: NDArray[np.uint8],  # [..., 3 or 4]
    background: NDArray[np.float32],  # [..., 3] or [3]
) -> NDArray[np.float32]:
    """Colours over a background, float32 [..., 3] in [0, 1]."""
    values = pixels.astype(np.float32) * np.float32(1 / 255)
    if values.shape[-1] == 3:
        return values
    alpha = values[..., 3:]
    blended = values[..., :3] * alpha + background * (1 - alpha)
    return blended.astype(np.float32, copy=False)
