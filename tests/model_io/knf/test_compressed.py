"""Compressed scenes in files: version 4, and version 3 where it differs."""

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import KiloNeRFScene, SceneError, load_kilonerf_scene, save_scene
from kilonerf.model_io.knf.format import save_compressed
from kilonerf.model_io.knf.quantized import SIZES, QuantizedNetworks, from_layers, step_code, step_size, to_layers
from kilonerf.model_io.scene.facts import describe, fact_rows, file_facts
from support.knf_files import PNG, changed, json_values, one_file, refused, rounded, small_file, split
from support.scenes import nested_scene, random_scene, sky_scene, views

SCENE = replace(
    random_scene(resolution=(3, 2, 4), factor=(4, 3, 5), dropped=0.4),
    training_poses=np.stack([np.eye(4, dtype=np.float32)] * 2),
    preview=PNG,
)


def by_cell(scene: KiloNeRFScene) -> list[np.ndarray]:
    """The numbers of each cell's network, whatever the networks' order."""
    numbers = from_layers(folded_layers(scene.layers))
    return [numbers[level.network_index[level.network_index >= 0]] for level in scene.levels]


@pytest.mark.parametrize("scene", [SCENE, nested_scene(), sky_scene()], ids=["one level", "levels", "sky"])
def test_a_scene_is_written_and_read(scene: KiloNeRFScene, tmp_path: Path) -> None:
    networks = rounded(scene)
    size = save_compressed(scene, networks, np.arange(len(networks)) % 2, tmp_path / "a.knf")
    assert size == (tmp_path / "a.knf").stat().st_size
    again = load_kilonerf_scene(tmp_path / "a.knf")
    for level, expected in zip(again.levels, scene.levels, strict=True):
        assert np.array_equal(level.occupancy, expected.occupancy)
        assert np.array_equal(level.network_index >= 0, expected.network_index >= 0)
        assert np.array_equal(level.box.min, expected.box.min)
    written = replace(scene, layers=to_layers(networks.values()))
    for found, expected in zip(by_cell(again), by_cell(written), strict=True):
        assert np.array_equal(found, expected)
    assert describe(again)["levels"] == len(scene.levels)
    for field in ("near", "far", "num_samples", "background", "start_camera", "preview"):
        assert getattr(again, field) == getattr(scene, field), field
    for field in ("training_poses", "sky"):
        assert np.array_equal(getattr(again, field), getattr(scene, field)), field


def test_a_file_is_a_safetensors_file_with_an_index_at_its_front(tmp_path: Path) -> None:
    data = small_file(SCENE)
    tensors = safetensors.numpy.load(data)
    header, _ = split(data)
    document = json.loads(header["__metadata__"]["knf"])
    assert document["version"] == 4
    names = [entry["tensor"] for entry in document["chunks"]]
    assert names == ["grids", "model", "networks.0", "networks.1", "networks.2"]
    ends = [header[name]["data_offsets"][1] for name in names]
    assert ends == sorted(ends)  # in the order in which they are of use
    for entry in document["chunks"]:
        assert zlib.crc32(tensors[entry["tensor"]].tobytes()) == entry["crc32"]


def test_pictures_are_those_of_the_rounded_networks(tmp_path: Path) -> None:
    networks = rounded(SCENE)
    (tmp_path / "a.knf").write_bytes(small_file(SCENE))
    found, expected = load_kilonerf_scene(tmp_path / "a.knf"), replace(SCENE, layers=to_layers(networks.values()))
    camera = views(SCENE)["outside"]
    first, second = (
        create_renderer(scene, "reference").render(camera, RenderOptions()).rgb for scene in (found, expected)
    )
    assert np.array_equal(first, second)


def test_facts_of_a_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "a.knf").write_bytes(DATA)
    facts = file_facts(tmp_path / "a.knf")
    assert (facts["version"], facts["file_bytes"]) == (4, len(DATA))
    assert facts["compressed"]["networks_bytes"] == sum(len(part(f"networks.{number}")) for number in range(3))
    assert facts["compressed"]["chunks"] == 3
    assert facts["compressed"]["coarse_bytes"] == 0
    scene = load_kilonerf_scene(tmp_path / "a.knf")
    assert " in 3 chunks, " in dict(fact_rows(scene, describe(scene) | facts))["compressed"]
    save_scene(SCENE, tmp_path / "b.knf")
    plain = file_facts(tmp_path / "b.knf")
    assert (plain["version"], plain["compressed"]) == (1, None)
    assert "compressed" not in dict(fact_rows(SCENE, describe(SCENE) | plain))


def test_a_compressed_scene_is_saved_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "a.knf").write_bytes(small_file(SCENE))
    scene = load_kilonerf_scene(tmp_path / "a.knf")
    save_scene(scene, tmp_path / "b.knf", np.float16)
    again = load_kilonerf_scene(tmp_path / "b.knf")
    assert describe(again)["version"] == 1
    assert np.allclose(from_layers(folded_layers(again.layers)), from_layers(folded_layers(scene.layers)), rtol=2e-3)


def test_a_scene_without_networks_or_with_one(tmp_path: Path) -> None:
    one = random_scene(resolution=(1, 1, 1), dropped=0.0)
    none = random_scene(resolution=(2, 2, 2), dropped=1.1)
    for scene in (one, none):
        (tmp_path / "a.knf").write_bytes(small_file(scene, chunks=1))
        again = load_kilonerf_scene(tmp_path / "a.knf")
        assert again.num_networks == scene.num_networks
        assert np.array_equal(again.occupancy, scene.occupancy)


def test_steps_are_quarters_of_octaves() -> None:
    codes = np.arange(256, dtype=np.uint8)
    sizes = step_size(codes)
    assert sizes[0] == 0
    assert sizes[128] == 1
    assert np.allclose(sizes[1:], 2.0 ** ((codes[1:] - 128.0) / 4), rtol=1e-6)
    assert np.array_equal(step_code(sizes[1:]), codes[1:])
    assert step_code(np.array([1e-30, 1e30, 0.0])).tolist() == [1, 255, 1]


def test_what_networks_share_is_added_unless_a_layer_is_off() -> None:
    networks = rounded(SCENE)
    mean = np.arange(sum(SIZES)).astype(np.int8)
    codes = networks.step_codes.copy()
    codes[0, 0] = 0
    symbols = networks.symbols.copy()
    symbols[0, : SIZES[0]] = 0
    shared = QuantizedNetworks(symbols, codes, mean, np.full(len(SIZES), 120, np.uint8))
    expected = symbols * np.repeat(step_size(codes), SIZES, axis=1) + 0.25 * mean.astype(np.float32)
    expected[0, : SIZES[0]] = 0
    assert np.allclose(shared.values(), expected, atol=1e-5)


def sound_or_refused(path: Path) -> KiloNeRFScene | None:
    """A damaged file may still be a scene; anything else is one SceneError of one line."""
    message = ""
    try:
        return load_kilonerf_scene(path)
    except SceneError as error:
        message = str(error)
    assert "\n" not in message
    return None


DATA = small_file(SCENE)


def part(name: str) -> bytes:
    return safetensors.numpy.load(DATA)[name].tobytes()


LIES = {
    "no chunks": ({"chunks": None}, "chunks: expected 2 to 258 entries"),
    "one chunk": ({"chunks": [{"tensor": "grids"}]}, "chunks: expected 2 to 258 entries"),
    "other chunks": ({"chunks": [{"tensor": "model"}] * 3}, r"chunks\[0\]: expected the tensor grids"),
    "levels as text": ({"levels": "many"}, "levels: expected a whole number"),
    "too many levels": ({"levels": 9}, "levels: expected"),
    "another network grid": ({"network_resolution": [1, 1, 1]}, "occupancy: expected a resolution|grids: expected"),
    "a huge occupancy": ({"occupancy_resolution": [60 * 3, 64 * 2, 64 * 4]}, "grids: expected"),
    "an absurd occupancy": (
        {"network_resolution": [16, 16, 16], "occupancy_resolution": [1024, 1024, 1024]},
        "occupancy_resolution: expected at most 1024 voxels a byte of the file",
    ),
    "an absurd network grid": (
        {"network_resolution": [512, 512, 16], "occupancy_resolution": [512, 512, 16]},
        "network_resolution: expected at most 1024 cells a byte|grids: expected",
    ),
    "grids that are none": ({"tensors": {"grids": b"abc"}}, "grids: expected"),
    "a model that is none": ({"tensors": {"model": b"abc"}}, "model: expected"),
    "networks that are none": ({"tensors": {"networks.1": b"abc"}}, r"networks\.1: expected"),
    "no networks": ({"tensors": {"networks.1": b""}}, r"networks\.1: expected"),
    "a lane too long": ({"tensors": {"networks.0": part("networks.0") + b"\0\0"}}, "networks: expected lanes of"),
    "an odd byte": ({"tensors": {"networks.0": part("networks.0") + b"\0"}}, r"networks\.0: expected .* even number"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_file_is_refused(name: str, tmp_path: Path) -> None:
    lie, message = LIES[name]
    refused(tmp_path / "lie.knf", changed(DATA, **lie), message)


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    for name in ("grids", "model", "networks.2"):
        damaged = bytearray(part(name))
        damaged[len(damaged) // 2] ^= 1
        data = changed(DATA, tensors={name: bytes(damaged)}, honest=False)
        refused(tmp_path / "a.knf", data, rf"{name}: expected checksum .* the file is damaged")


def test_truncation_anywhere_is_refused(tmp_path: Path) -> None:
    for cut in range(0, len(DATA), len(DATA) // 50):
        refused(tmp_path / "cut.knf", DATA[:cut], "expected")


@one_file
@given(position=st.integers(0, 2**20), value=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_no_weight(position: int, value: int, tmp_path: Path) -> None:
    data = bytearray(DATA)
    data[position % len(data)] ^= value
    (tmp_path / "changed.knf").write_bytes(data)
    scene = sound_or_refused(tmp_path / "changed.knf")
    if scene is not None and scene.num_networks == SCENE.num_networks:
        expected = by_cell(replace(SCENE, layers=to_layers(rounded(SCENE).values())))
        assert np.array_equal(by_cell(scene)[0], expected[0])


@one_file
@given(data=st.data())
def test_damage_behind_right_checksums_is_refused_or_gives_a_sound_scene(data: st.DataObject, tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(["grids", "model", "networks.0", "networks.1", "networks.2"]))
    content = bytearray(part(name))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    (tmp_path / "changed.knf").write_bytes(changed(DATA, tensors={name: bytes(content)}))
    sound_or_refused(tmp_path / "changed.knf")


@one_file
@given(replacement=json_values, data=st.data())
def test_a_changed_value_is_refused_or_gives_a_sound_scene(
    replacement: Any, data: st.DataObject, tmp_path: Path
) -> None:
    header, _ = split(DATA)
    key = data.draw(st.sampled_from(sorted(json.loads(header["__metadata__"]["knf"]))))
    (tmp_path / "changed.knf").write_bytes(changed(DATA, tensors=None, honest=False, **{key: replacement}))
    sound_or_refused(tmp_path / "changed.knf")
