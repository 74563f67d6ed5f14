"""Code paths for processors that this machine is not, executed: their intrinsics and tiles stand in emulation/."""

import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import Frame, RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import Camera, load_kilonerf_scene
from support import native_program
from support.rendering import MODES, SCENES, assert_same_picture
from support.scenes import views

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
pytestmark = pytest.mark.slow  # these are compiled first
COMPILER = shutil.which("g++")
EMULATION = Path(__file__).with_name("emulation")
FLAGS = ["-mavx2", "-mfma", f"-I{EMULATION}"]
AVX512, FITTED = "-D__AVX512F__", "-DKNF_FITTED"
PATHS = {
    "amx": ("networks_amx.cpp", [AVX512, "-D__AMX_TILE__", FITTED]),
    "avx512-vnni": ("networks_int16.cpp", [AVX512, "-D__AVX512VNNI__", FITTED]),
    "avx-vnni": ("networks_int16.cpp", ["-D__AVXVNNI__", FITTED]),
    "avx512-vnni-int8": ("networks_int8.cpp", [AVX512, "-D__AVX512VNNI__", FITTED]),
    "avx-vnni-int8": ("networks_int8.cpp", ["-D__AVXVNNI__", FITTED]),
    "avx512": ("networks.cpp", [AVX512]),
}
View = tuple[Camera, RenderOptions]


@pytest.fixture(scope="module")
def compiler() -> str:
    if COMPILER is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs g++ for x86-64")
    if "avx2-int16" not in {path.name for path in available_cpu_paths()}:
        pytest.skip("emulated code paths are compiled for AVX2")
    return COMPILER


@pytest.fixture(scope="module")
def program(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The renderer with one code path only, compiled when it is first asked for."""
    folder = tmp_path_factory.mktemp("emulated")
    programs: dict[str, Path] = {}
    shared: list[Path] = []

    def compiled(path: str) -> Path:
        if not shared:
            shared.extend(native_program.compile_renderer(compiler, folder))
        if path not in programs:
            networks, flags = PATHS[path]
            objects = native_program.compile_path(compiler, folder / path, networks, [*FLAGS, *flags])
            programs[path] = native_program.link(compiler, [*shared, *objects], folder / path / "render")
        return programs[path]

    return compiled


def test_tiles_multiply_as_the_manual_says(compiler: str, tmp_path: Path) -> None:
    """Of the emulation itself: order of the sums, their rounding, denormals; wrong use ends the program."""
    tiles = tmp_path / "tiles"
    source = EMULATION / "tiles.cpp"
    subprocess.run([compiler, "-std=gnu++17", "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", tiles], check=True)
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-30):  # the second time many products are denormal, and count as zeros
        weights = bfloat16(rng.normal(size=(3, 32)) * scale)
        inputs = bfloat16(rng.normal(size=(32, 16)) * scale * 1e-8 if scale < 1 else rng.normal(size=(32, 16)))
        sums = (rng.normal(size=(3, 16)) * scale**2).astype(np.float32)
        paired = inputs.reshape(16, 2, 16).transpose(0, 2, 1)
        data = b"".join([(top_half(weights)), top_half(np.ascontiguousarray(paired)), sums.tobytes()])
        done = subprocess.run([tiles], input=data, capture_output=True, check=True)
        expected = multiplied(sums, weights, inputs)
        assert np.array_equal(np.frombuffer(done.stdout, np.float32).reshape(3, 16), expected)
        assert expected.any() == (scale == 1.0)
    for fault, message in {
        "no configuration": "no configuration is loaded",
        "empty tile": "nothing has been put into",
        "same tile": "three tiles",
        "wrong rows": "a row of sums",
        "no release": "without tilerelease",
    }.items():
        done = subprocess.run([tiles, fault], input=data, capture_output=True, text=False)
        assert done.returncode != 0
        assert message in done.stderr.decode()


def test_amx_is_close_to_the_reference(program: Callable[[str], Path]) -> None:
    """The very same samples; colours and opacities that differ by rounding, nowhere by more than a flip at ERT."""
    for name in ("toy", "odd factors", "one cell", "float16"):
        scene = SCENES[name]
        cameras = views(scene)
        modes = MODES if name == "toy" else ("flying",)
        shown = [(cameras[camera], MODES[mode](scene)) for mode in modes for camera in ("outside", "inside")]
        reference = ReferenceRenderer(scene)
        frames = native_program.render([str(program("amx"))], scene, shown)
        for (camera, options), frame in zip(shown, frames, strict=True):
            expected = reference.render(camera, options)
            assert psnr(frame.rgb, expected.rgb) > 50
            assert np.abs(frame.alpha - expected.alpha).max() < 0.07 + (options.ert_threshold if options.ert else 0.0)
            assert frame.statistics.rays_hit == expected.statistics.rays_hit
            slack = 2 + expected.statistics.samples // 200 if options.ert else 0
            assert abs(frame.statistics.samples - expected.statistics.samples) <= slack
            assert np.array_equal(np.isinf(frame.depth), frame.alpha == 0)


def test_amx_shows_the_shipped_scene(program: Callable[[str], Path], chair_path: Path) -> None:
    scene = load_kilonerf_scene(chair_path)
    assert scene.start_camera is not None
    camera = scene.start_camera.resized(71, 53)
    shown = [(camera, RenderOptions.as_trained(scene, **changes)) for changes in ({}, {"ert": False}, {"ess": False})]
    reference = ReferenceRenderer(scene)
    frames = native_program.render([str(program("amx"))], scene, shown)
    for (_, options), frame in zip(shown, frames, strict=True):
        expected = reference.render(camera, options)
        assert psnr(frame.rgb, expected.rgb) > 60
        slack = expected.statistics.samples // 500 if options.ert else 0
        assert abs(frame.statistics.samples - expected.statistics.samples) <= slack


@pytest.mark.parametrize(
    ("layer", "factor"), [("pts_linears.1", 1e-3), ("pts_linears.0", 30.0), ("direction_layer", 30.0)]
)
def test_amx_renders_networks_of_any_scale(program: Callable[[str], Path], layer: str, factor: float) -> None:
    plain = SCENES["toy"]
    name = f"{layer}.weight"
    scene = replace(plain, layers={**plain.layers, name: plain.layers[name] * np.float32(factor)})
    camera = views(scene)["outside"]
    wide = Camera.from_matrix(camera.matrix, 37, 29, fx=9.0)  # cells must be cut into parts for directions to be fitted
    shown = [(view, RenderOptions(ert=False)) for view in (camera, wide)]
    for (view, options), frame in zip(shown, native_program.render([str(program("amx"))], scene, shown), strict=True):
        expected = ReferenceRenderer(scene).render(view, options)
        assert psnr(frame.rgb, expected.rgb) > 25
        assert frame.statistics.samples == expected.statistics.samples


def test_amx_sees_empty_space_in_networks_of_zeros(program: Callable[[str], Path]) -> None:
    plain = SCENES["toy"]
    scene = replace(plain, layers={name: np.zeros_like(layer) for name, layer in plain.layers.items()})
    (frame,) = native_program.render([str(program("amx"))], scene, [(views(scene)["outside"], RenderOptions())])
    assert frame.statistics.samples > 0
    assert not frame.alpha.any()


@pytest.mark.parametrize(
    ("path", "twin"),
    [
        ("avx512-vnni", "avx2-int16"),
        ("avx-vnni", "avx2-int16"),
        ("avx512-vnni-int8", "avx2-int8"),
        ("avx-vnni-int8", "avx2-int8"),
    ],
)
def test_wider_integers_make_the_same_picture(program: Callable[[str], Path], path: str, twin: str) -> None:
    """Bit for bit: sums of integers do not depend on how many lanes make them, and nothing else differs."""
    for name in ("toy", "odd factors", "few frequencies"):
        scene = SCENES[name]
        shown = [(camera, MODES[mode](scene)) for mode in ("flying", "no ERT") for camera in views(scene).values()]
        expected = CpuRenderer(scene, threads=2, path=twin)
        for view, frame in zip(shown, native_program.render([str(program(path))], scene, shown), strict=True):
            assert_equal(frame, expected.render(*view))


def test_avx512_makes_the_picture_of_the_reference(program: Callable[[str], Path]) -> None:
    scene = SCENES["16 voxels per cell"]
    shown = [(camera, MODES[mode](scene)) for mode in ("flying", "no ERT") for camera in views(scene).values()]
    reference = ReferenceRenderer(scene)
    for view, frame in zip(shown, native_program.render([str(program("avx512"))], scene, shown), strict=True):
        assert_same_picture(frame, reference.render(*view), flips=0.002)


def assert_equal(frame: Frame, expected: Frame) -> None:
    assert np.array_equal(frame.rgb, expected.rgb)
    assert np.array_equal(frame.alpha, expected.alpha)
    assert np.array_equal(frame.depth, expected.depth)
    assert frame.statistics.samples == expected.statistics.samples


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Cut to bfloat16, as float32."""
    return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def top_half(x: np.ndarray) -> bytes:
    return (x.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def multiplied(sums: np.ndarray, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """TDPBF16PS in NumPy. Products of two bfloat16 are exact in float64, and so are these sums but for rare ties."""
    tiny = np.float32(2.0**-126)

    def flushed(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float32)
        return np.where(np.abs(x) < tiny, np.float32(0), x)

    weights, inputs = flushed(weights).astype(np.float64), flushed(inputs).astype(np.float64)
    halves = np.zeros((2, *sums.shape), np.float32)
    for pair in range(weights.shape[1] // 2):
        for half in range(2):
            k = 2 * pair + half
            halves[half] = flushed(np.outer(weights[:, k], inputs[k]) + halves[half])
    return flushed(flushed(sums) + flushed(halves[0] + halves[1]))
