from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import PARAMETERS_PER_NETWORK, Scene, SceneError
from kilonerf.model_io.scene.cells import occupied_cells
from support.scenes import random_scene

SCENE = random_scene()
PNG = b"\x89PNG\r\n\x1a\n"


def changed(array, value, at=0):
    copy = array.copy()
    copy.reshape(-1)[at] = value
    return copy


def layers(**changes):
    return {**SCENE.layers, **{name.replace("__", "."): array for name, array in changes.items()}}


def without_network() -> Scene:
    """The scene with an occupied voxel in a cell that has no network."""
    cell = np.argwhere(SCENE.network_index < 0)[0]
    voxel = cell * np.asarray(SCENE.occupancy_factor)
    occupancy = SCENE.occupancy.copy()
    occupancy[tuple(voxel)] = True
    return replace(SCENE, occupancy=occupancy)


WRONG = {
    "a list for a box": ({"box_min": [0.0, 0.0, 0.0]}, "box_min: expected a NumPy array"),
    "a float64 box": ({"box_min": np.zeros(3)}, "box_min: expected dtype float32, got float64"),
    "a box of two numbers": ({"box_max": np.ones(2, np.float32)}, r"box_max: expected shape \[3\]"),
    "a NaN box": ({"box_max": changed(SCENE.box_max, np.nan)}, "box_max: expected finite"),
    "a box inside out": (
        {"box_min": SCENE.box_max, "box_max": SCENE.box_min},
        "box: expected box_min < box_max",
    ),
    "a flat box": ({"box_min": changed(SCENE.box_min, SCENE.box_max[1], at=1)}, "box: expected"),
    "a box too large for float32": (
        {"box_min": np.full(3, -3e38, np.float32), "box_max": np.full(3, 3e38, np.float32)},
        "box: expected",
    ),
    "voxels that vanish": (
        {"box_min": np.zeros(3, np.float32), "box_max": np.full(3, 1e-38, np.float32)},
        "box: expected voxels",
    ),
    "occupancy as bytes": ({"occupancy": SCENE.occupancy.view(np.uint8)}, "occupancy: expected dtype bool"),
    "occupancy of two axes": ({"occupancy": SCENE.occupancy[0]}, "occupancy: expected 3 dimension"),
    "occupancy that is no multiple": (
        {"occupancy": np.zeros((8, 12, 17), bool)},
        r"occupancy: expected a resolution that is a whole multiple .* got \[8, 12, 17\] \(axis z\)",
    ),
    "occupancy coarser than networks": ({"occupancy": np.zeros((1, 3, 4), bool)}, "occupancy: expected a resolution"),
    "occupancy too fine": ({"occupancy": np.zeros((2 * 65, 3, 4), bool)}, "occupancy: expected a resolution"),
    "occupancy out of order": ({"occupancy": np.asfortranarray(SCENE.occupancy)}, "occupancy: expected an array in C"),
    "no cells": ({"network_index": np.zeros((0, 3, 4), np.int32)}, "network_index: expected at least one cell"),
    "int64 indices": ({"network_index": SCENE.network_index.astype(np.int64)}, "network_index: expected dtype int32"),
    "an index too high": (
        {"network_index": changed(SCENE.network_index, SCENE.num_networks)},
        f"network_index: expected values from -1 to {SCENE.num_networks - 1}",
    ),
    "an index too low": ({"network_index": changed(SCENE.network_index, -2)}, "network_index: expected values"),
    "a network in two cells": (
        {"network_index": np.zeros_like(SCENE.network_index)},
        "network_index: expected each network in one cell only, got network 0 in 24 cells",
    ),
    "a missing layer": (
        {"layers": {name: array for name, array in SCENE.layers.items() if name != "rgb_linear.bias"}},
        r"layers: expected .* missing \['rgb_linear.bias'\]",
    ),
    "no first bias": ({"layers": {}}, "pts_linears.0.bias: expected an array"),
    "a layer too many": ({"layers": layers(other=np.zeros(1))}, r"unknown \['other'\]"),
    "layers of two dtypes": (
        {"layers": layers(rgb_linear__bias=SCENE.layers["rgb_linear.bias"].astype(np.float16))},
        "rgb_linear.bias: expected dtype float32, got float16",
    ),
    "float64 layers": (
        {"layers": {name: array.astype(np.float64) for name, array in SCENE.layers.items()}},
        "pts_linears.0.bias: expected dtype float16 or float32",
    ),
    "a shape that disagrees": (
        {"layers": layers(rgb_linear__bias=SCENE.layers["rgb_linear.bias"][1:])},
        r"rgb_linear.bias: expected shape \[17, 3\], got shape \[16, 3\]",
    ),
    "a NaN weight": (
        {"layers": layers(alpha_linear__weight=changed(SCENE.layers["alpha_linear.weight"], np.nan))},
        "alpha_linear.weight: expected finite numbers, got 1 that",
    ),
    "an infinite weight": (
        {"layers": layers(alpha_linear__weight=changed(SCENE.layers["alpha_linear.weight"], -np.inf, at=-1))},
        "alpha_linear.weight: expected finite",
    ),
    "near behind far": ({"near": 7.0}, "near: expected 0 <= near < far, got near 7.0, far 6.0"),
    "near below 0": ({"near": -1.0}, "near: expected"),
    "far NaN": ({"far": float("nan")}, "far: expected a finite number"),
    "near as text": ({"near": "2"}, "near: expected a finite number"),
    "one sample": ({"num_samples": 1}, "num_samples: expected a whole number from 2"),
    "half a sample": ({"num_samples": 48.5}, "num_samples: expected"),
    "samples beyond reason": ({"num_samples": 10**9}, "num_samples: expected"),
    "a background of two": ({"background": (1.0, 1.0)}, "background: expected three numbers"),
    "a background too bright": ({"background": (0.0, 0.0, 1.1)}, "background: expected three numbers"),
    "a NaN background": ({"background": (0.0, 0.0, float("nan"))}, "background: expected three numbers"),
    "no camera": ({"start_camera": "front"}, "start_camera: expected a Camera"),
    "poses of another shape": ({"training_poses": np.zeros((2, 3, 4), np.float32)}, "training_poses: expected shape"),
    "poses with NaN": ({"training_poses": np.full((2, 4, 4), np.nan, np.float32)}, "training_poses: expected finite"),
    "a preview that is no PNG": ({"preview": b"GIF89a"}, "preview: expected the bytes of a PNG"),
    "provenance that is no JSON": ({"provenance": {"when": object()}}, "provenance: expected JSON"),
    "provenance with NaN": ({"provenance": {"loss": float("nan")}}, "provenance: expected JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_scene_that_breaks_a_rule_is_refused_in_one_line(name):
    changes, message = WRONG[name]
    with pytest.raises(SceneError, match=message) as caught:
        replace(SCENE, **changes)
    assert "\n" not in str(caught.value)


def test_an_occupied_voxel_needs_a_network():
    with pytest.raises(SceneError, match="occupancy: expected no occupied voxel in a cell without a network"):
        without_network()


def test_what_is_allowed_is_allowed():
    replace(SCENE, near=0, background=(0, 0, 1), preview=PNG, training_poses=np.zeros((0, 4, 4), np.float32))
    replace(SCENE, num_samples=np.int64(2))
    empty = random_scene(dropped=1.0)
    assert empty.num_networks == 0
    assert not empty.occupancy.any()


def test_derived_sizes():
    scene = random_scene((2, 3, 4), (3, 5, 2))
    assert scene.resolution == (2, 3, 4)
    assert scene.occupancy_factor == (3, 5, 2)
    np.testing.assert_allclose(scene.cell_size * (2, 3, 4), scene.box_max - scene.box_min, rtol=1e-6)
    assert scene.step == pytest.approx(4.0 / 47)
    assert sum(array[0].size for array in scene.layers.values()) == PARAMETERS_PER_NETWORK == 6212


def test_occupied_cells_equal_a_plain_loop():
    rng = np.random.default_rng(5)
    occupancy = rng.random((6, 15, 8)) < 0.03
    found = occupied_cells(occupancy, (2, 3, 4))
    for x, y, z in np.ndindex(2, 3, 4):
        assert found[x, y, z] == occupancy[3 * x : 3 * x + 3, 5 * y : 5 * y + 5, 2 * z : 2 * z + 2].any()
    assert 0 < found.sum() < 24
