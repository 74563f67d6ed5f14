import sys
import threading

import numpy as np
import pytest

from kilonerf.kernels import (
    LOOKUPS,
    PER_RAY,
    PICTURE,
    BackendChoice,
    CancelToken,
    RenderCancelled,
    RenderOptions,
    create_renderer,
    query,
)
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.networks import encode, sigmoid
from kilonerf.kernels.sampling import SampleSteps, ray_directions
from kilonerf.model_io import BackendError, Camera, Scene
from support.fake_cudart import HostDevice, on_device
from support.scenes import random_scene, views


@pytest.mark.parametrize(
    "wrong",
    [{"ert_threshold": 1.0}, {"ert_threshold": -0.1}, {"step": 0.0}, {"near": -1.0}, {"background": (1.0, 1.0)}],
)
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RenderOptions(**wrong)


def test_as_trained_takes_exactly_the_trained_samples(toy_scene: Scene) -> None:
    steps = SampleSteps.of(toy_scene, RenderOptions.as_trained(toy_scene))
    assert steps.last == toy_scene.num_samples - 1
    assert steps.t(np.array([0, steps.last])) == pytest.approx([toy_scene.near, toy_scene.far])


def test_flying_starts_at_the_camera(toy_scene: Scene) -> None:
    steps = SampleSteps.of(toy_scene, RenderOptions())
    assert steps.near == pytest.approx(toy_scene.step)
    assert steps.t(np.array([steps.last])) > 1e5


def test_rays_by_hand() -> None:
    camera = Camera.from_matrix(np.eye(4), 4, 2, fx=2.0, fy=4.0)
    directions = ray_directions(camera)
    assert directions.shape == (2, 4, 3)
    assert directions[0, 0].tolist() == [-0.75, 0.125, -1.0]
    assert directions[1, 3].tolist() == [0.75, -0.125, -1.0]


def test_encoding_by_hand() -> None:
    encoded = encode(np.array([[0.5, 2.0]]), 2)
    half, two = ([v, np.cos(v), np.cos(2 * v), np.sin(v), np.sin(2 * v)] for v in (0.5, 2.0))
    assert encoded[0] == pytest.approx(half + two)


def test_sigmoid_never_overflows() -> None:
    assert sigmoid(np.array([-1e4, 0, 1e4], np.float32)).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_used_token_cancels(toy_scene: Scene, backend: str) -> None:
    token = CancelToken()
    token.cancel()
    renderer = create_renderer(toy_scene, backend)
    camera = views(toy_scene)["outside"]
    with pytest.raises(RenderCancelled):
        renderer.render(camera, RenderOptions(), cancel=token)
    assert renderer.render(camera, RenderOptions(), cancel=CancelToken()).statistics.samples > 0  # and it lives on


def test_the_native_renderer_lets_other_threads_run(toy_scene: Scene) -> None:
    """A thread that cancels could not run if the frame held the GIL; the frame would then take minutes."""
    token = CancelToken()
    camera = views(toy_scene)["outside"].resized(4000, 4000)
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(RenderCancelled):
        CpuRenderer(toy_scene, threads=1).render(camera, RenderOptions(ert=False, step=1e-4), cancel=token)


def test_unknown_backends_and_paths_are_named(toy_scene: Scene) -> None:
    with pytest.raises(BackendError, match="'vulkan': expected one of auto, cuda, cpu, reference"):
        create_renderer(toy_scene, "vulkan")
    with pytest.raises(BackendError, match=r"'sse9': this machine has .*baseline"):
        CpuRenderer(toy_scene, path="sse9")
    with pytest.raises(BackendError, match=r"'sse9': this machine has .*baseline"):
        create_renderer(toy_scene, BackendChoice(cpu_path="sse9"))
    with pytest.raises(BackendError, match="a CUDA device or a CPU path, got 0 and 'baseline'"):
        create_renderer(toy_scene, BackendChoice(device=0, cpu_path="baseline"))
    with pytest.raises(BackendError, match="threads"):
        CpuRenderer(toy_scene, threads=0)


def test_a_missing_extension_is_a_backend_error(toy_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kilonerf.kernels._cpu", None)
    monkeypatch.delattr("kilonerf.kernels._cpu", raising=False)
    with pytest.raises(BackendError, match="native extension"):
        create_renderer(toy_scene)


def test_query_chooses_its_backend(toy_scene: Scene) -> None:
    points = np.zeros((1, 3), np.float32)
    with pytest.raises(BackendError):
        query(toy_scene, points, points, backend="none")


def test_ert_ends_rays_after_the_sample_that_crosses_the_threshold() -> None:
    """One opaque cell behind another: the higher the threshold, the fewer samples; 0 takes them all."""
    scene = random_scene((1, 1, 2), (4, 4, 4), occupied=1.0, dropped=0.0)
    camera = views(scene)["outside"]
    for backend in ("cpu", "reference"):
        renderer = create_renderer(scene, backend)
        counts = [
            renderer.render(camera, RenderOptions(ert_threshold=threshold)).statistics.samples
            for threshold in (0.0, 0.01, 0.1, 0.5, 0.9)
        ]
        everything = renderer.render(camera, RenderOptions(ert=False)).statistics.samples
        assert counts[0] == everything
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] < counts[1] < counts[0]


def test_what_a_renderer_cannot_give_is_refused_with_what_it_can(toy_scene: Scene) -> None:
    camera = views(toy_scene)["outside"].resized(8, 6)
    cpu = create_renderer(toy_scene, "cpu")
    assert cpu.outputs == PICTURE | PER_RAY | LOOKUPS
    reference = create_renderer(toy_scene, "reference")
    assert reference.outputs == PICTURE | PER_RAY
    message = "backend 'reference': expected outputs among alpha, depth, network, rgb, samples, got lookups"
    with pytest.raises(BackendError, match=message):
        reference.render(camera, RenderOptions(), PICTURE | LOOKUPS)
    frame = cpu.render(camera, RenderOptions(), on_device=True)  # it has no device of its own
    assert frame.resident is None
    assert frame.host() is frame
    assert frame.size == (8, 6)


def test_a_frame_on_a_device_is_copied_once_and_says_what_failed(toy_scene: Scene) -> None:
    camera = views(toy_scene)["outside"].resized(8, 6)
    frame = create_renderer(toy_scene, "cpu").render(camera, RenderOptions())
    device = HostDevice()
    resident = on_device(frame, device)
    assert (resident.size, device.downloads) == ((8, 6), 0)
    for name in ("rgb", "alpha", "depth"):
        np.testing.assert_array_equal(getattr(resident, name), getattr(frame, name))
    np.testing.assert_array_equal(resident.to_rgb8(), frame.to_rgb8())
    assert device.downloads == 1
    lost = on_device(frame, device)
    device.broken = True
    with pytest.raises(BackendError, match="fell off the bus"):
        lost.host()
