"""benchmarks/gpu/interop.py without a GPU: the SIMT host for the kernels, a fake CUDA runtime over real OpenGL."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import interop as gpu_interop
from benchmarks.gpu.sections import Context, interop, outcome
from kilonerf.model_io import Camera, Scene
from kilonerf.viewer.rendering.interop import CudaRuntime, InteropError
from simt.simt_device import SimtDevice
from support.fake_cudart import FakeCudart, cudaError_t
from support.scenes import random_scene, views


@pytest.fixture(scope="module")
def scene() -> Scene:
    return random_scene()


@pytest.fixture(scope="module")
def camera(scene: Scene) -> Camera:
    return views(scene)["outside"].resized(26, 18)


def test_simt_gpu_interop_measures_each_way_and_compares_its_picture(ctx, scene, camera) -> None:
    cudart = FakeCudart()
    turned = camera.moved(views(scene)["inside"].matrix)
    result = gpu_interop.frames_by_way(
        SimtDevice(80), scene, [camera, turned], ctx, lambda: CudaRuntime(cudart, vendor=""), repeats=2
    )
    assert (result["size"], result["poses"], result["opengl"]) == ([26, 18], 2, ctx.info["GL_RENDERER"])
    for way in ("texture", "buffer", "host"):
        assert result[way]["ms_max"] >= result[way]["ms_median"] >= result[way]["ms_min"] > 0
        assert result[way]["largest_difference_of_255"] <= 1
    assert result["passed"]
    frames = 3 + 2 * 2
    assert cudart.counts["cudaMemcpy2DToArrayAsync"] == cudart.counts["cudaMemcpyAsync"] == frames
    assert cudart.registered == []
    assert json.loads(json.dumps(result)) == result
    assert ctx.error == "GL_NO_ERROR"


def test_simt_gpu_interop_says_what_a_way_failed_of(ctx, scene, camera) -> None:
    cudart = FakeCudart()
    cudart.failing["cudaGraphicsGLRegisterImage"] = cudaError_t.cudaErrorUnknown
    result = gpu_interop.frames_by_way(
        SimtDevice(80), scene, [camera], ctx, lambda: CudaRuntime(cudart, vendor=""), repeats=1
    )
    assert "cudaGraphicsGLRegisterImage: cudaErrorUnknown" in result["texture"]["failed"]
    assert result["buffer"]["ms_median"] > 0
    assert result["passed"]


def test_simt_gpu_interop_notices_a_wrong_picture(ctx, scene, camera, monkeypatch) -> None:
    cudart = FakeCudart()
    monkeypatch.setattr(cudart, "_cudaMemcpyAsync", lambda *_: (), raising=False)  # copies nothing
    result = gpu_interop.frames_by_way(
        SimtDevice(80), scene, [camera], ctx, lambda: CudaRuntime(cudart, vendor=""), repeats=1
    )
    assert result["buffer"]["largest_difference_of_255"] > 1
    assert not result["passed"]


class Contexts:
    """EGL devices with OpenGL on these CUDA devices; without OpenGL if there are none."""

    def __init__(self, cudart: FakeCudart, *on: list[int] | None) -> None:
        self.cudart, self.on = cudart, on
        self.open: list[int] = []
        self.info = {"GL_RENDERER": "somebody's"}

    def __call__(self, egl_device: int):
        if egl_device >= len(self.on):
            raise Exception(f"requested device index {egl_device}, but found {len(self.on)} devices")
        if self.on[egl_device] == []:
            raise Exception("no OpenGL 3.3")
        self.cudart.devices = self.on[egl_device]
        self.open.append(egl_device)
        return self

    def release(self) -> None:
        self.open.pop()


def test_simt_gpu_interop_takes_the_context_on_the_device() -> None:
    cudart = FakeCudart()
    contexts = Contexts(cudart, [], None, [1], [0])
    found = gpu_interop.context_on(SimtDevice(80), lambda: CudaRuntime(cudart, vendor=""), contexts)  # type: ignore[arg-type]
    assert found is contexts
    assert contexts.open == [3]


def test_simt_gpu_interop_says_that_there_is_no_context() -> None:
    cudart = FakeCudart()
    contexts = Contexts(cudart, None, [1])
    with pytest.raises(gpu_interop.NoContextError) as caught:
        gpu_interop.context_on(SimtDevice(80), lambda: CudaRuntime(cudart, vendor=""), contexts)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "no OpenGL context on CUDA device 0: EGL device 0 is somebody's; EGL device 1 is somebody's; "
        "EGL device 2: requested device index 2, but found 2 devices"
    )
    assert contexts.open == []


def test_simt_gpu_check_skips_interop_where_there_is_no_context(scene, camera, monkeypatch) -> None:
    def missing(*_):
        raise InteropError("cuda-bindings is not installed")

    monkeypatch.setattr(gpu_interop.context_on, "__defaults__", (missing, gpu_interop.open_context))
    monkeypatch.setattr(Context, "device", lambda self: SimtDevice(80))
    monkeypatch.setattr(Context, "scene", lambda self: scene)
    result = outcome(lambda: interop((26, 18), Context(Path("scene.knf"), None)))
    assert (result["status"], result["reason"]) == ("skipped", "cuda-bindings is not installed")


def test_simt_gpu_check_fails_where_one_way_into_the_texture_did(scene, monkeypatch) -> None:
    monkeypatch.setattr(Context, "device", lambda self: SimtDevice(80))
    monkeypatch.setattr(Context, "scene", lambda self: scene)
    monkeypatch.setattr(gpu_interop, "context_on", lambda device: None)
    told: dict[str, Any] = {"size": [26, 18], "texture": {"failed": "no driver"}, "host": {"ms_median": 1.0}}
    monkeypatch.setattr(gpu_interop, "frames_by_way", lambda *arguments, **more: told)
    result = outcome(lambda: interop((26, 18), Context(Path("scene.knf"), None)))
    assert (result["status"], result["reason"]) == ("failed", "texture: no driver")
    assert result["host"] == {"ms_median": 1.0}
    told["texture"] = {"ms_median": 0.5, "largest_difference_of_255": 9}
    result = outcome(lambda: interop((26, 18), Context(Path("scene.knf"), None)))
    assert (result["status"], result["reason"]) == ("failed", "texture: the picture is off by 9 of 255")
    told["texture"]["largest_difference_of_255"] = 1
    result = outcome(lambda: interop((26, 18), Context(Path("scene.knf"), None)))
    assert (result["status"], result["headlines"]) == ("done", ["texture 0.5 ms, host 1.0 ms (None)"])
