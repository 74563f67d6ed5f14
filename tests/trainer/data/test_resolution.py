"""How small photos are made: to what the networks can show, and what memory can hold."""

from kilonerf.model_io import Dataset, View
from kilonerf.trainer.data.bounds import Bounds
from kilonerf.trainer.data.resolution import PIXELS_PER_VOXEL, fitting_downscale
from support.photo_sets import ring

BOUNDS = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), "a test")
MUCH = 1 << 40


def photographed(size: int) -> Dataset:
    return Dataset("blender", [View(camera, None, str(n)) for n, camera in enumerate(ring(9, size, size))])


def test_photos_keep_the_pixels_that_voxels_need_and_no_more() -> None:
    for size in (400, 1000, 4000):
        factor = fitting_downscale(photographed(size), BOUNDS, 256, MUCH)
        camera = ring(1, size, size)[0]
        pixels = camera.fx / 4.0 * 2 / 256  # of a voxel's side, at the cameras' distance
        assert factor == max(1, int(pixels / PIXELS_PER_VOXEL))
    assert factor > 3
    assert fitting_downscale(photographed(4000), BOUNDS, 1024, MUCH) < factor  # finer voxels show more


def test_photos_fit_into_memory() -> None:
    assert fitting_downscale(photographed(400), BOUNDS, 256, 9 * 400 * 400 * 3) == 1
    assert fitting_downscale(photographed(400), BOUNDS, 256, 9 * 400 * 400) == 2
    assert fitting_downscale(photographed(40), BOUNDS, 256, 1) == 40  # at most to one pixel
