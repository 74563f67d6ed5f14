"""Which backend is taken, and what is said where CUDA cannot be: CuPy, driver, permission, devices are fakes."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, RenderCancelled, RenderOptions, create_renderer
from kilonerf.kernels.cuda import cupy_device
from kilonerf.kernels.cuda.cupy_device import CupyDevice, toolkit_headers
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, KERNELS, OutOfDeviceMemoryError, sources_digest
from kilonerf.model_io import BackendError, Scene
from support.scenes import random_scene, views


class CUDARuntimeError(RuntimeError):
    """As CuPy's: the code in ``status``."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class FakeRuntime:
    """``cupy.cuda.runtime`` of a machine with the given devices, or with the given trouble."""

    CUDARuntimeError = CUDARuntimeError

    def __init__(
        self, devices: list[tuple[str, int, int]], trouble: CUDARuntimeError | None, driver: int, runtime: int
    ) -> None:
        self.devices, self.trouble, self.driver, self.runtime = devices, trouble, driver, runtime

    def getDeviceCount(self) -> int:  # noqa: N802 - CuPy's name
        if self.trouble is not None:
            raise self.trouble
        return len(self.devices)

    def getDeviceProperties(self, index: int) -> dict[str, Any]:  # noqa: N802 - CuPy's name
        name, major, minor = self.devices[index]
        return {"name": name.encode(), "major": major, "minor": minor, "multiProcessorCount": 4}

    def runtimeGetVersion(self) -> int:  # noqa: N802 - CuPy's name
        return self.runtime

    def driverGetVersion(self) -> int:  # noqa: N802 - CuPy's name
        return self.driver

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802 - CuPy's name
        return 5000, 10000


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """As CuPy's."""


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


def fake_cupy(
    devices: list[tuple[str, int, int]] | None = None,
    trouble: CUDARuntimeError | None = None,
    driver: int = 12040,
    runtime: int = 12090,
) -> Any:
    """What of CuPy is used before anything is computed."""
    cuda = SimpleNamespace(
        runtime=FakeRuntime(devices or [], trouble, driver, runtime),
        Device=lambda index: _context(),
        Stream=lambda non_blocking: _context(),
        compiler=SimpleNamespace(CompileException=CompileException),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )
    return SimpleNamespace(cuda=cuda, get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 700))


class _context:  # noqa: N801 - a substitute for instances of several classes
    def __enter__(self) -> "_context":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Puts a fake CuPy in CuPy's place, and an empty folder in that of /dev."""
    monkeypatch.setattr(cupy_device, "DEVICE_FILES", tmp_path)

    def put(cupy: Any) -> None:
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return put


def message_of(**how: Any) -> str:
    with pytest.raises(BackendError) as caught:
        create_renderer(random_scene(), BackendChoice("cuda", **how))
    text = str(caught.value)
    assert text.startswith("backend 'cuda': ")
    assert "\n" not in text
    return text


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "cupy" else find(name, *rest))


@pytest.mark.usefixtures("no_cupy")
def test_cupy_is_missing() -> None:
    assert message_of() == (
        "backend 'cuda': CuPy is not installed: "
        "pip install 'kilonerf-view[cuda]', or '[cuda12]' for drivers older than 580 and for V100"
    )
    assert create_renderer(random_scene(), "auto").backend == "cpu"


def test_cupy_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"\nlibcudart.so.12: cannot open shared object file\nmore about {name}")

    monkeypatch.setattr(cupy_device, "cupy_is_installed", lambda: True)
    monkeypatch.setattr(cupy_device.importlib, "import_module", fail)
    text = message_of()
    assert "CuPy does not load: libcudart.so.12: cannot open shared object file: pip install" in text


TOO_OLD = CUDARuntimeError(35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient")
NONE = CUDARuntimeError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")


@pytest.mark.parametrize(
    ("cupy", "said"),
    [
        (fake_cupy(trouble=TOO_OLD, driver=0), ["no NVIDIA driver is loaded", "install"]),
        (fake_cupy(trouble=TOO_OLD, driver=11040), ["driver is too old", "CUDA 11.4", "needs 12.0", "update"]),
        (
            fake_cupy(trouble=TOO_OLD, driver=12040, runtime=13000),
            ["driver is too old", "CUDA 12.4", "needs 13.0", "update", "or pip uninstall cupy-cuda13x", "[cuda12]"],
        ),
        (fake_cupy([("V100", 7, 0)], runtime=13000), ["V100", "7.0", "CUDA 13", "7.5 or newer", "[cuda12]"]),
        (fake_cupy(trouble=NONE), ["no NVIDIA GPU is visible", "CUDA_VISIBLE_DEVICES", "--backend cpu"]),
        (fake_cupy(), ["no NVIDIA GPU is visible"]),
        (
            fake_cupy(trouble=CUDARuntimeError(999, "cudaErrorUnknown: unknown error")),
            ["cudaErrorUnknown", "nvidia-smi"],
        ),
        (fake_cupy([("GTX 1080", 6, 1)]), ["GTX 1080", "6.1", "7.0 or newer", "--backend cpu"]),
    ],
    ids=[
        "no driver",
        "old driver",
        "driver of CUDA 12",
        "V100 on CUDA 13",
        "no device",
        "zero devices",
        "unknown",
        "old device",
    ],
)
def test_what_is_in_the_way_is_said_and_auto_takes_the_cpu(install, cupy: Any, said: list[str]) -> None:
    install(cupy)
    text = message_of()
    for part in said:
        assert part in text
    assert create_renderer(random_scene(), "auto").backend == "cpu"


def test_no_permission_is_told_from_no_device(install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(fake_cupy(trouble=NONE))
    (tmp_path / "nvidiactl").touch()
    (tmp_path / "nvidia0").touch()
    assert "no NVIDIA GPU is visible" in message_of()
    monkeypatch.setattr(cupy_device.os, "access", lambda path, mode: path.name != "nvidia0")
    text = message_of()
    assert f"no permission to use {tmp_path / 'nvidia0'}" in text
    assert "group" in text


def test_a_device_that_is_not_there_is_named_with_those_that_are(install) -> None:
    install(fake_cupy([("H200", 9, 0), ("RTX 4090", 8, 9)]))
    assert message_of(device=2).endswith("device 2: expected 0 to 1: 0 is H200, 1 is RTX 4090")
    assert "device -1" in message_of(device=-1)
    with pytest.raises(BackendError, match="device 7"):  # to name a device is to ask for CUDA
        create_renderer(random_scene(), BackendChoice(device=7))


def test_a_busy_device_is_named(install) -> None:
    cupy = fake_cupy([("H200", 9, 0)])

    def busy(non_blocking: bool) -> None:
        raise CUDARuntimeError(46, "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable")

    cupy.cuda.Stream = busy
    install(cupy)
    assert "device 0 cannot be used: cudaErrorDevicesUnavailable" in message_of()


def test_the_device_describes_itself(install) -> None:
    install(fake_cupy([("H200", 9, 0), ("RTX 4090", 8, 9)]))
    device = CupyDevice(1)
    assert (device.name, device.architecture, device.multiprocessors) == ("RTX 4090", 89, 4)
    assert device.free_bytes() == 5700
    with device.active():
        pass


def test_kernels_are_compiled_as_they_must_be(install) -> None:
    """Without contraction, with all include folders, and under a name that changes with any header."""
    asked: dict[str, Any] = {}

    def raw_module(code: str, options: tuple[str, ...]) -> Any:
        asked.update(code=code, options=options)
        return SimpleNamespace(get_function=lambda name: SimpleNamespace(kernel=SimpleNamespace(ptr=name)))

    cupy = fake_cupy([("H200", 9, 0)])
    cupy.RawModule = raw_module
    cupy.cuda.driver = SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=lambda kernel, threads, shared: 2)
    install(cupy)
    kernel = CupyDevice().kernel("render.cu", "render", {"KNF_TENSOR_CORES": None})
    assert kernel.blocks_per_multiprocessor(256) == 2
    assert asked["code"] == (KERNELS / "render.cu").read_text()
    assert {"--std=c++17", "--fmad=false", "-DKNF_TENSOR_CORES"} <= set(asked["options"])
    assert f"-DKNF_SOURCES={sources_digest()}" in asked["options"]
    for folder in [*INCLUDE_FOLDERS, *toolkit_headers()]:
        assert f"-I{folder}" in asked["options"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CompileException("render.cu(3): error: no such thing\n1 error"), "does not compile: render.cu(3): error"),
        (RuntimeError('Failure finding "libnvrtc.so.12"'), 'cannot be compiled: Failure finding "libnvrtc.so.12"'),
    ],
)
def test_kernels_that_cannot_be_compiled_are_a_backend_error(install, error: Exception, said: str) -> None:
    def raw_module(code: str, options: tuple[str, ...]) -> None:
        raise error

    cupy = fake_cupy([("H200", 9, 0)])
    cupy.RawModule = raw_module
    install(cupy)
    with pytest.raises(BackendError) as caught:
        CupyDevice().kernel("render.cu", "render", {})
    assert said in str(caught.value)
    assert str(caught.value).endswith(f": {cupy_device.INSTALL}")


def test_out_of_memory_is_passed_on(install) -> None:
    def empty(size: int, dtype: Any) -> None:
        raise OutOfMemoryError

    cupy = fake_cupy([("H200", 9, 0)])
    cupy.empty = empty
    install(cupy)
    with pytest.raises(OutOfDeviceMemoryError):
        CupyDevice().upload(np.zeros(3), "networks")


def test_the_digest_is_of_all_sources() -> None:
    assert sources_digest() == sources_digest()
    for name in ("device.cuh", "scene.cuh", "render.cu"):
        assert (KERNELS / name).is_file()
    assert any((folder / "sampling_rule.h").is_file() for folder in INCLUDE_FOLDERS)


def test_headers_are_found_where_a_toolkit_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cupy_device.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "include").mkdir()
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    assert tmp_path / "include" not in toolkit_headers()
    (tmp_path / "include" / "cuda_fp16.h").touch()
    assert toolkit_headers() == [tmp_path / "include"]


def test_whatever_cuda_raises_auto_takes_the_cpu_and_keeps_the_reason(install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(fake_cupy([("H200", 9, 0)]))

    def broken(scene: Scene, device: int | None) -> None:
        raise RuntimeError("cuLaunchKernel\nfailed")

    monkeypatch.setattr("kilonerf.kernels.backends._cuda_renderer", broken)
    renderer = create_renderer(random_scene())
    assert renderer.backend == "cpu"
    assert renderer.fallback == "backend 'cuda': RuntimeError: cuLaunchKernel failed"
    with pytest.raises(RuntimeError):  # who asks for CUDA hears it
        create_renderer(random_scene(), "cuda")


def test_the_reason_is_the_message_where_cuda_says_it_itself(install) -> None:
    install(fake_cupy(trouble=NONE))
    assert create_renderer(random_scene()).fallback == message_of()


@pytest.mark.usefixtures("no_cupy")
def test_a_machine_that_was_never_set_up_for_cuda_is_told_nothing() -> None:
    assert create_renderer(random_scene()).fallback == ""


@pytest.mark.usefixtures("no_cupy")
def test_precision_is_ignored_where_there_is_one_only() -> None:
    scene = random_scene()
    camera = views(scene)["inside"].resized(20, 15)
    for renderer in (
        create_renderer(scene, BackendChoice("cpu", cpu_path="baseline")),
        create_renderer(scene, "reference"),
    ):
        own, full = (renderer.render(camera, RenderOptions(precision=p)) for p in ("auto", "float32"))
        assert np.array_equal(own.rgb, full.rgb)
    with pytest.raises(ValueError, match="precision must be auto, int8, float16, float32"):
        RenderOptions(precision="float64")  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_cupy")
def test_choosing_a_backend_imports_no_cupy() -> None:
    create_renderer(random_scene())
    assert "cupy" not in sys.modules


@pytest.mark.parametrize(
    "error", [CUDARuntimeError(700, "an illegal access"), RuntimeError("x"), OutOfMemoryError("x")]
)
def test_whatever_cuda_raises_while_a_renderer_runs_is_a_backend_error(install, error: Exception) -> None:
    install(fake_cupy([("H200", 9, 0)]))
    device = CupyDevice()
    said = rf"^backend 'cuda': H200 failed: {type(error).__name__}: "
    with pytest.raises(BackendError, match=said) as told, device.active():
        raise error
    assert told.value.__cause__ is error
    for passes in (RenderCancelled(), BackendError("said already"), TypeError("ours")):
        with pytest.raises(type(passes)) as caught, device.active():
            raise passes
        assert caught.value is passes


def test_a_device_that_cannot_be_made_current_is_a_backend_error(install) -> None:
    cupy = fake_cupy([("H200", 9, 0)])
    install(cupy)
    device = CupyDevice()

    def gone(index: int) -> None:
        raise CUDARuntimeError(46, "busy")

    cupy.cuda.Device = gone
    with pytest.raises(BackendError, match="H200 failed: CUDARuntimeError: busy"):
        device.active()
