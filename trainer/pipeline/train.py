"""Training from Python: what ``kilonerf-train`` does, as one function."""

from pathlib import Path

import numpy as np
import torch

from kilonerf.model_io import Scene

from ..loop.distributed import World
from ..settings import TrainingSettings
from .observers import Observer, Observers
from .octree import run_training, training_class
from .pipeline import load_teacher
from .store import lock_folder, make_folder
from .subject import read_subject


def train(
    dataset: Path | str,
    settings: TrainingSettings | None = None,
    *,
    folder: Path | str,
    observer: Observer | None = None,
    device: torch.device | str = "cpu",
) -> Scene:
    """Train a scene from posed photos (KiloNeRF sections 3.2 to 3.4).

    Args:
        dataset: a Blender, NSVF, nerfstudio, instant-ngp or COLMAP data set.
        settings: how; the preset "fast" if left out.
        folder: where the stages leave what they made, made if need be. A run that was interrupted is resumed from it.
        observer: is told how it goes, if given.
        device: of parameters and batches.

    Returns:
        the finished scene, in float16; :func:`~kilonerf.model_io.save_scene` writes it.

    Raises:
        KiloNeRFError: bad settings, a data set that cannot be read, a folder of another training.
    """
    settings = settings or TrainingSettings()
    settings.check()
    teacher = load_teacher(settings.teacher, device)
    subject, _ = read_subject(
        Path(dataset),
        downscale=settings.downscale,
        voxels=settings.voxels,
        levels=settings.levels,
    )
    folder = Path(folder)
    make_folder(folder)
    training = training_class(settings)(
        subject,
        settings,
        folder,
        world=World(),
        observer=observer or Observers(),
        device=device,
        teacher=teacher,
    )
    lock = lock_folder(folder)
    try:
        scene = run_training(training)
    finally:
        lock.release()
    assert scene is not None  # noqa: S101 - all stages have been run
    return scene(np.float16)
