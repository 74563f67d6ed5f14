"""The .knf file of octree fields, against docs/knf.md: what is written comes back, and nothing else is believed."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import OctreeScene, SceneError, load_kilonerf_scene, load_scene, save_scene
from kilonerf.model_io.knf.octree import pack_codes, unpack_codes
from kilonerf.model_io.scene.facts import describe, fact_rows
from support.fields.octree_scenes import OCTREES, random_octree_scene
from support.knf_files import PNG, join, json_values, one_file, split


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file without checksums, which would find all damage before the checks that are tested here."""
    path = tmp_path_factory.mktemp("good") / "good.knf"
    save_scene(random_octree_scene(4, 2, codings=("codes", "low-rank"), occupied=0.05), path)
    header, body = split(path.read_bytes())
    document = json.loads(header["__metadata__"]["knf"])
    del document["checksums"]
    header["__metadata__"]["knf"] = json.dumps(document)
    return join(header, body)


def saved_and_loaded(scene: OctreeScene, path: Path) -> OctreeScene:
    save_scene(scene, path)
    loaded = load_scene(path)
    assert isinstance(loaded, OctreeScene)
    return loaded


@pytest.mark.parametrize("name", OCTREES)
@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_written_comes_back(name: str, mapped: bool, tmp_path: Path) -> None:
    scene = OCTREES[name]
    save_scene(scene, tmp_path / "a.knf")
    loaded = load_scene(tmp_path / "a.knf", mapped=mapped)
    assert isinstance(loaded, OctreeScene)
    assert np.array_equal(loaded.octree.occupancy, scene.octree.occupancy)
    for own, expected in zip(loaded.features, scene.features, strict=True):
        assert own.coding == expected.coding
        for array in ("table", "codes", "coefficients"):
            left, right = getattr(own, array), getattr(expected, array)
            assert (left is None) == (right is None)
            assert left is None or (left.dtype == right.dtype and np.array_equal(left, right))
    for array in scene.decoder:
        assert np.array_equal(loaded.decoder[array], scene.decoder[array])
    assert loaded.start_camera == scene.start_camera
    assert loaded.provenance == scene.provenance
    save_scene(loaded, tmp_path / "b.knf")
    assert (tmp_path / "a.knf").read_bytes() == (tmp_path / "b.knf").read_bytes()


def test_a_file_by_hand(tmp_path: Path) -> None:
    """docs/knf.md, written once more: two voxels at level 2, features at levels 1 and 2, codes of 3 bits."""
    rng = np.random.default_rng(0)
    f16 = {
        "decoder.hidden.weight": rng.normal(size=(43, 128)),
        "decoder.hidden.bias": rng.normal(size=128),
        "decoder.output.weight": rng.normal(size=(128, 4)),
        "decoder.output.bias": rng.normal(size=4),
        "table.1": rng.normal(size=(8, 16)),  # the corners of one voxel
        "table.2": rng.normal(size=(8, 16)),
    }
    tensors: dict[str, np.ndarray] = {name: array.astype(np.float16) for name, array in f16.items()}
    tensors["octree.1"] = np.array([0b00000001], np.uint8)  # (0, 0, 0) of level 1
    tensors["octree.2"] = np.array([0b00010010], np.uint8)  # (0, 0, 1) and (1, 0, 0) of level 2
    corners = [  # of both voxels, each once: six share an edge's two
        *((x, y, z) for x in (0, 1) for y in (0, 1) for z in (1, 2)),
        *((x, y, z) for x in (1, 2) for y in (0, 1) for z in (0, 1)),
    ]
    key = {p: sum((p[a] >> b & 1) << (3 * b + 2 - a) for b in range(2) for a in range(3)) for p in corners}
    ordered = sorted(set(corners), key=key.__getitem__)
    codes = rng.integers(0, 8, len(ordered))
    stream = sum(int(code) << (3 * number) for number, code in enumerate(codes))
    tensors["codes.2"] = np.frombuffer(stream.to_bytes(-(-3 * len(ordered) // 8), "little"), np.uint8)
    document = {
        "version": 1,
        "kind": "octree",
        "aabb": [[-1, -1, -1], [1, 1, 1]],
        "first_level": 1,
        "codings": ["plain", "codes"],
        "features": 16,
        "frequencies": {"direction": 4},
        "layers": {"hidden": [43, 128], "output": [128, 4]},
        "near": 1.0,
        "far": 5.0,
        "num_samples": 100,
        "background": [1, 1, 1],
        "start_camera": None,
        "provenance": {},
    }
    safetensors.numpy.save_file(tensors, tmp_path / "hand.knf", {"knf": json.dumps(document)})  # in any order
    scene = load_scene(tmp_path / "hand.knf")
    assert isinstance(scene, OctreeScene)
    assert np.argwhere(scene.cells.occupancy).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert scene.octree.corners(2).tolist() == [list(place) for place in ordered]
    assert scene.features[1].codes is not None
    assert scene.features[1].codes.tolist() == codes.tolist()
    assert scene.features[1].bits == 3


def test_levels_lie_one_after_the_other(tmp_path: Path) -> None:
    """What ends with a level has all that a coarser scene needs."""
    scene = random_octree_scene(5, 3)
    save_scene(scene, tmp_path / "a.knf")
    header, body = split((tmp_path / "a.knf").read_bytes())
    entries = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    names = sorted(entries, key=entries.__getitem__)
    assert names[4:] == [f"{part}.{level}" for level in (3, 4, 5) for part in ("octree", "table", "codes")]
    assert all(name.startswith("decoder.") for name in names[:4])
    document = json.loads(header["__metadata__"]["knf"])
    document["codings"].pop()
    kept = {name: header[name] for name in names if not name.endswith(".5")}
    end = max(entry["data_offsets"][1] for entry in kept.values())
    (tmp_path / "b.knf").write_bytes(join({**kept, "__metadata__": {"knf": json.dumps(document)}}, body[:end]))
    coarse = load_scene(tmp_path / "b.knf")
    assert isinstance(coarse, OctreeScene)
    assert np.array_equal(coarse.cells.occupancy, scene.upto(4).cells.occupancy)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_any_width(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, 1001).astype(np.uint8)
    packed = pack_codes(codes, bits)
    assert len(packed) == -(-1001 * bits // 8)
    assert np.array_equal(unpack_codes(packed, bits, 1001), codes)


def test_poses_and_a_preview_are_kept(tmp_path: Path) -> None:
    from dataclasses import replace

    poses = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    loaded = saved_and_loaded(replace(random_octree_scene(), training_poses=poses, preview=PNG), tmp_path / "a.knf")
    assert loaded.training_poses is not None
    assert np.array_equal(loaded.training_poses, poses)
    assert loaded.preview == PNG


def test_facts_are_said(tmp_path: Path) -> None:
    scene = random_octree_scene(codings=("codes", "hash", "low-rank"))
    facts: dict[str, Any] = describe(scene) | {"file_bytes": 1000}
    assert json.loads(json.dumps(facts)) == facts
    said = dict(fact_rows(scene, facts))
    assert said["coding"] == "codes of 3 bits, hash of 3 bits, low-rank"
    assert facts["octree_bytes"] == scene.octree.num_bytes
    save_scene(scene, tmp_path / "a.knf")
    spent = sum(facts["feature_bytes_by_level"]) + facts["octree_bytes"] + facts["decoder_bytes"]
    header = struct.unpack("<Q", (tmp_path / "a.knf").read_bytes()[:8])[0]
    assert (tmp_path / "a.knf").stat().st_size == 8 + header + spent


def test_networks_are_not_read_out_of_it(tmp_path: Path) -> None:
    save_scene(random_octree_scene(), tmp_path / "a.knf")
    with pytest.raises(SceneError, match=r"a.knf: kind: expected 'kilonerf', which has tiny networks, got 'octree'"):
        load_kilonerf_scene(tmp_path / "a.knf")


def refused(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SceneError, match=message) as caught:
        load_scene(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def assert_sound_or_refused(path: Path) -> None:
    """A damaged file may still be a scene, of another provenance, say; anything else is one SceneError of one line."""
    message = ""
    try:
        load_scene(path)
    except SceneError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "version: expected 1 "),
        ("version", True, "version: expected 1 "),
        ("features", 5, "features: expected 16, got 5"),
        ("layers", {}, "layers: expected"),
        ("codings", [], "codings: expected one of"),
        ("codings", ["codes", "jpeg"], "codings: expected one of"),
        ("codings", ["codes"], "data|octree|table|codes"),
        ("first_level", 0, "first_level: expected 1 to 8, got 0"),
        ("first_level", 9, "first_level: expected 1 to 8, got 9"),
        ("first_level", 2, r"octree\.2"),
        ("kind", "octre", "kind: expected 'kilonerf' or 'octree'"),
        ("near", 7.0, "near: expected 0 <= near < far"),
        ("aabb", [[0, 0, 0], [0, 0, 0]], "box: expected"),
    ],
)
def test_a_wrong_field_is_named(good: bytes, key: str, value: object, message: str, tmp_path: Path) -> None:
    header, body = split(good)
    document = json.loads(header["__metadata__"]["knf"])
    document[key] = value
    header["__metadata__"]["knf"] = json.dumps(document)
    data = join(header, body)
    if key == "codings" and value == ["codes"]:
        (tmp_path / "a.knf").write_bytes(data)
        assert isinstance(load_scene(tmp_path / "a.knf"), OctreeScene)  # the tensors of further levels are unknown ones
        return
    refused(tmp_path / "a.knf", data, message)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("octree.3", np.zeros(3, np.uint8), r"octree|octree\.3"),
        ("octree.3", None, "octree.3: expected this tensor in the file, got nothing"),
        ("octree.4", np.zeros(2, np.uint8), "octree: expected .* bytes for level 3"),
        ("table.3", np.zeros((9, 16), np.float16), r"codes.3: expected .* bytes"),
        ("table.3", np.zeros((300, 16), np.float16), "table.3: expected 2 to 256 rows, got 300"),
        ("table.3", np.zeros(16, np.float16), "table.3: expected 2 dimensions"),
        ("codes.3", np.zeros(2, np.uint8), "codes.3: expected .* bytes for .* codes of 3 bits, got 2"),
        ("codes.3", np.zeros(2, np.int32), "codes.3: expected uint8"),
        ("coefficients.4", np.zeros((2, 4), np.float16), "features.4.coefficients: expected shape"),
        ("decoder.output.bias", None, "decoder.output.bias: expected this tensor in the file, got nothing"),
        ("decoder.output.bias", np.zeros(4, np.int32), "decoder.output.bias: expected dtype float16 or float32"),
    ],
)
def test_a_wrong_tensor_is_named(
    good: bytes, name: str, array: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.knf").write_bytes(good)
    tensors = safetensors.numpy.load_file(tmp_path / "a.knf")
    metadata = split(good)[0]["__metadata__"]
    tensors.pop(name)
    if array is not None:
        tensors[name] = array
    refused(tmp_path / "a.knf", safetensors.numpy.save(tensors, metadata), message)


def test_unused_bits_are_zero(good: bytes, tmp_path: Path) -> None:
    header, body = split(good)
    begin, end = header["codes.3"]["data_offsets"]
    scene_bits = 3 * random_octree_scene(4, 2, codings=("codes", "low-rank"), occupied=0.05).num_corners[0]
    if scene_bits % 8 == 0:
        pytest.skip("no bit is unused here")
    damaged = bytearray(body)
    damaged[end - 1] |= 0x80
    refused(tmp_path / "a.knf", join(header, bytes(damaged)), "codes.3: expected unused bits of the last byte to be 0")
    assert begin < end


def test_truncation_anywhere_is_refused(good: bytes, tmp_path: Path) -> None:
    header_end = 8 + struct.unpack("<Q", good[:8])[0]
    offsets = [e["data_offsets"] for name, e in split(good)[0].items() if name != "__metadata__"]
    for cut in sorted({9, header_end, *(header_end + begin for begin, _ in offsets), len(good) - 1}):
        refused(tmp_path / "cut.knf", good[:cut], "cut short|data_offsets")


@one_file
@given(position=st.integers(0, 2**20), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_gives_a_sound_scene(
    good: bytes, position: int, value: int, tmp_path: Path
) -> None:
    data = bytearray(good)
    data[position % len(good)] = value
    (tmp_path / "changed.knf").write_bytes(data)
    assert_sound_or_refused(tmp_path / "changed.knf")


@one_file
@given(replacement=json_values, data=st.data())
def test_a_changed_value_is_refused_or_gives_a_sound_scene(
    good: bytes, replacement: object, data: st.DataObject, tmp_path: Path
) -> None:
    header, body = split(good)
    document = json.loads(header["__metadata__"]["knf"])
    target = data.draw(st.sampled_from([document, header, header["octree.3"], header["codes.3"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = replacement
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["knf"] = json.dumps(document)
    (tmp_path / "changed.knf").write_bytes(join(header, body))
    assert_sound_or_refused(tmp_path / "changed.knf")
