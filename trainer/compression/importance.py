"""How much each network and layer matters to the pictures: the diagonal of the Gauss-Newton matrix, estimated."""

import torch

from kilonerf.model_io.knf.quantized import GROUPS, SIZES

from ..ops.networks import layers_of
from ..stages.fine_tuning import FineTuning
from ..stages.student import Student


class Importance:
    """Sums up, step by step, what colours would change by, squared, if a parameter did.

    With a random sign v for each of a ray's channels, the gradient of sum(v * colour) squared has the mean of the
    channels' own gradients squared: the rays' other products cancel (Hutchinson 1990).

    Args:
        fine_tuning: whose rays are looked along.
        student: its student.
        seed: of the signs.
        steps: batches of rays.

    Attributes:
        of_groups: float64 [N, 5], of a parameter of each network and group, mean over the rays' channels. Density is
            in the student's units.
    """

    def __init__(self, fine_tuning: FineTuning, student: Student, *, seed: int, steps: int) -> None:
        self._fine_tuning, self._student, self._seed = fine_tuning, student, seed
        self.steps, self.rays, self.samples = steps, fine_tuning.rays, 0
        self._sum = torch.zeros((student.networks.num_networks, len(SIZES)), dtype=torch.float64)
        self._done = 0

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays."""
        networks = self._student.networks
        if step == 0:
            self._fine_tuning.refresh(0)
        networks.rows.grad = None
        look = self._fine_tuning.look(step)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        signs = torch.randint(0, 2, look.rgb.shape, generator=generator).to(look.rgb) * 2 - 1
        (look.rgb * signs).sum().backward()
        if networks.rows.grad is not None:
            self._sum += group_means(networks.rows.grad**2).double().cpu() / (3 * self.rays)
        networks.rows.grad = None
        self._done += 1
        self.samples = look.samples
        return {"error": float(((look.rgb - look.batch.rgb) ** 2).detach().mean())}

    @property
    def of_groups(self) -> torch.Tensor:
        """See above."""
        return self._sum / max(1, self._done)

    def finish(self) -> None:
        """Stop making batches."""
        self._fine_tuning.finish()

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        return {"sum": self._sum, "done": torch.tensor(self._done)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        self._sum, self._done = state["sum"].clone(), int(state["done"])
        self._fine_tuning.refresh(0)


def group_means(rows: torch.Tensor) -> torch.Tensor:
    """Mean over the numbers of each group, [N, 5]; rows [N, ROW_LENGTH]."""
    layers = layers_of(rows)
    sums = [layers[f"{name}.weight"].sum((1, 2)) + layers[f"{name}.bias"].sum(1) for name in GROUPS]
    return torch.stack(sums, 1) / torch.tensor(SIZES, dtype=rows.dtype, device=rows.device)
