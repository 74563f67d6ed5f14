"""Types of the native extension (kernels/cpu/bindings.cpp)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "int8", "int16", "bfloat16"]

def available_paths(octree: bool = False) -> list[tuple[str, Precision]]:
    """Code paths that this machine can run, best first, with the precision of their networks; or of octree fields."""

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
    def title(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def expected_psnr(self) -> float: ...
    @property
    def finer_networks(self) -> int: ...
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
        sky: bool,
        rgb: NDArray[np.float32],
        alpha: NDArray[np.float32],
        depth: NDArray[np.float32],
        cancel: NDArray[np.uint8],
        grids: NDArray[np.uint8] | None = None,
        cells: NDArray[np.uint8] | None = None,
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
    grids: NDArray[np.uint8],
    first_cells: list[int],
    cells: NDArray[np.uint8],
    full_cells: NDArray[np.uint8],
    occupancy: NDArray[np.uint32],
    layers: Mapping[str, NDArray[np.float32]],
    sky: NDArray[np.float32] | None,
    step: float,
    threads: int,
    path: str,
) -> Renderer: ...
def make_octree_renderer(
    *,
    grids: NDArray[np.uint8],
    first_cells: list[int],
    cells: NDArray[np.uint8],
    full_cells: NDArray[np.uint8],
    occupancy: NDArray[np.uint32],
    first_slot: NDArray[np.int32],
    corners: NDArray[np.int32],
    rows: NDArray[np.float32],
    w_features: NDArray[np.float32],
    w_direction: NDArray[np.float32],
    b_hidden: NDArray[np.float32],
    w_output: NDArray[np.float32],
    b_output: NDArray[np.float32],
    threads: int,
    path: str,
) -> Renderer: ...
def structure_layouts() -> dict[str, dict[str, int]]:
    """Offsets of the fields of the structures in kernels/native/grid.h by their names, and their "size"."""

# Training (kernels/cpu/training/bindings.cpp); kilonerf.trainer is its Python face.

def train_paths() -> list[str]:
    """Code paths for training that this machine can run, best first."""

def train_layout() -> dict[str, int]:
    """Where each layer begins in a row of parameters, and the row's length ("row")."""

def train_group(network: NDArray[np.int32], order: NDArray[np.int32], starts: NDArray[np.int64]) -> None: ...
def train_forward(
    *,
    parameters: NDArray[np.float32],
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
    order: NDArray[np.int32] | None,
    starts: NDArray[np.int64],
    rectified: bool,
    rgb: NDArray[np.float32],
    density: NDArray[np.float32],
    threads: int,
    path: str,
) -> None: ...
def train_backward(
    *,
    parameters: NDArray[np.float32],
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
    order: NDArray[np.int32] | None,
    starts: NDArray[np.int64],
    rectified: bool,
    d_rgb: NDArray[np.float32],
    d_density: NDArray[np.float32],
    gradient: NDArray[np.float32],
    threads: int,
    path: str,
) -> None: ...
def train_adam(
    *,
    parameters: NDArray[np.float32],
    gradient: NDArray[np.float32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    steps: NDArray[np.int64],
    chosen: NDArray[np.int32] | None,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: NDArray[np.float32] | None,
    threads: int,
    path: str,
) -> None: ...
def train_composite(
    *,
    offsets: NDArray[np.int64],
    density: NDArray[np.float32],
    rgb: NDArray[np.float32],
    distance: NDArray[np.float32],
    depth: NDArray[np.float32],
    ert_threshold: float,
    out_color: NDArray[np.float32],
    out_opacity: NDArray[np.float32],
    out_depth: NDArray[np.float32],
    out_weights: NDArray[np.float32],
    threads: int,
) -> None: ...
def train_composite_backward(
    *,
    offsets: NDArray[np.int64],
    density: NDArray[np.float32],
    rgb: NDArray[np.float32],
    distance: NDArray[np.float32],
    depth: NDArray[np.float32],
    ert_threshold: float,
    d_color: NDArray[np.float32],
    d_opacity: NDArray[np.float32],
    d_depth: NDArray[np.float32],
    d_weights: NDArray[np.float32],
    d_density: NDArray[np.float32],
    d_rgb: NDArray[np.float32],
    threads: int,
) -> None: ...

class RaySampler:
    def set_densities(self, densities: NDArray[np.float32]) -> None: ...

def sample_rays(
    levels: list[RaySampler],
    origins: NDArray[np.float32],
    directions: NDArray[np.float32],
    seed: int | None,
    first_ray: int,
    most_thickness: float,
    threads: int,
) -> tuple[NDArray[np.generic], ...]: ...
def make_ray_sampler(
    *,
    grid: NDArray[np.uint8],
    steps: NDArray[np.uint8],
    occupancy: NDArray[np.bool_],
    network_index: NDArray[np.int32],
) -> RaySampler: ...
def grid_forward(
    *,
    rows: NDArray[np.float32],
    slots: NDArray[np.int32],
    corners: NDArray[np.int32],
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
    rgb: NDArray[np.float32],
    density: NDArray[np.float32],
    located: NDArray[np.int32],
    threads: int,
    path: str,
) -> None: ...
def grid_backward(
    *,
    directions: NDArray[np.float32],
    rgb: NDArray[np.float32],
    density: NDArray[np.float32],
    located: NDArray[np.int32],
    d_rgb: NDArray[np.float32],
    d_density: NDArray[np.float32],
    gradient: NDArray[np.float32],
    touched: NDArray[np.uint8],
    threads: int,
    path: str,
) -> None: ...
def grid_places(
    *,
    rows: NDArray[np.float32],
    directions: NDArray[np.float32],
    rgb: NDArray[np.float32],
    density: NDArray[np.float32],
    located: NDArray[np.int32],
    d_rgb: NDArray[np.float32],
    d_density: NDArray[np.float32],
    d_places: NDArray[np.float32],
    threads: int,
    path: str,
) -> None: ...
def grid_adam(
    *,
    rows: NDArray[np.float32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    gradient: NDArray[np.float32],
    touched: NDArray[np.uint8],
    step: int,
    color_rate: float,
    density_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    threads: int,
    path: str,
) -> None: ...
def grid_smooth(
    *,
    rows: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    color_weight: float,
    density_weight: float,
    gradient: NDArray[np.float32],
    touched: NDArray[np.uint8],
    threads: int,
    path: str,
) -> None: ...
def octree_forward(
    *,
    rows: NDArray[np.float32],
    slots: NDArray[np.int32],
    corners: NDArray[np.int32],
    points: NDArray[np.float32],
    rays: NDArray[np.int32],
    ray_part: NDArray[np.float32],
    w_features: NDArray[np.float32],
    w_output: NDArray[np.float32],
    b_output: NDArray[np.float32],
    raw: NDArray[np.float32],
    features: NDArray[np.float32],
    places: NDArray[np.int32],
    threads: int,
    path: str,
) -> None: ...
def octree_backward(
    *,
    corners: NDArray[np.int32],
    rays: NDArray[np.int32],
    ray_part: NDArray[np.float32],
    w_features: NDArray[np.float32],
    w_output: NDArray[np.float32],
    features: NDArray[np.float32],
    places: NDArray[np.int32],
    d_raw: NDArray[np.float32],
    d_rows: NDArray[np.float32],
    d_ray_part: NDArray[np.float32],
    d_w_features: NDArray[np.float32],
    d_w_output: NDArray[np.float32],
    d_b_output: NDArray[np.float32],
    threads: int,
    path: str,
) -> None: ...
def octree_product(
    *,
    offsets: NDArray[np.int32],
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    rows: NDArray[np.float32],
    own: NDArray[np.float32] | None,
    out: NDArray[np.float32],
    threads: int,
    path: str,
) -> None: ...
def octree_codes(
    *,
    codebook: NDArray[np.float32],
    gradient: NDArray[np.float32],
    logits: NDArray[np.float32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    chosen: NDArray[np.uint8],
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    threads: int,
    path: str,
) -> None: ...
