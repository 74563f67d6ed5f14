import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import SceneError, load_scene, save_scene
from support.knf_files import join, json_values, one_file, split
from support.scenes import random_scene


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
    "a header length beyond the file": (
        lambda h, b: struct.pack("<Q", 2**63) + b"{" + bytes(63),
        "expected a header of",
    ),
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
    "another kind": ({"kind": "splats"}, "kind: expected 'kilonerf' or 'octree', got 'splats'"),
    "a later version": ({"version": 5}, r"version: expected 1 to 4 \(a newer file needs a newer program\), got 5"),
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
