"""Compositing of rays with any number of samples each, as one differentiable operation (KiloNeRF Eq. 1).

Like the networks it has a plain twin for any dtype and device; float32 on the CPU takes native code, on a GPU CUDA's.
"""

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from kilonerf.model_io import TrainingError

from .autograd import CompositingFunction, Rays
from .cuda import cuda_for
from .native import NativeSettings, current_settings, extension, native_for


class Composited(NamedTuple):
    """What rays see.

    Attributes:
        color: [R, 3], premultiplied: the background's share, (1 - opacity) * background, is not in it.
        opacity: [R].
        depth: [R], sum of weight * depth of the samples: divide by the opacity for the mean.
        weights: [S], transmittance before the sample times its alpha.
    """

    color: torch.Tensor
    opacity: torch.Tensor
    depth: torch.Tensor
    weights: torch.Tensor

    def over(self, background: torch.Tensor) -> torch.Tensor:
        """Colours [R, 3] before a background, [3] or [R, 3]."""
        return self.color + (1.0 - self.opacity)[:, None] * background


def composite(
    offsets: torch.Tensor,  # int64 [R + 1]
    density: torch.Tensor,  # [S]
    rgb: torch.Tensor,  # [S, 3]
    distance: torch.Tensor,  # [S]
    depth: torch.Tensor,  # [S]
    *,
    ert_threshold: float = 0.0,
) -> Composited:
    """Composite the samples of each ray, front to back. Differentiable with respect to density and rgb.

    alpha = 1 - exp(-density * distance); a sample's weight is its alpha times the product of (1 - alpha) before it.

    Args:
        offsets: the samples of ray r are ``offsets[r] : offsets[r + 1]``, front to back; ``offsets[R]`` is S.
        density: not negative, per world unit.
        rgb: of the samples.
        distance: from each sample to the next in world units: step * |direction|.
        depth: of each sample, whatever the mean is wanted of.
        ert_threshold: a ray ends after the sample that brings its transmittance below this. What follows has
            weight and gradients zero; networks skip the backward pass of such samples. 0: rays do not end.

    Raises:
        TrainingError: shapes do not fit, or offsets that decrease.
    """
    samples = len(density)
    for name, tensor, shape in (
        ("density", density, (samples,)),
        ("rgb", rgb, (samples, 3)),
        ("distance", distance, (samples,)),
        ("depth", depth, (samples,)),
    ):
        if tensor.shape != shape or tensor.dtype != density.dtype:
            got = f"{tensor.dtype} {list(tensor.shape)}"
            raise TrainingError(f"composite: {name}: expected {density.dtype} {list(shape)}, got {got}")
    if offsets.ndim != 1 or offsets.dtype != torch.int64 or not len(offsets):
        raise TrainingError(f"composite: offsets: expected int64 [R + 1], got {offsets.dtype} {list(offsets.shape)}")
    cuda = cuda_for(density, rgb, distance, depth)
    if cuda is None and native_for(density, rgb, distance, depth) is None:
        return composite_torch(offsets, density, rgb, distance, depth, ert_threshold=ert_threshold)
    fixed = (offsets.contiguous(), distance.detach().contiguous(), depth.detach().contiguous())
    try:
        if cuda is not None:
            return Composited(*cuda.composite(density, rgb, fixed, ert_threshold))
        kernels = _Native(ert_threshold, current_settings())
        found = CompositingFunction.apply(density.contiguous(), rgb.contiguous(), fixed, kernels)
    except ValueError as error:
        raise TrainingError(f"composite: {error}") from error
    return Composited(*found)


def composite_torch(
    offsets: torch.Tensor,  # int64 [R + 1]
    density: torch.Tensor,  # [S]
    rgb: torch.Tensor,  # [S, 3]
    distance: torch.Tensor,  # [S]
    depth: torch.Tensor,  # [S]
    *,
    ert_threshold: float = 0.0,
) -> Composited:
    """The plain twin of :func:`composite`, any dtype and device; rays are padded to the longest."""
    counts = offsets.diff()
    if (len(counts) and int(counts.min()) < 0) or int(offsets[0]) != 0 or int(offsets[-1]) != len(density):
        raise TrainingError(f"composite: offsets: expected to rise from 0 to {len(density)}")
    longest = int(counts.max()) if len(counts) else 0
    column = torch.arange(longest, device=offsets.device)
    valid = column < counts[:, None]  # [R, longest]
    place = torch.where(valid, offsets[:-1, None] + column, 0)
    if not len(density):
        nothing = density.sum() + rgb.sum()  # 0; keeps the graph
        empty = density.new_zeros(len(counts))
        return Composited(density.new_zeros((len(counts), 3)) + nothing, empty + nothing, empty + nothing, density * 0)
    thickness = torch.where(valid, (density * distance)[place], 0.0)
    before = torch.exp(thickness - thickness.cumsum(1))  # transmittance
    counted = valid & (before >= ert_threshold)
    weights = torch.where(counted, before * -torch.expm1(-thickness), 0.0)
    return Composited(
        color=(weights[..., None] * rgb[place]).sum(1),
        opacity=weights.sum(1),
        depth=(weights * depth[place]).sum(1),
        weights=weights[valid],
    )


class _Native:
    """The native kernels."""

    def __init__(self, ert_threshold: float, settings: NativeSettings) -> None:
        self._options = {"ert_threshold": ert_threshold, "threads": settings.thread_count()}

    def forward(self, rays: Rays, out: tuple[torch.Tensor, ...]) -> None:
        """See :class:`CompositingKernels`."""
        names = ("out_color", "out_opacity", "out_depth", "out_weights")
        written = {name: tensor.numpy() for name, tensor in zip(names, out, strict=True)}
        extension.train_composite(**_arrays(rays), **self._options, **written)

    def backward(
        self, rays: Rays, slopes: tuple[torch.Tensor, ...], d_density: torch.Tensor, d_rgb: torch.Tensor
    ) -> None:
        """See :class:`CompositingKernels`."""
        names = ("d_color", "d_opacity", "d_depth", "d_weights")
        read = {name: tensor.numpy() for name, tensor in zip(names, slopes, strict=True)}
        extension.train_composite_backward(
            **_arrays(rays), **self._options, **read, d_density=d_density.numpy(), d_rgb=d_rgb.numpy()
        )


def _arrays(rays: Rays) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in rays._asdict().items()}
