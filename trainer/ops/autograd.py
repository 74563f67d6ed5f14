"""Networks and compositing as differentiable operations over kernels, native or CUDA's, that fill given memory."""

from typing import Any, NamedTuple, Protocol

import torch
from torch.autograd.function import once_differentiable


class NetworkKernels(Protocol):
    """Kernels for one batch of samples; they know which sample is of which network."""

    def forward(
        self,
        rows: torch.Tensor,  # [N, ROW_LENGTH]
        points: torch.Tensor,  # [S, 3]
        directions: torch.Tensor,  # [S, 3]
        rgb: torch.Tensor,  # [S, 3], to write
        density: torch.Tensor,  # [S], to write
    ) -> None:
        """Evaluate each sample's network."""
        ...

    def backward(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        directions: torch.Tensor,
        d_rgb: torch.Tensor,  # [S, 3]
        d_density: torch.Tensor,  # [S]
        gradient: torch.Tensor,  # [N, ROW_LENGTH], to write
    ) -> None:
        """The rows' gradient. Activations are not kept: they are computed again, which costs less."""
        ...


class Rays(NamedTuple):
    """What is composited; see ``compositing.composite``."""

    offsets: torch.Tensor
    density: torch.Tensor
    rgb: torch.Tensor
    distance: torch.Tensor
    depth: torch.Tensor


class CompositingKernels(Protocol):
    """Kernels for rays; they know at which transmittance a ray ends."""

    def forward(self, rays: Rays, out: tuple[torch.Tensor, ...]) -> None:
        """Write colour [R, 3], opacity [R], depth [R] and weights [S]."""
        ...

    def backward(
        self,
        rays: Rays,
        slopes: tuple[torch.Tensor, ...],  # of what forward wrote
        d_density: torch.Tensor,  # [S], to write
        d_rgb: torch.Tensor,  # [S, 3], to write
    ) -> None:
        """Gradients of the samples."""
        ...


class NetworksFunction(torch.autograd.Function):
    """Differentiable with respect to rows."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, points: torch.Tensor, directions: torch.Tensor, kernels: NetworkKernels
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour [S, 3] and density [S]."""
        ctx.save_for_backward(rows, points, directions)
        ctx.kernels = kernels
        rgb, density = torch.empty_like(points), points.new_empty(len(points))
        kernels.forward(rows.detach(), points, directions, rgb, density)
        return rgb, density

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """The gradient of the rows."""
        d_rgb, d_density = (gradient.contiguous() for gradient in grad_outputs)
        rows, points, directions = ctx.saved_tensors
        gradient = torch.empty_like(rows)
        ctx.kernels.backward(rows.detach(), points, directions, d_rgb, d_density, gradient)
        return gradient, None, None, None


class CompositingFunction(torch.autograd.Function):
    """Differentiable with respect to density and rgb."""

    @staticmethod
    def forward(
        ctx: Any,
        density: torch.Tensor,
        rgb: torch.Tensor,
        fixed: tuple[torch.Tensor, torch.Tensor, torch.Tensor],  # offsets, distance, depth
        kernels: CompositingKernels,
    ) -> tuple[torch.Tensor, ...]:
        """Colour [R, 3], opacity [R], depth [R] and weights [S]."""
        offsets, distance, depth = fixed
        ctx.save_for_backward(offsets, density, rgb, distance, depth)
        ctx.kernels = kernels
        rays = len(offsets) - 1
        out = (*(density.new_empty(shape) for shape in ((rays, 3), (rays,), (rays,))), torch.empty_like(density))
        kernels.forward(Rays(offsets, density.detach(), rgb.detach(), distance, depth), out)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # because of the decorator
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """The gradients of density and rgb."""
        offsets, density, rgb, distance, depth = ctx.saved_tensors
        d_density, d_rgb = torch.empty_like(density), torch.empty_like(rgb)
        slopes = tuple(gradient.contiguous() for gradient in grad_outputs)
        rays = Rays(offsets, density.detach(), rgb.detach(), distance, depth)
        ctx.kernels.backward(rays, slopes, d_density, d_rgb)
        return d_density, d_rgb, None, None
