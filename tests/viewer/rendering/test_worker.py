import threading
import time
from dataclasses import replace

import pytest

from kilonerf.kernels import BackendChoice, RenderOptions, create_renderer
from kilonerf.model_io import BackendError, Camera
from kilonerf.viewer.camera.navigator import scaled_camera
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderWorker
from support.gated_renderer import PATIENCE, GatedRenderer


class Bench:
    """A worker with a fake renderer behind a gate, and ways to wait for it."""

    def __init__(self, scene, **arguments):
        self.scene = scene
        self.gate = threading.Event()
        self.made: list[GatedRenderer] = []
        self.arguments = arguments
        self.arrived = threading.Semaphore(0)
        self.worker = RenderWorker(self.arrived.release, self.make)

    def make(self, scene, backend):
        if backend.name == "missing":
            raise BackendError("backend 'missing': not on this machine")
        self.made.append(GatedRenderer(scene, backend, gate=self.gate, **self.arguments))
        return self.made[-1]

    def request(self, x=3.0, scale=1.0, backend="cpu", scene=None):
        camera = Camera.look_at((x, 2.0, 1.0), (0.0, 0.0, 0.0), 64, 48)
        view = Shot(scene or self.scene, BackendChoice(backend), camera, RenderOptions())
        request = RenderRequest(view, scale, scaled_camera(camera, scale))
        self.worker.request(request)
        return request

    def wait_until_running(self, request):
        end = time.monotonic() + PATIENCE
        while self.worker.running is None or self.worker.running[0] != request:
            assert time.monotonic() < end
            time.sleep(0.001)

    def results(self, count=1):
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE)
        return self.worker.take_results()


@pytest.fixture
def bench(toy_scene):
    bench = Bench(toy_scene)
    yield bench
    bench.gate.set()
    bench.worker.close()


def test_a_request_becomes_a_frame_of_its_size(bench):
    bench.gate.set()
    request = bench.request(scale=0.5)
    (result,) = bench.results()
    assert result.request == request
    assert result.frame.rgb.shape == (24, 32, 3)
    assert result.device == "fake device"
    assert result.error is None
    assert not bench.worker.busy


def test_the_newest_of_the_waiting_requests_wins(bench):
    first = bench.request(3.0)
    bench.wait_until_running(first)
    for x in (3.1, 3.2, 3.3):
        newest = bench.request(x)
    bench.gate.set()
    results = [*bench.results(2)]
    assert [result.request for result in results] == [first, newest]
    assert bench.made[0].cancelled == 0


def test_a_frame_of_like_size_is_finished_for_a_newer_camera(bench):
    """Otherwise a camera that always moves would never yield a picture."""
    first = bench.request(3.0, scale=0.5)
    bench.wait_until_running(first)
    bench.request(3.1, scale=0.45)
    bench.gate.set()
    assert bench.results(2)[0].request == first


def test_continuous_motion_yields_pictures(toy_scene):
    bench = Bench(toy_scene, seconds=0.02)
    bench.gate.set()
    try:
        seen = []
        end = time.monotonic() + PATIENCE
        x = 3.0
        while len(seen) < 5:  # a new camera every few milliseconds, faster than any frame is done
            assert time.monotonic() < end, "starved"
            x += 0.001
            bench.request(x)
            time.sleep(0.003)
            seen += bench.worker.take_results()
        assert bench.made[0].cancelled == 0
        positions = [result.request.camera.position[0] for result in seen]
        assert positions == sorted(positions)
    finally:
        bench.worker.close()


def test_a_large_frame_is_cancelled_for_a_small_one(bench):
    still = bench.request(3.0, scale=1.0)
    bench.wait_until_running(still)
    moving = bench.request(3.1, scale=0.5)
    bench.wait_until_running(moving)
    bench.gate.set()
    (result,) = bench.results()
    assert result.request == moving
    assert bench.made[0].cancelled == 1


def test_another_backend_cancels_and_both_renderers_are_kept(bench):
    first = bench.request(backend="cpu")
    bench.wait_until_running(first)
    second = bench.request(backend="reference")
    bench.gate.set()
    assert bench.results()[0].request == second
    bench.request(3.5, backend="cpu")
    bench.results()
    assert [renderer.backend for renderer in bench.made] == ["cpu", "reference"]
    assert bench.made[0].cancelled == 1


def test_a_request_is_not_made_twice(bench):
    request = bench.request()
    bench.wait_until_running(request)
    bench.request()
    bench.gate.set()
    bench.results()
    assert not bench.worker.busy
    assert len(bench.made[0].started) == 1


def test_a_cancelled_request_can_be_asked_for_again(bench):
    first = bench.request(3.0, scale=1.0)
    bench.wait_until_running(first)
    bench.request(3.0, scale=0.5)  # cancels the first
    bench.request(3.0, scale=1.0)
    bench.gate.set()
    while bench.results()[-1].request != first:  # unless replaced while it waited, the smaller one comes before
        pass


def test_an_error_passes_as_one_line_and_the_worker_lives_on(toy_scene):
    def fail(camera, options):
        if camera.position[0] > 3.5:
            raise ValueError("out of\nthe world")

    bench = Bench(toy_scene, on_render=fail)
    bench.gate.set()
    try:
        bench.request(4.0)
        (failed,) = bench.results()
        assert failed.frame is None
        assert failed.error == "cpu: ValueError: out of the world"
        bench.request(backend="missing")
        assert bench.results()[0].error == "backend 'missing': not on this machine"
        bench.request(3.0)
        assert bench.results()[0].frame is not None
    finally:
        bench.worker.close()


def test_closing_stops_a_frame_that_would_never_end(bench):
    bench.wait_until_running(bench.request())
    bench.worker.close()
    assert bench.made[0].cancelled == 1


def test_auto_goes_on_with_the_cpu_where_cuda_fails_while_it_runs(toy_scene):
    made: list[str] = []
    arrived = threading.Semaphore(0)

    class Failing(GatedRenderer):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            self.backend = "cuda"

        def render(self, *arguments, **more):
            raise BackendError("backend 'cuda': H200 failed: CUDARuntimeError: an illegal access")

    def make(scene, backend):
        made.append(backend.name)
        return Failing(scene, backend) if backend.name in ("auto", "cuda") else create_renderer(scene, backend)

    worker = RenderWorker(arrived.release, make)

    def ask(name, x):
        camera = Camera.look_at((x, 2.0, 1.0), (0.0, 0.0, 0.0), 16, 12)
        worker.request(RenderRequest(Shot(toy_scene, BackendChoice(name), camera, RenderOptions()), 1.0, camera))
        assert arrived.acquire(timeout=PATIENCE)
        (result,) = worker.take_results()
        return camera, result

    for x in (3.0, 4.0):  # the GPU that failed is not tried again
        camera, result = ask("auto", x)
        assert (result.error, result.backend) == (None, "cpu")
        assert result.request.camera == camera
        assert result.frame is not None
        expected = create_renderer(toy_scene, "cpu").render(camera, RenderOptions())
        assert (result.frame.rgb == expected.rgb).all()
        assert result.fallback == "backend 'cuda': H200 failed: CUDARuntimeError: an illegal access"
    assert made == ["auto", "cpu"]
    _, result = ask("cuda", 3.0)  # who asks for CUDA hears it
    assert (result.frame, result.backend) == (None, "cuda")
    worker.close()


def test_the_windows_own_picture_comes_before_one_to_compare_it_with(bench):
    bench.gate.set()
    bench.request()
    (first,) = bench.results()
    bench.gate.clear()
    camera = first.request.camera
    other = replace(first.request.shot, options=RenderOptions(ess=False))
    beside = RenderRequest(other, 1.0, camera, beside=first)
    bench.worker.request(beside)
    bench.wait_until_running(beside)
    own = bench.request(x=4.0)  # of the same size and renderer: only that it is the window's own tells
    bench.gate.set()
    (result,) = bench.results()
    assert result.request == own
    assert bench.made[0].cancelled == 1
    bench.worker.request(beside)
    (result,) = bench.results()
    assert result.request == beside
    assert result.difference is not None
    assert result.difference.identical
    assert len(bench.made) == 1
