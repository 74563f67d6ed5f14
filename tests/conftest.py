import os
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import LAYER_SHAPES, Camera, Scene

REPOSITORY = Path(__file__).resolve().parents[1]


def random_scene(
    resolution=(2, 3, 4), factor=(4, 4, 4), *, seed=0, occupied=0.5, dropped=0.2, density_scale=40.0, dtype=np.float32
) -> Scene:
    """A small scene with random networks: opaque in places, with empty cells and cells without a network."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(resolution))
    index = np.full(cells, -1, np.int32)
    kept = np.flatnonzero(rng.random(cells) >= dropped)
    index[kept] = np.arange(len(kept), dtype=np.int32)
    index = index.reshape(resolution)
    occupancy = rng.random([r * f for r, f in zip(resolution, factor, strict=True)]) < occupied
    for axis, f in enumerate(factor):
        if axis == 0:
            has_network = index >= 0
        has_network = np.repeat(has_network, f, axis=axis)
    occupancy &= has_network
    layers = {}
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        bound = np.sqrt(6.0 / inputs)
        layers[f"{name}.weight"] = rng.uniform(-bound, bound, (len(kept), inputs, outputs)).astype(np.float32)
        layers[f"{name}.bias"] = rng.uniform(-0.1, 0.1, (len(kept), outputs)).astype(np.float32)
    layers["alpha_linear.weight"] *= np.float32(density_scale)
    layers = {name: np.ascontiguousarray(array.astype(dtype)) for name, array in layers.items()}
    half = 0.4 * np.asarray(resolution, np.float32)
    return Scene(
        aabb_min=-half,
        aabb_max=half + np.float32(0.1),
        occupancy=occupancy,
        network_index=index,
        layers=layers,
        near=2.0,
        far=6.0,
        num_samples=48,
        start_camera=Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), 64, 48),
        provenance={"made_by": "tests"},
    )


@pytest.fixture(scope="session")
def toy_scene() -> Scene:
    return random_scene()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with reference data (KILONERF_DATA, or shared/data beside the checkout)."""
    folder = Path(os.environ.get("KILONERF_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the reference data: set KILONERF_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def chair_path() -> Path:
    """The scene that ships with the program."""
    return REPOSITORY / "assets" / "chair.knf"
