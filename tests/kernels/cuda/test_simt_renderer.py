"""What the CUDA renderer does around its kernels (memory, copies, precision, errors), on the SIMT host."""

from typing import Any

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, CancelToken, RenderCancelled, RenderOptions
from kilonerf.kernels.cuda.frame_setup import FrameSetup
from kilonerf.kernels.cuda.pictures import ON_DEVICE, CudaPicture
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.cuda.scene import CudaScene
from kilonerf.kernels.frame import OPAQUE
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import BackendError, KiloNeRFScene
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from simt.simt_pictures import small_views
from support.scenes import random_scene, views

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.mark.parametrize("name", ["outside", "inside"])
def test_simt_a_frame_that_stays_on_the_device_is_the_same(toy_scene: KiloNeRFScene, name: str) -> None:
    camera = small_views(toy_scene)[name]
    renderer = CudaRenderer(toy_scene, SimtDevice(80, checked=True))
    expected = renderer.render(camera, RenderOptions())
    frame = renderer.render(camera, RenderOptions(), on_device=True)
    assert frame.size == (camera.width, camera.height)
    np.testing.assert_array_equal(frame.host().rgb, expected.rgb)
    np.testing.assert_array_equal(frame.host().alpha, expected.alpha)
    np.testing.assert_array_equal(frame.host().depth, expected.depth)
    assert isinstance(frame.resident, CudaPicture)
    (rgbz,) = frame.resident.device.download([frame.resident.launched.arrays["rgbz"]])
    solid = rgbz[..., 3]
    np.testing.assert_array_equal(rgbz[..., :3], expected.rgb)
    np.testing.assert_array_equal(solid, np.where(expected.alpha >= OPAQUE, expected.depth, np.inf))
    assert np.isfinite(solid).any()
    assert not np.array_equal(solid, expected.depth)
    assert frame.statistics.samples == expected.statistics.samples
    assert list(frame.statistics.stages_ms) == ["kernel"]


def test_simt_a_frame_keeps_its_memory_as_long_as_it_lives(toy_scene: KiloNeRFScene) -> None:
    cameras = small_views(toy_scene)
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    first = renderer.render(cameras["outside"], RenderOptions(), on_device=True)
    device.allocations.clear()
    second = renderer.render(cameras["outside"], RenderOptions(background=(0.0, 0.0, 0.0)), on_device=True)
    assert device.allocations == list(ON_DEVICE)  # not the first one's, which is still there
    assert first.host().rgb[0, 0].tolist() == [1.0, 1.0, 1.0]
    assert second.host().rgb[0, 0].tolist() == [0.0, 0.0, 0.0]
    device.allocations.clear()
    del first
    third = renderer.render(cameras["outside"], RenderOptions(), on_device=True)
    assert not device.allocations
    other = renderer.render(cameras["inside"], RenderOptions(), on_device=True)  # of another size
    del second, third
    renderer.render(cameras["outside"], RenderOptions(), on_device=True)
    assert device.allocations == list(ON_DEVICE) * 2  # memory of a size that is not wanted any more is not kept
    assert other.host().rgb.shape[:2] == (cameras["inside"].height, cameras["inside"].width)


def test_simt_only_what_changed_is_copied(toy_scene: KiloNeRFScene) -> None:
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    cameras = small_views(toy_scene)
    camera = cameras["outside"]
    renderer.render(camera, RenderOptions())
    device.uploads.clear()
    device.allocations.clear()
    turned = camera.moved(np.concatenate([camera.matrix[:3, :3] @ np.diag([1, -1, -1]), camera.matrix[:3, 3:]], axis=1))
    renderer.render(camera, RenderOptions(ert=False))
    renderer.render(turned, RenderOptions())
    assert device.uploads == device.allocations == []
    renderer.render(camera, RenderOptions(ess=False))
    assert device.uploads == ["order of cells"]
    renderer.render(cameras["inside"], RenderOptions(ess=False))
    assert device.uploads == ["order of cells"] * 2
    assert device.allocations == ["rgb", "alpha", "depth"]  # of another size
    renderer.render(cameras["inside"], RenderOptions(ess=False), PICTURE | PER_RAY)
    assert device.allocations[3:] == ["samples", "network"]


def test_simt_a_frames_constants_are_made_once_and_nothing_is_cleared(toy_scene: KiloNeRFScene, monkeypatch) -> None:
    """What the host does for each frame is to patch the camera; the kernel leaves its counters at zero."""
    made: list[FrameSetup] = []
    init = FrameSetup.__init__

    def remember(self: FrameSetup, *arguments: Any) -> None:
        made.append(self)
        init(self, *arguments)

    monkeypatch.setattr(FrameSetup, "__init__", remember)
    monkeypatch.setattr(SimtDevice, "clear", None)
    renderer = CudaRenderer(toy_scene, SimtDevice(80))
    cameras = [camera for name, camera in small_views(toy_scene).items() if name in ("outside", "inside", "away")]
    options = RenderOptions()
    samples = [renderer.render(camera, options).statistics.samples for camera in cameras * 2]
    assert len(made) == 1
    assert samples[:3] == samples[3:]
    for camera in reversed(cameras):
        again = FrameSetup(toy_scene, CudaScene.of(toy_scene, "float16"), options).aim(camera, 7)
        assert made[0].aim(camera, 7)["seen_tiles"].tolist() == again["seen_tiles"].tolist()
        parts = [name for name in again.dtype.names or () if name not in ("first_tile", "end_tile")]
        assert all(np.array_equal(made[0].structure[name], again[name]) for name in parts)
    made.clear()
    renderer.render(cameras[0], RenderOptions(ert=False))
    assert len(made) == 1
    assert renderer.render(cameras[0], RenderOptions(ert=False)).statistics.samples >= samples[0]


def test_simt_precision_is_chosen_by_the_device_or_by_name(toy_scene: KiloNeRFScene) -> None:
    camera = small_views(toy_scene)["inside"]
    renderer = CudaRenderer(toy_scene, SimtDevice(80))
    assert renderer.backend == "cuda"
    assert renderer.device == "SIMT host, float16 tensor cores"
    half = renderer.render(camera, RenderOptions())
    full = renderer.render(camera, RenderOptions(precision="float32"))
    assert renderer.device == "SIMT host, float32"
    expected = ReferenceRenderer(toy_scene).render(camera, RenderOptions())
    assert np.abs(full.rgb - expected.rgb).max() < 2e-5 < np.abs(half.rgb - expected.rgb).max()
    again = renderer.render(camera, RenderOptions(precision="float16"))
    assert np.array_equal(half.rgb, again.rgb)
    old = CudaRenderer(toy_scene, SimtDevice(70))
    assert old.device == "SIMT host, float32"
    with pytest.raises(BackendError, match=r"float16 needs .*7\.5 or newer, SIMT host has 7\.0"):
        old.render(camera, RenderOptions(precision="float16"))
    assert np.array_equal(old.render(camera, RenderOptions()).rgb, full.rgb)


def test_simt_a_used_token_cancels_before_the_launch(toy_scene: KiloNeRFScene) -> None:
    device = SimtDevice(80)
    renderer = CudaRenderer(toy_scene, device)
    token = CancelToken()
    token.cancel()
    with pytest.raises(RenderCancelled):
        renderer.render(small_views(toy_scene)["inside"], RenderOptions(), cancel=token)
    assert not device.launches


@pytest.mark.parametrize("honest", [True, False])
def test_simt_too_little_memory_names_need_and_free(toy_scene: KiloNeRFScene, honest: bool) -> None:
    device = SimtDevice(80, memory=3 << 16, honest=honest)
    with pytest.raises(BackendError) as caught:
        CudaRenderer(toy_scene, device)
    if honest:  # known before anything of the scene is allocated
        expected = f"a scene of {toy_scene.num_networks} networks in float16 needs 1 MiB, SIMT host has 1 MiB free: "
        assert device.uploads == ["counters", "tile counters"]
    else:
        expected = "networks needs 1 MiB, SIMT host has 1048576 MiB free but refuses it: "
    assert str(caught.value) == f"backend 'cuda': {expected}close other programs, or use --backend cpu"


def test_simt_scenes_of_4096_networks_in_both_precisions() -> None:
    scene = random_scene((16, 16, 16), (2, 2, 2), dropped=0.0, seed=8)
    assert scene.num_networks == 4096
    camera = views(scene)["outside"].resized(9, 7)
    expected = ReferenceRenderer(scene).render(camera, RenderOptions(step=0.1))
    assert expected.statistics.rays_hit > 20
    for architecture, mebibytes, worst in ((80, 48, 0.02), (70, 84, 2e-5)):
        renderer = CudaRenderer(scene, SimtDevice(architecture, memory=mebibytes << 20))
        frame = renderer.render(camera, RenderOptions(step=0.1))
        assert ("float16" if architecture == 80 else "float32") in renderer.device
        assert np.abs(frame.rgb - expected.rgb).max() < worst
        assert frame.statistics.rays_hit == expected.statistics.rays_hit


def test_simt_a_picture_too_large_leaves_the_renderer_usable(toy_scene: KiloNeRFScene) -> None:
    renderer = CudaRenderer(toy_scene, SimtDevice(80, memory=4 << 20))
    camera = small_views(toy_scene)["inside"]
    before = renderer.render(camera, RenderOptions())
    with pytest.raises(BackendError, match=r"a picture of 4000x3000 needs 229 MiB, SIMT host has 4 MiB free"):
        renderer.render(camera.resized(4000, 3000), RenderOptions())
    assert np.array_equal(renderer.render(camera, RenderOptions()).rgb, before.rgb)


def test_simt_statistics_say_what_took_how_long(toy_scene: KiloNeRFScene) -> None:
    frame = CudaRenderer(toy_scene, SimtDevice(80)).render(small_views(toy_scene)["inside"], RenderOptions())
    stages = frame.statistics.stages_ms
    assert list(stages) == ["kernel", "copy"]
    assert sum(stages.values()) == pytest.approx(frame.statistics.total_ms)
    assert stages["kernel"] > 0
