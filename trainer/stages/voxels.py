"""The student's occupied voxels, network by network, and how dense its networks are there."""

import numpy as np
import torch

from ..loop.schedule import step_generator
from ..ops.networks import SampleGroups, tiny_networks
from .student import DENSITY_UNIT, Student


class OccupiedVoxels:
    """Voxels side by side if they have the same network.

    Args:
        student: whose voxels.

    Attributes:
        order: int64 [V], for each the place among ``student.sampler().voxels``.
        voxels: int32 [V, 4]: level, and place in its grid.
        starts: int64 [N + 1]; the voxels of network n are ``starts[n] : starts[n + 1]``.
    """

    def __init__(self, student: Student) -> None:
        self._student = student
        found = [(level, cells, np.argwhere(cells.occupancy)) for level, cells in enumerate(student.levels)]
        voxels = np.concatenate([np.insert(places, 0, level, axis=1) for level, _, places in found])
        network = np.concatenate([cells.networks_of(places) for _, cells, places in found])
        voxels, network = voxels[network >= 0], network[network >= 0]
        self.order = np.argsort(network, kind="stable")
        self.voxels = voxels[self.order].astype(np.int32)
        counts = np.bincount(network, minlength=student.networks.num_networks)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self._lengths = student.density_lengths.cpu().repeat_interleave(torch.from_numpy(counts))
        self._groups = SampleGroups(None, torch.from_numpy(self.starts).to(student.networks.rows.device))

    @torch.no_grad()
    def densities(self, seed: int, step: int, stream: int = 0) -> torch.Tensor:
        """At a random point of each voxel, per world unit, float32 [V]."""
        places = step_generator(seed, step, stream).random((len(self.voxels), 3), np.float32)
        networks = self._student.networks
        local = self._student.points_in(self.voxels, places)[1].to(networks.rows.device)
        raw = tiny_networks(local, torch.zeros_like(local), self._groups, networks)[1].cpu()
        return raw * DENSITY_UNIT / self._lengths
