"""How small photos are made: to what the networks can show."""

from kilonerf.model_io import Dataset, View
from kilonerf.trainer.data.bounds import Bounds
from kilonerf.trainer.data.resolution import PIXELS_PER_VOXEL, fitting_downscale
from support.photo_sets import ring

BOUNDS = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), "a test")


def photographed(size: int) -> Dataset:
    return Dataset("blender", [View(camera, None, str(n)) for n, camera in enumerate(ring(9, size, size))])


def test_photos_keep_the_pixels_that_voxels_need_and_no_more() -> None:
    for size in (400, 1000, 4000):
        factor = fitting_downscale(photographed(size), BOUNDS, 256)
        camera = ring(1, size, size)[0]
        pixels = camera.fx / 4.0 * 2 / 256  # of a voxel's side, at the cameras' distance
        assert factor == max(1, int(pixels / PIXELS_PER_VOXEL))
    assert factor > 3
    assert fitting_downscale(photographed(4000), BOUNDS, 1024) < factor  # finer voxels show more
    assert fitting_downscale(photographed(40), BOUNDS, 1) == 12  # one voxel
    assert fitting_downscale(photographed(4), BOUNDS, 1) == 1
