"""Depth as numbered files: PNG with 16 bits, or OpenEXR with 32-bit floats."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from kilonerf.kernels import CancelToken, Renderer, RenderOptions
from kilonerf.model_io import Camera, OutputError, Scene
from kilonerf.model_io.files.atomic import AtomicFile

from .picture_files import PngSequence, check_png_pattern

LARGEST = 65535
DEPTH_SUFFIXES = (".png", ".exr")


class DepthSequence(PngSequence):
    """Numbered files of z-depth.

    PNG: 16-bit grey, depth in steps of ``unit`` world units, 0 where there is nothing; the unit is in the text chunk
    ``depth-unit``. EXR: one channel of world units, infinite where there is nothing.

    Args:
        pattern: as of :class:`PngSequence`, ending in ``.png`` or ``.exr``.
        unit: world units of one step in a PNG.

    Raises:
        OutputError: as of :class:`PngSequence`.
    """

    def __init__(self, pattern: Path, unit: float) -> None:
        super().__init__(pattern)
        self._unit = unit

    def write(
        self,
        number: int,
        picture: NDArray[Any],  # float32 [H, W]
    ) -> None:
        """Write one frame."""
        path = self.path_of(number)
        if path.suffix.lower() == ".exr":
            _write_exr(path, picture)
            return
        with np.errstate(invalid="ignore"):
            steps = np.where(np.isfinite(picture), np.clip(np.rint(picture / self._unit), 1, LARGEST), 0)
        text = PngImagePlugin.PngInfo()
        text.add_text("depth-unit", repr(self._unit))
        with AtomicFile(path) as temporary:
            Image.fromarray(steps.astype(np.uint16)).save(temporary, format="PNG", compress_level=4, pnginfo=text)


class DepthMaker:
    """Makes z-depth pictures: float32 [H, W], +inf where there is nothing."""

    def __init__(self, options: RenderOptions) -> None:
        self._options = options

    def picture(self, renderer: Renderer, camera: Camera, cancel: CancelToken) -> NDArray[np.float32]:
        """The depth that ``camera`` sees."""
        return renderer.render(camera, self._options, cancel=cancel).depth


def fitting_unit(farthest: float) -> float:
    """The smallest power of ten as unit of a 16-bit PNG in which ``farthest`` still fits."""
    return 10.0 ** math.ceil(math.log10(max(farthest, 1e-30) / LARGEST))


def farthest_depth(scene: Scene, cameras: Sequence[Camera]) -> float:
    """How far the scene's outermost corner is from any of the cameras at most."""
    box = scene.levels[-1].box
    middle, radius = 0.5 * (box.min + box.max), 0.5 * float(np.linalg.norm(box.max - box.min))
    return radius + max(float(np.linalg.norm(camera.position - middle)) for camera in cameras)


def check_depth_output(output: Path, frames: int) -> None:
    """Check the name of depth files for ``frames`` frames, without touching the disk.

    Raises:
        OutputError: unknown ending, or one plain name for many frames.
    """
    if output.suffix.lower() not in DEPTH_SUFFIXES:
        raise OutputError(f"{output}: expected depth in .png or .exr files, got {output.suffix!r}")
    if not check_png_pattern(output) and frames != 1:
        raise OutputError(f"{output}: expected a number such as depth_%04d.png for {frames} frames, got one plain name")


def _write_exr(path: Path, depth: NDArray[np.float32]) -> None:
    """One channel of 32-bit floats, by FFmpeg's encoder.

    Raises:
        OutputError: it cannot be written.
    """
    height, width = depth.shape
    with AtomicFile(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="image2", options={"update": "1"}) as container:
                stream = container.add_stream("exr", rate=1, options={"format": "float"})
                assert isinstance(stream, VideoStream)  # noqa: S101 - for the type checker
                stream.width, stream.height, stream.pix_fmt = width, height, "grayf32le"
                frame = av.VideoFrame(width, height, "grayf32le")
                plane = frame.planes[0]
                rows = np.zeros((height, plane.line_size // 4), np.float32)
                rows[:, :width] = depth
                plane.update(rows.tobytes())
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (FFmpegError, OSError, ValueError) as error:
            raise OutputError(f"{path}: cannot write: {getattr(error, 'strerror', None) or error}") from error
