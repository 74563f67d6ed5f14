"""A whole training: teacher, occupancy, distillation, fine-tuning; what each leaves, and how to go on after a stop.

Every step depends on its number and on what is in the run's folder only (:mod:`.store`), so that a run that was
killed at any moment goes on to the same result.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFScene, TrainingError, UsageError, load_kilonerf_scene
from kilonerf.model_io.original.checkpoint import three_quarter_view
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.levels import OuterLevel
from kilonerf.model_io.scene.sampling import Sampling

from ..data.captures import entrance, scene_depths
from ..data.free_space import FreeSpace
from ..loop.distributed import World
from ..ops.networks import TinyNetworks
from ..settings import STAGES, TrainingSettings
from ..stages.distillation import Distillation
from ..stages.fine_tuning import FineTuning
from ..stages.occupancy import nested_occupancy, network_grid, network_index_of, occupancy_of_teacher
from ..stages.octree_student import OctreeStudent
from ..stages.student import Student
from ..stages.unseen import without_unseen
from ..teachers.grid import GridTeacher, GridTraining
from ..teachers.nerf import NerfTeacher
from ..teachers.nerf_training import NerfTraining
from ..teachers.nested_grid import NestedGridTeacher, NestedGridTraining, half_side
from ..teachers.scene import SceneTeacher
from ..teachers.teacher import Teacher
from .corrected_photos import CorrectedPhotos
from .observers import Observer
from .stage_loop import Stage, run_stage
from .store import StageStore
from .subject import Subject


def load_teacher(kind: str, device: torch.device | str = "cpu") -> Teacher | None:
    """A finished teacher: a scene (.knf), or a teacher's checkpoint of the original code (.pth); else None.

    Raises:
        SceneError, CheckpointError: the file cannot be read.
        UsageError: it is neither of these, nor a kind that can be trained.
    """
    if kind.endswith(".knf"):
        return SceneTeacher(load_kilonerf_scene(kind), device)
    if kind.endswith(".pth"):
        return NerfTeacher.from_checkpoint(kind).to(device)
    if kind not in ("grid", "nerf"):
        raise UsageError(f"teacher: expected grid, nerf, a checkpoint (.pth) or a scene (.knf), got {kind!r}")
    return None


class Training:
    """Runs the stages, or what is left of them.

    Args:
        subject: what is trained on.
        settings: how.
        folder: where the stages leave what they made; it exists.
        world: processes that train together; the first one writes.
        observer: is told how it goes.
        device: of parameters and batches.
        teacher: a finished one, from :func:`load_teacher`; None: it is trained.
        interrupted: asked after each step; True: progress is saved and KeyboardInterrupt raised.

    Attributes:
        seconds: how long each stage took, also what was done before a stop.
    """

    def __init__(
        self,
        subject: Subject,
        settings: TrainingSettings,
        folder: Path,
        *,
        world: World,
        observer: Observer,
        device: torch.device | str = "cpu",
        teacher: Teacher | None = None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.subject, self.settings = subject, settings
        self._store = StageStore(folder, world, self._describe)
        self.seconds = self._store.seconds
        self._finished_teacher = None if teacher is None else subject.frame.teacher(teacher)
        self._known_sky = teacher.sky if isinstance(teacher, SceneTeacher) else None
        self._world, self._observer, self._device, self._interrupted = world, observer, device, interrupted
        self._nested = subject.bounds.levels > 1
        self._photos = CorrectedPhotos(subject, settings.photos.of_capture(self._nested), device)
        near, far = scene_depths(subject.dataset, subject.bounds)
        self._near = subject.frame.length(settings.near) or near
        self._far = subject.frame.length(settings.far) or far
        if self._near >= self._far:
            said = " and ".join(f"{depth / subject.frame.scale:g}" for depth in (self._near, self._far))
            raise TrainingError(f"near and far: expected near below far, got {said}")
        self._background = settings.background or subject.dataset.background or (1.0, 1.0, 1.0)
        if self._nested and settings.background is None and subject.photos is not None:
            self._background = subject.photos.mean_color()
        if settings.teacher != "grid" and (settings.photos.poses or settings.photos.colors):
            wanted = "poses" if settings.photos.poses else "colors"
            raise UsageError(f"--photos.{wanted}: expected the teacher that learns them, grid, got {settings.teacher}")
        if settings.sky == "on" and not self._nested:
            raise UsageError("--sky: expected nested boxes that it is behind (--levels), got on for a single box")
        if self._nested and settings.teacher == "nerf":
            raise UsageError("--teacher: expected grid for nested boxes (or --levels 1), got nerf")

    def run(self, last: str = STAGES[-1]) -> Student | None:
        """Run all stages up to ``last``; those that are done are read, not run again.

        Returns:
            the student after the last stage, None after the teacher's.

        Raises:
            TrainingError: the folder is of a training with other settings or other photos.
            CheckpointError: a file in it is damaged.
            OutputError: a file cannot be written.
            KeyboardInterrupt: it was interrupted; the same call goes on.
        """
        wanted = STAGES[: STAGES.index(last) + 1]
        teacher = self._teacher()
        if last == "teacher":
            return None
        student = self._student(teacher)
        if "distillation" in wanted and self.settings.distillation.steps:
            cameras = np.array([camera.position for camera in self._photos.cameras])
            self._run_networks(
                "distillation",
                student,
                lambda: Distillation(
                    student,
                    teacher,
                    cameras,
                    self.settings.distillation,
                    seed=self.settings.seed,
                    world=self._world,
                ),
            )
        if "fine-tuning" in wanted and self.settings.fine_tuning.steps:
            self._run_networks(
                "fine-tuning",
                student,
                lambda: FineTuning(
                    student,
                    self._photos.photos,
                    self.settings.fine_tuning,
                    random_background=self.settings.random_background,
                    seed=self.settings.seed,
                    world=self._world,
                    weights=self._photos.weights,
                    colors=self._photos.colors,
                ),
            )
            if self.settings.least_weight > 0:
                student = self._without_unseen(student)
        return student

    def finished_scene(self, student: Student, dtype: type[np.floating] = np.float16) -> KiloNeRFScene:
        """What is saved in the end.

        Raises:
            SceneError: a parameter is not finite, or too large for ``dtype``.
        """
        settings = self.settings
        numbers = {
            "frequencies": settings.position_frequencies,
            "distillation_steps": settings.distillation.steps,
            "fine_tuning_steps": settings.fine_tuning.steps,
        }
        scene = student.to_scene(
            **self._scene_extras(student.cells.box),
            provenance=self._made_by() | numbers,
        )
        return self.subject.frame.scene(scene, dtype)

    def _scene_extras(self, box: Box) -> dict[str, Any]:
        """What a finished scene has besides the field: poses, and where to begin: before the box or at one of them."""
        cameras = self._photos.cameras
        return {
            "training_poses": np.stack([camera.matrix for camera in cameras]).astype(np.float32),
            "start_camera": entrance(cameras, box) if self._nested else three_quarter_view(box),
        }

    def _made_by(self) -> dict[str, Any]:
        """Provenance of a finished scene."""
        summary = self._photos.summary()
        return {
            "made_by": "kilonerf-train",
            "source": self.subject.source,
            "views": len(self._photos.cameras),
            "teacher": self.settings.teacher,
            "seconds": {stage: round(seconds) for stage, seconds in self.seconds.items()},
            "seed": self.settings.seed,
            "downscale": self.subject.downscale,
            **({"photos": summary} if summary else {}),
            **self.subject.frame.said(),
        }

    def _teacher(self) -> Teacher:
        if self._finished_teacher is not None:
            self._photos.find_sky(self.settings, self._known_sky)
            return self._finished_teacher
        box = self.subject.bounds.box
        state = self._store.product("teacher") or self._world.from_first(lambda: self._train_teacher(box))
        self._photos.take(state)
        for line in self._photos.said() if self.subject.photos is not None else ():
            self._observer.message(line)
        if self._nested:
            return NestedGridTeacher.from_state(state, box, self._device)
        if self.settings.teacher == "grid":
            return GridTeacher.from_state(state, box.min, box.max, self._device)
        return NerfTeacher.from_state(state).to(self._device)

    def _train_teacher(self, box: Box) -> Mapping[str, torch.Tensor]:
        """The teacher's tensors; only one process trains it."""
        settings, seed = self.settings, self.settings.seed
        bounded = (self._photos.photos, box.min, box.max, self._near, self._far)
        corrections, sky = self._photos.corrections(sum(settings.grid.steps)), self._photos.find_sky(settings)
        if self._nested:
            stage = NestedGridTraining(
                self._photos.photos,
                box,
                self.subject.bounds.levels,
                self._near,
                self._far,
                settings.grid,
                corrections=corrections,
                sky=self._photos.sky,
                free_space=FreeSpace.of(self.subject.dataset, self._device),
                seed=seed,
                device=self._device,
            )
        elif settings.teacher == "grid":
            stage = GridTraining(
                *bounded,
                settings.grid,
                background=self._background,
                random_background=settings.random_background,
                corrections=corrections,
                seed=seed,
                device=self._device,
            )
        else:
            stage = NerfTraining(*bounded, settings.nerf, background=self._background, seed=seed, device=self._device)
        self._run_stage(stage, "teacher", None, World())
        state = stage.teacher().state() | corrections.product() | sky
        self._store.keep("teacher", state)
        return state

    def _student(self, teacher: Teacher) -> Student:
        tensors = self._store.product("occupancy") or self._world.from_first(lambda: self._find_occupancy(teacher))
        box_min, box_max, occupancy, network_index = (
            tensors[name].numpy() for name in ("lower", "upper", "occupancy", "network_index")
        )
        if self._nested:  # levels are stacked: [L, ox, oy, oz] and [L, rx, ry, rz]
            outer = tuple(OuterLevel(*arrays) for arrays in zip(occupancy[1:], network_index[1:], strict=True))
            inner = Cells(Box(box_min, box_max), occupancy[0], network_index[0])
        else:
            outer, inner = (), Cells(Box(box_min, box_max), occupancy, network_index)
        networks = TinyNetworks.initial(
            int(network_index.max()) + 1,
            seed=self.settings.seed,
            units=self.settings.units,
            frequencies=self.settings.position_frequencies,
        ).to(self._device)
        voxel = float(((box_max - box_min) / occupancy.shape[-3:]).min())
        sampling = self.settings.occupancy.sampling(self._near, self._far, voxel)
        length = half_side(inner.box, 0) if self._nested else 1.0
        student = Student(inner, networks, sampling, self._background, outer, length, self._photos.sky)
        self._observer.message(
            f"{networks.num_networks} networks of {' x '.join(map(str, network_index.shape))} cells, "
            f"{occupancy.mean():.2%} of {' x '.join(map(str, occupancy.shape))} voxels occupied, "
            f"{self._said(sampling)}"
        )
        return student

    def _find_occupancy(self, teacher: Teacher) -> dict[str, torch.Tensor]:
        """The student's box and grids; only one process looks."""
        settings, began = self.settings.occupancy, time.perf_counter()
        self._observer.begin("occupancy", 0, 1)
        if self._nested:
            found = nested_occupancy(
                lambda points: teacher.density(points.to(self._device)),
                self.subject.bounds.box,
                self.subject.bounds.levels,
                cells=settings.cells,
                factor=settings.factor,
                threshold=settings.threshold,
            )
            return self._keep_occupancy(found, began)
        bounds = teacher.extent() or (self.subject.bounds.box_min, self.subject.bounds.box_max)
        resolution, box = network_grid(*bounds, settings.cells)
        x, y, z = (cells * settings.factor for cells in resolution)
        occupancy = occupancy_of_teacher(
            lambda points: teacher.density(points.to(self._device)),
            box,
            (x, y, z),
            samples=settings.samples,
            threshold=settings.threshold,
        )
        return self._keep_occupancy((box, occupancy, network_index_of(occupancy, resolution)), began)

    def _said(self, sampling: Sampling) -> str:
        """Samples and depths in the user's unit, for messages."""
        near, far = (depth / self.subject.frame.scale for depth in (self._near, self._far))
        return f"{sampling.num_samples} samples from {near:.3g} to {far:.3g}"

    def _keep_occupancy(
        self, found: tuple[Box, NDArray[np.bool_], NDArray[np.int32]], began: float
    ) -> dict[str, torch.Tensor]:
        box, occupancy, network_index = found
        tensors = {
            "lower": torch.from_numpy(box.min),
            "upper": torch.from_numpy(box.max),
            "occupancy": torch.from_numpy(occupancy),
            "network_index": torch.from_numpy(network_index),
        }
        self.seconds["occupancy"] = time.perf_counter() - began
        self._store.keep("occupancy", tensors)
        self._observer.end("occupancy", 1)
        return tensors

    def _without_unseen(self, student: Student) -> Student:
        """What is left of the fine-tuned student; quick, so it is found anew by every run."""
        less = without_unseen(student, self._photos.photos, self.settings.least_weight, self.settings.seed)
        voxels = 1 - less.num_occupied / student.num_occupied
        networks = 1 - less.networks.num_networks / student.networks.num_networks
        self._observer.message(
            f"{voxels:.1%} of the voxels and {networks:.1%} of the networks are left out: no photo shows them"
        )
        return less

    def _run_networks(self, name: str, student: Student, make: Callable[[], Distillation | FineTuning]) -> None:
        """A stage that trains the student's networks."""
        done = self._store.product(name)
        if done is None:
            self._run_stage(make(), name, student, self._world)
            self._store.keep(name, {"rows": student.networks.rows})
        else:
            with torch.no_grad():
                student.networks.rows.copy_(done["rows"])

    def _run_stage(self, stage: Stage, name: str, student: Student | OctreeStudent | None, world: World) -> None:
        def look_on(step: int) -> None:
            if student is not None and world.any(self._observer.wants_snapshot(sum(self.seconds.values()))):
                stage.state()  # all processes' networks
                self._observer.snapshot(name, step, self.subject.frame.scene(student.to_scene()))

        run_stage(
            stage,
            name,
            self._store,
            world=world,
            observer=self._observer,
            interrupted=self._interrupted,
            look_on=look_on,
        )

    def _describe(self, stage: str) -> dict[str, Any]:
        """What decides the result of a stage; see :class:`StageStore`."""
        cameras = [view.camera for view in self.subject.dataset.views]
        return {
            "settings": self.settings.document(stage),
            "data": {
                "source": self.subject.source,
                "views": len(cameras),
                "pixels": sum(camera.width * camera.height for camera in cameras),
            },
            "box": [*self.subject.bounds.box_min, *self.subject.bounds.box_max],
            **({"levels": self.subject.bounds.levels} if self._nested else {}),
            **self.subject.frame.said(),
        }
