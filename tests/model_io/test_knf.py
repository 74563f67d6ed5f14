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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scenes import random_scene

from kilonerf.model_io import LAYER_SHAPES, Camera, OutputError, Scene, SceneError, load_scene, save_scene

PNG = b"\x89PNG\r\n\x1a\n-made-up"
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def assert_same(loaded: Scene, scene: Scene) -> None:
    for field in ("aabb_min", "aabb_max", "occupancy", "network_index"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(scene, field), strict=True)
    assert set(loaded.layers) == set(scene.layers)
    for name, array in scene.layers.items():
        np.testing.assert_array_equal(loaded.layers[name], array, strict=True)
    for field in ("near", "far", "num_samples", "background", "start_camera", "preview", "provenance"):
        assert getattr(loaded, field) == getattr(scene, field), field
    assert (loaded.training_poses is None) == (scene.training_poses is None)
    if scene.training_poses is not None:
        np.testing.assert_array_equal(loaded.training_poses, scene.training_poses, strict=True)


def split(data: bytes) -> tuple[dict, bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture(scope="module")
def scene() -> Scene:
    return replace(random_scene(), training_poses=np.stack([np.eye(4, dtype=np.float32)] * 2), preview=PNG)


@pytest.fixture(scope="module")
def good(scene, tmp_path_factory) -> bytes:
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("good") / "good.knf"
    save_scene(scene, path)
    return path.read_bytes()


finite32 = st.floats(-1e6, 1e6, width=32)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@st.composite
def scenes(draw) -> Scene:
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
    assert_same(load_scene(tmp_path / "scene.knf"), scene)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.knf"]  # no temporary file is left


def test_float16_and_back(scene, tmp_path):
    save_scene(scene, tmp_path / "half.knf", dtype="float16")
    half = load_scene(tmp_path / "half.knf")
    assert half.dtype == np.float16
    for name, array in scene.layers.items():
        np.testing.assert_array_equal(half.layers[name], array.astype(np.float16))
    save_scene(half, tmp_path / "single.knf", dtype=np.float32)
    assert load_scene(tmp_path / "single.knf").dtype == np.float32


def test_the_exact_bytes_of_a_tiny_file(tmp_path):
    """The format may not change unnoticed: every byte of this file is written out here from docs/knf.md."""
    occupancy = np.zeros((1, 3, 3), bool)
    occupancy[0, 0, 1] = occupancy[0, 2, 2] = True  # voxels 1 and 8
    layers = {}
    for number, (name, (inputs, outputs)) in enumerate(LAYER_SHAPES.items()):
        layers[f"{name}.weight"] = np.full((1, inputs, outputs), number + 1, np.float16)
        layers[f"{name}.bias"] = np.full((1, outputs), -number, np.float16)
    scene = Scene(
        aabb_min=np.array([-1, -2, -3], np.float32),
        aabb_max=np.array([1, 2, 0.5], np.float32),
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
    for name, array in load_scene(tmp_path / "scene.knf").layers.items():
        assert not array.flags.owndata, name
        assert not array.flags.writeable, name
        assert array.flags.aligned, name


def test_a_loaded_scene_survives_its_file_being_replaced(scene, tmp_path):
    path = tmp_path / "scene.knf"
    save_scene(scene, path)
    loaded = load_scene(path)
    save_scene(random_scene((1, 1, 1), seed=9), path)
    assert_same(loaded, scene)


def test_an_existing_file_is_replaced_with_the_usual_permissions(scene, tmp_path):
    (tmp_path / "scene.knf").write_bytes(b"old")
    save_scene(scene, tmp_path / "scene.knf")
    assert_same(load_scene(tmp_path / "scene.knf"), scene)
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
    assert_same(load_scene(tmp_path / "new.knf"), scene)


def test_tensors_at_odd_addresses_are_read(good, tmp_path, scene):
    header, body = split(good)
    for entry in header.values():
        if "data_offsets" in entry:
            entry["data_offsets"] = [offset + 1 for offset in entry["data_offsets"]]
    header["pad"] = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    (tmp_path / "odd.knf").write_bytes(join(header, b"\0" + body))
    loaded = load_scene(tmp_path / "odd.knf")
    assert_same(loaded, scene)
    assert all(array.flags.aligned for array in loaded.layers.values())


# ---- files that are wrong


def refused(path: Path, data: bytes, message: str | None = None) -> str:
    path.write_bytes(data)
    with pytest.raises(SceneError, match=message) as caught:
        load_scene(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    return text


def assert_sound_or_refused(path: Path) -> None:
    """A damaged file may still be a scene (another provenance, say); anything else is one SceneError of one line."""
    message = ""
    try:
        load_scene(path)
    except SceneError as error:
        message = str(error)
    assert "\n" not in message


def test_truncation_anywhere_is_refused(good, tmp_path):
    header_end = 8 + struct.unpack("<Q", good[:8])[0]
    cuts = {0, 1, 7, 8, 9, header_end - 1, header_end, header_end + 1, len(good) - 1}
    header, _ = split(good)
    for entry in header.values():
        if "data_offsets" in entry:  # the edges of every tensor, and within it
            begin, end = (header_end + offset for offset in entry["data_offsets"])
            cuts |= {begin, begin + 1, (begin + end) // 2, end - 1}
    for cut in sorted(cuts):
        assert cut < len(good)
        refused(tmp_path / "cut.knf", good[:cut])
    refused(tmp_path / "long.knf", good + b"\0", "data: expected")


@one_file
@given(data=st.binary(max_size=400))
def test_random_bytes_are_refused(data, tmp_path):
    refused(tmp_path / "random.knf", data)


@one_file
@given(text=st.text(max_size=200) | json_values.map(json.dumps))
def test_random_headers_are_refused(text, tmp_path):
    refused(tmp_path / "random.knf", join(text.encode("utf-8", "surrogatepass"), b""))


@one_file
@given(position=st.integers(0, 2**20), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_gives_a_sound_scene(good, position, value, tmp_path):
    header_end = 8 + struct.unpack("<Q", good[:8])[0]
    data = bytearray(good)
    data[position % header_end] = value
    (tmp_path / "changed.knf").write_bytes(data)
    assert_sound_or_refused(tmp_path / "changed.knf")


@one_file
@given(replacement=json_values, data=st.data())
def test_a_changed_value_is_refused_or_gives_a_sound_scene(good, replacement, data, tmp_path):
    header, body = split(good)
    document = json.loads(header["__metadata__"]["knf"])
    target = data.draw(st.sampled_from([document, document["start_camera"], header, header["occupancy"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = replacement
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["knf"] = json.dumps(document)
    (tmp_path / "changed.knf").write_bytes(join(header, body))
    assert_sound_or_refused(tmp_path / "changed.knf")


HUGE = 2**62
LIES = {
    "wrong magic": (lambda h, b: b"PK\x03\x04" + bytes(200), "not a scene file"),
    "a header length beyond the file": (lambda h, b: struct.pack("<Q", 2**63) + bytes(64), "expected a header of"),
    "a header of one object too many": (lambda h, b: join(json.dumps(h).encode() + b"{}", b), "header: expected JSON"),
    "a header that is a list": (lambda h, b: join(b"[]", b), "not a scene file: expected a header that begins"),
    "a header that is not UTF-8": (lambda h, b: join(b'{"\xff":1}', b), "header: expected JSON"),
    "a header nested deeply": (lambda h, b: join(b'{"a":' * 100_000, b), "header: expected JSON"),
    "a tensor twice": (lambda h, b: join(b'{"a":{},"a":{}}', b), "header: expected every key once, got 'a' twice"),
    "a number of a million digits": (
        lambda h, b: join(b'{"a":' + b"9" * 10**6 + b"}", b),
        "header: expected JSON|tensor 'a': expected dtype",
    ),
    "NaN in the header": (lambda h, b: join(b'{"a":NaN}', b), "header: expected finite numbers, got NaN"),
    "no metadata": (lambda h, b: join({k: v for k, v in h.items() if k != "__metadata__"}, b), "expected 'knf'"),
    "metadata of numbers": (lambda h, b: join(h | {"__metadata__": {"knf": 1}}, b), "__metadata__: expected"),
    "a tensor without shape": (lambda h, b: join(h | {"x": {"dtype": "U8"}}, b), "tensor 'x': expected dtype, shape"),
    "a negative size": (
        lambda h, b: join(h | {"x": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 0]}}, b),
        "tensor 'x': expected a shape",
    ),
    "an absurd shape": (
        lambda h, b: join(h | {"x": {"dtype": "F64", "shape": [HUGE, HUGE, HUGE], "data_offsets": [0, 8]}}, b),
        "tensor 'x': expected .* bytes for float64",
    ),
    "an absurd empty shape": (
        lambda h, b: join(
            h | {"x": {"dtype": "F64", "shape": [0, HUGE, HUGE], "data_offsets": [len(b), len(b)]}},
            b,
        ),
        "tensor 'x': expected a shape that fits",
    ),
    "offsets beyond the file": (
        lambda h, b: join(h | {"x": {"dtype": "U8", "shape": [HUGE], "data_offsets": [len(b), len(b) + HUGE]}}, b),
        "tensor 'x': expected data_offsets within",
    ),
    "offsets backwards": (
        lambda h, b: join(h | {"x": {"dtype": "U8", "shape": [0], "data_offsets": [9, 8]}}, b),
        "tensor 'x': expected data_offsets within",
    ),
    "true for an offset": (
        lambda h, b: join(h | {"x": {"dtype": "U8", "shape": [1], "data_offsets": [False, True]}}, b),
        "tensor 'x': expected two data_offsets",
    ),
    "tensors that overlap": (
        lambda h, b: join(h | {"x": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}, b),
        "expected to begin at byte",
    ),
    "a hole": (
        lambda h, b: join(
            h | {"x": {"dtype": "U8", "shape": [1], "data_offsets": [len(b) + 1, len(b) + 2]}}, b + b"xx"
        ),
        "tensor 'x': expected to begin at byte",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_is_refused(name, good, tmp_path):
    make, message = LIES[name]
    refused(tmp_path / "lie.knf", make(*split(good)), message)


DOCUMENTS = {
    "a list": ([], "knf: expected a JSON object"),
    "another kind": ({"kind": "splats"}, "kind: expected 'kilonerf', got 'splats'"),
    "a later version": ({"version": 2}, r"version: expected 1 \(a newer file needs a newer program\), got 2"),
    "another architecture": ({"frequencies": {"position": 6, "direction": 4}}, "frequencies: expected"),
    "other layers": ({"layers": {}}, "layers: expected"),
    "a box of one corner": ({"aabb": [[0, 0, 0]]}, "aabb: expected two corners"),
    "a corner of text": ({"aabb": [["a", 0, 0], [1, 1, 1]]}, "aabb: expected a number"),
    "another network grid": ({"network_resolution": [2, 3, 2]}, "network_index: expected int32"),
    "another occupancy grid": ({"occupancy_resolution": [16, 12, 16]}, "occupancy: expected uint8"),
    "an occupancy that is no multiple": ({"occupancy_resolution": [8, 12, 15]}, "occupancy: expected a resolution"),
    "an absurd occupancy": ({"occupancy_resolution": [2**20] * 3}, "occupancy: expected at most"),
    "an occupancy of two sizes": ({"occupancy_resolution": [8, 12]}, "occupancy_resolution: expected three"),
    "near as text": ({"near": "2"}, "near: expected a number, got '2'"),
    "near of 400 digits": ({"near": 10**400}, "near: expected a number"),
    "far before near": ({"far": 1.0}, "near: expected 0 <= near < far"),
    "half samples": ({"num_samples": 48.5}, "num_samples: expected a whole number"),
    "no background": ({"background": None}, "background: expected 3 numbers"),
    "provenance as text": ({"provenance": "mine"}, "provenance: expected a JSON object"),
    "a camera as text": ({"start_camera": "front"}, "start_camera: expected a JSON object or null"),
    "a camera of no size": (
        {"start_camera": {"c2w": np.eye(4).tolist(), "width": 0, "height": 1}},
        "start_camera.width: expected",
    ),
    "a camera without a lens": (
        {"start_camera": {"c2w": np.eye(4).tolist(), "width": 1, "height": 1}},
        "start_camera.fx: expected",
    ),
    "a camera with a focal length of 0": (
        {"start_camera": {"c2w": np.eye(4).tolist(), "width": 1, "height": 1, "fx": 0, "fy": 1, "cx": 0, "cy": 0}},
        "start_camera: Camera: ",
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_wrong_document_is_refused(name, good, tmp_path):
    changes, message = DOCUMENTS[name]
    header, body = split(good)
    document = json.loads(header["__metadata__"]["knf"])
    document = document | changes if isinstance(changes, dict) else changes
    header["__metadata__"]["knf"] = json.dumps(document)
    refused(tmp_path / "wrong.knf", join(header, body), message)


def test_wrong_tensors_are_refused(good, tmp_path):
    tensors = safetensors.numpy.load(good)
    metadata = {"knf": split(good)[0]["__metadata__"]["knf"]}

    def with_tensors(**changes) -> bytes:
        changed = tensors | {name.replace("__", "."): array for name, array in changes.items()}
        return safetensors.numpy.save({k: v for k, v in changed.items() if v is not None}, metadata)

    path = tmp_path / "wrong.knf"
    weight = tensors["rgb_linear.weight"]
    refused(path, with_tensors(rgb_linear__weight=None), "rgb_linear.weight: expected this tensor in the file")
    refused(path, with_tensors(rgb_linear__weight=weight[1:]), "rgb_linear.weight: expected shape")
    refused(path, with_tensors(rgb_linear__weight=weight * np.float32(np.nan)), "rgb_linear.weight: expected finite")
    refused(path, with_tensors(rgb_linear__weight=weight.astype(np.float64)), "rgb_linear.weight: expected dtype")
    refused(path, with_tensors(occupancy=tensors["occupancy"][1:]), "occupancy: expected uint8")
    refused(path, with_tensors(network_index=tensors["network_index"] + 99), "network_index: expected values")
    refused(
        path, with_tensors(network_index=tensors["network_index"].astype(np.int64)), "network_index: expected int32"
    )
    refused(path, with_tensors(training_poses=np.zeros((2, 3), np.float32)), "training_poses: expected 3 dimension")
    refused(path, with_tensors(preview_png=np.zeros(20, np.uint8)), "preview: expected the bytes of a PNG")


def test_stray_bits_of_the_occupancy_are_refused(tmp_path):
    save_scene(random_scene((1, 1, 1), (3, 3, 3), dropped=0.0), tmp_path / "odd.knf")
    header, body = split((tmp_path / "odd.knf").read_bytes())
    data = bytearray(body)
    data[header["occupancy"]["data_offsets"][1] - 1] |= 0x80
    refused(tmp_path / "odd.knf", join(header, bytes(data)), "occupancy: expected unused bits")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"nowhere.knf: cannot read: No such file"):
        load_scene(tmp_path / "nowhere.knf")
    with pytest.raises(SceneError, match="expected a file, got a folder"):
        load_scene(tmp_path)


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
    chair = load_scene(chair_path)
    assert chair.resolution == (11, 11, 16)
    assert chair.occupancy_factor == (16, 16, 16)
    assert chair.num_networks == 541
    assert chair.dtype == np.float16
    assert chair.start_camera is not None
    assert chair.training_poses is not None
    assert chair_path.stat().st_size < 12e6
