"""Cells that reach behind the camera: only pixels that none of their samples can be seen in are left out."""

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.model_io import Camera
from support.rendering import SCENES, rays_by_definition

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
SCENE = SCENES["16 voxels per cell"]


def cameras_inside(count: int, seed: int) -> list[Camera]:
    """At places within the box and close to it, turned anywhere, of odd sizes; half of them with a wide lens."""
    rng = np.random.default_rng(seed)
    cameras = []
    for number in range(count):
        turned, upper = np.linalg.qr(rng.normal(size=(3, 3)))
        pose = np.eye(4)
        pose[:3, :3] = turned * np.sign(np.diag(upper))
        pose[:3, 0] *= np.linalg.det(pose[:3, :3])
        pose[:3, 3] = rng.uniform(SCENE.box_min, SCENE.box_max) * 1.2
        cameras.append(Camera.from_matrix(pose, 147, 131, fx=(45.0, 160.0)[number % 2]))  # some tiles of 64 x 64
    return cameras


@pytest.mark.parametrize(("near", "ess"), [(0.0, True), (1e-6, True), (0.01, True), (0.3, True), (0.3, False)])
def test_every_ray_from_inside_takes_the_samples_of_the_definition(near: float, ess: bool) -> None:
    renderer = CpuRenderer(SCENE, threads=1, path="float32")
    options = RenderOptions(near=near, far=near + 1.5, step=0.025, ert=False, ess=ess)
    taken = 0
    for camera in cameras_inside(4, seed=int(100 * near)):
        frame = renderer.render(camera, options, PICTURE | PER_RAY)
        samples, network = rays_by_definition(SCENE, camera, options)
        np.testing.assert_array_equal(frame.samples, samples)
        np.testing.assert_array_equal(frame.network, network)
        taken += samples.sum()
    assert taken > 10_000
