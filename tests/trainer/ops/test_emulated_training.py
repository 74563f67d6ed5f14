"""Training's kernels for AVX-512, executed by any machine with AVX2: 16 lanes as pairs of 8."""

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.trainer.ops.native import training_paths
from kilonerf.trainer.ops.networks import ROW_LENGTH, tiny_networks_torch
from support.network_batches import different_networks, in_float64, random_batch

HERE = Path(__file__).parent
KERNELS = HERE.parents[2] / "kernels"
FLAGS = [
    "-std=gnu++17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-mavx2",
    "-mfma",
    "-D__AVX512F__",
    "-DKNF_PATH=avx512",
    '-DKNF_PATH_NAME="avx512"',
    f"-I{HERE.parents[1] / 'kernels' / 'cpu' / 'emulation'}",
    f"-I{KERNELS}",
    f"-I{KERNELS / 'native'}",
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs g++ for x86-64")
    if "avx2" not in training_paths():
        pytest.skip("emulated code paths are compiled for AVX2")
    library = tmp_path_factory.mktemp("emulated") / "training.so"
    sources = [KERNELS / "cpu" / "training" / "networks.cpp", HERE / "emulated_training.cpp"]
    subprocess.run([compiler, *FLAGS, "-shared", "-fPIC", *sources, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def aligned(values: np.ndarray) -> np.ndarray:
    """The same at an address that is a multiple of 64, as torch's allocator has it."""
    memory = np.empty(values.size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    memory[start : start + values.size] = values.ravel()
    return memory[start : start + values.size].reshape(values.shape)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 15, 96, 203])
def test_wide_lanes_compute_what_float64_does(kernels: ctypes.CDLL, count: int) -> None:
    assert kernels.row_length() == ROW_LENGTH
    networks = different_networks(1)
    points, directions, index = random_batch(networks, [count])
    row = aligned(networks.rows.detach().numpy()[0])
    rgb, density, gradient = np.empty((count, 3), np.float32), np.empty(count, np.float32), aligned(np.empty_like(row))
    inputs = pointers(row, points.numpy(), directions.numpy())
    kernels.forward(*inputs, ctypes.c_long(count), *pointers(rgb, density))
    d_rgb, d_density = np.cos(rgb * 50).astype(np.float32), np.sin(density * 50).astype(np.float32) + np.float32(1)
    kernels.backward(*inputs, ctypes.c_long(count), *pointers(d_rgb, d_density, gradient))

    exact = in_float64(networks)
    expected = tiny_networks_torch(points.double(), directions.double(), index, exact)
    np.testing.assert_allclose(rgb, expected[0].detach(), rtol=0, atol=3e-6)
    np.testing.assert_allclose(density, expected[1].detach(), rtol=3e-6, atol=1e-5)
    slopes = torch.from_numpy(d_rgb).double(), torch.from_numpy(d_density).double()
    torch.autograd.backward(expected, slopes)
    assert exact.rows.grad is not None
    truth = exact.rows.grad[0].numpy()
    np.testing.assert_allclose(gradient, truth, rtol=0, atol=1e-5 * np.abs(truth).max())


@pytest.mark.slow
def test_wide_lanes_step_as_torch_does(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(0)
    parameters, gradient, first = (aligned(rng.normal(size=ROW_LENGTH).astype(np.float32)) for _ in range(3))
    second = aligned(rng.random(ROW_LENGTH).astype(np.float32))
    m, v = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    expected = parameters - 1e-2 * m / (np.sqrt(v) * 31.6 + 1e-8)
    kernels.adam(*pointers(parameters, gradient, first, second))
    np.testing.assert_allclose(parameters, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first, m, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, v, rtol=1e-5, atol=1e-6)
