"""Training's CUDA kernels for networks and Adam, executed on the CPU by the SIMT host, against the twins in float64."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.kernels.cuda import cupy_device
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.cuda import ITEM_SAMPLES, CudaOperations, CupyTraining, cuda_for
from kilonerf.trainer.ops.native import native_settings
from kilonerf.trainer.ops.networks import SampleGroups, TinyNetworks, layers_of, tiny_networks_torch
from simt.compilation import why_unavailable
from simt.simt_training import SimtTraining
from support.network_batches import Batch, different_networks, in_float64, random_batch

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

# Samples of each of five networks: none at all, one, a tile and one more, and more than one block takes.
COUNTS = {
    "empty": [0, 0, 0, 0, 0],
    "one sample": [0, 0, 1, 0, 0],
    "few": [3, 0, 1, 2, 5],
    "tiles": [47, 48, 0, 49, 97],
    "several blocks": [0, ITEM_SAMPLES + 1, 0, 7, 2 * ITEM_SAMPLES],
}


@pytest.fixture(autouse=True)
def _new_memory_is_nan() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="module")
def networks() -> TinyNetworks:
    return different_networks(5)


def slopes_like(rgb: torch.Tensor, density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    d_rgb, d_density = (torch.randn(part.shape, generator=generator) for part in (rgb, density))
    return d_rgb.to(rgb), d_density.to(rgb)


def on_simt(
    device: SimtTraining, networks: TinyNetworks, batch: Batch, rectified: bool, zero: slice = slice(0)
) -> tuple[torch.Tensor, ...]:
    """Colour, density, and the gradient of a random linear function of both, to which ``zero`` adds nothing."""
    points, directions, index = batch
    copies = TinyNetworks(networks.rows.detach().clone(), networks.frequencies)
    groups = SampleGroups.of(index, copies.num_networks)
    operations = CudaOperations(device)
    rgb, density = operations.networks(
        copies.trained_rows(), points, directions, groups.order, groups.starts, rectified
    )
    d_rgb, d_density = slopes_like(rgb, density)
    d_rgb[zero], d_density[zero] = 0, 0
    torch.autograd.backward((rgb, density), (d_rgb, d_density))
    assert copies.rows.grad is not None
    return rgb.detach(), density.detach(), copies.rows.grad


def exactly(networks: TinyNetworks, batch: Batch, rectified: bool, zero: slice = slice(0)) -> tuple[torch.Tensor, ...]:
    points, directions, index = batch
    exact = in_float64(networks)
    rgb, density = tiny_networks_torch(points.double(), directions.double(), index, exact, rectified=rectified)
    d_rgb, d_density = slopes_like(rgb, density)
    d_rgb[zero], d_density[zero] = 0, 0
    (gradient,) = torch.autograd.grad((rgb, density), exact.rows, (d_rgb, d_density))
    return rgb.detach(), density.detach(), gradient


def assert_close(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> None:
    """Single precision: 3e-6 of the outputs' scale, 1e-5 of each layer's largest gradient, in each network."""
    torch.testing.assert_close(found[0].double(), expected[0], rtol=0, atol=3e-6)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=3e-6, atol=1e-5)
    assert found[2].dtype == torch.float32
    for (name, layer), truth in zip(layers_of(found[2]).items(), layers_of(expected[2]).values(), strict=True):
        error = (layer - truth).flatten(1).abs().amax(1)
        assert (error <= 1e-5 * truth.flatten(1).abs().amax(1)).all(), name
    gaps = found[2].clone()
    for layer in layers_of(gaps).values():
        layer.zero_()
    assert not gaps.any()  # and none is NaN


@pytest.mark.parametrize("rectified", [True, False], ids=["rectified", "raw density"])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_simt_networks_and_gradients_are_those_of_float64(
    networks: TinyNetworks, counts: list[int], rectified: bool
) -> None:
    batch = random_batch(networks, counts)
    found = on_simt(SimtTraining(), networks, batch, rectified)
    assert_close(found, exactly(networks, batch, rectified))
    assert not found[2][torch.tensor(counts) == 0].any()


def test_simt_frequencies_without_weight_have_no_gradient() -> None:
    few = different_networks(5, seed=3, frequencies=6)
    batch = random_batch(few, COUNTS["tiles"])
    found = on_simt(SimtTraining(), few, batch, rectified=True)
    assert_close(found, exactly(few, batch, rectified=True))
    assert not layers_of(found[2])["pts_linears.0.weight"].view(5, 3, 21, 32)[:, :, 7:11].any()


@pytest.mark.parametrize("order", ["ascending", "descending", 3])
def test_simt_networks_have_no_races(networks: TinyNetworks, order: str | int) -> None:
    """Nor do they leave their memory, or read what nobody wrote; and the order of threads changes nothing."""
    batch = random_batch(networks, [50, 0, 1, 0, 97])
    found = on_simt(SimtTraining(checked=True, order=order), networks, batch, True)
    usual = on_simt(SimtTraining(), networks, batch, True)
    assert all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))
    assert_close(found, exactly(networks, batch, True))


@pytest.mark.parametrize("zero", [slice(0, None), slice(0, None, 2), slice(10, None)])
def test_simt_samples_without_gradient_add_none(networks: TinyNetworks, zero: slice) -> None:
    batch = random_batch(networks, [0, 300, 9, 96, 48])
    found = on_simt(SimtTraining(checked=True), networks, batch, True, zero)
    assert_close(found, exactly(networks, batch, True, zero))
    assert found[2].any() == (zero != slice(0, None))


def test_simt_dense_batches_need_no_order(networks: TinyNetworks) -> None:
    points, directions, index = random_batch(networks, [50] * 5, run=1)
    order = index.argsort(stable=True)
    points, directions = points[order], directions[order]
    operations = CudaOperations(SimtTraining(checked=True))
    starts = SampleGroups.dense(5, 50).starts
    rgb, density = operations.networks(networks.rows.detach(), points, directions, None, starts, True)
    expected = tiny_networks_torch(points.double(), directions.double(), index[order], in_float64(networks))
    torch.testing.assert_close(rgb.double(), expected[0].detach(), rtol=0, atol=3e-6)
    torch.testing.assert_close(density.double(), expected[1].detach(), rtol=3e-6, atol=1e-5)


def test_simt_blocks_are_as_many_as_samples_need(networks: TinyNetworks) -> None:
    device = SimtTraining()
    batch = random_batch(networks, [ITEM_SAMPLES, 0, 2, 0, 0])
    on_simt(device, networks, batch, True)
    assert device.launches == [("forward", 6), ("backward", 6), ("gather_gradients", 5)]  # of 6, 4 end at once


@pytest.mark.parametrize("l2", [0.0, 1e-2])
@pytest.mark.parametrize("chosen", [None, [3, 0]], ids=["all", "chosen"])
def test_simt_adam_steps_as_the_twin_does(chosen: list[int] | None, l2: float) -> None:
    ours, theirs = different_networks(4), in_float64(different_networks(4))
    adam, exact = (Adam(each, learning_rate=3e-3, view_dependent_l2=l2, epsilon=1e-12) for each in (ours, theirs))
    operations = CudaOperations(SimtTraining(checked=True))
    generator = torch.Generator().manual_seed(4)
    rows = torch.arange(4) if chosen is None else torch.tensor(chosen)
    for step in range(5):
        gradient = torch.randn(ours.rows.shape, generator=generator) * 10.0 ** (-step)
        gradient[1] = 0
        theirs.rows.grad = gradient.double()
        with native_settings(path="torch"):
            exact.step(None if chosen is None else rows)
        operations.adam(
            ours.rows,
            gradient,
            (adam.first, adam.second, adam.steps),
            None if chosen is None else rows,
            learning_rate=3e-3,
            betas=adam.betas,
            epsilon=adam.epsilon,
            decay=adam._decay,
        )
    assert torch.equal(adam.steps, exact.steps)
    torch.testing.assert_close(ours.rows.detach().double(), theirs.rows.detach(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(adam.first.double(), exact.first, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(adam.second.double(), exact.second, rtol=1e-5, atol=1e-12)
    assert (ours.rows[0] - different_networks(4).rows[0]).abs().max() > 1e-3
    if chosen is not None:
        assert torch.equal(ours.rows[1:3], different_networks(4).rows[1:3])


def test_simt_adam_of_no_networks_starts_nothing(networks: TinyNetworks) -> None:
    device = SimtTraining()
    adam = Adam(networks, learning_rate=1.0)
    none, gradient = torch.empty(0, dtype=torch.int64), torch.ones_like(networks.rows)
    settings = {"learning_rate": 1.0, "betas": adam.betas, "epsilon": 1e-8, "decay": None}
    CudaOperations(device).adam(networks.rows, gradient, (adam.first, adam.second, adam.steps), none, **settings)
    assert not device.launches


class FakeKernel:
    def __init__(self, name: str, launches: list) -> None:
        self.name, self.launches = name, launches

    def launch(self, blocks: int, threads: int, arguments: list) -> None:
        self.launches.append((self.name, blocks, threads, arguments))


class FakeDevice:
    """As far as training uses a CupyDevice."""

    def __init__(self, index: int) -> None:
        self.index, self.compiled, self.launches = index, [], []

    def kernel(self, source: str, name: str, defines: dict) -> FakeKernel:
        self.compiled.append((source, name, defines))
        return FakeKernel(name, self.launches)


def test_launches_through_cupy_pass_addresses_in_torchs_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CuPy and no GPU is here: what they would be asked."""
    entered = []
    devices: list[FakeDevice] = []
    cuda = SimpleNamespace(
        Device=lambda index: nullcontext(entered.append(("device", index))),
        Stream=SimpleNamespace(
            from_external=lambda stream: nullcontext(entered.append(("stream", stream.__cuda_stream__()[1])))
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(cupy_device, "CupyDevice", lambda index: devices.append(FakeDevice(index)) or devices[-1])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=4000 + index))
    training = CupyTraining(3)
    tensor = torch.zeros(5)
    for _ in range(2):
        training.launch("training/adam.cu", "adam", 7, 256, (np.int32(9), tensor, None))
    (device,) = devices
    assert device.index == 3
    assert device.compiled == [("training/adam.cu", "adam", {})]  # once
    name, blocks, threads, arguments = device.launches[1]
    assert (name, blocks, threads) == ("adam", 7, 256)
    assert [type(value) for value in arguments] == [np.int32, np.uint64, np.uint64]
    assert arguments == [9, tensor.data_ptr(), 0]
    assert entered == [("stream", 4003), ("device", 3)] * 2


def test_tensors_of_the_cpu_are_not_for_cuda() -> None:
    assert cuda_for(torch.zeros(1)) is None
    assert cuda_for(torch.zeros(1), torch.zeros(1, device="meta")) is None
