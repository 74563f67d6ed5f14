"""Which samples matter to the pictures, and how much: what rounding is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..ops.compositing import composite
from ..ops.networks import SampleGroups, tiny_networks
from ..stages.fine_tuning import FineTuning
from ..stages.student import DENSITY_UNIT, Student, rectified_density

_LEAK = 0.1  # of densities that are zero: rounding may make them more
_NAMES = ("points", "directions", "networks", "of_rgb", "of_density")


@dataclass(frozen=True)
class Samples:
    """Samples of rays, sorted by their networks.

    With a random sign v for each channel of a ray's colour, the gradients below are those of sum(v * colour): squared,
    they have the mean of the channels' own gradients squared (Hutchinson 1990).

    Attributes:
        points: float32 [S, 3], in the cell, -1 to 1.
        directions: float32 [S, 3], unit vectors.
        starts: int64 [N + 1]; those of network n are ``starts[n] : starts[n + 1]``.
        of_rgb: float32 [S, 3], gradient with respect to the sample's colour.
        of_density: float32 [S], with respect to what the network gives for its density, per world unit.
        channels: how many channels of rays were looked at.
    """

    points: torch.Tensor
    directions: torch.Tensor
    starts: torch.Tensor
    of_rgb: torch.Tensor
    of_density: torch.Tensor
    channels: int

    def of(self, network: int) -> slice:
        """The samples of a network."""
        return slice(int(self.starts[network]), int(self.starts[network + 1]))


class Survey:
    """Looks along the rays of photos, a batch a step.

    Args:
        looking: whose rays.
        student: its student.
        seed: of the signs.
        steps: batches of rays.
    """

    def __init__(self, looking: FineTuning, student: Student, *, seed: int, steps: int) -> None:
        self._looking, self._student, self._seed = looking, student, seed
        self.steps, self.rays, self.samples = steps, looking.rays, 0
        self._found: dict[str, list[torch.Tensor]] = {name: [] for name in _NAMES}

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns its squared error."""
        if step == 0:
            self._looking.refresh(0)
        batch, samples = self._looking.sampled(step)
        student = self._student
        groups = SampleGroups.of(samples.network_index, student.networks.num_networks)
        with torch.no_grad():
            rgb, raw = tiny_networks(samples.points, samples.directions, groups, student.networks, rectified=False)
        rgb.requires_grad_()
        raw.requires_grad_()
        distance = student.distances(samples)
        seen = composite(samples.offsets, rectified_density(raw, _LEAK), rgb, distance, samples.depth)
        colors = self._looking.colors_of(batch, seen)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        signs = torch.randint(0, 2, colors.shape, generator=generator).to(colors) * 2 - 1
        (colors * signs).sum().backward()
        assert rgb.grad is not None  # noqa: S101 - of a backward pass
        assert raw.grad is not None  # noqa: S101
        # In a scene, a network's density is this many times what the student's is.
        factor = (DENSITY_UNIT / student.density_lengths)[samples.network_index.long()]
        for name, tensor in zip(
            _NAMES,
            (samples.points, samples.directions, samples.network_index, rgb.grad, raw.grad / factor),
            strict=True,
        ):
            self._found[name].append(tensor.cpu())
        self.samples = len(samples.points)
        return {"error": float(((colors - batch.rgb) ** 2).detach().mean())}

    def product(self) -> dict[str, torch.Tensor]:
        """All samples, sorted by network."""
        found = {name: torch.cat(parts) for name, parts in self._found.items()}
        order = found["networks"].argsort(stable=True)
        return {name: tensor[order] for name, tensor in found.items()}

    def finish(self) -> None:
        """Stop making batches."""
        self._looking.finish()

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        return {name: torch.cat(parts) for name, parts in self._found.items() if parts}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        self._found = {name: [state[name]] for name in _NAMES}
        self._looking.refresh(0)


def samples_of(product: Mapping[str, torch.Tensor], num_networks: int, channels: int) -> Samples:
    """What :meth:`Survey.product` found."""
    starts = torch.searchsorted(product["networks"].contiguous(), torch.arange(num_networks + 1, dtype=torch.int32))
    points, directions, _, of_rgb, of_density = (product[name] for name in _NAMES)
    return Samples(points, directions, starts, of_rgb, of_density, channels)
