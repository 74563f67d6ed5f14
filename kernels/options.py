"""Everything that decides what a frame looks like, apart from scene and camera."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from kilonerf.model_io import Scene
from kilonerf.model_io.scene.box import Box

RGB = tuple[float, float, float]
PrecisionChoice = Literal["auto", "int8", "float16", "float32"]
Corner = tuple[float, float, float]
FARTHEST = 1e30  # of a crop's coordinates: far within float32


@dataclass(frozen=True)
class Crop:
    """An axis-aligned box in the scene's coordinates: samples that are not strictly inside are not taken.

    Attributes:
        min: the corner with the least coordinates.
        max: the opposite corner.
    """

    min: Corner
    max: Corner

    def __post_init__(self) -> None:
        numbers = (*self.min, *self.max)
        ordered = all(low < high for low, high in zip(self.min, self.max, strict=False))
        if len(self.min) != 3 or len(self.max) != 3 or not ordered or max(map(abs, numbers)) > FARTHEST:
            raise ValueError(f"Crop: expected three numbers and three larger ones, got {self.min}, {self.max}")

    @classmethod
    def of(cls, box: Box) -> "Crop":
        """The box as a crop."""
        (x0, y0, z0), (x1, y1, z1) = box.min.tolist(), box.max.tolist()
        return cls((x0, y0, z0), (x1, y1, z1))

    @property
    def box(self) -> Box:
        """In float32, in which samples are decided."""
        return Box(np.array(self.min, np.float32), np.array(self.max, np.float32))


@dataclass(frozen=True)
class RenderOptions:
    """How a frame is made. Equality decides whether it must be made again.

    Samples lie at ``t_k = near + k * step`` along the un-normalised ray, so near, far and step are z-depths
    (KiloNeRF section 3.2; :class:`~kilonerf.model_io.Camera`).

    Attributes:
        ess: empty-space skipping: a sample counts only where its occupancy voxel is set. Off: wherever there
            is a network.
        ert: early ray termination: a ray ends at the sample after which its transmittance is below
            ``ert_threshold``.
        ert_threshold: epsilon in [0, 1); the paper uses 0.01. 0 never ends a ray.
        background: RGB behind the scene, in [0, 1].
        sky: where the scene has a sky (:mod:`kilonerf.model_io.scene.sky`), it is behind the scene instead. What is
            left of a ray that ended early, less than ``ert_threshold``, still shows the background.
        near: z-depth of sample 0. None: flying, a small near plane.
        far: z-depth of the last sample. None: flying, no end but the box.
        step: z-depth between samples. None: as trained.
        precision: of the networks' products: float32, or float16 for the 16-bit numbers that the machine is fast with
            (CUDA: tensor cores, sm_75 and newer; CPU: integers or bfloat16, as its code path has them), or int8 (CPU
            only). "auto": the fastest that the machine has and that makes good pictures of the scene. Samples are
            decided, and composited, in float32 everywhere.
        crop: only samples inside it are taken, and evaluated. None: all.
    """

    ess: bool = True
    ert: bool = True
    ert_threshold: float = 0.01
    background: RGB = (1.0, 1.0, 1.0)
    sky: bool = False
    near: float | None = None
    far: float | None = None
    step: float | None = None
    precision: PrecisionChoice = "auto"
    crop: Crop | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.ert_threshold < 1.0:
            raise ValueError(f"RenderOptions: ert_threshold must be in [0, 1), got {self.ert_threshold}")
        if self.step is not None and not self.step > 0.0:
            raise ValueError(f"RenderOptions: step must be > 0, got {self.step}")
        if self.near is not None and not self.near >= 0.0:
            raise ValueError(f"RenderOptions: near must be >= 0, got {self.near}")
        if self.precision not in get_args(PrecisionChoice):
            raise ValueError(
                f"RenderOptions: precision must be {', '.join(get_args(PrecisionChoice))}, got {self.precision}"
            )
        if len(self.background) != 3:
            raise ValueError(f"RenderOptions: background must be three numbers, got {self.background}")

    @classmethod
    def as_trained(cls, scene: Scene, **changes: object) -> "RenderOptions":
        """The samples the scene was trained with: its near, far, step, background and sky; ``changes`` on top.

        A background among these takes the sky away.
        """
        options = cls(near=scene.near, far=scene.far, step=scene.step).in_front_of(scene)
        if "background" in changes:
            options = replace(options, sky=False)
        return replace(options, **changes)  # type: ignore[arg-type]

    def in_front_of(self, scene: Scene, background: RGB | None = None) -> "RenderOptions":
        """The same before ``background``; None: before the scene's own, and its sky if it has one."""
        if background is not None:
            return self.before(background)
        return replace(self, background=scene.background, sky=scene.sky is not None)

    def before(self, background: RGB) -> "RenderOptions":
        """The same before a plain background, without the sky."""
        return replace(self, background=background, sky=False)
