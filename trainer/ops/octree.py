"""An octree field as a differentiable operation, its levels added up, and the learning of codes.

Variable Bitrate Neural Fields (Takikawa et al., SIGGRAPH 2022). Functions ending in ``_torch`` are plain twins, for any
dtype and device; float32 tensors on the CPU take native kernels (``kernels/cpu/training/octree.cpp``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from kilonerf.kernels.native.expansion import corner_grid, parent_corners
from kilonerf.model_io import TrainingError
from kilonerf.model_io.scene.octree import CORNERS, Octree
from kilonerf.model_io.scene.octree_scene import DECODER_HIDDEN, FEATURES

from .native import NativeSettings, current_settings, extension, native_for


class SparseRows(NamedTuple):
    """A sparse matrix [rows, columns] that features are multiplied by: entries of row i are offsets[i] to [i + 1]."""

    offsets: torch.Tensor  # int32 [rows + 1]
    columns: torch.Tensor  # int32 [entries]
    weights: torch.Tensor  # float32 [entries]

    @classmethod
    def of(cls, rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]) -> "SparseRows":
        """Entries of 1/8 each; those of one place are added up."""
        keys, counts = np.unique(rows.astype(np.int64) * shape[1] + columns, return_counts=True)
        offsets = np.searchsorted(keys, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
        arrays = (offsets.astype(np.int32), (keys % shape[1]).astype(np.int32), (counts / 8).astype(np.float32))
        return cls(*map(torch.from_numpy, arrays))

    def times(self, rows: torch.Tensor, own: torch.Tensor | None = None) -> torch.Tensor:
        """The product with rows [columns, 16], to which ``own`` [rows, 16] is added; no gradients."""
        if native_for(rows) is not None:
            out = torch.empty(len(self.offsets) - 1, FEATURES)
            extension.octree_product(
                **{name: tensor.numpy() for name, tensor in self._asdict().items()},
                rows=rows.detach().contiguous().numpy(),
                own=None if own is None else own.detach().contiguous().numpy(),
                out=out.numpy(),
                **current_settings().arguments(),
            )
            return out
        entries = rows.detach()[self.columns.long()] * self.weights[:, None].to(rows.dtype)
        row = torch.repeat_interleave(self.offsets.diff().long())
        out = rows.new_zeros((len(self.offsets) - 1, FEATURES)) if own is None else own.detach().clone()
        return out.index_add_(0, row, entries)


@dataclass(eq=False)
class FieldLevel:
    """A level of an octree: its voxels and their corners, in C order, so that the next one up in z is the next row.

    Attributes:
        slots: int32 [2^l] * 3, each voxel's number, -1 for none.
        corners: int32 [V, 4], rows of each voxel's corners with the lower z: (0,0), (0,1), (1,0), (1,1) in x and y.
        order: int64 [C], the number, in Morton order, of each corner.
        from_above: what corners of the level above are worth at these; None for the coarsest level.
        to_above: its transpose.
    """

    slots: torch.Tensor
    corners: torch.Tensor
    order: torch.Tensor
    from_above: SparseRows | None = None
    to_above: SparseRows | None = None

    @property
    def num_corners(self) -> int:
        """C."""
        return len(self.order)

    def to(self, device: torch.device | str) -> "FieldLevel":
        """The same on a device."""
        sparse = [
            None if rows is None else SparseRows(*(t.to(device) for t in rows))
            for rows in (self.from_above, self.to_above)
        ]
        return FieldLevel(self.slots.to(device), self.corners.to(device), self.order.to(device), *sparse)


def field_levels(octree: Octree, first: int) -> list[FieldLevel]:
    """Levels ``first`` to the deepest of an octree."""
    levels: list[FieldLevel] = []
    rank_above = np.empty(0, np.int64)
    for level in range(first, octree.depth + 1):
        places, voxels = octree.corners(level), octree.voxels(level)
        order = np.lexsort(places.T[::-1])
        rank = np.argsort(order)  # the row of each corner by its number in Morton order
        index = corner_grid(places[order], level)
        slots = np.full((1 << level,) * 3, -1, np.int32)
        slots[tuple(voxels.T)] = np.arange(len(voxels))
        corners = np.stack([index[tuple((voxels + corner).T)] for corner in CORNERS[::2]], axis=1)
        slots, corners = torch.from_numpy(slots), torch.from_numpy(np.ascontiguousarray(corners))
        made = FieldLevel(slots, corners, torch.from_numpy(order))
        if level > first:
            parents = rank_above[parent_corners(octree, level)[order]].reshape(-1)
            own = np.arange(len(order)).repeat(8)
            here, above = len(order), len(rank_above)
            made.from_above = SparseRows.of(own, parents, (here, above))
            made.to_above = SparseRows.of(parents, own, (above, here))
        levels.append(made)
        rank_above = rank
    return levels


def summed(levels: Sequence[FieldLevel], own: Sequence[torch.Tensor]) -> torch.Tensor:
    """All levels' features, [C_l, 16] each, added up at the corners of the last one, [C, 16]; differentiable."""
    rows = own[0]
    for level, features in zip(levels[1:], own[1:], strict=True):
        rows = _AddedToAbove.apply(rows, features, level)
    return rows


class _AddedToAbove(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, above: torch.Tensor, own: torch.Tensor, level: FieldLevel) -> torch.Tensor:
        ctx.level = level
        assert level.from_above is not None  # noqa: S101 - only the coarsest has none
        return level.from_above.times(above, own)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        return ctx.level.to_above.times(grad_outputs[0].contiguous()), grad_outputs[0], None


def octree_field(
    points: torch.Tensor,  # [S, 3]
    rays: torch.Tensor,  # int32 [S]
    rows: torch.Tensor,  # [C, 16]
    ray_part: torch.Tensor,  # [R, 128]
    decoder: Mapping[str, torch.Tensor],
    level: FieldLevel,
) -> torch.Tensor:
    """What the decoder says of samples, before its activations; differentiable but for the points.

    Args:
        points: -1 to 1 over the octree's box.
        rays: whose sample each is; samples of one ray follow each other.
        rows: features at the corners of ``level``, all levels added up.
        ray_part: what each ray's direction adds to the hidden layer, its bias included.
        decoder: "features" [16, 128], "output.weight" [4, 128], "output.bias" [4].
        level: whose voxels they are in.

    Returns:
        [S, 4]: red, green, blue, density; 0 in no voxel.

    Raises:
        TrainingError: shapes do not fit.
    """
    shapes = {
        "points": (points, (len(points), 3)),
        "rays": (rays, (len(points),)),
        "rows": (rows, (level.num_corners, FEATURES)),
        "ray_part": (ray_part, (len(ray_part), DECODER_HIDDEN)),
    }
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise TrainingError(f"octree field: {name}: expected {list(shape)}, got {list(tensor.shape)}")
    parts = (decoder["features"], decoder["output.weight"], decoder["output.bias"])
    if native_for(points, rows, ray_part, *parts) is None:
        return octree_field_torch(points, rays, rows, ray_part, decoder, level)
    return _NativeField.apply(
        rows, ray_part.contiguous(), *parts, points.detach().contiguous(), rays, level, current_settings()
    )


def octree_field_torch(
    points: torch.Tensor,
    rays: torch.Tensor,
    rows: torch.Tensor,
    ray_part: torch.Tensor,
    decoder: Mapping[str, torch.Tensor],
    level: FieldLevel,
) -> torch.Tensor:
    """The plain twin of :func:`octree_field`."""
    resolution = len(level.slots)
    at = (points + 1.0) * (0.5 * resolution)
    inside = ((at >= 0) & (at <= resolution)).all(1)
    voxel = torch.where(inside[:, None], at, 0).long().clamp(max=resolution - 1)
    slot = level.slots[tuple(voxel.T)].long()
    there = inside & (slot >= 0)
    fraction = at - voxel
    corners = level.corners[slot.clamp(min=0)].long()
    features = rows.new_zeros((len(points), FEATURES))
    for number, (x, y, z) in enumerate(CORNERS.tolist()):
        weight = torch.ones_like(fraction[:, 0])
        for axis, side in enumerate((x, y, z)):
            weight = weight * (fraction[:, axis] if side else 1.0 - fraction[:, axis])
        features = features + weight[:, None] * rows[corners[:, number // 2] + z]
    hidden = torch.relu(features @ decoder["features"] + ray_part[rays.long()])
    raw = hidden @ decoder["output.weight"].T + decoder["output.bias"]
    return torch.where(there[:, None], raw, 0.0)


class _NativeField(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        ray_part: torch.Tensor,
        w_features: torch.Tensor,
        w_output: torch.Tensor,
        b_output: torch.Tensor,
        points: torch.Tensor,
        rays: torch.Tensor,
        level: FieldLevel,
        settings: NativeSettings,
    ) -> torch.Tensor:
        samples = len(points)
        raw, features = rows.new_empty((samples, 4)), rows.new_empty((samples, FEATURES))
        places = torch.empty((samples, 5), dtype=torch.int32)
        extension.octree_forward(
            rows=rows.detach().numpy(),
            slots=level.slots.numpy(),
            corners=level.corners.numpy(),
            points=points.numpy(),
            rays=rays.numpy(),
            ray_part=ray_part.detach().numpy(),
            w_features=w_features.detach().numpy(),
            w_output=w_output.detach().numpy(),
            b_output=b_output.detach().numpy(),
            raw=raw.numpy(),
            features=features.numpy(),
            places=places.numpy(),
            **settings.arguments(),
        )
        ctx.save_for_backward(rows, ray_part, w_features, w_output, b_output, rays, features, places)
        ctx.how = level, settings
        return raw

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        rows, ray_part, w_features, w_output, b_output, rays, features, places = ctx.saved_tensors
        level, settings = ctx.how
        gradients = [torch.zeros_like(t) for t in (rows, ray_part, w_features, w_output, b_output)]
        names = ("d_rows", "d_ray_part", "d_w_features", "d_w_output", "d_b_output")
        extension.octree_backward(
            corners=level.corners.numpy(),
            rays=rays.numpy(),
            ray_part=ray_part.detach().numpy(),
            w_features=w_features.detach().numpy(),
            w_output=w_output.detach().numpy(),
            features=features.numpy(),
            places=places.numpy(),
            d_raw=grad_outputs[0].contiguous().numpy(),
            **{name: tensor.numpy() for name, tensor in zip(names, gradients, strict=True)},
            **settings.arguments(),
        )
        return (*gradients, None, None, None, None)


class CodeState(NamedTuple):
    """Logits that codes are learnt by, Adam's moments of them, and the codes: the largest logit's."""

    logits: torch.Tensor  # [C, 2^b]
    first: torch.Tensor  # [C, 2^b]
    second: torch.Tensor  # [C, 2^b]
    chosen: torch.Tensor  # uint8 [C]


def learn_codes(
    state: CodeState,
    codebook: torch.Tensor,  # [2^b, 16]
    gradient: torch.Tensor,  # [C, 16]
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-12,
) -> None:
    """A step of the codes of corners whose features have a gradient; the others are left alone, moments too.

    Forward, a corner's feature is D[argmax C]; backward, it is softmax(C) D (section 4, the straight-through softmax).
    With s = softmax(C) and the feature's gradient g: dC = s * (D g - <s, D g>). So all samples' gradients may be added
    up at the corner first, and nothing as large as samples times 2^b is made.

    Args:
        state: stepped in place.
        codebook: D.
        gradient: g, of each corner's feature.
        step: of Adam, 1 for the first.
        learning_rate: of Adam.
        betas: how fast its moments forget.
        epsilon: added to the second moment's root.
    """
    if native_for(codebook, gradient, state.logits) is not None:
        extension.octree_codes(
            codebook=codebook.detach().contiguous().numpy(),
            gradient=gradient.detach().contiguous().numpy(),
            **{name: tensor.numpy() for name, tensor in state._asdict().items()},
            step=step,
            learning_rate=learning_rate,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=epsilon,
            **current_settings().arguments(),
        )
        return
    at = (gradient != 0).any(1).nonzero()[:, 0]
    share = torch.softmax(state.logits[at], 1)
    along = gradient[at] @ codebook.detach().T
    d = share * (along - (share * along).sum(1, keepdim=True))
    state.first[at] = betas[0] * state.first[at] + (1 - betas[0]) * d
    state.second[at] = betas[1] * state.second[at] + (1 - betas[1]) * d**2
    root = (state.second[at] / (1 - betas[1] ** step)).sqrt() + epsilon
    state.logits[at] -= learning_rate * state.first[at] / (1 - betas[0] ** step) / root
    state.chosen[at] = state.logits[at].argmax(1).to(torch.uint8)
