"""Everything that decides what a frame looks like, apart from scene and camera."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from kilonerf.model_io import Scene

RGB = tuple[float, float, float]
PrecisionChoice = Literal["auto", "float16", "float32"]


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
            (CUDA: tensor cores, sm_75 and newer; CPU: integers or bfloat16, as its code path has them). "auto": 16
            bits where the machine has them. Samples are decided, and composited, in float32 everywhere.
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
        sky = scene.sky is not None and "background" not in changes
        options = cls(background=scene.background, sky=sky, near=scene.near, far=scene.far, step=scene.step)
        return replace(options, **changes)  # type: ignore[arg-type]

    def before(self, background: RGB) -> "RenderOptions":
        """The same before a plain background, without the sky."""
        return replace(self, background=background, sky=False)
