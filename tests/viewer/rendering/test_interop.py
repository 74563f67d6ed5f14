"""Pictures from a CUDA device into OpenGL's textures: a fake CUDA runtime, real OpenGL."""

import gc
import importlib.util
import weakref

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, Frame, FrameStatistics, RenderOptions
from kilonerf.model_io import BackendError, Camera
from kilonerf.viewer.drawing.overlays import OverlayOptions
from kilonerf.viewer.drawing.picture import Picture
from kilonerf.viewer.drawing.projection import ClipPlanes
from kilonerf.viewer.drawing.scene_view import SceneView
from kilonerf.viewer.rendering.interop import CudaRuntime, Interop, InteropError, load_runtime
from kilonerf.viewer.rendering.resolution import Shot
from kilonerf.viewer.rendering.worker import RenderRequest, RenderResult
from support.fake_cudart import Array, FakeCudart, HostDevice, Resource, cudaError_t, on_device
from support.opengl import Screen

PLANES = ClipPlanes(1.0, 5.0)
UNKNOWN = cudaError_t.cudaErrorUnknown
TEXTURE_STEPS = (
    "cudaGraphicsGLRegisterImage",
    "cudaGraphicsSubResourceGetMappedArray",
    "cudaMemcpy2DToArrayAsync",
)
BUFFER_STEPS = ("cudaGraphicsGLRegisterBuffer", "cudaGraphicsResourceGetMappedPointer", "cudaMemcpyAsync")
BOTH_STEPS = (
    "cudaSetDevice",
    "cudaGraphicsMapResources",
    "cudaGraphicsUnmapResources",
    "cudaStreamSynchronize",
)


class Bench:
    """A picture whose frames come by a fake CUDA runtime."""

    def __init__(self, ctx):
        self.ctx = ctx
        self.cudart = FakeCudart()
        self.interop = Interop(lambda: CudaRuntime(self.cudart, vendor=""))
        self.picture = Picture(ctx, self.interop)

    def show(self, frame, device=None):
        """Show it, and check every pixel of what is on the screen."""
        height, width = frame.alpha.shape
        screen = Screen(self.ctx, width, height)
        self.picture.upload(on_device(frame, device))
        self.picture.draw(PLANES)
        assert self.picture.size == (width, height)
        np.testing.assert_allclose(screen.rgb().astype(int), frame.to_rgb8(), atol=1)
        expected = np.where(frame.alpha >= 0.5, 5.0 * (frame.depth - 1.0) / (frame.depth * 4.0), 1.0)
        np.testing.assert_allclose(screen.depth(), expected, atol=1e-6)

    def count(self, function):
        return self.cudart.counts[function]


@pytest.fixture
def bench(ctx):
    bench = Bench(ctx)
    yield bench
    bench.picture.release()
    bench.cudart.failing.clear()
    assert bench.cudart.registered == []
    assert ctx.error == "GL_NO_ERROR"


def random_frame(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Frame(
        rgb=rng.random((height, width, 3), dtype=np.float32),
        alpha=rng.random((height, width), dtype=np.float32),
        depth=(1.0 + 4.0 * rng.random((height, width))).astype(np.float32),
        statistics=FrameStatistics(),
    )


@pytest.mark.parametrize("size", [(64, 48), (37, 53), (1, 1), (1, 9)])
@pytest.mark.parametrize("way", ["texture", "buffer"])
def test_a_picture_on_the_device_is_shown_exactly_without_the_host(bench, size, way):
    if way == "buffer":
        bench.cudart.failing["cudaGraphicsGLRegisterImage"] = UNKNOWN
    device = HostDevice()
    bench.show(random_frame(*size), device)
    bench.show(random_frame(*size, seed=1), device)
    assert bench.interop.way == way
    assert device.downloads == 0
    assert len(bench.cudart.registered) == 1


@pytest.mark.parametrize("step", TEXTURE_STEPS)
def test_the_pixel_buffer_is_next_whichever_step_fails(bench, step):
    bench.cudart.failing[step] = UNKNOWN
    device = HostDevice()
    bench.show(random_frame(20, 10), device)
    assert bench.interop.way == "buffer"
    assert device.downloads == 0
    said = bench.interop.take_problem()
    assert said == (
        f"Pictures reach the window through a pixel buffer: {step}: cudaErrorUnknown: a newer NVIDIA driver may help"
    )
    tried = bench.count(step)
    bench.show(random_frame(20, 10, seed=1), device)
    assert bench.interop.take_problem() is None  # said once
    assert bench.count(step) == tried  # and not tried again


@pytest.mark.parametrize("step", BUFFER_STEPS + BOTH_STEPS)
def test_the_host_is_last_whichever_step_fails(bench, step):
    if step in BUFFER_STEPS:
        bench.cudart.failing["cudaGraphicsGLRegisterImage"] = UNKNOWN
    bench.cudart.failing[step] = UNKNOWN
    bench.show(random_frame(20, 10))
    assert bench.interop.way == "host"
    assert bench.cudart.registered == []
    said = bench.interop.take_problem()
    first = "cudaGraphicsGLRegisterImage" if step in BUFFER_STEPS else step
    assert said == (
        "Pictures reach the window by way of the host, which takes longer: "
        f"{first}: cudaErrorUnknown: a newer NVIDIA driver may help"
    )
    calls = len(bench.cudart.calls)
    bench.show(random_frame(20, 10, seed=1))
    assert len(bench.cudart.calls) == calls
    assert bench.interop.take_problem() is None


def test_a_picture_is_one_texture_and_one_map(bench):
    bench.show(random_frame(20, 10))
    assert bench.count("cudaGraphicsMapResources") == bench.count("cudaMemcpy2DToArrayAsync") == 1
    (copy,) = [arguments for name, arguments in bench.cudart.calls if name == "cudaMemcpy2DToArrayAsync"]
    assert copy[5] * copy[6] == 16 * 20 * 10  # bytes


def test_what_worked_may_fail_later(bench):
    bench.show(random_frame(20, 10))
    assert bench.interop.take_problem() is None
    bench.cudart.failing["cudaGraphicsGLRegisterImage"] = cudaError_t.cudaErrorMemoryAllocation
    bench.show(random_frame(20, 10, seed=1))
    assert bench.interop.way == "texture"  # already registered
    bench.show(random_frame(40, 20, seed=2))
    assert bench.interop.way == "buffer"
    said = bench.interop.take_problem()
    assert said is not None
    assert said == (
        "Pictures reach the window through a pixel buffer: cudaGraphicsGLRegisterImage: cudaErrorMemoryAllocation: "
        "the GPU's memory is full, close other programs"
    )
    bench.cudart.failing["cudaMemcpyAsync"] = UNKNOWN
    bench.show(random_frame(40, 20, seed=3))
    assert bench.interop.way == "host"
    said = bench.interop.take_problem()
    assert said is not None
    assert "by way of the host, which takes longer: cudaMemcpyAsync" in said


@pytest.mark.parametrize("step", BUFFER_STEPS)
def test_a_pixel_buffer_that_is_given_up_is_freed(bench, ctx, step):
    for failing in ("cudaGraphicsGLRegisterImage", step):
        bench.cudart.failing[failing] = UNKNOWN
    bench.show(random_frame(20, 10))
    assert bench.interop.way == "host"
    tried = {arguments[0] for name, arguments in bench.cudart.calls if name == "cudaGraphicsGLRegisterBuffer"}
    assert tried
    assert not any(bench.cudart.is_buffer(glo) for glo in tried)


def test_a_mapped_buffer_that_is_too_small_is_not_written_to(bench):
    bench.cudart.failing["cudaGraphicsGLRegisterImage"] = UNKNOWN
    bench.cudart.mapped_share = 0.5
    bench.show(random_frame(20, 10))
    assert bench.interop.way == "host"
    assert bench.count("cudaMemcpyAsync") == 0


REGISTERS = ("cudaGraphicsGLRegisterImage", "cudaGraphicsGLRegisterBuffer")


@pytest.mark.parametrize(
    ("devices", "why"),
    [(None, "cudaGLGetDevices: cudaErrorOperatingSystem"), ([], "cudaGLGetDevices lists none")],
)
def test_nothing_is_registered_with_opengl_on_another_kind_of_device(bench, ctx, devices, why):
    bench.cudart.devices = devices
    bench.show(random_frame(20, 10))
    assert [bench.count(register) for register in REGISTERS] == [0, 0]  # where it may end the process
    assert bench.interop.way == "host"
    assert bench.interop.take_problem() == (
        "Pictures reach the window by way of the host, which takes longer: "
        f"OpenGL runs on {ctx.info['GL_RENDERER']}, which CUDA does not share with ({why}): "
        "if it should be the NVIDIA GPU, start with __NV_PRIME_RENDER_OFFLOAD=1 __GLX_VENDOR_LIBRARY_NAME=nvidia"
    )


def test_cuda_is_asked_nothing_about_another_vendors_opengl(ctx):
    if "NVIDIA" in ctx.info["GL_VENDOR"]:
        pytest.skip("OpenGL is NVIDIA's here")
    cudart = FakeCudart()
    interop = Interop(lambda: CudaRuntime(cudart))
    picture = Picture(ctx, interop)
    picture.upload(on_device(random_frame(20, 10)))
    assert interop.way == "host"
    assert set(cudart.counts) <= {"cudaSetDevice"}
    said = interop.take_problem()
    assert said is not None
    assert f"(its vendor is {ctx.info['GL_VENDOR']}): if it should be the NVIDIA GPU" in said
    picture.release()


def test_nothing_is_registered_with_opengl_on_another_cuda_device(bench):
    bench.cudart.devices = [1]
    bench.show(random_frame(20, 10), HostDevice(0))
    assert [bench.count(register) for register in REGISTERS] == [0, 0]
    said = bench.interop.take_problem()
    assert said is not None
    assert said.endswith("OpenGL runs on CUDA device 1, pictures are made on 0: start with --device 1")


def test_whose_opengl_is_is_asked_once_for_each_device(bench):
    bench.cudart.devices = [0, 1]
    for size in ((20, 10), (30, 20)):
        bench.show(random_frame(*size), HostDevice(0))
    assert bench.count("cudaGLGetDevices") == 1
    bench.show(random_frame(20, 10), HostDevice(1))
    assert bench.count("cudaGLGetDevices") == 2


def test_the_device_of_the_pictures_is_chosen_each_time(bench):
    bench.cudart.devices = [1]
    for _ in range(2):
        bench.show(random_frame(20, 10), HostDevice(1))
    chosen = [arguments for name, arguments in bench.cudart.calls if name == "cudaSetDevice"]
    assert chosen == [(1,), (1,)]


def test_missing_cuda_bindings_are_told_with_the_cure(ctx, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings.runtime", None)
    interop = Interop()
    picture = Picture(ctx, interop)
    picture.upload(on_device(random_frame(20, 10)))
    assert interop.way == "host"
    assert interop.take_problem() == (
        "Pictures reach the window by way of the host, which takes longer: "
        "cuda-bindings is not installed: "
        "pip install 'kilonerf-view[cuda]', or '[cuda12]' for drivers older than 580 and for V100"
    )
    picture.release()


def test_nothing_is_tried_if_it_is_not_wanted(ctx):
    def load():
        raise AssertionError("tried")

    interop = Interop(load, wanted=False)
    picture = Picture(ctx, interop)
    picture.upload(on_device(random_frame(20, 10)))
    assert picture.size == (20, 10)
    assert interop.take_problem() is None
    picture.release()


@pytest.mark.parametrize("way", ["texture", "buffer"])
def test_textures_are_registered_only_when_the_size_changes(bench, way):
    register = "cudaGraphicsGLRegisterImage" if way == "texture" else "cudaGraphicsGLRegisterBuffer"
    if way == "buffer":
        bench.cudart.failing["cudaGraphicsGLRegisterImage"] = UNKNOWN
    for number, (size, count) in enumerate([((20, 10), 1), ((20, 10), 1), ((30, 20), 2), ((10, 5), 3), ((10, 5), 3)]):
        bench.show(random_frame(*size, seed=number))
        assert bench.count(register) == count
        assert len(bench.cudart.registered) == 1


def test_frames_of_the_host_and_of_the_device_take_turns(bench, ctx):
    for number in range(2):
        bench.show(random_frame(20, 10, seed=number))
        assert len(bench.cudart.registered) == 1
        frame, screen = random_frame(20, 10, seed=7 + number), Screen(ctx, 20, 10)
        bench.picture.upload(frame)
        bench.picture.draw(PLANES)
        np.testing.assert_allclose(screen.rgb().astype(int), frame.to_rgb8(), atol=1)
        assert bench.cudart.registered == []  # those are textures of another format


@pytest.mark.parametrize("how", ["clear", "release", "empty frame"])
def test_cuda_is_told_before_textures_go(ctx, how):
    bench = Bench(ctx)
    bench.show(random_frame(20, 10))
    assert len(bench.cudart.registered) == 1
    if how == "empty frame":
        bench.picture.upload(on_device(random_frame(0, 10)))
        assert bench.picture.size is None
    else:
        getattr(bench.picture, how)()
    assert bench.cudart.registered == []
    if how != "release":
        bench.show(random_frame(20, 10))
        bench.picture.release()


def test_a_device_that_fails_is_an_error_of_the_backend(bench):
    bench.cudart.failing["cudaSetDevice"] = UNKNOWN
    device = HostDevice()
    device.broken = True
    with pytest.raises(BackendError, match="fell off the bus"):
        bench.picture.upload(on_device(random_frame(20, 10), device))


def test_a_shown_frame_is_not_kept(bench):
    """The renderer makes a new picture in its memory as soon as nobody holds it."""
    frame = on_device(random_frame(20, 10))
    gone = weakref.ref(frame)
    bench.picture.upload(frame)
    del frame
    gc.collect()
    assert gone() is None


def test_a_view_holds_only_the_frame_that_it_shows(ctx, toy_scene):
    cudart = FakeCudart()
    view = SceneView(ctx, Interop(lambda: CudaRuntime(cudart, vendor="")))
    view.set_scene(toy_scene)
    screen = Screen(ctx, 32, 24)
    frames = []
    for number in range(3):
        camera = Camera.look_at((3.0 + number, 2.0, 1.0), (0.0, 0.0, 0.0), 32, 24)
        request = RenderRequest(Shot(toy_scene, BackendChoice("cuda"), camera, RenderOptions()), 1.0, camera)
        frame = on_device(random_frame(32, 24, seed=number))
        frames.append(weakref.ref(frame))
        view.show(RenderResult(request, frame, 1.0, backend="cuda"))
        del frame
        assert [kept() is not None for kept in frames] == [False] * number + [True]
        for seen_by in (camera, camera.resized(33, 24)):  # as it is, and reprojected
            view.draw(screen.framebuffer, (0, 0, 32, 24), OverlayOptions(), seen_by)
    view.set_scene(None)
    assert frames[-1]() is None
    assert cudart.registered == []
    view.release()


@pytest.mark.skipif(importlib.util.find_spec("cuda.bindings") is None, reason="needs cuda-bindings")
def test_cuda_bindings_take_these_arguments(bench):
    """Without a GPU each function fails, but only because of that."""
    from cuda.bindings import runtime  # pyright: ignore[reportAttributeAccessIssue]

    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a GPU, which would really do all this")
    bench.show(random_frame(20, 10))
    bench.cudart.failing["cudaMemcpy2DToArrayAsync"] = UNKNOWN
    bench.show(random_frame(20, 10))
    calls = dict(bench.cudart.calls)
    assert set(calls) >= {*TEXTURE_STEPS, *BUFFER_STEPS, *BOTH_STEPS, "cudaGLGetDevices"}
    real = load_runtime()
    for name, arguments in calls.items():
        handles = {Resource: runtime.cudaGraphicsResource_t, Array: runtime.cudaArray_t}
        given = [handles[type(value)]() if type(value) in handles else value for value in arguments]
        # The numbers of the enumerations are the real ones.
        given = [real.device_to_device if (name, i) in KINDS else value for i, value in enumerate(given)]
        given = [real.all_devices if (name, i) == ("cudaGLGetDevices", 1) else value for i, value in enumerate(given)]
        with pytest.raises(InteropError, match=f"^{name}: cudaError(InsufficientDriver|NoDevice)$"):
            real.call(name, *given)
    assert int(real.write_discard) == CudaRuntime(bench.cudart, vendor="").write_discard


KINDS = {("cudaMemcpy2DToArrayAsync", 7), ("cudaMemcpyAsync", 3)}
