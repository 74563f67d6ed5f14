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
from ..ops.compositing import composite
from ..ops.networks import SampleGroups, TinyNetworks, tiny_networks
from .student import Student, rectified_density

_RAYS = 1 << 23  # that are looked along; fewer if there are fewer pixels
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
    indices, networks = [], []
    for cells, grid in zip(student.levels, grids, strict=True):
        (rx, ry, rz), (fx, fy, fz) = cells.resolution, cells.factor
        filled = grid.reshape(rx, fx, ry, fy, rz, fz).any(axis=(1, 3, 5))
        own = cells.network_index[filled]
        index = np.full_like(cells.network_index, -1)
        index[filled] = np.arange(len(own)) + sum(map(len, networks))
        indices.append(index)
        networks.append(own)
    return replace(
        student,
        cells=replace(student.cells, occupancy=grids[0], network_index=indices[0]),
        networks=TinyNetworks(student.networks.rows.detach()[torch.from_numpy(np.concatenate(networks)).long()]),
        outer=tuple(map(OuterLevel, grids[1:], indices[1:])),
    )


@torch.no_grad()
def largest_weights(student: Student, photos: Photos, seed: int) -> NDArray[np.float32]:
    """Of each voxel of each network, in any ray, [N, fx, fy, fz]; samples are those of the finished scene."""
    networks, sampler = student.networks, student.sampler()
    shape = tuple(int(voxels) for voxels in student.cells.factor)
    factor = torch.tensor(shape, device=networks.rows.device)
    most = torch.zeros((networks.num_networks, *shape), device=networks.rows.device)
    for chunk in range(-(-min(_RAYS, int(photos.offsets[-1])) // _CHUNK)):
        batch = photos.batch(seed, chunk, _CHUNK)
        samples = sampler.sample(batch.origins, batch.directions).to(networks.rows.device)
        groups = SampleGroups.of(samples.network_index, networks.num_networks)
        rgb, raw = tiny_networks(samples.points, samples.directions, groups, networks)
        distance = samples.distance
        if student.outer:
            distance = distance / student.density_lengths[samples.network_index]
        seen = composite(samples.offsets, rectified_density(raw, 0.0), rgb, distance, samples.depth)
        x, y, z = ((samples.points + 1.0) * 0.5 * factor).long().clamp(min=0).minimum(factor - 1).unbind(1)
        flat = ((samples.network_index.long() * factor[0] + x) * factor[1] + y) * factor[2] + z
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
