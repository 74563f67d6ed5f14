"""What the CUDA kernels' tests render on the SIMT host, and how it is compared with the reference."""

import numpy as np
import pytest

from kilonerf.kernels import Frame
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, Scene
from support import rendering
from support.scenes import random_scene, views

SCENES = {
    **rendering.SCENES,
    "over 256 cells": random_scene((8, 7, 9), (2, 2, 2), seed=6),  # more than one chunk of the order
}
DEVICES = {"tensor cores, sm_80": (80, "float16"), "tensor cores, sm_75": (75, "float16"), "float32": (70, "float32")}
# sm_75 differs from sm_80 in two instructions.
ON_DEVICES = [pytest.param(on, marks=pytest.mark.slow) if "sm_75" in on else on for on in DEVICES]
ORDERS = [pytest.param("ascending", marks=pytest.mark.slow), pytest.param("descending", marks=pytest.mark.slow), 5]
SHARE = 0.35  # of the views' sizes: every size stays odd or smaller than a tile


def small_views(scene: Scene) -> dict[str, Camera]:
    """The views of other backends' tests in fewer pixels: still several tiles, none a multiple of 16 wide."""
    small = {}
    for name, camera in views(scene).items():
        width, height = max(1, int(SHARE * camera.width)), max(1, int(SHARE * camera.height))
        small[name] = camera.resized(width, height)
    return small


def assert_as_reference(frame: Frame, expected: Frame, precision: str, ert: bool) -> None:
    """float32: tight but for rays whose T comes to lie on epsilon's other side. float16: as exact as fp16 is."""
    if precision == "float32":
        rendering.assert_same_picture(frame, expected, flips=0.002 if ert else 0.0)
    else:
        assert psnr(frame.rgb, expected.rgb) >= 60
        assert np.abs(frame.rgb - expected.rgb).max(initial=0) < 0.02
        assert np.abs(frame.alpha - expected.alpha).max(initial=0) < 0.02
        seen = expected.alpha > 0.1
        assert np.abs(frame.depth[seen] - expected.depth[seen]).max(initial=0) < 0.2
    assert np.isinf(frame.depth[frame.alpha == 0]).all()
    assert np.isfinite(frame.depth[frame.alpha > 0]).all()
    counted, wanted = frame.statistics, expected.statistics
    assert counted.rays == wanted.rays
    assert counted.rays_hit == wanted.rays_hit
    if ert:  # a flip at the threshold costs a few samples of one ray
        assert abs(counted.samples - wanted.samples) <= 2 + wanted.samples // (1000 if precision == "float32" else 300)
        assert counted.samples <= counted.evaluations <= counted.samples + counted.rays_hit
    else:
        assert counted.samples == counted.evaluations == wanted.samples
