"""Training's operations on CUDA devices: the kernels of ``kernels/cuda/training`` on torch's tensors.

Tensors are passed by their addresses, in torch's own stream: nothing is copied, nothing waits. CuPy compiles and
launches; it is imported when a tensor on a GPU first asks. Tests launch the same kernels on the CPU.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch

from kilonerf.model_io import TrainingError

from .autograd import CompositingFunction, NetworksFunction, Rays
from .native import current_settings

ITEM_SAMPLES = 480  # of one block; as in kernels/cuda/training/tile.cuh
_TILE_THREADS = 96
_GATHER_THREADS = 256
RAY_THREADS = 128
_ADAM_THREADS = 256

ADAM_SETTINGS = np.dtype(
    [("learning_rate", "<f8"), ("beta1", "<f8"), ("beta2", "<f8"), ("epsilon", "<f4"), ("decayed", "<i4")]
)
"""AdamSettings in kernels/cuda/training/adam.cu."""


class TrainingDevice(Protocol):
    """What starts kernels."""

    def launch(self, source: str, name: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Start a kernel of the file ``source`` and return.

        Args:
            source: a file of ``kernels/cuda``.
            name: of the kernel.
            blocks: at least 1.
            threads: of each block.
            arguments: contiguous tensors and None are pointers; NumPy scalars and structures [] go by value.

        Raises:
            BackendError: it cannot be compiled, or does not start.
        """
        ...


class StreamAddress:
    """A stream by its address, as the CUDA stream protocol wants it."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        """Version of the protocol, and the address."""
        return 0, self._pointer


class CupyTraining:
    """A device through CuPy.

    Args:
        index: which, as CUDA numbers them.

    Raises:
        BackendError: it cannot be used, and why.
    """

    def __init__(self, index: int) -> None:
        import cupy  # pyright: ignore[reportMissingImports]

        from kilonerf.kernels.cuda.cupy_device import CupyDevice

        self._cupy, self._device = cupy, CupyDevice(index)
        self._kernels: dict[str, Any] = {}

    def launch(self, source: str, name: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """See :class:`TrainingDevice`."""
        plain = [
            np.uint64(0 if value is None else value.data_ptr())
            if value is None or isinstance(value, torch.Tensor)
            else value
            for value in arguments
        ]
        pointer = torch.cuda.current_stream(self._device.index).cuda_stream
        stream = self._cupy.cuda.Stream.from_external(StreamAddress(pointer))
        with self._cupy.cuda.Device(self._device.index), stream:
            if name not in self._kernels:
                self._kernels[name] = self._device.kernel(source, name, {})
            self._kernels[name].launch(blocks, threads, plain)


class CudaOperations:
    """The operations, for float32 tensors of one device.

    Args:
        device: what runs the kernels.
    """

    def __init__(self, device: TrainingDevice) -> None:
        self.device = device

    def networks(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        order: torch.Tensor | None,
        starts: torch.Tensor,
        rectified: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``networks.tiny_networks``, differentiable with respect to ``rows``; order and starts of a SampleGroups.

        Raises:
            TrainingError: groups on another device.
        """
        _expect_together(rows, starts, "groups")
        kernels = _Networks(self.device, order, starts.contiguous(), rectified)
        return NetworksFunction.apply(rows, points.contiguous(), directions.contiguous(), kernels)

    def composite(
        self,
        density: torch.Tensor,
        rgb: torch.Tensor,
        fixed: tuple[torch.Tensor, torch.Tensor, torch.Tensor],  # offsets, distance, depth
        ert_threshold: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """``compositing.composite``, differentiable with respect to density and rgb.

        Raises:
            ValueError: offsets that decrease, or end elsewhere than the samples.
            TrainingError: offsets on another device.
        """
        offsets = fixed[0]
        _expect_together(density, offsets, "composite: offsets")
        steps = offsets.diff()
        least = steps.min() if len(steps) else offsets.new_zeros(())
        begin, end, least = torch.stack([offsets[0], offsets[-1], least]).tolist()
        if begin != 0 or end != len(density) or least < 0:
            raise ValueError(f"offsets: expected to rise from 0 to {len(density)}")
        kernels = _Compositing(self.device, ert_threshold)
        return CompositingFunction.apply(density.contiguous(), rgb.contiguous(), fixed, kernels)

    def adam(
        self,
        parameters: torch.Tensor,
        gradient: torch.Tensor,
        state: tuple[torch.Tensor, torch.Tensor, torch.Tensor],  # first and second moments, steps
        chosen: torch.Tensor | None,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        epsilon: float,
        decay: torch.Tensor | None,
    ) -> None:
        """A step of ``adam.Adam``, in place: of the rows ``chosen``, different integers, or of all."""
        rows = len(parameters) if chosen is None else len(chosen)
        if not rows:
            return
        settings = np.array((learning_rate, *betas, epsilon, decay is not None), ADAM_SETTINGS)[()]
        if chosen is not None:
            chosen = chosen.to(parameters.device, torch.int32).contiguous()
        arguments = (settings, chosen, decay, gradient.contiguous(), parameters.detach(), *state)
        self.device.launch("training/adam.cu", "adam", rows, _ADAM_THREADS, arguments)


def cuda_for(*tensors: torch.Tensor) -> CudaOperations | None:
    """The operations if they can take these tensors, which are float32 on one CUDA device; None: the plain twins can.

    Raises:
        BackendError: CuPy is installed and cannot use the device.
    """
    first = tensors[0].device
    if first.type != "cuda" or current_settings().path == "torch":
        return None
    if any(tensor.device != first or tensor.dtype != torch.float32 for tensor in tensors):
        return None
    return _operations_on(first.index)


@cache
def _operations_on(index: int) -> CudaOperations | None:
    from kilonerf.kernels.cuda.cupy_device import cupy_is_installed

    return CudaOperations(CupyTraining(index)) if cupy_is_installed() else None


def _expect_together(tensor: torch.Tensor, other: torch.Tensor, name: str) -> None:
    """A kernel cannot read what is elsewhere.

    Raises:
        TrainingError: the two are on different devices.
    """
    if other.device != tensor.device:
        raise TrainingError(f"{name}: expected on {tensor.device}, got {other.device}")


class _Networks:
    """The kernels of ``training/networks.cu`` for samples in groups: a block for up to ITEM_SAMPLES of one network."""

    def __init__(
        self, device: TrainingDevice, order: torch.Tensor | None, starts: torch.Tensor, rectified: bool
    ) -> None:
        self._device, self._order, self._starts = device, order, starts
        self._networks, self._rectified = len(starts) - 1, rectified
        blocks = (starts.diff() + ITEM_SAMPLES - 1) // ITEM_SAMPLES
        self._first_item = torch.nn.functional.pad(blocks.cumsum(0), (1, 0))

    def forward(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        rgb: torch.Tensor,
        density: torch.Tensor,
    ) -> None:
        """See :class:`NetworkKernels`."""
        self._launch("forward", points, directions, (rows, rgb, density))

    def backward(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        d_rgb: torch.Tensor,
        d_density: torch.Tensor,
        gradient: torch.Tensor,
    ) -> None:
        """See :class:`NetworkKernels`."""
        if not len(points):
            gradient.zero_()
            return
        partial = rows.new_empty((self._most_blocks(len(points)), rows.shape[1]))
        self._launch("backward", points, directions, (rows, d_rgb, d_density, partial))
        arguments = self._first_item, rows, partial, gradient
        self._device.launch("training/networks.cu", "gather_gradients", len(rows), _GATHER_THREADS, arguments)

    def _most_blocks(self, samples: int) -> int:
        """At least as many as there are; how many that is stands on the device only."""
        return min(samples, self._networks + samples // ITEM_SAMPLES)

    def _launch(self, name: str, points: torch.Tensor, directions: torch.Tensor, more: tuple[Any, ...]) -> None:
        if len(points):
            groups = self._order, self._starts, self._first_item, np.int32(self._networks), np.int32(self._rectified)
            arguments = points, directions, *groups, *more
            blocks = self._most_blocks(len(points))
            self._device.launch("training/networks.cu", name, blocks, _TILE_THREADS, arguments)


class _Compositing:
    """The compositing kernels of ``training/rays.cu``."""

    def __init__(self, device: TrainingDevice, ert_threshold: float) -> None:
        self._device, self._ert_threshold = device, np.float32(ert_threshold)

    def forward(self, rays: Rays, out: tuple[torch.Tensor, ...]) -> None:
        """See :class:`CompositingKernels`."""
        self._launch("composite", rays, out)

    def backward(
        self, rays: Rays, slopes: tuple[torch.Tensor, ...], d_density: torch.Tensor, d_rgb: torch.Tensor
    ) -> None:
        """See :class:`CompositingKernels`."""
        self._launch("composite_backward", rays, (*slopes, d_density, d_rgb))

    def _launch(self, name: str, rays: Rays, more: tuple[torch.Tensor, ...]) -> None:
        count = len(rays.offsets) - 1
        if count:
            arguments = np.int64(count), *rays, self._ert_threshold, *more
            self._device.launch("training/rays.cu", name, -(-count // RAY_THREADS), RAY_THREADS, arguments)
