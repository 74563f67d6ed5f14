"""Where rendered frames go: one PNG each, or a video."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilonerf.model_io import OutputError
from kilonerf.model_io.files.atomic import AtomicFile

from .spherical import png_text
from .video import DEFAULT_QUALITY, VIDEO_SUFFIXES, VideoCodec, VideoWriter, encoders_for

_NUMBER = re.compile(r"%(0\d+)?d")


class FrameSink(Protocol):
    """Takes frames one after the other."""

    def write(
        self,
        number: int,
        picture: NDArray[Any],  # uint8 [H, W, 3]
    ) -> None:
        """Take the frame with this number; raises ``OutputError`` if it cannot be written."""
        ...

    def has(self, number: int) -> bool:
        """Whether this frame was already written, by this or an earlier run."""
        ...

    def close(self) -> None:
        """All frames were given."""
        ...

    def abort(self) -> None:
        """No more frames will come: leave nothing half-written."""
        ...


def write_png(
    path: Path,
    rgb8: NDArray[np.uint8],  # [H, W, 3]
    *,
    spherical: bool = False,
) -> None:
    """Write one picture as PNG, whole or not at all; ``spherical``: say that it shows all directions.

    Raises:
        OutputError: the file cannot be written.
    """
    with AtomicFile(path) as temporary:
        # Level 4: a fifth larger than the default 6, in half the time, and the renderer waits for it.
        text = png_text(rgb8.shape[1], rgb8.shape[0]) if spherical else None
        Image.fromarray(rgb8).save(temporary, format="PNG", compress_level=4, pnginfo=text)


class PngSequence:
    """Numbered PNG files; every frame that was written stays, whatever happens to the later ones.

    Args:
        pattern: a path whose file name holds one ``%d`` or ``%04d``, which becomes the frame's number; or a plain
            name, which takes one frame only.
        spherical: the pictures are panoramas, and say so.

    Raises:
        OutputError: the folder is missing or cannot be written, or the name holds something else after a %.
    """

    def __init__(self, pattern: Path, *, spherical: bool = False) -> None:
        self.pattern, self._spherical = pattern, spherical
        check_png_pattern(pattern)
        AtomicFile(self.path_of(0)).discard()  # finds a folder that cannot be written before anything is rendered

    def path_of(self, number: int) -> Path:
        """The file of one frame."""
        return self.pattern.with_name(_NUMBER.sub(lambda match: match.group() % number, self.pattern.name))

    def write(
        self,
        number: int,
        picture: NDArray[Any],  # uint8 [H, W, 3]
    ) -> None:
        """Write one frame."""
        write_png(self.path_of(number), picture, spherical=self._spherical)

    def has(self, number: int) -> bool:
        """Whether the frame's file is there; it is whole if it is, for it was renamed into place."""
        return self.path_of(number).is_file()

    def close(self) -> None:
        """Every frame is already in its place."""

    def abort(self) -> None:
        """The frames written so far stay."""


class VideoSink:
    """A video; frames must come in order."""

    def __init__(self, writer: VideoWriter) -> None:
        self.writer = writer

    def write(
        self,
        number: int,
        picture: NDArray[Any],  # uint8 [H, W, 3]
    ) -> None:
        """Append one frame; its number is its place."""
        del number
        self.writer.write(picture)

    def has(self, number: int) -> bool:
        """A video is written from the start each time."""
        del number
        return False

    def close(self) -> None:
        """Complete the video and give it its name."""
        self.writer.close()

    def abort(self) -> None:
        """Remove the unfinished video."""
        self.writer.abort()


def check_png_pattern(pattern: Path) -> bool:
    """Whether ``pattern`` numbers its files.

    Raises:
        OutputError: it holds more than one number, or a % that is no number.
    """
    numbers = len(_NUMBER.findall(pattern.name))
    if numbers > 1 or "%" in _NUMBER.sub("", pattern.name):
        raise OutputError(f"{pattern}: expected one number such as %04d in the file name, got {pattern.name!r}")
    return numbers == 1


def check_output(output: Path, frames: int, codec: VideoCodec = "auto") -> None:
    """Check the name of an output for ``frames`` frames, without touching the disk.

    Raises:
        OutputError: unknown ending, or one plain PNG for many frames.
    """
    if output.suffix.lower() in VIDEO_SUFFIXES:
        encoders_for(output, codec)
    elif output.suffix.lower() != ".png":
        expected = ", ".join((*VIDEO_SUFFIXES, ".png"))
        raise OutputError(f"{output}: expected a name ending in {expected}, got {output.suffix!r}")
    elif not check_png_pattern(output) and frames != 1:
        raise OutputError(f"{output}: expected a number such as frame_%04d.png for {frames} frames, got one plain name")


def open_sink(
    output: Path,
    width: int,
    height: int,
    fps: float | Fraction,
    *,
    quality: int = DEFAULT_QUALITY,
    codec: VideoCodec = "auto",
    spherical: bool = False,
) -> FrameSink:
    """Open the place where the frames go; anything that prevents writing is found here.

    ``spherical``: the frames are panoramas, and PNG and mp4 files say so.

    Raises:
        OutputError: unknown ending, or a place that cannot be written.
    """
    if output.suffix.lower() == ".png":
        return PngSequence(output, spherical=spherical)
    return VideoSink(VideoWriter(output, width, height, fps, quality=quality, codec=codec, spherical=spherical))
