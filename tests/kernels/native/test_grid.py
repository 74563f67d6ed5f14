"""What native code gets of a scene: structures that agree with the headers, voxels as bits, folded networks."""

import itertools

import numpy as np
import pytest

from kilonerf.kernels.native import grid as grid_module
from kilonerf.kernels.native.folding import FOLDED_LAYERS, folded_layers
from kilonerf.kernels.native.grid import CELL, GRID, SAMPLE_STEPS, native_cells, native_grid, voxel_words
from kilonerf.kernels.reference.networks import encode
from kilonerf.model_io import BackendError, Scene
from support.scenes import random_scene

SCENES = {
    "toy": random_scene(),
    "odd factors": random_scene((2, 3, 4), (3, 5, 2), seed=2),
    "over 32 voxels along an axis": random_scene((1, 2, 1), (2, 3, 40), seed=3, dropped=0.0),
    "no networks": random_scene(dropped=1.0),
}


@pytest.mark.parametrize(("name", "dtype"), [("Grid", GRID), ("Cell", CELL), ("SampleSteps", SAMPLE_STEPS)])
def test_the_structures_are_those_of_the_header(name: str, dtype: np.dtype) -> None:
    extension = pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")
    assert dtype.fields is not None
    expected = {field: place[1] for field, place in dtype.fields.items()} | {"size": dtype.itemsize}
    assert extension.structure_layouts()[name] == expected


@pytest.mark.parametrize("name", SCENES)
def test_every_voxel_has_its_bit(name: str) -> None:
    scene = SCENES[name]
    grid, cells, words = native_grid(scene.cells), native_cells(scene.cells, ess=True), voxel_words(scene.cells)
    assert len(cells) == scene.num_networks
    shift = grid["voxel_shift"]
    set_bits = 0
    for cell in cells:
        for voxel in itertools.product(*map(range, scene.cells.factor)):
            bit = sum(index << int(by) for index, by in zip(voxel, shift, strict=True))
            is_set = bool(words[cell["first_word"] + bit // 32] >> (bit % 32) & 1)
            assert is_set == scene.occupancy[tuple(cell["first_voxel"] + voxel)]
            set_bits += is_set
    assert set_bits == scene.occupancy.sum() == sum(int(word).bit_count() for word in words)


def test_cells_say_what_they_are() -> None:
    scene = SCENES["odd factors"]
    tight, full = (native_cells(scene.cells, ess=ess) for ess in (True, False))
    for name in set(CELL.names or ()) - {"clip_min", "clip_max"}:
        assert np.array_equal(tight[name], full[name]), name
    assert np.array_equal(tight["network"], scene.network_index[tuple((tight["first_voxel"] // (3, 5, 2)).T)])
    assert np.array_equal(tight["minimum"], full["clip_min"])
    assert np.array_equal(tight["occupied"], scene.cells.leaf_occupied)
    assert (tight["clip_min"] >= full["clip_min"]).all()
    assert (tight["clip_max"] > tight["clip_min"]).all()


def test_more_voxels_than_words_can_be_counted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = SCENES["over 32 voxels along an axis"].cells
    words = len(voxel_words(cells))
    monkeypatch.setattr(grid_module, "MOST_WORDS", words)
    native_cells(cells, ess=True)
    monkeypatch.setattr(grid_module, "MOST_WORDS", words - 1)
    with pytest.raises(BackendError, match=f"at most {words - 1} words of 32 voxels, got {len(cells.leaves)} cells of"):
        native_cells(cells, ess=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_networks_without_their_feature_layer_are_the_same(dtype: type[np.floating]) -> None:
    scene: Scene = random_scene(seed=5, dtype=dtype)
    folded = folded_layers(scene.layers)
    assert {name.rpartition(".")[0] for name in folded} == set(FOLDED_LAYERS)
    exact = {name: layer.astype(np.float64) for name, layer in scene.layers.items()}
    rng = np.random.default_rng(0)
    hidden = rng.random((7, 32))
    seen = encode(rng.normal(size=(7, 3)), 4)
    for n in range(scene.num_networks):
        feature = hidden @ exact["feature_linear.weight"][n] + exact["feature_linear.bias"][n]
        expected = np.hstack([feature, seen]) @ exact["direction_layer.weight"][n] + exact["direction_layer.bias"][n]
        found = np.hstack([hidden, seen]) @ folded["direction_layer.weight"][n] + folded["direction_layer.bias"][n]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert folded["pts_linears.0.weight"] is scene.layers["pts_linears.0.weight"]
