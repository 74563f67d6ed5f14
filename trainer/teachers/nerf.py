"""The paper's teacher: one large NeRF (Mildenhall et al., ECCV 2020), also from checkpoints of the original code."""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear, relu

from kilonerf.model_io import CheckpointError
from kilonerf.model_io.files.atomic import AtomicFile
from kilonerf.model_io.original.restricted_pickle import read_torch_file
from kilonerf.model_io.scene.architecture import (
    DIRECTION_CHANNELS,
    DIRECTION_FREQUENCIES,
    POSITION_CHANNELS,
    POSITION_FREQUENCIES,
)

LAYERS = 8
SKIP_AFTER = 4  # the layer after this one sees the encoded position again
WIDTH = 256
_POINTS_AT_ONCE = 1 << 15  # bounds the memory of an answer: 32 MiB for each layer of 256 units


def encoded(values: torch.Tensor, frequencies: int) -> torch.Tensor:
    """The positional encoding (KiloNeRF Eq. 2) in the order of NeRF's code, which is not that of the tiny networks.

    Args:
        values: [S, 3], positions in world units or unit directions; not scaled by pi.
        frequencies: F.

    Returns:
        [S, 3 + 6 F]: the values, their sines and cosines, those of twice the values, of four times, and so on.
    """
    parts = [values]
    for power in range(frequencies):
        angle = values * 2.0**power
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, dim=-1)


def layer_shapes(width: int) -> dict[str, tuple[int, int]]:
    """Layers of a NeRF by the original code's names, in its order: (inputs, outputs)."""
    shapes = {}
    for layer in range(LAYERS):
        inputs = POSITION_CHANNELS if layer == 0 else width
        shapes[f"pts_linears.{layer}"] = (inputs + POSITION_CHANNELS * (layer == SKIP_AFTER + 1), width)
    return shapes | {
        "views_linears.0": (width + DIRECTION_CHANNELS, width // 2),
        "feature_linear": (width, width),
        "alpha_linear": (width, 1),
        "rgb_linear": (width // 2, 3),
    }


class NerfTeacher(torch.nn.Module):
    """A NeRF of 8 layers in world coordinates; its state has the original code's names and shapes.

    Args:
        width: units of a hidden layer, an even number; the one that sees directions has half of them.
        seed: of the initial parameters, uniform within 1 / sqrt(inputs), as torch's linear layers begin.
    """

    name = "nerf"

    def __init__(self, width: int = WIDTH, *, seed: int = 0) -> None:
        super().__init__()
        self.width = width
        generator = torch.Generator().manual_seed(seed)
        for name, (inputs, outputs) in layer_shapes(width).items():
            *group, own = name.split(".")
            parent: torch.nn.Module = self
            if group:
                if not hasattr(self, group[0]):
                    self.add_module(group[0], torch.nn.Module())
                parent = self.get_submodule(group[0])
            layer = torch.nn.Module()
            for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
                values = (torch.rand(shape, generator=generator) * 2.0 - 1.0) * inputs**-0.5
                layer.register_parameter(part, torch.nn.Parameter(values))
            parent.add_module(own, layer)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str]) -> "NerfTeacher":
        """From a checkpoint of the original code's first stage; nothing that its pickle names is run.

        Raises:
            CheckpointError: the file cannot be read, or is no such NeRF: the key, what was expected, and what it is.
        """
        content = read_torch_file(path)
        try:
            if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), Mapping):
                keys = sorted(map(str, content))[:8] if isinstance(content, dict) else type(content).__name__
                raise CheckpointError(f"expected a teacher's checkpoint with 'model_state_dict', got {keys}")
            return cls.from_state(content["model_state_dict"])
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "NerfTeacher":
        """From what :meth:`state` gave, or the original code's ``model_state_dict``.

        Raises:
            CheckpointError: it is not that of a NeRF with 8 layers: the key, what was expected, and what it is.
        """
        teacher = cls(_width(state))
        own = teacher.state()
        for key in state:
            if key not in own:
                raise CheckpointError(f"{key}: expected no such layer in the paper's NeRF, got one")
        for key, tensor in own.items():
            _check(key, state.get(key), list(tensor.shape))
        teacher.load_state_dict({key: state[key] for key in own})
        return teacher

    def save(self, path: Path, *, global_step: int = 0) -> None:
        """Write a checkpoint that :meth:`from_checkpoint` and the original code's later stages read.

        Raises:
            OutputError: it cannot be written.
        """
        buffer = io.BytesIO()
        state = {key: tensor.cpu() for key, tensor in self.state().items()}
        torch.save({"global_step": global_step, "model_state_dict": state}, buffer)
        with AtomicFile(path) as temporary:
            temporary.write_bytes(buffer.getvalue())

    def state(self) -> dict[str, torch.Tensor]:
        """The parameters by the original code's names, in its order; not copied."""
        return dict(self.state_dict())

    def extent(self) -> None:
        """No box: it has an answer everywhere."""
        return

    def forward(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour in [0, 1] [S, 3] and density before its ReLU [S], with gradients.

        Args:
            points: [S, 3], world units.
            directions: [S, 3], of length 1.
        """
        hidden = self._trunk(points)
        feature = self._layer("feature_linear", hidden)  # no activation
        seen = torch.cat([feature, encoded(directions, DIRECTION_FREQUENCIES)], dim=-1)
        rgb = self._layer("rgb_linear", relu(self._layer("views_linears.0", seen)))
        return rgb.sigmoid(), self._layer("alpha_linear", hidden)[:, 0]

    @torch.no_grad()
    def raw_density(self, points: torch.Tensor) -> torch.Tensor:
        """Density before its ReLU, [S], at points [S, 3] of any device; memory does not grow with S."""
        parts = [self._layer("alpha_linear", self._trunk(part))[:, 0] for part in self._parts(points)]
        return torch.cat(parts)

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """See ``Teacher``."""
        return self.raw_density(points).relu_()

    @torch.no_grad()
    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Teacher``."""
        answers = [self(*part) for part in zip(self._parts(points), self._parts(directions), strict=True)]
        rgb, raw = (torch.cat(column) for column in zip(*answers, strict=True))
        return rgb, raw.relu_()

    def _trunk(self, points: torch.Tensor) -> torch.Tensor:
        position = encoded(points, POSITION_FREQUENCIES)
        hidden = position
        for layer in range(LAYERS):
            if layer == SKIP_AFTER + 1:
                hidden = torch.cat([position, hidden], dim=-1)
            hidden = relu(self._layer(f"pts_linears.{layer}", hidden))
        return hidden

    def _layer(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return linear(values, self.get_parameter(f"{name}.weight"), self.get_parameter(f"{name}.bias"))

    def _parts(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        like = self.get_parameter("alpha_linear.weight")
        for part in rows.split(_POINTS_AT_ONCE):
            yield part.to(like)


def _width(state: Mapping[str, Any]) -> int:
    """Units of a hidden layer, by the first layer's shape."""
    key = "pts_linears.0.weight"
    shape = list(getattr(state.get(key), "shape", ()))
    if len(shape) != 2 or shape[1] != POSITION_CHANNELS or shape[0] < 2 or shape[0] % 2:
        networks = " (tiny networks, not a teacher)" if len(shape) == 3 else ""
        raise CheckpointError(f"{key}: expected shape [width, {POSITION_CHANNELS}], got {shape or 'none'}{networks}")
    return shape[0]


def _check(key: str, tensor: Any, shape: list[int]) -> None:
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or list(tensor.shape) != shape:
        is_tensor = isinstance(tensor, torch.Tensor)
        got = (
            f"{tensor.dtype} {list(tensor.shape)}" if is_tensor else "none" if tensor is None else type(tensor).__name__
        )
        raise CheckpointError(f"{key}: expected floating-point numbers of shape {shape}, got {got}")
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(f"{key}: expected finite numbers, got {int((~tensor.isfinite()).sum())} that are not")
