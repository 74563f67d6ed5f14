"""Everything that decides what training gives, and the presets."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from kilonerf.model_io import UsageError
from kilonerf.model_io.scene.architecture import HIDDEN, POSITION_FREQUENCIES
from kilonerf.model_io.scene.levels import MAX_LEVELS
from kilonerf.model_io.scene.octree_scene import MAX_CODE_BITS
from kilonerf.model_io.scene.sampling import Sampling

from .data.corrections import PhotoSettings
from .ranges import Count, CountOrZero, NotNegative, Positive, Range, check_ranges
from .stages.distillation import DistillationSettings
from .stages.fine_tuning import FineTuningSettings
from .stages.octree_training import OctreeSettings
from .teachers.grid import GridSettings
from .teachers.nerf_training import NerfSettings

Preset = Literal["fast", "quality", "paper", "tiny"]
FieldKind = Literal["networks", "octree"]
STAGES = ("teacher", "occupancy", "distillation", "fine-tuning")
OCTREE_STAGES = ("teacher", "octree", "field")
"""Of octree fields; their files have other names, so that one folder may hold a scene of each kind."""


@dataclass(frozen=True)
class OccupancySettings:
    """The grids of the student (KiloNeRF section 3.4)."""

    # Networks along the longest side of the box; cells are cubes.
    cells: Count = 16
    # Occupancy voxels of a cell, along each side.
    factor: Count = 16
    # A voxel is occupied where the teacher's density exceeds this, per world unit, at any of its samples.
    threshold: NotNegative = 10.0
    # Samples of a voxel along each side, faces included.
    samples: Annotated[int, Range(2)] = 3
    # Length of a step along a ray in voxels; for rays of photos as in the finished scene.
    step: Positive = 1.25
    # Samples of a ray between near and far; chosen by the step if left out.
    num_samples: Annotated[int | None, Range(2)] = None

    @property
    def voxels(self) -> int:
        """Along the longest side of the box."""
        return self.cells * self.factor

    def sampling(self, near: float, far: float, voxel: float) -> Sampling:
        """Samples of a ray between two depths; ``voxel``: the shortest side of one."""
        num_samples = self.num_samples or round((far - near) / (self.step * voxel)) + 1
        return Sampling(near, far, max(2, num_samples))


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a run; two runs with the same ones give the same scene."""

    # Of all random numbers.
    seed: CountOrZero = 0
    # Downscale photos by this factor before training. Left out: to what the networks can show.
    downscale: Annotated[int | None, Range(1)] = None
    # Levels of nested boxes, each twice as large as the one inside it; 1: the box holds the whole scene. Left out: 1
    # for an object before a plain background or in a given box; as many as it takes for photos of a whole place.
    levels: Annotated[int | None, Range(1, most=MAX_LEVELS)] = None
    # A sky behind the last of several levels, found in the photos: where they show open space, always, or never.
    sky: Literal["auto", "on", "off"] = "auto"
    # Red, green and blue behind the scene and transparent photos, 0 to 1; the data set's if left out, else
    # the plain colour behind the photos' object, else white.
    background: Annotated[tuple[float, float, float] | None, Range(0, most=1)] = None
    # Depth of a ray's first sample; the data set's if left out, else where rays enter the box.
    near: Annotated[float | None, Range(0, exclusive=True)] = None
    # Depth of a ray's last sample; likewise.
    far: Annotated[float | None, Range(0, exclusive=True)] = None
    # Behind transparent photos while training: random colours too, or only the scene's own background.
    random_background: bool = True
    # Units of each hidden layer that the networks use; fewer than 32 only to compare.
    units: Annotated[int, Range(1, most=HIDDEN)] = HIDDEN
    # Of a cell's position that networks look at, of the encoding's 10. Left out: so many that the highest one's period
    # is at most 1.6 voxels, 6 where a cell has 16 along each side.
    frequencies: Annotated[int | None, Range(1, most=POSITION_FREQUENCIES)] = None
    # After fine-tuning, voxels are left out whose weight (transmittance times alpha) is below this in all rays of the
    # photos, and networks without voxels; 0: none.
    least_weight: Annotated[float, Range(0, most=1)] = 0.01
    # What networks are distilled from: a fast grid, the paper's NeRF, a teacher's checkpoint (.pth) or a scene (.knf);
    # none: networks learn the photos from the beginning.
    teacher: str = "grid"
    grid: GridSettings = field(default_factory=GridSettings)
    nerf: NerfSettings = field(default_factory=NerfSettings)
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    occupancy: OccupancySettings = field(default_factory=OccupancySettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    fine_tuning: FineTuningSettings = field(default_factory=FineTuningSettings)
    octree: OctreeSettings = field(default_factory=OctreeSettings)
    # Of an octree field: bits of each corner's code, 1 to 8; 0: features are stored as they are.
    bits: Annotated[int, Range(0, most=MAX_CODE_BITS)] = 0
    # What a scene is: tiny networks, or features in an octree with one small decoder. The last, for its name is that of
    # a function until here.
    field: FieldKind = "networks"

    @property
    def position_frequencies(self) -> int:
        """``frequencies``, or those that cells of so many voxels need.

        A cell is 2 long in its own coordinates, frequency k turns by 2^k for each 1: its period is pi / 2^k of a cell.
        """
        if self.frequencies is not None:
            return self.frequencies
        return min(POSITION_FREQUENCIES, max(1, math.ceil(math.log2(self.occupancy.factor * math.pi / 1.6)) + 1))

    @property
    def stages(self) -> tuple[str, ...]:
        """Of a training with these settings."""
        return OCTREE_STAGES if self.field == "octree" else STAGES

    @property
    def voxels(self) -> int:
        """Along the longest side of the box."""
        return 1 << self.octree.depth if self.field == "octree" else self.occupancy.voxels

    @classmethod
    def preset(cls, name: Preset) -> "TrainingSettings":
        """The settings of a preset."""
        return PRESETS[name]

    def check(self) -> None:
        """See that every number can be used.

        Raises:
            UsageError: one cannot; its option is named.
        """
        check_ranges(self)
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise UsageError(f"--near and --far: expected near below far, got {self.near} and {self.far}")
        if self.field == "octree":
            if self.octree.first_level > self.octree.depth:
                got = f"{self.octree.first_level} and {self.octree.depth}"
                raise UsageError(f"--octree.first-level and --octree.depth: expected no level below depth, got {got}")
            if self.teacher == "none":
                raise UsageError("--teacher: expected one, whose occupancy an octree starts from, got none")
            if self.levels not in (None, 1):
                raise UsageError(f"--levels: expected 1 for an octree field, got {self.levels}")
            if self.octree.codes == "k-means" and not self.bits:
                raise UsageError("--bits: expected 1 to 8 for codes by k-means, got 0")
        elif self.bits:
            raise UsageError(f"--bits: expected --field octree, whose features have codes, got {self.field}")

    def document(self, stage: str) -> dict[str, Any]:
        """What decides the result of ``stage``: its own settings and those of the stages before it; JSON values."""
        whole = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=True).replace("Infinity", '"inf"'))
        later = {
            "occupancy": 1,
            "units": 2,
            "frequencies": 2,
            "distillation": 2,
            "fine_tuning": 3,
            "least_weight": len(STAGES),
        }
        unused = {"grid", "nerf"} - {self.teacher}
        networks = ("occupancy", "units", "frequencies", "distillation", "fine_tuning", "least_weight")
        octree = ("octree", "bits", "field")
        if self.field == "octree":
            later = {"occupancy": 1, "octree": 1, "field": 1, "bits": 2}
            unused |= set(networks) - {"occupancy"}
        else:  # older folders do not have these
            unused |= set(octree)
        last = self.stages.index(stage)
        if stage == "octree":  # which voxels there are
            whole["octree"] = {"depth": self.octree.depth}
        return {key: value for key, value in whole.items() if later.get(key, 0) <= last and key not in unused}


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
        frequencies=POSITION_FREQUENCIES,
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
