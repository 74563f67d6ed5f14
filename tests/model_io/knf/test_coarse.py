"""Coarse networks in front of a compressed file: what is made of them, and what a part of the file shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import KiloNeRFScene, SceneError, load_kilonerf_scene, load_partial_scene
from kilonerf.model_io.knf.coarse import SIDES, CoarseCells
from kilonerf.model_io.knf.compressed import CoarseNetworks
from kilonerf.model_io.knf.format import compressed_file
from kilonerf.model_io.knf.quantized import GROUPS, SIZES, from_layers, to_layers
from kilonerf.model_io.knf.safetensors_reader import read_index
from kilonerf.model_io.scene.facts import describe, fact_rows, file_facts
from support.knf_files import changed, coarse_networks, refused, rounded, small_file
from support.scenes import nested_scene, random_scene, sky_scene, views

ONE_LEVEL = random_scene(resolution=(3, 2, 5), factor=(4, 3, 5), dropped=0.3)
SCENES = {"one level": ONE_LEVEL, "levels": nested_scene(), "sky": sky_scene()}


def encode(points: np.ndarray) -> np.ndarray:
    """[S, 63] of points [S, 3], as docs/knf.md says."""
    channels = []
    for axis in range(3):
        x = points[:, axis, None]
        turned = x * 2.0 ** np.arange(10)
        channels += [x, np.cos(turned), np.sin(turned)]
    return np.concatenate(channels, axis=1)


def index_of(scene: KiloNeRFScene) -> np.ndarray:
    return np.stack([level.network_index for level in scene.levels])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_what_is_made_of_a_coarse_network_is_that_network(name: str, side: int) -> None:
    scene = SCENES[name]
    cells = CoarseCells.of(index_of(scene), side, scene.num_networks)
    coarse = rounded(random_scene((len(cells), 1, 1), dropped=0.0)).values()
    made = cells.derived(coarse, np.arange(scene.num_networks))
    size, shape = SIZES[0], GROUPS["pts_linears.0"]
    assert np.array_equal(made[:, size:], coarse[cells.of_network][:, size:])
    points = np.random.default_rng(0).uniform(-1, 1, (64, 3))
    for level in scene.levels:
        for cell in np.argwhere(level.network_index >= 0):
            network = level.network_index[tuple(cell)]
            # Its own place in the coarse cell, from -side to side there.
            first = cell // side * side
            expected_points = points + 2 * (cell - first) + 1 - side
            own, expected = made[network, :size].reshape(shape), coarse[cells.of_network[network], :size].reshape(shape)
            found = encode(points) @ own[:-1] + own[-1]
            wanted = encode(expected_points) @ expected[:-1] + expected[-1]
            assert np.abs(found - wanted).max() < 3e-6 * np.abs(wanted).max()


def test_coarse_networks_are_numbered_level_by_level_and_in_c_order() -> None:
    index = np.full((2, 5, 1, 3), -1)
    index[0, 4, 0, 2], index[0, 0, 0, 0], index[0, 1, 0, 1], index[1, 2, 0, 2] = 0, 1, 2, 3
    cells = CoarseCells.of(index, 2)
    assert len(cells) == 3
    assert cells.of_network.tolist() == [1, 0, 0, 2]
    assert cells.shifts.tolist() == [[-1, -1, -1], [-1, -1, -1], [1, -1, 1], [-1, -1, -1]]
    assert len(CoarseCells.of(index, 8)) == 2
    none = CoarseCells.of(np.full((1, 2, 2, 2), -1), 4)
    assert (len(none), none.derived(np.zeros((0, sum(SIZES)), np.float32), np.arange(0)).shape) == (0, (0, 5156))


def ends(data: bytes) -> dict[str, int]:
    return {span.name: span.end for span in read_index(data, len(data)).spans}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SCENES)
def test_a_part_has_a_coarse_network_in_each_cell_whose_own_is_missing(name: str, side: int, tmp_path: Path) -> None:
    scene, path = SCENES[name], tmp_path / "a.knf"
    data = small_file(scene, 3, coarse_side=side)
    path.write_bytes(data)
    whole = load_kilonerf_scene(path)
    # Read from the scene that was written, not from the file: its networks have other numbers.
    coarse = coarse_networks(scene, side).networks.values()
    made = CoarseCells.of(index_of(whole), side).derived(coarse, np.arange(whole.num_networks))
    used = np.concatenate([level.network_index[level.network_index >= 0] for level in scene.levels])
    sizes = [int((used % 3 == chunk).sum()) for chunk in range(3)]
    for chunks in range(4):
        last = "coarse" if chunks == 0 else f"networks.{chunks - 1}"
        path.write_bytes(data[: ends(data)[last] + (5 if chunks < 3 else len(data))])
        part = load_partial_scene(path)
        there = sum(sizes[:chunks])
        assert (part.there, part.total, part.coarse) == (there, len(used), chunks < 3)
        assert str(part) == f"{there} of {len(used)} networks{' (the others coarse)' if chunks < 3 else ''}"
        assert isinstance(part.scene, KiloNeRFScene)
        for level, expected in zip(part.scene.levels, whole.levels, strict=True):
            assert np.array_equal(level.network_index, expected.network_index)
            assert np.array_equal(level.occupancy, expected.occupancy)
        numbers = from_layers({key: layer for key, layer in part.scene.layers.items() if "feature" not in key})
        own = from_layers({key: layer for key, layer in whole.layers.items() if "feature" not in key})
        assert np.array_equal(numbers[:there], own[:there])
        assert np.array_equal(numbers[there:], made[there:])


def test_a_whole_file_is_as_without_coarse_networks(tmp_path: Path) -> None:
    scenes = []
    for side in (0, 4):
        (tmp_path / "a.knf").write_bytes(small_file(ONE_LEVEL, coarse_side=side))
        scenes.append(load_kilonerf_scene(tmp_path / "a.knf"))
        part = load_partial_scene(tmp_path / "a.knf")
        assert (part.whole, part.coarse) == (True, False)
    for name, layer in scenes[0].layers.items():
        assert np.array_equal(scenes[1].layers[name], layer), name


def test_the_mean_of_networks_is_not_added_to_coarse_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mean, codes = random.integers(-99, 99, sum(SIZES)).astype(np.int8), np.full(len(SIZES), 110, np.uint8)
    networks = replace(rounded(ONE_LEVEL), mean=mean, mean_step_codes=codes)
    coarse = coarse_networks(ONE_LEVEL, 4)
    data = compressed_file(ONE_LEVEL, networks, np.arange(len(networks)) % 3, coarse)
    (tmp_path / "a.knf").write_bytes(data[: ends(data)["coarse"]])
    part = load_partial_scene(tmp_path / "a.knf").scene
    assert isinstance(part, KiloNeRFScene)
    own = coarse.networks.values()[CoarseCells.of(index_of(part), 4).of_network]
    size = SIZES[0]
    numbers = from_layers({key: layer for key, layer in part.layers.items() if "feature" not in key})
    assert np.array_equal(numbers[:, size:], own[:, size:])


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_pictures_of_a_part_are_those_of_coarse_networks(backend: str, tmp_path: Path) -> None:
    data = small_file(ONE_LEVEL, 2, coarse_side=2)
    (tmp_path / "a.knf").write_bytes(data[: ends(data)["coarse"]])
    part = load_partial_scene(tmp_path / "a.knf").scene
    assert isinstance(part, KiloNeRFScene)
    cells = CoarseCells.of(index_of(ONE_LEVEL), 2)
    made = cells.derived(coarse_networks(ONE_LEVEL, 2).networks.values(), np.arange(ONE_LEVEL.num_networks))
    expected = replace(ONE_LEVEL, layers=to_layers(made))
    camera, options = views(ONE_LEVEL)["outside"], RenderOptions(precision="float32")
    first, second = (create_renderer(one, backend).render(camera, options).rgb for one in (part, expected))
    assert (first != first[0, 0]).any()
    assert np.allclose(first, second, atol=2e-5)


def test_facts_say_what_coarse_networks_take(tmp_path: Path) -> None:
    data = small_file(ONE_LEVEL, coarse_side=4)
    (tmp_path / "a.knf").write_bytes(data)
    facts = file_facts(tmp_path / "a.knf")
    size = ends(data)["coarse"] - ends(data)["grids"]
    assert (facts["compressed"]["coarse_bytes"], facts["compressed"]["coarse_side"]) == (size, 4)
    scene = load_kilonerf_scene(tmp_path / "a.knf")
    row = dict(fact_rows(scene, describe(scene) | facts))["compressed"]
    assert row.endswith(f"coarse networks {size / 1e3:.1f} kB, each of 4 x 4 x 4 cells")


DATA = small_file(ONE_LEVEL, coarse_side=4)


def part_of(name: str) -> bytes:
    header = {span.name: span for span in read_index(DATA, len(DATA)).spans}[name]
    return DATA[header.begin : header.end]


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "side of three": ({"coarse_side": 3}, "coarse_side: expected one of 2, 4, 8, got 3"),
    "side as text": ({"coarse_side": "4"}, "coarse_side: expected one of 2, 4, 8, got '4'"),
    "side as truth": ({"coarse_side": True}, "coarse_side: expected one of 2, 4, 8, got True"),
    "side of none": ({"coarse_side": None}, "coarse_side: expected one of 2, 4, 8, got None"),
    "side of 4.0": ({"coarse_side": 4.0}, "coarse_side: expected one of 2, 4, 8, got 4.0"),
    "in version 3": ({"version": 3}, r"chunks\[1\]: expected the tensor model"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_about_coarse_networks_are_refused(name: str, tmp_path: Path) -> None:
    lie, message = LIES[name]
    refused(tmp_path / "lie.knf", changed(DATA, **lie), message)
    with pytest.raises(SceneError, match=message):
        load_partial_scene(tmp_path / "lie.knf")


CONTENTS: dict[str, tuple[dict[str, Any], str]] = {
    "another side": ({"coarse_side": 2}, "coarse: expected|networks: expected lanes"),
    "networks that are none": ({"tensors": {"coarse": b"abc"}}, "coarse: expected"),
    "no networks": ({"tensors": {"coarse": b""}}, "coarse: expected"),
    "a model too long": ({"tensors": {"coarse": b"\xff" * 4 + part_of("coarse")}}, r"coarse: expected \d+ bytes of a"),
    "another model": ({"tensors": {"coarse": part_of("coarse")[:4] + b"a" * 3000}}, "coarse: expected"),
    "a word too many": ({"tensors": {"coarse": part_of("coarse") + b"\0\0"}}, "networks: expected lanes of"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_coarse_networks_that_are_none_are_refused_where_they_are_needed(name: str, tmp_path: Path) -> None:
    lie, message = CONTENTS[name]
    (tmp_path / "lie.knf").write_bytes(changed(DATA, **lie)[:-1])
    with pytest.raises(SceneError, match=message) as caught:
        load_partial_scene(tmp_path / "lie.knf")
    assert "\n" not in str(caught.value)


def test_damage_to_coarse_networks_is_refused(tmp_path: Path) -> None:
    damaged = bytearray(part_of("coarse"))
    damaged[len(damaged) // 2] ^= 1
    data = changed(DATA, tensors={"coarse": bytes(damaged)}, honest=False)
    refused(tmp_path / "a.knf", data, r"coarse: expected checksum \d+, got \d+: the file is damaged")


def test_what_is_made_of_few_bytes_is_bounded(tmp_path: Path) -> None:
    """A cell takes a thousand times the memory of what says that it is there: the file must have some bytes for it."""
    scene = random_scene(resolution=(9, 9, 9), factor=(1, 1, 1), dropped=0.0, occupied=1.1)
    silent, coarse = (
        replace(networks, symbols=np.zeros_like(networks.symbols))
        for networks in (rounded(scene), coarse_networks(scene, 8).networks)
    )
    data = compressed_file(scene, silent, np.arange(scene.num_networks) // 600, CoarseNetworks(8, coarse))
    assert ends(data)["coarse"] < 16 * scene.num_networks
    (tmp_path / "a.knf").write_bytes(data[: ends(data)["coarse"]])
    with pytest.raises(SceneError, match="cut short"):
        load_partial_scene(tmp_path / "a.knf")
