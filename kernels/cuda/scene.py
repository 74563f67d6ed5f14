"""A scene as the CUDA kernels read it (kernels/cuda/scene.cuh): levels, cells, voxel bits and field, by NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import BackendError, KiloNeRFScene, OctreeScene, Scene
from kilonerf.model_io.scene.cells import Cells, Floats
from kilonerf.model_io.scene.levels import front_to_back

from ..native.grid import cropped_cells, native_cells, native_grid, visited_cells, voxel_words
from .groups import Groups
from .kilonerf.networks import float_networks, tensor_networks
from .octree.field import field_arrays

Precision = Literal["float16", "float32"]

PLACE = np.dtype([("cell", "<i4"), ("group", "<i4")])
WRITTEN = ("rgb", "alpha", "depth", "samples", "network", "rgbz")  # what a frame can leave behind for each pixel
OUTPUT = np.dtype([(name, "<u8") for name in (*WRITTEN, "counters", "next_tile")])


@dataclass(frozen=True, eq=False)
class CudaScene:
    """Arrays of a scene for the kernels, on the host.

    Attributes:
        grids: constants that find a sample's voxel, ``GRID`` [levels].
        cells: ``CELL`` [L], the leaves of all levels, boxes tight around their occupied voxels.
        full_cells: the same with boxes of the whole cell, for ESS off.
        groups: of ``cells``.
        full_groups: of ``full_cells``.
        occupancy: uint32 words, one bit per voxel, leaf by leaf.
        leaf_words: of each leaf, a multiple of 4: 16 bytes are copied at once.
        field: what evaluates samples, by name in the order of the evaluator's ``Arrays``: ``networks``, or what
            :func:`~kilonerf.kernels.cuda.octree.field.field_arrays` makes.
    """

    grids: NDArray[np.void]
    cells: NDArray[np.void]
    full_cells: NDArray[np.void]
    groups: Groups
    full_groups: Groups
    occupancy: NDArray[np.uint32]
    leaf_words: int
    field: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, scene: Scene, precision: Precision) -> "CudaScene":
        """Lay out ``scene``; float16 weights for tensor cores, float32 ones for the plain kernel.

        Raises:
            BackendError: a scene of a kind that it does not know.
        """
        field, levels = _field(scene, precision), scene.levels
        cells, full_cells = (native_cells(*levels, ess=ess) for ess in (True, False))
        occupancy, leaf_words = _padded_words(np.concatenate([voxel_words(level) for level in levels]), len(cells))
        cells["first_word"] = full_cells["first_word"] = np.arange(len(cells)) * leaf_words
        return cls(
            np.stack([native_grid(level) for level in levels]),
            cells,
            full_cells,
            Groups.of(levels, cells, ess=True),
            Groups.of(levels, full_cells, ess=False),
            occupancy,
            leaf_words,
            field,
        )

    def cropped(self, levels: Sequence[Cells]) -> "CudaScene":
        """The same for cropped levels; occupancy and field are those of the whole scene."""
        cells, full_cells = (cropped_cells(native, levels) for native in (self.cells, self.full_cells))
        return replace(
            self,
            grids=np.stack([native_grid(level) for level in levels]),
            cells=cells,
            full_cells=full_cells,
            groups=self.groups.around(cells, ess=True),
            full_groups=self.full_groups.around(full_cells, ess=False),
        )

    def groups_of(self, ess: bool) -> Groups:
        """Those of the cells that a frame shows."""
        return self.groups if ess else self.full_groups

    @cached_property
    def _camera_cells(self) -> tuple[NDArray[np.float32], ...]:
        """What finds the camera's cell in each level: lower corners, voxels per unit, last voxels, voxels per cell."""
        grids = self.grids
        last = (grids["resolution"] * grids["factor"] - 1).astype(np.float32)
        return grids["box_min"], grids["inverse_voxel"], last, grids["factor"]

    def camera_cells(self, origin: Floats) -> bytes:
        """The rays' origin's cell in each level, by which cells are ordered; the same bytes for the same cells."""
        low, inverse_voxel, last, factor = self._camera_cells
        voxels = np.minimum(np.maximum((origin - low) * inverse_voxel, 0), last)
        return (voxels.astype(np.int32) // factor).tobytes()

    def order(self, scene: Scene, origin: Floats, ess: bool) -> NDArray[np.void]:
        """Rows of ``cells`` that rays may take samples in, front to back, and their groups; ``PLACE`` [.]."""
        rows = front_to_back(scene.levels, origin)
        rows = rows[visited_cells(self.cells if ess else self.full_cells, ess=ess)[rows]]
        order = np.empty(len(rows), PLACE)
        order["cell"], order["group"] = rows, self.groups_of(ess).of_leaf[rows]
        return order


def _padded_words(words: NDArray[np.uint32], leaves: int) -> tuple[NDArray[np.uint32], int]:
    """Voxels of all leaves, each with whole groups of 4 words, and how many it has."""
    each = len(words) // max(1, leaves)
    padding = -each % 4
    if not padding:
        return words, each
    return np.pad(words.reshape(leaves, each), ((0, 0), (0, padding))).reshape(-1), each + padding


def _field(scene: Scene, precision: Precision) -> dict[str, NDArray[Any]]:
    if isinstance(scene, OctreeScene):
        return field_arrays(scene, half=precision == "float16")
    if isinstance(scene, KiloNeRFScene):
        return {"networks": tensor_networks(scene) if precision == "float16" else float_networks(scene)}
    raise BackendError(f"backend 'cuda': expected a scene of a kind that it knows, got {type(scene).__name__}")
