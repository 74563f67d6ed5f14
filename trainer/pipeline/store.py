"""What a run's folder holds: each finished stage's tensors, and the progress of the one that runs.

A finished stage leaves ``<stage>.safetensors``, the one that runs leaves ``progress.safetensors`` now and then. Every
file says of which settings and data it is, so that a training is not resumed with others.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from kilonerf.model_io import CheckpointError, OutputError, TrainingError
from kilonerf.model_io.files.lock import FileLock, lock_holder

from ..loop.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from ..loop.distributed import World
from ..settings import OCTREE_STAGES, STAGES

PROGRESS = "progress"
LOCK = "lock"


class Resumable(Protocol):
    """What can be saved in the middle, and resumed."""

    def state(self) -> dict[str, torch.Tensor]: ...  # noqa: D102
    def load_state(self, state: Mapping[str, torch.Tensor]) -> None: ...  # noqa: D102


def make_folder(folder: Path, restart_from: str | None = None) -> None:
    """Make a run's folder; forget ``restart_from`` and the stages after it.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if restart_from is not None:
            later = next(
                stages[stages.index(restart_from) :] for stages in (STAGES, OCTREE_STAGES) if restart_from in stages
            )
            every = OCTREE_STAGES[1:] if restart_from == STAGES[0] else ()
            for stage in (*later, *every, PROGRESS):
                (folder / f"{stage}.safetensors").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from error


def lock_folder(folder: Path) -> FileLock:
    """Keep other programs from training in a run's folder.

    Raises:
        TrainingError: one does.
        OutputError: the folder cannot be written.
    """
    lock = FileLock.take(folder / LOCK)
    if lock is None:
        holder = lock_holder(folder / LOCK)
        raise TrainingError(f"{folder}: expected a folder that no other program works in, got process {holder}")
    return lock


class StageStore:
    """Reads and writes the files of one run.

    Args:
        folder: where they are; it exists.
        world: processes that train together; the first one reads and writes.
        describe: what decides the result of a stage, as a JSON document with "settings", "data" and "box".

    Attributes:
        seconds: how long each stage took, also what was done before a stop.
    """

    def __init__(self, folder: Path, world: World, describe: Callable[[str], dict[str, Any]]) -> None:
        self.seconds: dict[str, float] = {}
        self._folder, self._world, self._describe = folder, world, describe

    def product(self, name: str) -> Mapping[str, torch.Tensor] | None:
        """What a finished stage made; None if it is not finished.

        Raises:
            TrainingError: the file is of another training.
            CheckpointError: it is damaged.
        """
        path = self._path(name)
        product = self._world.from_first(lambda: load_checkpoint(path) if path.is_file() else None)
        if product is None:
            return None
        self._check(path, product, name)
        self.seconds[name] = float(product.document.get("seconds", 0.0))
        return product.tensors

    def keep(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write what a finished stage made; its progress is not needed any more."""
        if self._world.is_first:
            save_checkpoint(self._path(name), tensors, self._document(name))
            self._path(PROGRESS).unlink(missing_ok=True)

    def resume(self, stage: Resumable, name: str, world: World) -> tuple[int, float]:
        """Load a stage's progress into it, if there is any.

        Returns:
            the step to begin with, and the seconds that the stage has taken.

        Raises:
            TrainingError: the progress is of another training.
            CheckpointError: it is damaged.
        """
        path = self._path(PROGRESS)
        progress = world.from_first(lambda: load_checkpoint(path) if path.is_file() else None)
        if progress is None or progress.document.get("stage") != name:
            return 0, 0.0
        self._check(path, progress, name)
        try:
            stage.load_state(progress.tensors)
            return int(progress.document["step"]), float(progress.document["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError, TrainingError) as error:
            raise CheckpointError(f"{path}: expected what {name} left, got a file without it: {error}") from error

    def save_progress(self, stage: Resumable, name: str, step: int) -> None:
        """Write where a stage is: ``step`` comes next."""
        state = stage.state()  # in all processes: they gather it
        if self._world.is_first:
            save_checkpoint(self._path(PROGRESS), state, {"step": step, **self._document(name)})

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _document(self, name: str) -> dict[str, Any]:
        return {"stage": name, "seconds": self.seconds.get(name, 0.0), **self._describe(name)}

    def _check(self, path: Path, checkpoint: Checkpoint, name: str) -> None:
        for key, wanted in self._describe(name).items():
            fault = _difference(wanted, checkpoint.document.get(key), key)
            if fault:
                raise TrainingError(f"{path}: {fault}: it is of another training (--restart-from starts over)")


def _difference(wanted: Any, got: Any, where: str) -> str | None:
    """The first place where two JSON documents differ."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted(wanted.keys() | got.keys()):
            fault = _difference(wanted.get(key), got.get(key), f"{where}.{key}")
            if fault:
                return fault
        return None
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        wanted, got = list(wanted), list(got)
    return None if wanted == got else f"{where}: expected {wanted}, got {got}"
