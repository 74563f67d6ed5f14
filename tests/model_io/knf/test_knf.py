import errno
import json
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kilonerf.model_io import (
    LAYER_SHAPES,
    Camera,
    KiloNeRFScene,
    OutputError,
    SceneError,
    load_kilonerf_scene,
    save_scene,
)
from support.knf_files import PNG, join, json_values, one_file, split
from support.scenes import random_scene


def assert_same(loaded: KiloNeRFScene, scene: KiloNeRFScene) -> None:
    for field in ("box_min", "box_max", "occupancy", "network_index"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(scene, field), strict=True)
    assert set(loaded.layers) == set(scene.layers)
    for name, array in scene.layers.items():
        np.testing.assert_array_equal(loaded.layers[name], array, strict=True)
    for field in ("near", "far", "num_samples", "background", "start_camera", "preview", "provenance"):
        assert getattr(loaded, field) == getattr(scene, field), field
    assert (loaded.training_poses is None) == (scene.training_poses is None)
    if scene.training_poses is not None:
        np.testing.assert_array_equal(loaded.training_poses, scene.training_poses, strict=True)


finite32 = st.floats(-1e6, 1e6, width=32)


@st.composite
def scenes(draw) -> KiloNeRFScene:
    resolution = tuple(draw(st.tuples(*[st.integers(1, 3)] * 3)))
    factor = tuple(draw(st.tuples(*[st.integers(1, 5)] * 3)))
    scene = random_scene(
        resolution,
        factor,
        seed=draw(st.integers(0, 2**32)),
        occupied=draw(st.floats(0, 1)),
        dropped=draw(st.sampled_from([0.0, 0.4, 1.0])),
        dtype=draw(st.sampled_from([np.float16, np.float32])),
    )
    near, length = draw(st.floats(0, 100)), draw(st.floats(0.01, 100))
    camera = Camera.look_at(draw(st.tuples(*[st.floats(1, 9)] * 3)), (0, 0, 0), draw(st.integers(1, 999)), 48)
    bias = draw(
        arrays.arrays(np.float16, scene.layers["rgb_linear.bias"].shape, elements=st.floats(-9e3, 9e3, width=16))
    )
    return replace(
        scene,
        layers={**scene.layers, "rgb_linear.bias": bias.astype(scene.dtype)},
        near=near,
        far=near + length,
        num_samples=draw(st.integers(2, 2**16)),
        background=draw(st.tuples(*[st.floats(0, 1)] * 3)),
        start_camera=draw(st.none() | st.just(camera)),
        training_poses=draw(st.none() | arrays.arrays(np.float32, (2, 4, 4), elements=finite32)),
        preview=draw(st.none() | st.binary(max_size=9).map(lambda tail: PNG + tail)),
        provenance=draw(st.dictionaries(st.text(), json_values, max_size=3)),
    )


@one_file
@given(scene=scenes())
def test_round_trip(scene, tmp_path):
    save_scene(scene, tmp_path / "scene.knf")
    assert_same(load_kilonerf_scene(tmp_path / "scene.knf"), scene)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.knf"]  # no temporary file is left


def test_float16_and_back(scene, tmp_path):
    save_scene(scene, tmp_path / "half.knf", dtype="float16")
    half = load_kilonerf_scene(tmp_path / "half.knf")
    assert half.dtype == np.float16
    for name, array in scene.layers.items():
        np.testing.assert_array_equal(half.layers[name], array.astype(np.float16))
    save_scene(half, tmp_path / "single.knf", dtype=np.float32)
    assert load_kilonerf_scene(tmp_path / "single.knf").dtype == np.float32


def test_the_exact_bytes_of_a_tiny_file(tmp_path):
    """The format may not change unnoticed: every byte of this file is written out here from docs/knf.md."""
    occupancy = np.zeros((1, 3, 3), bool)
    occupancy[0, 0, 1] = occupancy[0, 2, 2] = True  # voxels 1 and 8
    layers = {}
    for number, (name, (inputs, outputs)) in enumerate(LAYER_SHAPES.items()):
        layers[f"{name}.weight"] = np.full((1, inputs, outputs), number + 1, np.float16)
        layers[f"{name}.bias"] = np.full((1, outputs), -number, np.float16)
    scene = KiloNeRFScene(
        box_min=np.array([-1, -2, -3], np.float32),
        box_max=np.array([1, 2, 0.5], np.float32),
        occupancy=occupancy,
        network_index=np.zeros((1, 1, 1), np.int32),
        layers=layers,
        near=2,
        far=6,
        num_samples=384,
        start_camera=Camera.from_matrix(np.eye(4), 4, 2, fx=8),
        provenance={"made_by": "tests"},
    )
    save_scene(scene, tmp_path / "tiny.knf")
    document = (
        '{"version":1,"kind":"kilonerf","aabb":[[-1.0,-2.0,-3.0],[1.0,2.0,0.5]],"network_resolution":[1,1,1],'
        '"occupancy_resolution":[1,3,3],"frequencies":{"position":10,"direction":4},"layers":{"pts_linears.0":[63,32],'
        '"pts_linears.1":[32,32],"alpha_linear":[32,1],"feature_linear":[32,32],"direction_layer":[59,32],'
        '"rgb_linear":[32,3]},"near":2.0,"far":6.0,"num_samples":384,"background":[1.0,1.0,1.0],'
        '"start_camera":{"c2w":[[1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],[0.0,0.0,1.0,0.0],[0.0,0.0,0.0,1.0]],'
        '"width":4,"height":2,"fx":8.0,"fy":8.0,"cx":2.0,"cy":1.0},"provenance":{"made_by":"tests"}}'
    )
    header, body = split((tmp_path / "tiny.knf").read_bytes())
    assert header.pop("__metadata__") == {"knf": document}
    expected = {"network_index": ("I32", [1, 1, 1], b"\0\0\0\0"), "occupancy": ("U8", [2], b"\x02\x01")}
    halves = {number: struct.pack("<e", number) for number in range(-5, 7)}
    for number, (name, (inputs, outputs)) in enumerate(LAYER_SHAPES.items()):
        expected[f"{name}.weight"] = ("F16", [1, inputs, outputs], halves[number + 1] * inputs * outputs)
        expected[f"{name}.bias"] = ("F16", [1, outputs], struct.pack("<e", np.float16(-number)) * outputs)
    found = {
        name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name][:2] == value[:2], name
        assert found[name][2].replace(b"\0\x80", b"\0\0") == value[2].replace(b"\0\x80", b"\0\0"), name  # -0 is 0
    assert len(body) == 6212 * 2 + 4 + 2


def test_a_stock_safetensors_reader_opens_it(scene, tmp_path):
    save_scene(scene, tmp_path / "scene.knf")
    with safetensors.safe_open(tmp_path / "scene.knf", "numpy") as file:
        assert json.loads(file.metadata()["knf"])["kind"] == "kilonerf"
        np.testing.assert_array_equal(file.get_tensor("network_index"), scene.network_index)
        bits = np.unpackbits(file.get_tensor("occupancy"), bitorder="little", count=scene.occupancy.size)
        np.testing.assert_array_equal(bits.reshape(scene.occupancy.shape), scene.occupancy)
        for name, array in scene.layers.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)


def test_the_networks_are_mapped_not_copied(scene, tmp_path):
    save_scene(scene, tmp_path / "scene.knf")
    for name, array in load_kilonerf_scene(tmp_path / "scene.knf").layers.items():
        assert not array.flags.owndata, name
        assert not array.flags.writeable, name
        assert array.flags.aligned, name


def test_a_loaded_scene_survives_its_file_being_replaced(scene, tmp_path):
    path = tmp_path / "scene.knf"
    save_scene(scene, path)
    loaded = load_kilonerf_scene(path)
    save_scene(random_scene((1, 1, 1), seed=9), path)
    assert_same(loaded, scene)


def test_an_existing_file_is_replaced_with_the_usual_permissions(scene, tmp_path):
    (tmp_path / "scene.knf").write_bytes(b"old")
    save_scene(scene, tmp_path / "scene.knf")
    assert_same(load_kilonerf_scene(tmp_path / "scene.knf"), scene)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "scene.knf").stat().st_mode) == 0o666 & ~mask


def test_unknown_tensors_and_keys_are_passed_over(good, tmp_path, scene):
    header, body = split(good)
    document = json.loads(header["__metadata__"]["knf"]) | {"colour_of_the_file": "green"}
    header["__metadata__"] = {"knf": json.dumps(document), "other": "text"}
    header["later"] = {"dtype": "BF16", "shape": [3], "data_offsets": [len(body), len(body) + 6]}
    header["much_later"] = {"dtype": "I64", "shape": [1], "data_offsets": [len(body) + 6, len(body) + 14]}
    (tmp_path / "new.knf").write_bytes(join(header, body + bytes(14)))
    assert_same(load_kilonerf_scene(tmp_path / "new.knf"), scene)


def test_tensors_at_odd_addresses_are_read(good, tmp_path, scene):
    header, body = split(good)
    for entry in header.values():
        if "data_offsets" in entry:
            entry["data_offsets"] = [offset + 1 for offset in entry["data_offsets"]]
    header["pad"] = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    (tmp_path / "odd.knf").write_bytes(join(header, b"\0" + body))
    loaded = load_kilonerf_scene(tmp_path / "odd.knf")
    assert_same(loaded, scene)
    assert all(array.flags.aligned for array in loaded.layers.values())


def test_float16_overflow_is_refused_and_nothing_is_written(scene, tmp_path):
    big = scene.layers["alpha_linear.weight"].copy()
    big[3, 2, 0] = 70000.0
    large = replace(scene, layers={**scene.layers, "alpha_linear.weight": big})
    with pytest.raises(SceneError, match=r"alpha_linear.weight: expected numbers up to 65504.* got 70000"):
        save_scene(large, tmp_path / "scene.knf", dtype="float16")
    with pytest.raises(SceneError, match="dtype: expected float16 or float32, got float64"):
        save_scene(large, tmp_path / "scene.knf", dtype="float64")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_one_error(scene, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        save_scene(scene, tmp_path / "missing" / "scene.knf")
    with pytest.raises(OutputError, match="folder"):
        save_scene(scene, tmp_path)
    assert list(tmp_path.iterdir()) == []
    os.mkfifo(tmp_path / "pipe")  # as /dev/null, it may not be replaced by a file
    with pytest.raises(OutputError, match="device or pipe"):
        save_scene(scene, tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_full_disk_leaves_the_old_file(scene, tmp_path, monkeypatch):
    (tmp_path / "scene.knf").write_bytes(b"old")

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"scene.knf: cannot write: No space left on device"):
        save_scene(scene, tmp_path / "scene.knf")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.knf"]
    assert (tmp_path / "scene.knf").read_bytes() == b"old"


def test_the_shipped_chair_loads(chair_path):
    chair = load_kilonerf_scene(chair_path)
    assert chair.resolution == (11, 11, 16)
    assert chair.occupancy_factor == (16, 16, 16)
    assert chair.num_networks == 547
    assert chair.dtype == np.float16
    assert chair.start_camera is not None
    assert chair.training_poses is not None
    assert chair_path.stat().st_size < 12e6
