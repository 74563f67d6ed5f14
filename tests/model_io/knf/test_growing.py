"""Files that are cut short: what is whole of them is a scene, and the whole file is the same as ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import (
    KiloNeRFScene,
    OctreeScene,
    SceneError,
    load_partial_scene,
    load_scene,
    save_scene,
)
from kilonerf.model_io.knf.safetensors_reader import read_index
from support.fields.octree_scenes import random_octree_scene
from support.knf_files import join, small_file, split
from support.scenes import random_scene, sky_scene, views

COMPRESSED = {
    "one level": random_scene(resolution=(3, 2, 4), factor=(4, 3, 5), dropped=0.4),
    "sky": sky_scene(),
}
BACKENDS = ("reference", "cpu")


def ends(data: bytes) -> dict[str, int]:
    """Where each tensor of a file ends."""
    return {span.name: span.end for span in read_index(data, len(data)).spans}


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_file_has_the_networks_that_are_whole(name: str, tmp_path: Path) -> None:
    scene, path = COMPRESSED[name], tmp_path / "a.knf"
    data = small_file(scene, chunks=3)
    path.write_bytes(data)
    whole = load_scene(path)
    assert isinstance(whole, KiloNeRFScene)
    used = np.concatenate([level.network_index[level.network_index >= 0] for level in scene.levels])
    for chunk in range(3):
        path.write_bytes(data[: ends(data)[f"networks.{chunk}"] + (7 if chunk < 2 else 0)])
        part = load_partial_scene(path)
        expected = int((used % 3 <= chunk).sum())  # as small_file deals them out
        assert (part.there, part.total, part.unit) == (expected, len(used), "networks")
        assert part.whole == (chunk == 2)
        assert isinstance(part.scene, KiloNeRFScene)
        assert part.scene.num_networks == expected
        for level, all_of_it in zip(part.scene.levels, whole.levels, strict=True):
            there = level.network_index >= 0
            assert not (there & (all_of_it.network_index < 0)).any()
            for layer in whole.layers:  # each cell has its own network
                own = part.scene.layers[layer][level.network_index[there]]
                assert np.array_equal(own, whole.layers[layer][all_of_it.network_index[there]]), layer
            of_voxels = np.kron(there, np.ones(level.factor.tolist(), np.bool_))
            assert np.array_equal(level.occupancy, all_of_it.occupancy & of_voxels)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cell_without_its_network_is_empty_in_pictures(backend: str, tmp_path: Path) -> None:
    scene = COMPRESSED["one level"]
    data = small_file(scene, chunks=2)
    (tmp_path / "a.knf").write_bytes(data[: ends(data)["networks.0"]])
    part = load_partial_scene(tmp_path / "a.knf").scene
    (tmp_path / "b.knf").write_bytes(data)
    whole = load_scene(tmp_path / "b.knf")
    assert isinstance(part, KiloNeRFScene)
    assert isinstance(whole, KiloNeRFScene)
    kept = np.kron(part.network_index >= 0, np.ones(part.cells.factor.tolist(), np.bool_))
    emptied = replace(whole, occupancy=whole.occupancy & kept)
    camera, options = views(scene)["outside"], RenderOptions(ert=False, precision="float32")
    first, second = (create_renderer(one, backend).render(camera, options) for one in (part, emptied))
    assert first.statistics.samples == second.statistics.samples
    assert first.statistics.samples > 0
    assert np.allclose(first.rgb, second.rgb, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("codings", [("codes",), ("plain", "low-rank", "hash")])
def test_every_prefix_of_an_octree_up_to_a_level_is_that_scene(backend: str, codings: tuple, tmp_path: Path) -> None:
    scene, path = random_octree_scene(5, 3, codings=codings, occupied=0.03), tmp_path / "a.knf"
    save_scene(scene, path)
    data = path.read_bytes()
    for number, level in enumerate(range(scene.first_level, scene.depth + 1)):
        last = [end for name, end in ends(data).items() if name.endswith(f".{level}")]
        for more in (0, 1):
            path.write_bytes(data[: max(last) + more])
            part = load_partial_scene(path)
            assert (part.there, part.total, part.unit) == (number + 1, 3, "levels")
            if level == scene.depth:
                break
        expected = scene.upto(level)
        assert isinstance(part.scene, OctreeScene)
        assert np.array_equal(part.scene.octree.occupancy, expected.octree.occupancy)
        camera = replace(views(scene)["along an axis"], width=17, height=9)
        first, second = (
            create_renderer(one, backend).render(camera, RenderOptions()).rgb for one in (part.scene, expected)
        )
        assert (first != first[0, 0]).any()
        assert np.array_equal(first, second)


def test_what_is_too_short_for_a_scene_is_refused_and_strict_loading_always(tmp_path: Path) -> None:
    path = tmp_path / "a.knf"
    save_scene(random_octree_scene(5, 2, occupied=0.05), path)
    octree = path.read_bytes()
    save_scene(random_scene(), path)
    plain = path.read_bytes()
    compressed = small_file(COMPRESSED["one level"])
    first = {"octree": ends(octree)["codes.4"], "compressed": ends(compressed)["networks.0"], "plain": len(plain)}
    for name, data in (("octree", octree), ("compressed", compressed), ("plain", plain)):
        for cut in (*range(0, first[name], first[name] // 10), first[name] - 1):
            path.write_bytes(data[:cut])
            with pytest.raises(SceneError, match="expected") as caught:
                load_partial_scene(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)
        for cut in range(first[name], len(data), max(1, (len(data) - first[name]) // 4)):
            path.write_bytes(data[:cut])
            assert load_partial_scene(path).there > 0
            with pytest.raises(SceneError, match="expected"):
                load_scene(path)
        path.write_bytes(data + b"\0")
        with pytest.raises(SceneError, match="data: expected"):
            load_partial_scene(path)


def test_damage_is_refused_in_a_part_too(tmp_path: Path) -> None:
    path = tmp_path / "a.knf"
    save_scene(random_octree_scene(5, 2, occupied=0.05), path)
    for data, name in ((path.read_bytes(), "codes.4"), (small_file(COMPRESSED["sky"]), "networks.0")):
        damaged = bytearray(data[: ends(data)[name] + 1])
        damaged[ends(data)[name] - 3] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(SceneError, match=rf"{name}: expected checksum \d+, got \d+: the file is damaged"):
            load_partial_scene(path)


def test_an_octree_file_has_checksums_that_are_checked_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.knf"
    scene = random_octree_scene(5, 2, occupied=0.05)
    save_scene(scene, path)
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(SceneError, match=r"codes.5: expected checksum"):
        load_scene(path)
    header, _ = split(data)
    text = header["__metadata__"]["knf"]
    old = text[: text.index(',"checksums"')] + "}"
    header["__metadata__"]["knf"] = old
    path.write_bytes(join(header, split(data)[1]))
    assert isinstance(load_scene(path), OctreeScene)
    header["__metadata__"]["knf"] = old[:-1] + ',"checksums":[1]}'
    path.write_bytes(join(header, split(data)[1]))
    with pytest.raises(SceneError, match="checksums: expected a JSON object, got list"):
        load_scene(path)


def test_a_whole_file_is_the_same_as_ever(tmp_path: Path) -> None:
    scene = COMPRESSED["sky"]
    (tmp_path / "a.knf").write_bytes(small_file(scene))
    part, whole = load_partial_scene(tmp_path / "a.knf"), load_scene(tmp_path / "a.knf")
    assert isinstance(whole, KiloNeRFScene)
    assert part.whole
    assert str(part) == f"{whole.num_networks} of {whole.num_networks} networks"
    assert isinstance(part.scene, KiloNeRFScene)
    assert part.scene.sky is not None
    assert whole.sky is not None
    assert np.array_equal(part.scene.sky, whole.sky)
    for name, layer in whole.layers.items():
        assert np.array_equal(part.scene.layers[name], layer)
