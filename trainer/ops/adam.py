"""Adam for the tiny networks (Kingma and Ba 2015): one pass over parameters, gradients and moments."""

import math
from collections.abc import Mapping

import torch

from kilonerf.model_io import TrainingError

from ..loop.checkpoints import restore
from .cuda import cuda_for
from .native import current_settings, native_for
from .networks import ROW_LAYOUT, ROW_LENGTH, TinyNetworks

VIEW_DEPENDENT_LAYERS = ("direction_layer", "rgb_linear")
"""The last two layers, which KiloNeRF's section 3.3 regularises: they alone see the direction."""


class Adam:
    """Steps all networks, or some of them.

    A step of all networks is a step of ``torch.optim.Adam`` on ``networks.rows``, whatever their gradients: a network
    without samples has gradient zero, and its moments decay. With ``chosen``, the others are left alone altogether,
    moments too, and count no step: as if each network had an optimiser of its own.

    Args:
        networks: whose ``rows`` are stepped, in place.
        learning_rate: of the steps to come; may be changed before each.
        betas: how fast the moments forget.
        epsilon: added to the second moment's root.
        view_dependent_l2: L; the loss has an L2 term L / 2 * (sum of squares of the weights and biases of the last two
            layers), whose gradient is added here (the paper: 1e-6).

    Attributes:
        first: [N, ROW_LENGTH], the first moments.
        second: likewise.
        steps: int64 [N], steps of each network so far.
    """

    def __init__(
        self,
        networks: TinyNetworks,
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        view_dependent_l2: float = 0.0,
    ) -> None:
        rows = networks.rows.detach()
        self.networks = networks
        self.learning_rate = learning_rate
        self.betas = betas
        self.epsilon = epsilon
        self.first = torch.zeros_like(rows)
        self.second = torch.zeros_like(rows)
        self.steps = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        self._decay = _view_dependent(rows) * view_dependent_l2 if view_dependent_l2 else None

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.networks.rows.grad = None

    @torch.no_grad()
    def step(self, chosen: torch.Tensor | None = None) -> None:
        """One step along ``networks.rows.grad``.

        Args:
            chosen: integers [K], different networks that are stepped; None: all.

        Raises:
            TrainingError: there is no gradient, or ``chosen`` are no networks.
        """
        rows, gradient = self.networks.rows, self.networks.rows.grad
        if gradient is None:
            raise TrainingError("Adam: expected a gradient of the networks' rows, got none: call backward first")
        if chosen is not None:
            self._check(chosen)
        if (cuda := cuda_for(rows, gradient)) is not None:
            cuda.adam(
                rows,
                gradient,
                (self.first, self.second, self.steps),
                chosen,
                learning_rate=self.learning_rate,
                betas=self.betas,
                epsilon=self.epsilon,
                decay=self._decay,
            )
            torch.autograd.graph.increment_version(rows)
            return
        native = native_for(rows, gradient)
        if native is None:
            self._step_in_torch(slice(None) if chosen is None else chosen.long(), gradient)
            return
        native.train_adam(
            parameters=rows.detach().numpy(),
            gradient=gradient.contiguous().numpy(),
            first=self.first.numpy(),
            second=self.second.numpy(),
            steps=self.steps.numpy(),
            chosen=None if chosen is None else chosen.to(torch.int32).numpy(),
            learning_rate=self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            epsilon=self.epsilon,
            decay=None if self._decay is None else self._decay.numpy(),
            **current_settings().arguments(),
        )
        torch.autograd.graph.increment_version(rows)

    def _check(self, chosen: torch.Tensor) -> None:
        """Threads step different rows: none may come twice."""
        last = self.networks.num_networks - 1
        got = [n for n in chosen.tolist() if not 0 <= n <= last]
        if got or len(chosen.unique()) < len(chosen):
            values, counts = chosen.unique(return_counts=True)
            found = got[0] if got else f"{int(values[counts.argmax()])} twice"
            raise TrainingError(f"Adam: chosen: expected different networks from 0 to {last}, got {found}")

    def _step_in_torch(self, at: slice | torch.Tensor, gradient: torch.Tensor) -> None:
        parameters, (beta1, beta2) = self.networks.rows[at], self.betas
        g = gradient[at] if self._decay is None else gradient[at] + self._decay * parameters
        self.steps[at] += 1
        self.first[at] = beta1 * self.first[at] + (1.0 - beta1) * g
        self.second[at] = beta2 * self.second[at] + (1.0 - beta2) * g * g
        t = self.steps[at].double()[:, None]
        rate = (self.learning_rate / (1.0 - beta1**t)).to(g.dtype)
        scale = (1.0 / torch.sqrt(1.0 - beta2**t)).to(g.dtype)
        self.networks.rows[at] = parameters - rate * self.first[at] / (self.second[at].sqrt() * scale + self.epsilon)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Moments and steps; tensors only, not copied."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what ``state_dict`` gave.

        Raises:
            TrainingError: it is of other networks.
        """
        restore(self.state_dict(), state, "Adam's state")


def _view_dependent(rows: torch.Tensor) -> torch.Tensor:
    """1 at the parameters of the last two layers, else 0; [ROW_LENGTH]."""
    mask = rows.new_zeros(ROW_LENGTH)
    for name, (begin, shape) in ROW_LAYOUT.items():
        if name.rsplit(".", 1)[0] in VIEW_DEPENDENT_LAYERS:
            mask[begin : begin + math.prod(shape)] = 1.0
    return mask
