"""What training would do with a data set here: its frame and box, memory, and an estimate of the time."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from ..data.bounds import Bounds
from ..data.captures import scene_depths
from ..data.corrections import PhotoSettings
from ..ops.networks import SampleGroups, TinyNetworks, tiny_networks
from ..settings import PRESETS, TrainingSettings
from .corrected_photos import CorrectedPhotos
from .subject import read_subject

_LOOKED_AT = 400  # pixels of the longer side of the photos that the box is found by
_NETWORKS, _SAMPLES, _RUN = 600, 270, 5  # of the calibration: a batch like one of fine-tuning
_PASSES = 4  # the first one only warms up
_GAIN_OF_A_CORE = 0.75  # of the first core's rate, for each core more


class _StepsPerSecond(NamedTuple):
    """Of the stages."""

    teacher: float
    distillation: float
    fine_tuning: float


# Measured on two cores that nothing else used, at this rate of the calibration: docs/training.md.
_REFERENCE_RATE = 4.0e6  # samples a second
_BOUNDED = _StepsPerSecond(13.4, 13.4, 21.7)  # the chair
_CAPTURE = _StepsPerSecond(2.7, 7.0, 11.0)  # cup: every ray crosses nested boxes from end to end
_NERF_MULTIPLY_ADDS = 594_000  # of the paper's network, for a sample
_TINY_MULTIPLY_ADDS = 6_080
_BYTES_PER_VOXEL = 4 * 28 * 3  # density and 27 colour coefficients, and Adam's two moments
_BASE_BYTES = 600 * 2**20  # the program, its libraries and a batch


@dataclass(frozen=True)
class Plan:
    """What training would do with a data set.

    Attributes:
        bounds: the box around the scene and how it was found, in the data set's unit.
        scale: how much larger everything is while training.
        origin: what the finished scene's coordinates are relative to.
        near: z-depth of the first sample, in the data set's unit.
        far: of the last one.
        sky: share of the photos' pixels that a sky is behind; 0: there will be none.
        memory: bytes, estimated.
        minutes: of each preset, estimated from a short measurement here.
    """

    bounds: Bounds
    scale: float
    origin: tuple[float, float, float]
    near: float
    far: float
    sky: float
    memory: int
    minutes: dict[str, float]


def plan_training(path: Path, split: str, longer_side: int, photo_bytes: int) -> Plan:
    """Look at a data set as training does, on smaller photos.

    Args:
        path: the data set.
        split: the split to learn.
        longer_side: of its largest photo, pixels.
        photo_bytes: of its photos in memory.

    Raises:
        DatasetError: as :func:`~.subject.read_subject`.
    """
    downscale = max(1, longer_side // _LOOKED_AT)
    subject, _ = read_subject(path, split=split, downscale=downscale)
    near, far = scene_depths(subject.dataset, subject.bounds)
    frame, photos = subject.frame, CorrectedPhotos(subject, PhotoSettings())
    photos.find_sky(TrainingSettings())
    sky = photos.sky
    resolution = TrainingSettings().grid.resolution
    memory = min(photo_bytes, 4 * 2**30) + _BASE_BYTES + resolution**3 // 8 * _BYTES_PER_VOXEL
    rate = calibrate()
    minutes = {
        name: estimated_minutes(settings, rate, nested=subject.bounds.levels > 1)
        for name, settings in PRESETS.items()
        if subject.bounds.levels == 1 or settings.teacher != "nerf"
    }
    return Plan(
        subject.found or subject.bounds,
        frame.scale,
        frame.origin,
        near / frame.scale,
        far / frame.scale,
        0.0 if sky is None else sky.share,
        memory,
        minutes,
    )


def calibrate() -> float:
    """Samples a second, forward and backward through tiny networks, of this machine's processor with all its cores.

    One thread is measured, which other programs disturb less: this is the rate where nothing else runs.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rate = _rate_of_one_thread()
    finally:
        torch.set_num_threads(threads)
    return rate * (1 + _GAIN_OF_A_CORE * (threads - 1))


def _rate_of_one_thread() -> float:
    networks = TinyNetworks.initial(_NETWORKS, seed=0)
    count = _NETWORKS * _SAMPLES
    points = torch.rand(count, 3) * 2 - 1
    directions = torch.nn.functional.normalize(torch.randn(count // _RUN, 3), dim=1).repeat_interleave(_RUN, 0)
    groups, best = SampleGroups.dense(_NETWORKS, _SAMPLES), 0.0
    for _ in range(_PASSES):
        began = time.perf_counter()
        rgb, density = tiny_networks(points, directions, groups, networks)
        torch.autograd.backward((rgb, density), (torch.ones_like(rgb), torch.ones_like(density)))
        best = max(best, count / (time.perf_counter() - began))
    return best


def estimated_minutes(settings: TrainingSettings, rate: float, *, nested: bool = False) -> float:
    """Minutes on a processor that trains ``rate`` samples a second: a rough estimate, for a scene like those measured.

    Args:
        settings: of the training.
        rate: from :func:`calibrate`.
        nested: the scene is of nested boxes.
    """
    speed = _CAPTURE if nested else _BOUNDED
    if settings.teacher == "nerf":
        samples = settings.nerf.steps * settings.nerf.rays * settings.nerf.samples
        teacher = samples * _NERF_MULTIPLY_ADDS / (_TINY_MULTIPLY_ADDS * _REFERENCE_RATE)
    else:
        teacher = sum(settings.grid.steps) / speed.teacher
    distillation = settings.distillation.steps / speed.distillation
    fine_tuning = settings.fine_tuning.steps / speed.fine_tuning
    return (teacher + distillation + fine_tuning) * _REFERENCE_RATE / rate / 60
