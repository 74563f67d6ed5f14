"""Writes pictures into an mp4 or webm file with PyAV."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kilonerf.model_io import OutputError, UsageError
from kilonerf.model_io.files.atomic import AtomicFile

from .frame_rate import exact_rate
from .spherical import mark_spherical

VideoCodec = Literal["auto", "h264", "vp9", "av1"]
DEFAULT_QUALITY = 80

# ITU-T H.273: what tells a player to show the colours of the PNGs.
BT709 = 1
TRANSFER_SRGB = 13
RANGE_LIMITED = 1


@dataclass(frozen=True)
class _Encoder:
    """One of FFmpeg's encoders: how it is asked for a constant quality."""

    name: str
    rate_option: str
    worst: int  # rate factor at quality 0
    best: int  # at quality 100
    options: Mapping[str, str]

    def options_at(self, quality: int) -> dict[str, str]:
        factor = round(self.worst + (self.best - self.worst) * quality / 100)
        return {**self.options, self.rate_option: str(factor)}


_H264_NVENC = _Encoder("h264_nvenc", "cq", 42, 12, {"rc": "vbr", "preset": "p5"})
_H264 = _Encoder("libx264", "crf", 42, 12, {"preset": "medium"})
_VP9 = _Encoder("libvpx-vp9", "crf", 55, 15, {"deadline": "good", "cpu-used": "3", "row-mt": "1"})
_AV1_NVENC = _Encoder("av1_nvenc", "cq", 55, 15, {"rc": "vbr", "preset": "p5"})
_AV1 = _Encoder("libsvtav1", "crf", 55, 15, {"preset": "7"})

_CODECS: Mapping[str, tuple[_Encoder, ...]] = {
    "h264": (_H264_NVENC, _H264),
    "vp9": (_VP9,),
    "av1": (_AV1_NVENC, _AV1),
}
_CONTAINERS: Mapping[str, tuple[str, ...]] = {".mp4": ("h264", "av1"), ".webm": ("vp9", "av1")}
VIDEO_SUFFIXES = tuple(_CONTAINERS)


class VideoWriter:
    """A video file that appears under its name only when it is complete.

    As a context manager it closes the video where the block ended well and removes it where it raised.
    Colours are BT.709 with the sRGB curve, limited range, 4:2:0. Players want even sizes: a picture of an odd
    width or height gets its last column or row twice.

    Args:
        path: ends in ``.mp4`` (H.264, or AV1 where asked for or where FFmpeg has no H.264 encoder) or in
            ``.webm`` (VP9, or AV1 likewise). Encoders of an NVIDIA GPU are tried first. libx264 is under the GPL;
            whoever may not ship it takes VP9 or AV1.
        width: width of the pictures in pixels.
        height: their height.
        fps: frames per second; 29.97 is 30000/1001.
        quality: 0 (small) to 100 (next to lossless).
        codec: "auto" or what the file shall be coded with.
        spherical: the pictures are panoramas; an mp4 file says so.

    Raises:
        OutputError: unknown ending, a codec that the file cannot hold or that FFmpeg lacks, a size that the
            encoder refuses, or a place that cannot be written.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float | Fraction,
        *,
        quality: int = DEFAULT_QUALITY,
        codec: VideoCodec = "auto",
        spherical: bool = False,
    ) -> None:
        encoders = encoders_for(path, codec)
        if width < 1 or height < 1:
            raise OutputError(f"{path}: expected a size of at least 1x1, got {width}x{height}")
        try:
            self._rate = exact_rate(fps)
        except UsageError as error:
            raise OutputError(f"{path}: {error}") from error
        if not 0 <= quality <= 100:
            raise OutputError(f"{path}: expected a quality from 0 to 100, got {quality}")
        self.path = path
        self.frames = 0
        self._spherical = spherical and path.suffix.lower() == ".mp4"
        self._shape = (height, width, 3)
        self._file = AtomicFile(path)
        try:
            self._open_first(encoders, quality)
        except BaseException:
            self._file.discard()
            raise

    def _open_first(self, encoders: tuple[_Encoder, ...], quality: int) -> None:
        """Open the file with the first encoder that runs on this machine at this size."""
        failures = []
        for encoder in encoders:
            try:
                self._open(encoder, quality)
            except (FFmpegError, ValueError, OSError) as error:
                failures.append(f"{encoder.name}: {getattr(error, 'strerror', None) or error}")
                continue
            self.encoder = encoder.name
            return
        height, width, _ = self._shape
        raise OutputError(f"{self.path}: no encoder for {width}x{height} pictures: {'; '.join(failures)}")

    def _open(self, encoder: _Encoder, quality: int) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reports its settings on standard error otherwise
        container_format = self.path.suffix.lower().removeprefix(".")
        faststart = {"movflags": "+faststart"} if container_format == "mp4" else {}
        container = av.open(str(self._file.temporary), "w", format=container_format, options=faststart)
        try:
            stream = container.add_stream(encoder.name, rate=self._rate, options=encoder.options_at(quality))
            assert isinstance(stream, VideoStream)  # noqa: S101 - for the type checker: every encoder above is video's
            stream.width = self._shape[1] + self._shape[1] % 2
            stream.height = self._shape[0] + self._shape[0] % 2
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.bit_rate = 0  # the quality decides
            context.gop_size = max(1, round(self._rate))  # a second: players can jump
            context.thread_count = 0
            context.color_primaries, context.colorspace, context.color_trc = BT709, BT709, TRANSFER_SRGB
            context.color_range = RANGE_LIMITED
            container.start_encoding()
        except BaseException:
            _close_quietly(container)
            raise
        self._container, self._stream = container, stream

    def write(
        self,
        rgb8: NDArray[np.uint8],  # [H, W, 3]
    ) -> None:
        """Append one picture.

        Raises:
            ValueError: the picture has another shape or dtype than announced.
            OutputError: the file cannot be written; it is removed.
        """
        if rgb8.shape != self._shape or rgb8.dtype != np.uint8:
            raise ValueError(f"VideoWriter: expected uint8 {self._shape}, got {rgb8.dtype} {rgb8.shape}")
        height, width, _ = self._shape
        if height % 2 or width % 2:
            rgb8 = np.pad(rgb8, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb8), format="rgb24")
        frame = picture.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        )
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        self._mux(frame)
        self.frames += 1

    def close(self) -> None:
        """Complete the video and give it its name.

        Raises:
            OutputError: nothing was written, or the file cannot be written; it is removed.
        """
        if self.frames == 0:
            self.abort()
            raise OutputError(f"{self.path}: a video needs at least one frame, got none")
        self._mux(None)
        try:
            self._container.close()
            if self._spherical:
                mark_spherical(self._file.temporary)
        except (FFmpegError, OSError, OutputError) as error:
            raise self._failed(error) from error
        self._file.commit()

    def abort(self) -> None:
        """Remove what was written."""
        _close_quietly(self._container)
        self._file.discard()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OutputError:
        self.abort()
        return OutputError(f"{self.path}: cannot write: {getattr(error, 'strerror', None) or error}")

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


def encoders_for(path: Path, codec: VideoCodec = "auto") -> tuple[_Encoder, ...]:
    """The encoders to try for ``path``, best first.

    Raises:
        OutputError: the ending of ``path`` is no video's, or such a file cannot hold ``codec``.
    """
    codecs = _CONTAINERS.get(path.suffix.lower())
    if codecs is None:
        raise OutputError(f"{path}: expected a video ending in {' or '.join(_CONTAINERS)}, got {path.suffix!r}")
    if codec != "auto" and codec not in codecs:
        raise OutputError(f"{path}: a {path.suffix} file holds {' or '.join(codecs)}, got {codec}")
    return tuple(encoder for name in codecs if codec in ("auto", name) for encoder in _CODECS[name])


def _close_quietly(container: OutputContainer) -> None:
    """Let go of a file that will be removed: what goes wrong while it is closed no longer matters."""
    try:
        container.close()
    except (FFmpegError, OSError):
        return
