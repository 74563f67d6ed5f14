"""Camera paths of other programs: what they write is read, and what is written they would read the same."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import Camera, CameraPath, CameraPathError
from kilonerf.model_io.camera.interchange import FORMATS, Worlds, load_any_path, save_path

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "26-foreign-camera-paths"
CAMERAS = [
    Camera.look_at((3.0 * math.cos(a), 3.0 * math.sin(a), 1.0 + 0.3 * a), (0.1, 0.0, 0.2), 96, 72, fov_y=0.6 + 0.05 * a)
    for a in (0.0, 0.7, 1.9, 2.5)
]
PATH = CameraPath.from_cameras([0.0, 1.0, 1.5, 4.0], CAMERAS)


def write(file, document):
    file.write_text(json.dumps(document))
    return file


# Written by hand from what each program's source says of a camera at (1, 2, 3) that looks along +y, z up.
C2W = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, -1.0, 2.0], [0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 0.0, 1.0]])
HALF = math.sqrt(0.5)
BY_HAND = {
    "nerfstudio": {
        "keyframes": [],
        "render_height": 72,
        "render_width": 96,
        "fps": 10,
        "camera_path": [{"camera_to_world": C2W.reshape(-1).tolist(), "fov": 50.0, "aspect": 1.3}] * 2,
    },
    # p * 0.33 + 0.5, axes y z x; camera axes right (1 0 0), down (0 0 -1), forward (0 1 0): in that order
    # (0 0 1), (0 -1 0), (1 0 0), half a turn about (1 0 1).
    "instant-ngp": {
        "time": 0.0,
        "path": [
            {
                "R": [HALF, 0.0, HALF, 0.0],
                "T": [2.0 * 0.33 + 0.5, 3.0 * 0.33 + 0.5, 1.0 * 0.33 + 0.5],
                "slice": 0.0,
                "scale": 1.0,
                "fov": 50.0,
                "aperture_size": 0.0,
            }
        ],
    },
    # World y and z flipped; the camera's axes are OpenGL's: right (1 0 0), up (0 0 -1), backward (0 1 0).
    "lichtfeld": {
        "version": 4,
        "clip_duration": 5.0,
        "keyframes": [
            {
                "time": 0.0,
                "position": [1.0, -2.0, -3.0],
                "rotation": [HALF, -HALF, 0.0, 0.0],
                "focal_length_mm": 12.0 / math.tan(math.radians(25.0)),
                "easing": 0,
            }
        ],
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_camera_written_by_hand_is_where_its_program_has_it(tmp_path, name):
    path, kind = load_any_path(write(tmp_path / "p.json", BY_HAND[name]))
    assert kind == name
    np.testing.assert_allclose(np.array(path.keyframes[0].c2w), C2W, atol=1e-9)
    assert path.keyframes[0].fov_y == pytest.approx(math.radians(50.0))


@pytest.mark.parametrize("closing", [0.0, 1.2])
@pytest.mark.parametrize("to", FORMATS)
def test_what_is_written_is_read_again(tmp_path, to, closing):
    path = CameraPath(PATH.keyframes, "keys", closing)
    save_path(path, tmp_path / "p.json", to, fps=30.0, every=0.05)
    again, kind = load_any_path(tmp_path / "p.json")
    assert kind == ("nerfstudio" if to.startswith("nerfstudio") else to)
    assert again.closed == (closing > 0.0 and to != "lichtfeld")
    assert again.duration == pytest.approx(path.duration, abs=1e-6)
    for seconds in np.arange(0.0, again.duration, 1.0 / 30.0).tolist():
        got, expected = again.camera_at(seconds, 96, 72), path.camera_at(seconds, 96, 72)
        np.testing.assert_allclose(got.matrix, expected.matrix, atol=4e-3)
        assert got.fov_y == pytest.approx(expected.fov_y, abs=1e-3)


def test_nerfstudio_gets_the_frames_that_are_rendered_here(tmp_path):
    save_path(PATH, tmp_path / "p.json", "nerfstudio", size=(640, 480), fps=24.0)
    document = json.loads((tmp_path / "p.json").read_text())
    assert (document["render_width"], document["render_height"], document["fps"]) == (640, 480, 24.0)
    assert len(document["camera_path"]) == 97
    for k in (0, 31, 96):
        frame, camera = document["camera_path"][k], PATH.camera_at(k / 24.0, 640, 480)
        np.testing.assert_allclose(np.array(frame["camera_to_world"]).reshape(4, 4), camera.matrix, atol=1e-9)
        assert math.radians(frame["fov"]) == pytest.approx(camera.fov_y)
    ways = [key["override_transition_sec"] for key in document["keyframes"]]
    assert ways == [None, 1.0, 0.5, 2.5]


def test_keys_without_frames_are_enough(tmp_path):
    for to in ("nerfstudio", "nerfstudio-old"):
        save_path(PATH, tmp_path / "p.json", to)
        document = json.loads((tmp_path / "p.json").read_text())
        document["camera_path"] = []
        path, _ = load_any_path(write(tmp_path / "q.json", document))
        assert len(path.keyframes) == 4
        assert path.duration == pytest.approx(4.0)
        np.testing.assert_allclose(np.array(path.keyframes[2].c2w), CAMERAS[2].matrix, atol=1e-9)


def test_the_keys_alone_can_be_written(tmp_path):
    for to in ("instant-ngp", "lichtfeld"):
        save_path(PATH, tmp_path / "p.json", to, every=0.0)
        path, _ = load_any_path(tmp_path / "p.json")
        assert [key.seconds for key in path.keyframes] == pytest.approx([0.0, 1.0, 1.5, 4.0])


def test_instant_ngp_reaches_a_key_at_the_timestamp_before_it(tmp_path):
    save_path(PATH, tmp_path / "p.json", "instant-ngp", every=0.0)
    stamps = [key["timestamp"] for key in json.loads((tmp_path / "p.json").read_text())["path"]]
    assert stamps[:3] == [1.0, 1.5, 4.0]
    assert stamps[3] > 4.0  # has_valid_timestamps: more than the one before


def test_nerfstudio_s_normalisation_is_undone(tmp_path):
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    applied = [[0.0, 1.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.25]]
    normal = np.hstack([rotation, rng.normal(size=(3, 1))])
    saved = normal @ np.vstack([applied, [0.0, 0.0, 0.0, 1.0]])  # what NerfstudioDataParser saves
    dataparser = write(tmp_path / "dataparser_transforms.json", {"transform": saved.tolist(), "scale": 0.37})
    transforms = write(tmp_path / "transforms.json", {"applied_transform": applied, "frames": []})
    inside = np.eye(4)
    inside[:3] = normal @ CAMERAS[1].matrix  # as nerfstudio normalises a pose of transforms.json
    inside[:3, 3] *= 0.37
    frame = {"camera_to_world": inside.reshape(-1).tolist(), "fov": 50.0, "aspect": 1.0}
    file = write(tmp_path / "p.json", {"camera_path": [frame], "render_height": 8, "render_width": 8, "fps": 24})
    worlds = Worlds(dataparser, transforms)
    path, _ = load_any_path(file, worlds)
    np.testing.assert_allclose(np.array(path.keyframes[0].c2w), CAMERAS[1].matrix, atol=1e-9)
    save_path(path, tmp_path / "q.json", "nerfstudio", worlds)
    written = json.loads((tmp_path / "q.json").read_text())["camera_path"][0]["camera_to_world"]
    np.testing.assert_allclose(np.array(written).reshape(4, 4), inside, atol=1e-9)


def test_instant_ngp_s_scale_offset_and_the_origin_of_the_scene(tmp_path):
    transforms = write(tmp_path / "transforms.json", {"scale": 0.1, "offset": [0.1, 0.2, 0.3]})
    worlds = Worlds(transforms=transforms, origin=(1000.0, 0.0, 0.0))
    save_path(PATH, tmp_path / "p.json", "instant-ngp", worlds, every=0.0)
    first = json.loads((tmp_path / "p.json").read_text())["path"][0]["T"]
    x, y, z = CAMERAS[0].position
    np.testing.assert_allclose(first, [y * 0.1 + 0.2, z * 0.1 + 0.3, (x + 1000.0) * 0.1 + 0.1])
    path, _ = load_any_path(tmp_path / "p.json", worlds)
    np.testing.assert_allclose(np.array(path.keyframes[0].c2w), CAMERAS[0].matrix, atol=1e-9)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_published_layouts_say_the_same():
    new, _ = load_any_path(CASES / "nerfstudio_new.json")
    old, _ = load_any_path(CASES / "nerfstudio_old.json")
    ngp, kind = load_any_path(CASES / "base_cam.json")
    assert kind == "instant-ngp"
    assert len(new.keyframes) == len(old.keyframes) == len(ngp.keyframes) == 6
    assert old.closed
    for one, two, three in zip(new.keyframes, old.keyframes, ngp.keyframes, strict=True):
        np.testing.assert_allclose(np.array(one.c2w), np.array(two.c2w), atol=1e-9)
        np.testing.assert_allclose(np.array(one.c2w), np.array(three.c2w), atol=1e-6)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"camera_path": [{"camera_to_world": [1, 2], "fov": 50}], "fps": 24}, "camera_to_world"),
        ({"camera_path": [{"camera_to_world": np.eye(4).reshape(-1).tolist(), "fov": "x"}]}, "fov"),
        ({"camera_path": [{"camera_to_world": np.eye(4).reshape(-1).tolist(), "fov": 50}], "fps": 0}, "fps"),
        ({"keyframes": [{"matrix": "[1, 2"}], "render_height": 2}, "matrix"),
        ({"path": [{"R": [0, 0, 0, 0], "T": [0, 0, 0], "fov": 50}]}, "R"),
        ({"path": []}, "path"),
        ({"keyframes": [{"focal_length_mm": 0}], "version": 5}, "version"),
        ({"keyframes": [{"focal_length_mm": 35, "rotation": [1, 0, 0]}], "version": 4}, "rotation"),
        ({"something": "else"}, "format"),
        ([1, 2], "format"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, document, said):
    file = write(tmp_path / "p.json", document)
    with pytest.raises(CameraPathError, match=said) as caught:
        load_any_path(file)
    assert str(caught.value).startswith(str(file))
