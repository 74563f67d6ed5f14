"""Everything that decides what training gives, and the presets."""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from kilonerf.model_io import UsageError
from kilonerf.model_io.scene.architecture import HIDDEN

from .stages.distillation import DistillationSettings
from .stages.fine_tuning import FineTuningSettings
from .teachers.grid import GridSettings
from .teachers.nerf_training import NerfSettings

Preset = Literal["fast", "quality", "paper", "tiny"]
STAGES = ("teacher", "occupancy", "distillation", "fine-tuning")


@dataclass(frozen=True)
class OccupancySettings:
    """The grids of the student (KiloNeRF section 3.4)."""

    # Networks along the longest side of the box; cells are cubes.
    cells: int = 16
    # Occupancy voxels of a cell, along each side.
    factor: int = 16
    # A voxel is occupied where the teacher's density exceeds this, per world unit, at any of its samples.
    threshold: float = 10.0
    # Samples of a voxel along each side, faces included.
    samples: int = 3
    # Length of a step along a ray in voxels; for rays of photos as in the finished scene.
    step: float = 1.25
    # Samples of a ray between near and far; chosen by the step if left out.
    num_samples: int | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a run; two runs with the same ones give the same scene."""

    # Of all random numbers.
    seed: int = 0
    # Photos are made smaller so many times before training.
    downscale: int = 1
    # Red, green and blue behind the scene and transparent photos, 0 to 1; the data set's if left out, else white.
    background: Annotated[tuple[float, float, float] | None, tyro.conf.arg(metavar="R G B")] = None
    # Depth of a ray's first sample; the data set's if left out, else where rays enter the box.
    near: float | None = None
    # Depth of a ray's last sample; likewise.
    far: float | None = None
    # Behind transparent photos while training: random colours too, or only the scene's own background.
    random_background: bool = True
    # Units of each hidden layer that the networks use; fewer than 32 only to compare.
    units: int = 32
    # What networks are distilled from: a fast grid, the paper's NeRF, a teacher's checkpoint (.pth) or a scene (.knf);
    # none: networks learn the photos from the beginning.
    teacher: str = "grid"
    grid: GridSettings = field(default_factory=GridSettings)
    nerf: NerfSettings = field(default_factory=NerfSettings)
    occupancy: OccupancySettings = field(default_factory=OccupancySettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    fine_tuning: FineTuningSettings = field(default_factory=FineTuningSettings)

    @classmethod
    def preset(cls, name: Preset) -> "TrainingSettings":
        """The settings of a preset."""
        return PRESETS[name]

    def check(self) -> None:
        """See that every number can be used.

        Raises:
            UsageError: one cannot; its option is named.
        """
        for name, value in _numbers("", dataclasses.asdict(self)):
            option, word = f"--{name.replace('_', '-')}", name.rsplit(".", 1)[-1]
            least = _LEAST.get(word, 1)
            if word in _ANY and not math.isnan(value) and value >= least:
                continue
            if not math.isfinite(value) or value < least or (word not in _MAY_BE_LEAST and value == least == 0):
                expected = f"at least {least}" if least or word in _MAY_BE_LEAST else "more than 0"
                raise UsageError(f"{option}: expected {expected}, got {value}")
        if self.background is not None and max(self.background) > 1:
            raise UsageError(f"--background: expected numbers from 0 to 1, got {self.background}")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise UsageError(f"--near and --far: expected near below far, got {self.near} and {self.far}")
        if self.units > HIDDEN:
            raise UsageError(f"--units: expected 1 to {HIDDEN}, got {self.units}")

    def document(self, stage: str) -> dict[str, Any]:
        """What decides the result of ``stage``: its own settings and those of the stages before it; JSON values."""
        whole = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=True).replace("Infinity", '"inf"'))
        later = {"occupancy": 1, "units": 2, "distillation": 2, "fine_tuning": 3}
        unused = {"grid", "nerf"} - {self.teacher}
        last = STAGES.index(stage)
        return {key: value for key, value in whole.items() if later.get(key, 0) <= last and key not in unused}


_MAY_BE_LEAST = {
    "seed", "steps", "threshold", "view_dependent_l2", "min_transmittance", "colour_smoothness", "density_smoothness",
    "least_weights", "colour_floor", "centre_steps", "background",
}  # fmt: skip
_ANY = {"colour_floor"}  # may be infinite
_LEAST = {
    **dict.fromkeys(_MAY_BE_LEAST, 0),
    **dict.fromkeys(
        ["learning_rate", "last_learning_rate", "colour_rates", "density_rates", "step", "centre_share", "near", "far"],
        0,
    ),
    "samples": 2,
    "num_samples": 2,
}


def _numbers(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """All numbers with their names, as "fine_tuning.steps"."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(f"{prefix}{name}.", value)
            continue
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield f"{prefix}{name}", number


PRESETS: dict[str, TrainingSettings] = {
    "fast": TrainingSettings(),
    "tiny": TrainingSettings(
        grid=GridSettings(steps=(200, 200, 200, 200)),
        distillation=DistillationSettings(steps=600),
        fine_tuning=FineTuningSettings(steps=2_500),
    ),
    "quality": TrainingSettings(
        distillation=DistillationSettings(steps=8_000),
        fine_tuning=FineTuningSettings(steps=150_000),
    ),
    "paper": TrainingSettings(
        teacher="nerf",
        random_background=False,
        occupancy=OccupancySettings(num_samples=384),
        distillation=DistillationSettings(
            steps=150_000,
            points=128,
            where="cell",
            directions="sphere",
            learning_rate=5e-4,
            last_learning_rate=5e-4,
            colour_floor=float("inf"),
        ),
        fine_tuning=FineTuningSettings(
            steps=1_000_000,
            rays=8_192,
            learning_rate=1e-3,
            last_learning_rate=1e-5,  # a tenth every 500,000 steps
            view_dependent_l2=1e-6,
            min_transmittance=0.0,
            covered_only=False,
        ),
    ),
}
