"""A whole training of an octree field: teacher, the octree where it says that something is, and the field.

The teacher is that of networks, and is found in the same file. Everything that :mod:`.pipeline` says of resuming holds.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from kilonerf.model_io import OctreeScene, Scene, UsageError
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.octree import Octree

from ..settings import OCTREE_STAGES, TrainingSettings
from ..stages.occupancy import occupancy_of_teacher
from ..stages.octree_student import OctreeStudent
from ..stages.octree_training import OctreeTraining
from ..teachers.teacher import Teacher
from .pipeline import Training


class OctreeFieldTraining(Training):
    """Runs the stages of an octree field; arguments as :class:`~.pipeline.Training`'s."""

    def check(self) -> None:
        """See that this training can be had.

        Raises:
            UsageError: it cannot.
        """
        if self._nested:
            raise UsageError("--field octree: expected an object in one box (--levels 1), got photos of a whole place")
        if self._world.size > 1:
            raise UsageError(f"--field octree: expected one process, got {self._world.size}")
        if torch.device(self._device).type != "cpu":
            raise UsageError(f"--field octree: expected --device cpu, got {self._device}")

    def run_octree(self, last: str = OCTREE_STAGES[-1]) -> OctreeStudent | None:
        """Run all stages up to ``last``; those that are done are read, not run again.

        Returns:
            the student after the last stage, else None.

        Raises:
            TrainingError, CheckpointError, OutputError, KeyboardInterrupt: as :meth:`Training.run`.
            UsageError: as :meth:`check`.
        """
        self.check()
        teacher = self._teacher()
        if last == "teacher":
            return None
        student = self._octree_student(teacher)
        if last == "octree":
            return None
        stage = OctreeTraining(
            student,
            self._photos.photos,
            self.settings.octree,
            bits=self.settings.bits,
            random_background=self.settings.random_background,
            seed=self.settings.seed,
        )
        done = self._store.product("field")
        if done is None:
            self._run_stage(stage, "field", student, self._world)
            self._store.keep("field", stage.state())
        else:
            stage.finish()
            stage.load_state(done)
        return student

    def finished_octree(self, student: OctreeStudent, dtype: type[np.floating] = np.float16) -> OctreeScene:
        """What is saved in the end.

        Raises:
            SceneError: a parameter is not finite, or too large for ``dtype``.
        """
        settings = self.settings.octree
        scene = student.to_scene(
            dtype,
            **self._scene_extras(student.box),
            provenance=self._made_by() | {"field_steps": settings.steps},
        )
        return self.subject.frame.scene(scene)

    def _octree_student(self, teacher: Teacher) -> OctreeStudent:
        tensors = self._store.product("octree")
        if tensors is None:
            tensors = self._find_octree(teacher)
        box = Box(tensors["lower"].numpy(), tensors["upper"].numpy())
        settings = self.settings.octree
        depth = settings.depth
        octree = Octree.of_children([tensors[f"children.{level}"].numpy() for level in range(depth)])
        voxel = float(box.size.max()) / (1 << depth)
        sampling = self.settings.occupancy.sampling(self._near, self._far, voxel)
        student = OctreeStudent(box, octree, settings.first_level, sampling, self._background)
        corners = [level.num_corners for level in student.levels]
        self._observer.message(
            f"octree of {len(octree.keys[-1]):,} voxels at level {depth}, features at "
            f"{' + '.join(f'{count:,}' for count in corners)} corners, {self._said(sampling)}"
        )
        return student

    def _find_octree(self, teacher: Teacher) -> dict[str, torch.Tensor]:
        """The octree of the voxels in which the teacher has density, in a cube around them."""
        began = time.perf_counter()
        self._observer.begin("octree", 0, 1)
        settings = self.settings.occupancy
        low, high = teacher.extent() or (self.subject.bounds.box_min, self.subject.bounds.box_max)
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        middle, half = (low + high) / 2, (high - low).max() / 2
        box = Box((middle - half).astype(np.float32), (middle + half).astype(np.float32))
        size = 1 << self.settings.octree.depth
        occupancy = occupancy_of_teacher(
            lambda points: teacher.density(points.to(self._device)),
            box,
            (size, size, size),
            samples=settings.samples,
            threshold=settings.threshold,
            stage="octree",
        )
        octree = Octree.of_occupancy(occupancy)
        tensors = {f"children.{level}": torch.from_numpy(octree.children(level)) for level in range(octree.depth)}
        tensors |= {"lower": torch.from_numpy(box.min), "upper": torch.from_numpy(box.max)}
        self.seconds["octree"] = time.perf_counter() - began
        self._store.keep("octree", tensors)
        self._observer.end("octree", 1)
        return tensors


def training_class(settings: TrainingSettings) -> type[Training]:
    """What trains a scene of the kind that is asked for."""
    return OctreeFieldTraining if settings.field == "octree" else Training


def run_training(training: Training, last: str | None = None) -> Callable[[type[np.floating]], Scene] | None:
    """Run the stages of a training of any kind up to ``last``, or all.

    Returns:
        what makes the scene of a dtype; None where the last stage leaves none.

    Raises:
        as :meth:`Training.run`.
    """
    last = last or training.settings.stages[-1]
    if isinstance(training, OctreeFieldTraining):
        field = training.run_octree(last)
        return None if field is None else lambda dtype: training.finished_octree(field, dtype)
    student = training.run(last)
    return None if student is None else lambda dtype: training.finished_scene(student, dtype)
