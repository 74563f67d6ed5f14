"""A finished scene as the teacher: to distil it again, on another grid or with other settings."""

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFScene
from kilonerf.model_io.scene.origin import scene_origin

from ..data.sky import Sky
from ..ops.networks import TinyNetworks, tiny_networks


class SceneTeacher:
    """The networks of a scene; where it has none, or no occupied voxel, nothing is.

    Args:
        scene: of any grid.
        device: where points come from.
    """

    name = "scene"

    def __init__(self, scene: KiloNeRFScene, device: torch.device | str = "cpu") -> None:
        self.origin = scene_origin(scene)
        self.sky = None if scene.sky is None else Sky(scene.sky)
        self._levels = scene.levels
        self._networks = TinyNetworks.from_layers(scene.layers).to(device)

    def extent(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The scene's box."""
        return self._levels[0].box.min, self._levels[0].box.max

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """Densities, per world unit, [S]; points in world units, [S, 3]."""
        return self.radiance(points, torch.zeros_like(points))[1]

    @torch.no_grad()
    def radiance(self, points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours [S, 3] and densities [S] at points [S, 3] along unit directions [S, 3]; grey where nothing is."""
        positions = points.cpu().numpy()
        rgb, density = torch.full_like(points, 0.5), torch.zeros_like(points[:, 0])
        for level in self._levels:
            networks, cells = level.networks_at(positions)
            inside = networks >= 0
            local = level.local(positions[inside], cells[inside]).astype("float32")
            local, network = (torch.from_numpy(array).to(points.device) for array in (local, networks[inside]))
            here = torch.from_numpy(inside).to(points.device)
            rgb[here], density[here] = tiny_networks(local, directions[here], network, self._networks)
        return rgb, density
