"""The tiny networks as one differentiable operation (KiloNeRF section 3.1).

``tiny_networks`` evaluates each sample by its own network. It has a plain twin, ``tiny_networks_torch``, for any dtype
and device: the truth that others are compared with. float32 tensors on the CPU take the native kernel
(``kernels/cpu/training/networks.cpp``) where the extension is there, those on a GPU take CUDA's
(``kernels/cuda/training/networks.cu``) where CuPy is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import LAYER_SHAPES, TrainingError
from kilonerf.model_io.scene.architecture import DIRECTION_FREQUENCIES, HIDDEN, POSITION_FREQUENCIES

from .autograd import NetworksFunction
from .cuda import cuda_for
from .native import NativeSettings, current_settings, extension, native_for

_HALVED_FROM = 5  # number of the first frequency that begins with less weight
_ALIGNMENT = 16  # floats: every part of a row begins at a multiple


def _row_layout() -> tuple[dict[str, tuple[int, tuple[int, ...]]], int]:
    layout: dict[str, tuple[int, tuple[int, ...]]] = {}
    end = 0
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        for part, shape in (("weight", (inputs, outputs)), ("bias", (outputs,))):
            layout[f"{name}.{part}"] = (end, shape)
            end += math.ceil(math.prod(shape) / _ALIGNMENT) * _ALIGNMENT
    return layout, end


ROW_LAYOUT, ROW_LENGTH = _row_layout()
"""Where each layer begins in a network's row, with its shape; and the row's length (6240 with the gaps)."""


class TinyNetworks(torch.nn.Module):
    """Parameters of N tiny networks.

    All parameters of a network stand side by side in memory, a row for each network: so a step of training reads and
    writes one stretch of memory per network. ``layers()`` shows them by their names, without copying.

    Args:
        rows: [N, ROW_LENGTH], laid out as ``ROW_LAYOUT`` says; the gaps hold zeros.

    Attributes:
        rows: the same as one leaf of the graph: what an optimiser steps.
        frequencies: of a position that have weight, 1 to 10, the lowest ones. The weights of the others are zero, and
            so are their gradients.
    """

    _counts: torch.Tensor
    """Which numbers of a row may differ from zero by training, as far as frequencies decide it; bool [ROW_LENGTH]."""

    def __init__(self, rows: torch.Tensor, frequencies: int = POSITION_FREQUENCIES) -> None:
        super().__init__()
        self.frequencies = frequencies
        if rows.ndim != 2 or rows.shape[1] != ROW_LENGTH:
            raise TrainingError(f"tiny networks: expected rows of shape [N, {ROW_LENGTH}], got {list(rows.shape)}")
        self.rows = torch.nn.Parameter(rows.contiguous())
        counts = torch.ones(ROW_LENGTH, dtype=torch.bool, device=rows.device)
        begin, shape = ROW_LAYOUT["pts_linears.0.weight"]
        counts[begin : begin + math.prod(shape)] = _have_weight(frequencies).repeat_interleave(shape[1])
        self.register_buffer("_counts", counts, persistent=False)

    @classmethod
    def initial(
        cls,
        num_networks: int,
        *,
        seed: int,
        units: int = HIDDEN,
        frequencies: int = POSITION_FREQUENCIES,
        dtype: torch.dtype = torch.float32,
    ) -> "TinyNetworks":
        """Networks to begin with: one initialisation, the same for all of them.

        Weights are uniform with the variance that keeps activations' size (He et al. 2015), with the gain of the
        layer's activation; biases uniform within 1 / sqrt(inputs). Weights of a position's high frequencies are halved
        from one frequency to the next: networks begin smooth, which distils sooner (docs/decisions.md).

        Args:
            num_networks: N.
            seed: of the random numbers.
            units: of each hidden layer that are used. The others are zero with all their weights, and so are these
                weights' gradients: they stay zero (the narrow networks of KiloNeRF's figure 6).
            frequencies: of a position that have weight.
            dtype: of the parameters; the same numbers, rounded.
        """
        generator = torch.Generator().manual_seed(seed)
        layers = {}
        for name, (inputs, outputs) in LAYER_SHAPES.items():
            unused_inputs = 0 if name == "pts_linears.0" else HIDDEN - units
            inputs -= unused_inputs
            gain = 1.0 if name in ("feature_linear", "rgb_linear") else math.sqrt(2.0)  # the others have a ReLU
            for part, shape, bound in (
                ("weight", (inputs + unused_inputs, outputs), gain * math.sqrt(3.0 / inputs)),
                ("bias", (outputs,), 1.0 / math.sqrt(inputs)),
            ):
                values = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2.0 - 1.0) * bound
                if (name, part) == ("pts_linears.0", "weight"):
                    values *= (_smoothness() * _have_weight(frequencies))[:, None]
                if outputs == HIDDEN:
                    values[..., units:] = 0
                if part == "weight" and unused_inputs:
                    values[units:HIDDEN] = 0
                layers[f"{name}.{part}"] = values[None]
        return cls(_to_rows(layers, dtype).repeat(num_networks, 1), frequencies)

    @classmethod
    def from_layers(
        cls, layers: Mapping[str, NDArray[np.floating]], dtype: torch.dtype = torch.float32
    ) -> "TinyNetworks":
        """The networks of ``Scene.layers``: weights [N, in, out] and biases [N, out] by name."""
        rows = _to_rows({name: torch.from_numpy(np.array(array)) for name, array in layers.items()}, dtype)
        return cls(rows, _frequencies_in(rows))

    @property
    def num_networks(self) -> int:
        """N."""
        return self.rows.shape[0]

    def trained_rows(self) -> torch.Tensor:
        """The rows for kernels that know nothing of ``frequencies``: gradients of weights that stay zero are zero."""
        if self.frequencies == POSITION_FREQUENCIES:
            return self.rows
        return torch.where(self._counts, self.rows, 0.0)

    def layers(self) -> dict[str, torch.Tensor]:
        """Views of all layers: weights [N, in, out] and biases [N, out], named as in ``Scene.layers``."""
        return layers_of(self.rows)

    def to_scene_layers(self, dtype: type[np.floating] = np.float32) -> dict[str, NDArray[np.floating]]:
        """What ``Scene.layers`` takes: copies, in C order."""
        return {
            name: np.ascontiguousarray(layer.detach().cpu().numpy().astype(dtype))
            for name, layer in self.layers().items()
        }

    def forward(
        self, points: torch.Tensor, directions: torch.Tensor, network_index: "torch.Tensor | SampleGroups"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See :func:`tiny_networks`."""
        return tiny_networks(points, directions, network_index, self)


@dataclass(frozen=True)
class SampleGroups:
    """Which samples belong to which network; made once, of use to any number of evaluations.

    Attributes:
        order: int32 [S], the samples' numbers, those of one network side by side, each network's in their own order;
            None: the samples lie so themselves.
        starts: int64 [N + 1]; the samples of network n are ``order[starts[n] : starts[n + 1]]``.
    """

    order: torch.Tensor | None
    starts: torch.Tensor

    @classmethod
    def of(cls, network_index: torch.Tensor, num_networks: int) -> "SampleGroups":
        """Groups of samples in any order.

        Args:
            network_index: int32 [S], the network of each sample.
            num_networks: N.

        Raises:
            TrainingError: a network that is not one.
        """
        if network_index.ndim != 1 or network_index.dtype != torch.int32:
            got = f"{network_index.dtype} {list(network_index.shape)}"
            raise TrainingError(f"network_index: expected int32 [S], got {got}")
        if (native := native_for()) is not None and network_index.device.type == "cpu":
            order = torch.empty(len(network_index), dtype=torch.int32)
            starts = torch.empty(num_networks + 1, dtype=torch.int64)
            try:
                native.train_group(network_index.contiguous().numpy(), order.numpy(), starts.numpy())
            except ValueError as error:
                raise TrainingError(str(error)) from error
            return cls(order, starts)
        if len(network_index) and not 0 <= int(network_index.min()) <= int(network_index.max()) < num_networks:
            got = f"{int(network_index.min())} to {int(network_index.max())}"
            raise TrainingError(f"network_index: expected 0 to {num_networks - 1}, got {got}")
        counts = torch.bincount(network_index, minlength=num_networks)
        starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return cls(network_index.argsort(stable=True).to(torch.int32), starts)

    @classmethod
    def dense(cls, num_networks: int, count: int, device: torch.device | str = "cpu") -> "SampleGroups":
        """Groups of samples that come network by network, ``count`` for each: nothing needs sorting."""
        return cls(None, torch.arange(num_networks + 1, device=device) * count)

    @property
    def num_samples(self) -> int:
        """S."""
        return int(self.starts[-1])


def tiny_networks(
    points: torch.Tensor,  # [S, 3]
    directions: torch.Tensor,  # [S, 3]
    network_index: torch.Tensor | SampleGroups,  # int32 [S]
    parameters: TinyNetworks,
    *,
    rectified: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each sample by its own network.

    Differentiable with respect to ``parameters.rows``, and to nothing else by the kernels. If points or
    directions ask for gradients, the plain twin is taken.

    Args:
        points: coordinates within the network's cell, in [-1, 1].
        directions: unit vectors in world axes. Samples of a ray cost least where they follow each other.
        network_index: the network of each sample in any order, or groups made of it before.
        parameters: of N networks.
        rectified: whether the density has its ReLU. Without it, a loss may choose another slope below zero.

    Returns:
        colour [S, 3] after the sigmoid, and density [S].

    Raises:
        TrainingError: shapes or dtypes do not fit, or a network that is not one.
    """
    groups = _checked_groups(points, directions, network_index, parameters)
    native, cuda = (find(points, directions, parameters.rows) for find in (native_for, cuda_for))
    if points.requires_grad or directions.requires_grad or (native is None and cuda is None):
        return tiny_networks_torch(points, directions, groups, parameters, rectified=rectified)
    if cuda is not None:
        return cuda.networks(parameters.trained_rows(), points, directions, groups.order, groups.starts, rectified)
    kernels = _Native(groups, rectified, parameters.frequencies, current_settings())
    return NetworksFunction.apply(parameters.rows, points.contiguous(), directions.contiguous(), kernels)


def tiny_networks_torch(
    points: torch.Tensor,  # [S, 3]
    directions: torch.Tensor,  # [S, 3]
    network_index: torch.Tensor | SampleGroups,  # int32 [S]
    parameters: TinyNetworks,
    *,
    rectified: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain twin of :func:`tiny_networks`, any dtype and device; every network is padded to the longest group."""
    groups = _checked_groups(points, directions, network_index, parameters)
    counts = groups.starts.diff()
    present = counts.nonzero()[:, 0]
    if not len(present):
        nothing = parameters.rows.sum() * 0.0  # keeps the graph
        return points.new_zeros((0, 3)) + nothing, points.new_zeros(0) + nothing
    column = torch.arange(int(counts.max()), device=counts.device)
    valid = column < counts[present, None]  # [networks, longest]
    place = torch.where(valid, groups.starts[present, None] + column, 0)
    sample = place if groups.order is None else groups.order[place].long()
    layers = layers_of(parameters.trained_rows()[present])

    def dense(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(layers[f"{name}.bias"][:, None], x, layers[f"{name}.weight"])

    hidden = torch.relu(dense("pts_linears.0", encode(points[sample], POSITION_FREQUENCIES)))
    hidden = torch.relu(dense("pts_linears.1", hidden))
    density = dense("alpha_linear", hidden)[..., 0]
    feature = dense("feature_linear", hidden)  # no activation
    hidden = torch.cat([feature, encode(directions[sample], DIRECTION_FREQUENCIES)], -1)
    hidden = torch.relu(dense("direction_layer", hidden))
    rgb = torch.sigmoid(dense("rgb_linear", hidden))[valid]
    density = (torch.relu(density) if rectified else density)[valid]
    if groups.order is None:
        return rgb, density
    back = groups.order.argsort()
    return rgb[back], density[back]


def encode(values: torch.Tensor, frequencies: int) -> torch.Tensor:
    """Frequency encoding of [..., C] to [..., C * (1 + 2 * frequencies)], see ``kernels/reference/networks.py``."""
    scaled = values[..., None] * 2.0 ** torch.arange(frequencies, dtype=values.dtype, device=values.device)
    return torch.cat([values[..., None], scaled.cos(), scaled.sin()], -1).flatten(-2)


def _smoothness() -> torch.Tensor:
    """What each channel of an encoded position counts in the beginning, float64 [63]."""
    frequency = torch.arange(POSITION_FREQUENCIES, dtype=torch.float64)
    scale = 0.5 ** (frequency - _HALVED_FROM + 1).clamp(min=0)
    return torch.cat([torch.ones(1, dtype=torch.float64), scale, scale]).repeat(3)


def _have_weight(frequencies: int) -> torch.Tensor:
    """Which channels of an encoded position have weight, bool [63]."""
    kept = torch.arange(POSITION_FREQUENCIES) < frequencies
    return torch.cat([torch.ones(1, dtype=torch.bool), kept, kept]).repeat(3)


def _frequencies_in(rows: torch.Tensor) -> int:
    """How many of the lowest frequencies have weight, at least one."""
    weights = layers_of(rows)["pts_linears.0.weight"].any(2).any(0).view(3, 1 + 2 * POSITION_FREQUENCIES)
    used = weights[:, 1:].view(3, 2, POSITION_FREQUENCIES).any(1).any(0).nonzero()
    return int(used.max()) + 1 if len(used) else 1


def layers_of(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Views of the layers in rows [N, ROW_LENGTH]: weights [N, in, out] and biases [N, out]."""
    sizes = []
    for _, shape in ROW_LAYOUT.values():
        size = math.prod(shape)
        sizes += [size, -size % _ALIGNMENT]
    parts = rows.split(sizes, 1)[::2]
    return {name: part.unflatten(1, shape) for (name, (_, shape)), part in zip(ROW_LAYOUT.items(), parts, strict=True)}


def _to_rows(layers: Mapping[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    if set(layers) != set(ROW_LAYOUT):
        raise TrainingError(f"tiny networks: expected layers {sorted(ROW_LAYOUT)}, got {sorted(layers)}")
    num_networks = len(next(iter(layers.values())))
    rows = torch.zeros((num_networks, ROW_LENGTH), dtype=dtype)
    for name, view in layers_of(rows).items():
        if view.shape != layers[name].shape:
            raise TrainingError(f"{name}: expected shape {list(view.shape)}, got {list(layers[name].shape)}")
        view.copy_(layers[name])
    return rows


def _checked_groups(
    points: torch.Tensor,
    directions: torch.Tensor,
    network_index: torch.Tensor | SampleGroups,
    parameters: TinyNetworks,
) -> SampleGroups:
    """The groups of samples, all shapes checked."""
    groups = network_index
    if isinstance(groups, torch.Tensor):
        groups = SampleGroups.of(groups, parameters.num_networks)
    samples = len(points) if groups.order is None else len(groups.order)
    for name, tensor in (("points", points), ("directions", directions)):
        if tensor.shape != (samples, 3) or tensor.dtype != parameters.rows.dtype:
            got = f"{tensor.dtype} {list(tensor.shape)}"
            raise TrainingError(f"{name}: expected {parameters.rows.dtype} [{samples}, 3], got {got}")
    if len(groups.starts) != parameters.num_networks + 1 or groups.num_samples != samples:
        expected = f"{samples} samples of {parameters.num_networks} networks"
        raise TrainingError(
            f"groups: expected {expected}, got {groups.num_samples} samples of {len(groups.starts) - 1} networks"
        )
    return groups


class _Native:
    """The native kernels."""

    def __init__(self, groups: SampleGroups, rectified: bool, frequencies: int, settings: NativeSettings) -> None:
        self._options = {
            "order": None if groups.order is None else groups.order.numpy(),
            "starts": groups.starts.numpy(),
            "rectified": rectified,
            "frequencies": frequencies,
            **settings.arguments(),
        }

    def forward(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        rgb: torch.Tensor,
        density: torch.Tensor,
    ) -> None:
        """See :class:`NetworkKernels`."""
        batch = self._batch(rows, points, directions)
        extension.train_forward(**batch, rgb=rgb.numpy(), density=density.numpy())

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
        batch = self._batch(rows, points, directions)
        extension.train_backward(**batch, d_rgb=d_rgb.numpy(), d_density=d_density.numpy(), gradient=gradient.numpy())

    def _batch(self, rows: torch.Tensor, points: torch.Tensor, directions: torch.Tensor) -> dict[str, Any]:
        arrays = {"parameters": rows.numpy(), "points": points.numpy(), "directions": directions.numpy()}
        return arrays | self._options
