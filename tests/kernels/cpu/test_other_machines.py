"""The CPU renderer for 64-bit Arm: cross-compiled, and run in an emulator against the reference."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from support import native_program
from support.scenes import random_scene, views

COMPILER = shutil.which("aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The renderer and a small main for aarch64."""
    if COMPILER is None:
        pytest.skip("needs aarch64-linux-gnu-g++")
    folder = tmp_path_factory.mktemp("aarch64")
    objects = native_program.compile_renderer(COMPILER, folder)
    objects += native_program.compile_path(COMPILER, folder, "networks.cpp", [])
    return native_program.link(COMPILER, objects, folder / "render", "-static")


def test_it_compiles_without_a_warning(program: Path) -> None:
    assert program.exists()


@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-user")
def test_it_takes_the_same_samples_in_an_emulator(program: Path) -> None:
    scene = random_scene((2, 2, 2), (16, 16, 16), occupied=0.2, seed=7)
    options = RenderOptions(ert=False)
    cameras = [views(scene)[name] for name in ("outside", "inside")]
    frames = native_program.render([str(EMULATOR), str(program)], scene, [(camera, options) for camera in cameras])
    for camera, frame in zip(cameras, frames, strict=True):
        expected = ReferenceRenderer(scene).render(camera, options)
        assert frame.statistics.samples == expected.statistics.samples > 500
        assert np.abs(frame.rgb - expected.rgb).max() < 2e-5
