"""What every backend's tests render, and how a picture is compared with the reference."""

import numpy as np

from kilonerf.kernels import Frame, RenderOptions
from kilonerf.kernels.sampling import SampleSteps, positions, ray_directions, ray_origin
from kilonerf.model_io import Camera, KiloNeRFScene
from support.scenes import random_scene, with_few_frequencies

SCENES = {
    "toy": random_scene(),
    "16 voxels per cell": random_scene((3, 2, 2), (16, 16, 16), occupied=0.1, seed=1),
    "odd factors": random_scene((2, 3, 4), (3, 5, 2), seed=2),
    "one cell": random_scene((1, 1, 1), (8, 8, 8), dropped=0.0, seed=3),
    "float16": random_scene(seed=4, dtype=np.float16),
    "few frequencies": with_few_frequencies(random_scene(seed=5)),
}
MODES = {
    "flying": lambda scene: RenderOptions(background=(0.2, 0.5, 0.9)),
    "as trained": RenderOptions.as_trained,
    "no ERT": lambda scene: RenderOptions.as_trained(scene, ert=False),
    "no ESS": lambda scene: RenderOptions.as_trained(scene, ess=False),
    "neither": lambda scene: RenderOptions.as_trained(scene, ess=False, ert=False),
    "fine steps": lambda scene: RenderOptions(step=scene.step / 5),  # over 32 samples of a ray in one cell
}


def assert_same_picture(picture: Frame, reference: Frame, flips: float = 0.0) -> None:
    """Tight everywhere, but for a bounded share of rays whose T comes to lie on the other side of epsilon."""
    difference = np.abs(picture.rgb - reference.rgb).max(-1)
    apart = difference > 2e-5
    assert apart.sum() <= flips * apart.size
    assert difference.max(initial=0) < 0.012
    assert np.abs(picture.alpha - reference.alpha)[~apart].max(initial=0) < 2e-5
    assert np.array_equal(np.isfinite(picture.depth), np.isfinite(reference.depth))
    seen = np.isfinite(reference.depth) & (reference.alpha > 1e-3) & ~apart
    assert np.abs(picture.depth[seen] - reference.depth[seen]).max(initial=0) < 2e-4


def rays_by_definition(scene: KiloNeRFScene, camera: Camera, options: RenderOptions) -> tuple[np.ndarray, np.ndarray]:
    """Samples of each ray without ERT, and the network of its first, straight from the sampling rule."""
    steps, grid = SampleSteps.of(scene, options), scene.cells
    t = steps.t(np.arange(steps.last + 1))
    points = positions(ray_origin(camera), ray_directions(camera)[:, :, None, :], t)
    inside, voxel = grid.locate(points)
    if options.ess:
        inside &= scene.occupancy[tuple(np.moveaxis(voxel, -1, 0))]
    cells = np.moveaxis(voxel // grid.factor, -1, 0)
    network = np.where(inside, scene.network_index[tuple(cells)], -1)
    counts = network >= 0
    first = np.take_along_axis(network, counts.argmax(-1)[..., None], -1)[..., 0]
    return counts.sum(-1), np.where(counts.any(-1), first, -1)
