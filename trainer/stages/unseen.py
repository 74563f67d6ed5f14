"""After fine-tuning: voxels that no photo shows are left out of the scene.

The teacher's occupancy has a margin, and holds what is inside of objects. A voxel is seen if a sample in it has weight
(transmittance times alpha) in some ray of the photos.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.levels import OuterLevel

from ..data.photos import Photos
from ..ops.networks import SampleGroups, TinyNetworks
from ..teachers.grid import voxel_numbers
from .occupancy import network_indices
from .student import Student

_RAYS = 1 << 23  # that are looked along, at most
_CHUNK = 1 << 15


def without_unseen(student: Student, photos: Photos, least_weight: float, seed: int) -> Student:
    """The student without voxels whose weight is below ``least_weight`` in all rays, and without empty networks.

    Args:
        student: fine-tuned.
        photos: whose rays, or a sample of them, are looked along.
        least_weight: 0 to 1; 0: the student as it is.
        seed: of the sample.

    Returns:
        another student, or the same where no voxel reaches ``least_weight``.
    """
    seen = largest_weights(student, photos, seed) >= least_weight  # [N, fx, fy, fz]
    if not seen.any():
        return student
    grids = [_widened(_grid_of(cells, seen)) & cells.occupancy for cells in student.levels]
    indices = network_indices(grids, student.cells.resolution)
    kept = np.concatenate(
        [cells.network_index[index >= 0] for cells, index in zip(student.levels, indices, strict=True)]
    )
    return replace(
        student,
        cells=replace(student.cells, occupancy=grids[0], network_index=indices[0]),
        networks=TinyNetworks(
            student.networks.rows.detach()[torch.from_numpy(kept).long()], student.networks.frequencies
        ),
        outer=tuple(map(OuterLevel, grids[1:], indices[1:])),
    )


@torch.no_grad()
def largest_weights(student: Student, photos: Photos, seed: int) -> NDArray[np.float32]:
    """Of each voxel of each network, in any ray, [N, fx, fy, fz]; samples are those of the finished scene."""
    networks, sampler = student.networks, student.sampler()
    x, y, z = (int(voxels) for voxels in student.cells.factor)
    most = torch.zeros((networks.num_networks, x, y, z), device=networks.rows.device)
    for chunk in range(photos.num_batches(_CHUNK, _RAYS)):
        batch = photos.batch(seed, chunk, _CHUNK)
        samples = sampler.sample(batch.origins, batch.directions).to(networks.rows.device)
        seen = student.seen(samples, SampleGroups.of(samples.network_index, networks.num_networks), 0.0)
        flat = voxel_numbers(samples.points, (x, y, z), samples.network_index)
        most.view(-1).scatter_reduce_(0, flat, seen.weights, "amax")
    return most.cpu().numpy()


def _grid_of(cells: Cells, blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a level, [ox, oy, oz], from those of its networks."""
    index = cells.network_index
    own = np.where((index >= 0)[..., None, None, None], blocks[index], False)  # [rx, ry, rz, fx, fy, fz]
    return own.transpose(0, 3, 1, 4, 2, 5).reshape(cells.occupancy.shape)


def _widened(grid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """And the voxels beside them: views between the photos meet those."""
    return torch.nn.functional.max_pool3d(torch.from_numpy(grid)[None].float(), 3, 1, 1)[0].numpy() > 0
