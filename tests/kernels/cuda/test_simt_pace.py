"""A long frame is many launches: the same picture, and a cancel that is answered between them."""

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, CancelToken, RenderCancelled, RenderOptions
from kilonerf.kernels.cuda.pace import Pace
from kilonerf.kernels.cuda.pictures import HOST
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.model_io import Camera, Scene
from simt.simt_device import SimtDevice
from support.scenes import views

OPTIONS = RenderOptions()


class Timed(SimtDevice):
    """A device on which every span between two marks takes as long as the test says."""

    milliseconds_each = 1000.0

    def milliseconds(self, begin: float, end: float) -> float:
        return self.milliseconds_each


@pytest.fixture
def camera(toy_scene: Scene) -> Camera:
    return views(toy_scene)["outside"].resized(80, 48)  # 5 x 3 tiles


def test_simt_a_long_frame_is_many_launches_of_the_same_picture(toy_scene: Scene, camera: Camera) -> None:
    device = Timed(80, blocks=2)
    renderer = CudaRenderer(toy_scene, device)
    outputs = PICTURE | PER_RAY
    pictures, launches = [], []
    for _ in range(2):
        device.launches.clear()
        pictures.append(renderer.render(camera, OPTIONS, outputs))
        launches.append([blocks for name, blocks in device.launches if name == "render"])
    assert launches == [[2, 2, 2, 2, 1], [2] * 7 + [1]]  # 8 tiles of the first, then 2 at a time
    device.milliseconds_each = 1.0
    device.launches.clear()
    renderer.render(camera, OPTIONS, outputs)  # that one was told to be fast
    pictures.append(renderer.render(camera, OPTIONS, outputs))
    assert device.launches[-1] == ("render", 2)
    assert len(device.launches) == 3 + 1  # growing fourfold at most: 2, 8, then the rest; then at once
    whole = renderer.launch(camera, OPTIONS, {name: HOST[name] for name in HOST})
    for name, array in zip(HOST, device.download(list(whole.arrays.values())), strict=True):  # type: ignore[arg-type]
        for picture in pictures:
            np.testing.assert_array_equal(getattr(picture, name), array)


def test_simt_a_cancel_is_answered_between_launches(toy_scene: Scene, camera: Camera) -> None:
    token = CancelToken()

    class Cancelling(Timed):
        def milliseconds(self, begin: float, end: float) -> float:
            token.cancel()
            return 1000.0

    device = Cancelling(80, blocks=2)
    renderer = CudaRenderer(toy_scene, device)
    with pytest.raises(RenderCancelled):
        renderer.render(camera, OPTIONS, cancel=token)
    assert len(device.launches) == 1
    device.allocations.clear()
    frame = renderer.render(camera, OPTIONS)
    assert device.allocations == []  # the memory of the one that was cancelled
    expected = CudaRenderer(toy_scene, SimtDevice(80)).render(camera, OPTIONS)
    np.testing.assert_array_equal(frame.rgb, expected.rgb)
    assert frame.statistics.samples == expected.statistics.samples


def test_a_range_is_as_long_as_its_time_allows() -> None:
    pace = Pace()
    assert pace.first_range("a", 10_000, 100) == 400  # nothing known
    pace.frame_done("a", 10_000, 99.0)
    assert pace.first_range("a", 10_000, 100) == 10_000
    assert pace.first_range("a", 20_000, 100) == 5050  # twice the pixels: 198 ms
    assert pace.first_range("b", 10_000, 100) == 400  # other options
    assert pace.next_range(400, 25.0, 100) == 800
    assert pace.next_range(400, 0.01, 100) == 1600
    assert pace.next_range(400, 5000.0, 100) == 100
