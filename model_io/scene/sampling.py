"""Where a scene's samples lie on a ray, as it was trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Samples t_k = near + k * step for k = 0 .. num_samples - 1; t is z-depth, in world units.

    Attributes:
        near: z-depth of the first sample.
        far: z-depth of the last sample.
        num_samples: samples per ray (K), at least 2.
    """

    near: float
    far: float
    num_samples: int

    @property
    def step(self) -> float:
        """Z-depth from one sample to the next, (far - near) / (K - 1)."""
        return (self.far - self.near) / (self.num_samples - 1)
