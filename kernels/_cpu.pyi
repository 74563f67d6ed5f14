"""Types of the native extension (kernels/cpu/bindings.cpp)."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Arithmetic = Literal["float32", "int16", "bfloat16"]

def available_paths() -> list[tuple[str, Arithmetic]]:
    """Code paths that this machine can run, best first, with the arithmetic of their networks."""

def matrix_kinds() -> list[str]:
    """Kinds of multiply-add that this machine has."""

def matrix_peak(kind: str, threads: int) -> float:
    """Multiply-adds a second on registers, with nothing else; ValueError for a kind that this machine has not."""

class Renderer:
    @property
    def threads(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def arithmetic(self) -> Arithmetic: ...
    @property
    def cell_rows(self) -> list[int]: ...
    def network_rate(self, samples: int, seconds: float, networks: int) -> float: ...
    def order_cells(self, origin: Sequence[float]) -> list[int]: ...
    def render(
        self,
        *,
        width: int,
        height: int,
        origin: Sequence[float],
        rotation: Sequence[float],
        lens: Sequence[float],
        near: float,
        step: float,
        last: float,
        ess: bool,
        ert: bool,
        ert_threshold: float,
        background: Sequence[float],
        rgb: NDArray[np.float32],
        alpha: NDArray[np.float32],
        depth: NDArray[np.float32],
        cancel: NDArray[np.uint8],
    ) -> dict[str, Any]: ...
    def query(
        self,
        rows: NDArray[np.int32],
        points: NDArray[np.float32],
        directions: NDArray[np.float32],
        rgb: NDArray[np.float32],
        density: NDArray[np.float32],
    ) -> None: ...

def make_renderer(
    *,
    resolution: Sequence[int],
    factor: Sequence[int],
    box_min: Sequence[float],
    box_max: Sequence[float],
    inside_min: Sequence[float],
    inside_max: Sequence[float],
    inverse_voxel: Sequence[float],
    cell_size: Sequence[float],
    local_scale: Sequence[float],
    occupancy: NDArray[np.bool_],
    network_index: NDArray[np.int32],
    layers: Sequence[NDArray[np.float32]],
    threads: int,
    path: str,
) -> Renderer: ...
