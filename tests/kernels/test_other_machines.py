"""The CPU renderer for 64-bit Arm: cross-compiled, and run in an emulator against the reference."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scenes import random_scene, views

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.reference import ReferenceRenderer
from kilonerf.kernels.sampling import SampleSteps, SceneGrid, ray_origin
from kilonerf.model_io import LAYER_SHAPES, Camera, Scene

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
COMPILER = shutil.which("aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The renderer and a small main for aarch64, with the flags of kernels/cpu/CMakeLists.txt."""
    if COMPILER is None:
        pytest.skip("needs aarch64-linux-gnu-g++")
    folder = tmp_path_factory.mktemp("aarch64")
    common = [COMPILER, "-std=gnu++17", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{KERNELS}/cpu", f"-I{KERNELS}/native"]
    path = ["-DKNF_PATH=baseline", '-DKNF_PATH_NAME="baseline"', "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
    objects = []
    for source, flags in {
        KERNELS / "cpu" / "march.cpp": [*path, "-ffp-contract=off"],
        KERNELS / "cpu" / "networks.cpp": [*path, "-ffp-contract=fast"],
        KERNELS / "cpu" / "prepare.cpp": ["-ffp-contract=off"],
        KERNELS / "cpu" / "renderer.cpp": ["-ffp-contract=off"],
        Path(__file__).with_name("other_machine.cpp"): [],
    }.items():
        objects.append(folder / f"{source.stem}.o")
        subprocess.run([*common, *flags, "-c", source, "-o", objects[-1]], check=True)
    subprocess.run([COMPILER, "-static", "-pthread", *objects, "-o", folder / "render"], check=True)
    return folder / "render"


def written(scene: Scene, camera: Camera, options: RenderOptions) -> bytes:
    """What other_machine.cpp reads."""
    grid, steps = SceneGrid.of(scene), SampleSteps.of(scene, options)
    constants = [grid.box_min, scene.aabb_max, grid.inside_min, grid.inside_max, grid.inverse_voxel]
    parts: list[np.ndarray] = [
        np.array([*scene.resolution, *scene.occupancy_factor], np.int32),
        *(np.asarray(constant, np.float32) for constant in (*constants, grid.cell_size, grid.local_scale)),
        np.array(scene.num_networks, np.int32),
        scene.occupancy,
        scene.network_index,
    ]
    for name in LAYER_SHAPES:
        for kind in ("weight", "bias"):
            layer = np.asarray(scene.layers[f"{name}.{kind}"], np.float32)
            parts += [np.array(layer.size, np.int32), layer]
    parts += [
        np.array([camera.width, camera.height], np.int32),
        ray_origin(camera),
        camera.matrix[:3, :3].astype(np.float32),
        np.array([camera.fx, camera.fy, camera.cx, camera.cy, steps.near, steps.step, steps.last], np.float32),
    ]
    return b"".join(part.tobytes() for part in parts)


def test_it_compiles_without_a_warning(program: Path) -> None:
    assert program.exists()


@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-user")
def test_it_takes_the_same_samples_in_an_emulator(program: Path) -> None:
    scene = random_scene((2, 2, 2), (16, 16, 16), occupied=0.2, seed=7)
    for name in ("outside", "inside"):
        camera = views(scene)[name]
        options = RenderOptions(ert=False)
        data = written(scene, camera, options)
        done = subprocess.run([str(EMULATOR), str(program)], input=data, capture_output=True, check=True)
        expected = ReferenceRenderer(scene).render(camera, options)
        rgb = np.frombuffer(done.stdout[:-8], np.float32).reshape(expected.rgb.shape)
        assert np.frombuffer(done.stdout[-8:], np.int64)[0] == expected.statistics.samples > 500
        assert np.abs(rgb - expected.rgb).max() < 2e-5
