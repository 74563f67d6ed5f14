"""What the headless commands share: the switches of a frame, sizes, and ranges of frames."""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kilonerf.kernels import BackendChoice, Crop, Renderer, RenderOptions, create_renderer
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.model_io import Scene, UsageError
from kilonerf.model_io.camera.interchange import Worlds

LARGEST_SIDE = 16384  # pixels; a frame of that size takes 4 GB


CropCorners = tuple[float, float, float, float, float, float]


@dataclass
class RenderSwitches:
    """How a frame is made, and by what."""

    # Who renders: auto (the fastest that runs here), cuda, cpu or reference.
    backend: str = "auto"
    # Threads of the cpu backend; all cores if left out.
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    # Code path of the cpu backend, as kilonerf-info --machine lists them; "auto" as backend then means cpu.
    cpu_path: Annotated[str, tyro.conf.arg(metavar="PATH")] = "auto"
    # Which CUDA device, as CUDA numbers them; "auto" then means cuda. The first if left out.
    device: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    # Precision of the networks: auto is the fastest that makes good pictures (8 or 16 bits); int8 is for the cpu only.
    precision: Literal["auto", "int8", "float16", "float32"] = "auto"
    # Empty-space skipping.
    ess: bool = True
    # Early ray termination.
    ert: bool = True
    # Transmittance below which a ray ends.
    ert_threshold: float = 0.01
    # Red, green and blue behind the scene, each 0 to 1; the scene's own, or its sky, if left out.
    background: Annotated[tuple[float, float, float] | None, tyro.conf.arg(metavar="R G B")] = None
    # Take samples only inside this box, in the scene's coordinates (kilonerf-info prints its own box).
    crop: Annotated[CropCorners | None, tyro.conf.arg(metavar="X0 Y0 Z0 X1 Y1 Z1")] = None
    # Take the samples that the scene was trained with: from its near to its far.
    as_trained: tyro.conf.FlagCreatePairsOff[bool] = False
    # Take the samples that a viewer takes: from right before the camera to the end of the box.
    flying: tyro.conf.FlagCreatePairsOff[bool] = False

    def options(self, scene: Scene, *, as_trained: bool) -> RenderOptions:
        """The options of a frame; ``as_trained`` is what holds if neither it nor ``flying`` was asked for.

        Raises:
            UsageError: switches that contradict each other, or a number out of range.
        """
        if self.as_trained and self.flying:
            raise UsageError("--as-trained and --flying: expected one of them, got both")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"--threads: expected 1 to 1024, got {self.threads}")
        if self.device is not None and self.backend not in ("auto", "cuda"):
            raise UsageError(f"--device: expected --backend cuda or auto with it, got {self.backend}")
        check_cpu_path(self.cpu_path, self.backend, self.device)
        if not 0.0 <= self.ert_threshold < 1.0:
            raise UsageError(f"--ert-threshold: expected 0 up to below 1, got {self.ert_threshold}")
        if not all(0.0 <= value <= 1.0 for value in self.background or ()):
            raise UsageError(f"--background: expected three numbers from 0 to 1, got {self.background}")
        base = (
            RenderOptions.as_trained(scene) if self.as_trained or (as_trained and not self.flying) else RenderOptions()
        )
        return replace(
            base.in_front_of(scene, self.background),
            ess=self.ess,
            ert=self.ert,
            ert_threshold=self.ert_threshold,
            precision=self.precision,
            crop=parse_crop(self.crop),
        )

    @property
    def choice(self) -> BackendChoice:
        """What is to render."""
        return BackendChoice(self.backend, self.threads, self.device, self.cpu_path)

    def renderer(self, scene: Scene) -> Renderer:
        """What these switches ask for.

        Raises:
            BackendError: it cannot run on this machine.
        """
        renderer = create_renderer(scene, self.choice)
        say_fallback(renderer.fallback)
        return renderer


Switches = Annotated[RenderSwitches, tyro.conf.arg(name="")]
"""A field of this type shows its options without a prefix."""


@dataclass(frozen=True)
class WorldSwitches:
    """What is known about the coordinates of a path that another program wrote."""

    # The dataparser_transforms.json of the nerfstudio training whose path it is; left out: it moved nothing.
    dataparser: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    # The data set's transforms.json, where it says applied_transform (nerfstudio), or scale and offset (instant-ngp).
    transforms: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def worlds(self, origin: tuple[float, float, float]) -> Worlds:
        """For a scene whose coordinates begin at ``origin``."""
        return Worlds(self.dataparser, self.transforms, origin)


PathWorlds = Annotated[WorldSwitches, tyro.conf.arg(name="")]
"""A field of this type shows its options without a prefix."""


def say_fallback(reason: str) -> None:
    """Say on standard error why the CPU renders, if a GPU seemed to be there."""
    if reason:
        print(f"rendering on the CPU: {reason}", file=sys.stderr)


def check_cpu_path(path: str, backend: str, device: int | None) -> None:
    """Refuse a code path that this machine does not have, or one for a backend that has none.

    Raises:
        UsageError: which paths there are, or what contradicts it.
        BackendError: the native extension does not load.
    """
    if path == "auto":
        return
    names = [available.name for available in available_cpu_paths()]
    if path not in names:
        raise UsageError(f"--cpu-path: expected auto or one that this machine has ({', '.join(names)}), got {path!r}")
    if backend not in ("auto", "cpu"):
        raise UsageError(f"--cpu-path: expected --backend cpu or auto with it, got {backend}")
    if device is not None:
        raise UsageError("--cpu-path and --device: expected one of them, got both")


def parse_crop(corners: CropCorners | None) -> Crop | None:
    """The crop between two corners, as typed for ``--crop``.

    Raises:
        UsageError: the second is not beyond the first on every axis.
    """
    if corners is None:
        return None
    try:
        return Crop(corners[:3], corners[3:])
    except ValueError:
        typed = " ".join(f"{number:g}" for number in corners)
        raise UsageError(f"--crop: expected X0 Y0 Z0 X1 Y1 Z1, each X0 below its X1, got {typed}") from None


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Width and height from ``800x600``, as typed for ``option``.

    Raises:
        UsageError: it is none, or too large to be meant.
    """
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if match is None or not all(1 <= int(side) <= LARGEST_SIDE for side in match.groups()):
        raise UsageError(
            f"{option}: expected WIDTHxHEIGHT in pixels, 1x1 to {LARGEST_SIDE}x{LARGEST_SIDE}, got {text!r}"
        )
    return int(match[1]), int(match[2])


def parse_frames(text: str, count: int) -> range:
    """The frames from ``A:B`` (A included, B not; either may be left out) or ``A`` alone, of ``count``.

    Raises:
        UsageError: it is none, or outside of what there is.
    """
    match = re.fullmatch(r"(\d{0,9})(:?)(\d{0,9})", text.strip())
    if match is None or not text.strip() or (not match[2] and not match[1]):
        raise UsageError(f"--frames: expected A:B, got {text!r}")
    first = int(match[1] or 0)
    end = (int(match[3]) if match[3] else count) if match[2] else first + 1
    if not 0 <= first < end <= count:
        raise UsageError(f"--frames: expected A:B within 0:{count}, got {text!r}")
    return range(first, end)
