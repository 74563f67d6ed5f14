"""Training's operations on CUDA devices: the kernels of ``kernels/cuda/train_*.cu`` on torch's tensors.

Tensors are passed by their addresses, in torch's own stream: nothing is copied, nothing waits. CuPy compiles and
launches; it is imported when a tensor on a GPU first asks. Tests launch the same kernels on the CPU.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from kilonerf.model_io import TrainingError

from .native import current_settings

ITEM_SAMPLES = 480  # of one block; as in kernels/cuda/train_tile.cuh
_TILE_THREADS = 96
_GATHER_THREADS = 256
RAY_THREADS = 128
_ADAM_THREADS = 256

ADAM_SETTINGS = np.dtype(
    [("learning_rate", "<f8"), ("beta1", "<f8"), ("beta2", "<f8"), ("epsilon", "<f4"), ("decayed", "<i4")]
)
"""AdamSettings in kernels/cuda/train_adam.cu."""


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


class CupyTraining:
    """A device through CuPy.

    Args:
        index: which, as CUDA numbers them.

    Raises:
        BackendError: it cannot be used, and why.
    """

    def __init__(self, index: int) -> None:
        import cupy  # pyright: ignore[reportMissingImports]

        from kilonerf.kernels.cupy_device import CupyDevice

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
        stream = self._cupy.cuda.ExternalStream(torch.cuda.current_stream(self._device.index).cuda_stream)
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
        groups = _Groups(order, starts.contiguous(), rectified)
        return _Networks.apply(rows, points.contiguous(), directions.contiguous(), groups, self.device)

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
        return _Compositing.apply(density.contiguous(), rgb.contiguous(), fixed, ert_threshold, self.device)

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
        self.device.launch("train_adam.cu", "adam", rows, _ADAM_THREADS, arguments)


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
    from kilonerf.kernels.cupy_device import cupy_is_installed

    return CudaOperations(CupyTraining(index)) if cupy_is_installed() else None


def _expect_together(tensor: torch.Tensor, other: torch.Tensor, name: str) -> None:
    """A kernel cannot read what is elsewhere.

    Raises:
        TrainingError: the two are on different devices.
    """
    if other.device != tensor.device:
        raise TrainingError(f"{name}: expected on {tensor.device}, got {other.device}")


class _Groups:
    """Samples as kernels take them: a block for up to ITEM_SAMPLES of one network."""

    def __init__(self, order: torch.Tensor | None, starts: torch.Tensor, rectified: bool) -> None:
        self.order, self.starts = order, starts
        self.networks, self.rectified = len(starts) - 1, rectified
        blocks = (starts.diff() + ITEM_SAMPLES - 1) // ITEM_SAMPLES
        self.first_item = torch.nn.functional.pad(blocks.cumsum(0), (1, 0))

    def most_blocks(self, samples: int) -> int:
        """At least as many as there are; how many that is stands on the device only."""
        return min(samples, self.networks + samples // ITEM_SAMPLES)

    def arguments(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[Any, ...]:
        """What ``forward`` and ``backward`` begin with."""
        numbers = np.int32(self.networks), np.int32(self.rectified)
        return points, directions, self.order, self.starts, self.first_item, *numbers


class _Networks(torch.autograd.Function):
    """Activations are not kept: the backward pass computes them again."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        groups: _Groups,
        device: TrainingDevice,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(rows, points, directions)
        ctx.how = groups, device
        rgb, density = torch.empty_like(points), points.new_empty(len(points))
        blocks = groups.most_blocks(len(points))
        if blocks:
            arguments = (*groups.arguments(points, directions), rows.detach(), rgb, density)
            device.launch("train_networks.cu", "forward", blocks, _TILE_THREADS, arguments)
        return rgb, density

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        d_rgb, d_density = (gradient.contiguous() for gradient in grad_outputs)
        rows, points, directions = ctx.saved_tensors
        groups, device = ctx.how
        blocks = groups.most_blocks(len(points))
        if not blocks:
            return torch.zeros_like(rows), None, None, None, None
        partial = rows.new_empty((blocks, rows.shape[1]))
        arguments = (*groups.arguments(points, directions), rows.detach(), d_rgb, d_density, partial)
        device.launch("train_networks.cu", "backward", blocks, _TILE_THREADS, arguments)
        gradient = torch.empty_like(rows)
        arguments = groups.first_item, rows.detach(), partial, gradient
        device.launch("train_networks.cu", "gather_gradients", len(rows), _GATHER_THREADS, arguments)
        return gradient, None, None, None, None


class _Compositing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        density: torch.Tensor,
        rgb: torch.Tensor,
        fixed: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        ert_threshold: float,
        device: TrainingDevice,
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(density, rgb, *fixed)
        ctx.how = ert_threshold, device
        rays = len(fixed[0]) - 1
        colour, opacity, depth = (density.new_empty(shape) for shape in ((rays, 3), (rays,), (rays,)))
        weights = torch.empty_like(density)
        if rays:
            arguments = (*_rays(density, rgb, *fixed, ert_threshold), colour, opacity, depth, weights)
            device.launch("train_rays.cu", "composite", -(-rays // RAY_THREADS), RAY_THREADS, arguments)
        return colour, opacity, depth, weights

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        density, rgb, offsets, distance, depth = ctx.saved_tensors
        ert_threshold, device = ctx.how
        slopes = [gradient.contiguous() for gradient in grad_outputs]
        d_density, d_rgb = torch.empty_like(density), torch.empty_like(rgb)
        rays = len(offsets) - 1
        if rays:
            common = _rays(density, rgb, offsets, distance, depth, ert_threshold)
            arguments = (*common, *slopes, d_density, d_rgb)
            device.launch("train_rays.cu", "composite_backward", -(-rays // RAY_THREADS), RAY_THREADS, arguments)
        return d_density, d_rgb, None, None, None


def _rays(
    density: torch.Tensor,
    rgb: torch.Tensor,
    offsets: torch.Tensor,
    distance: torch.Tensor,
    depth: torch.Tensor,
    ert_threshold: float,
) -> tuple[Any, ...]:
    """What ``composite`` and ``composite_backward`` begin with."""
    rays = np.int64(len(offsets) - 1)
    return rays, offsets, density.detach(), rgb.detach(), distance, depth, np.float32(ert_threshold)
