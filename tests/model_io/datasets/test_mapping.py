"""Poses that COLMAP finds for photos which have none."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, OutputError, load_dataset
from kilonerf.model_io.datasets import photos_without_poses
from kilonerf.model_io.datasets.colmap import find_poses, mapping
from support.photo_sets import ring, save, write_colmap, write_nerfstudio

pycolmap = pytest.importorskip("pycolmap", reason="needs pycolmap")
GREY = np.full((90, 120, 3), 128, np.uint8)


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """pycolmap whose steps are noted and whose mapper gives the models of ``stub.models``."""
    stub = types.SimpleNamespace(calls=[], models={}, failure=None)

    def extract(database, photos, names, mode, **options):
        stub.calls.append(("extract", list(names), mode.name, options["reader_options"].existing_camera_id))
        assert all((photos / name).is_file() for name in names)
        if stub.failure is not None:
            raise stub.failure

    def match(database, matching, options):
        stub.calls.append(("match", Path(options.match_list_path).read_text().splitlines()))

    def mapper(database, photos, output, options, *, initial_image_pair_callback, next_image_callback):
        initial_image_pair_callback()
        for _ in range(3):
            next_image_callback()
        return stub.models

    monkeypatch.setattr(pycolmap, "extract_features", extract)
    monkeypatch.setattr(pycolmap, "match_image_pairs", match)
    monkeypatch.setattr(pycolmap, "incremental_mapping", mapper)
    return stub


def model(folder, cameras, names):
    """What pycolmap would make of photos with these names in its own folder."""
    write_colmap(folder, cameras)
    found = pycolmap.Reconstruction(folder / "sparse/0")
    for image, name in zip(found.images.values(), names, strict=True):
        image.name = name
    return found


def photos(folder, count, name="my photo {}.png"):
    for number in range(count):
        save(folder / name.format(number), GREY)
    return photos_without_poses(folder)


def test_steps_progress_and_result(stub, tmp_path):
    data = tmp_path / "data"
    found = photos(data, 10)
    names = [f"{number:06d}.png" for number in range(10)]
    stub.models = {
        0: model(tmp_path / "a", ring(3), names[:3]),
        1: model(tmp_path / "b", ring(9), [*names[:4], *names[5:]]),
    }
    said: list[str] = []
    path = find_poses(data, found, said.append)
    assert path == data / "colmap/sparse/0"
    assert sorted(entry.name for entry in data.iterdir()) == ["colmap", *(f"my photo {n}.png" for n in range(10))]
    extracted = [call for call in stub.calls if call[0] == "extract"]
    assert [name for call in extracted for name in call[1]] == names
    assert [call[2:] for call in extracted] == [("SINGLE", -1), ("SINGLE", 1)]  # one lens for all
    pairs = [tuple(line.split()) for call in stub.calls if call[0] == "match" for line in call[1]]
    assert len(set(pairs)) == len(pairs) == 45
    assert said[0] == "no poses: looking for features, 8 of 10 photos"
    assert "no poses: matching photos, 45 of 45 pairs" in said
    assert "no poses: placing photos, 5 of 10" in said
    assert said[-1].startswith("9 of 10 photos are placed, to within ")
    assert said[-1].endswith("; not placed, and left out: my photo 4.png")
    dataset = load_dataset(data, "train", photos=True)
    assert len(dataset.views) == 7
    assert dataset.views[0].image_path == data / "my photo 1.png"
    assert photos_without_poses(data) == []  # the result is used again


def test_many_photos_are_matched_with_those_beside_them(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "_ALL_PAIRS", 40)
    names = [f"{number:06d}.png" for number in range(100)]
    stub.models = {0: model(tmp_path / "a", ring(3), names[:3])}
    find_poses(tmp_path / "data", photos(tmp_path / "data", 100), lambda line: None)
    pairs = {tuple(line.split()) for call in stub.calls if call[0] == "match" for line in call[1]}
    assert ("000000.png", "000020.png") in pairs
    assert ("000000.png", "000021.png") not in pairs
    assert ("000000.png", "000064.png") in pairs


def test_photos_of_several_sizes_have_lenses_of_their_own(stub, tmp_path):
    data = tmp_path / "data"
    save(data / "z.png", GREY[:45])
    stub.models = {0: model(tmp_path / "a", ring(3), [f"{number:06d}.png" for number in range(3)])}
    find_poses(data, photos(data, 3), lambda line: None)
    assert {call[2:] for call in stub.calls if call[0] == "extract"} == {("AUTO", -1)}


@pytest.mark.parametrize("failure", [None, RuntimeError("[database.cc:1] Check failed"), MemoryError()])
def test_photos_that_cannot_be_placed_are_one_line_and_leave_nothing(failure, stub, tmp_path):
    stub.failure = failure
    found = photos(tmp_path, 4)
    with pytest.raises(DatasetError, match="cannot find the photos' poses: COLMAP") as caught:
        find_poses(tmp_path, found, lambda line: None)
    assert "\n" not in str(caught.value)
    assert "Check failed" not in str(caught.value)
    assert len(list(tmp_path.iterdir())) == 4


def test_too_few_photos_no_place_to_write_and_no_pycolmap(stub, tmp_path, monkeypatch):
    found = photos(tmp_path, 3)
    with pytest.raises(DatasetError, match="expected poses, or at least 3 photos to find them by, got 2"):
        find_poses(tmp_path, found[:2], lambda line: None)
    with pytest.raises(OutputError, match=r"cannot keep the photos' poses there: .*; copy the photos to a folder"):
        find_poses(tmp_path / "missing", found, lambda line: None)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(
        DatasetError, match=r"or pycolmap to find them, got neither \(pip install kilonerf-view\[train\]\)"
    ):
        find_poses(tmp_path, found, lambda line: None)


def test_only_a_folder_without_any_poses_has_photos_without_poses(tmp_path):
    assert len(photos(tmp_path / "a", 2)) == 2
    assert len(photos(tmp_path / "b", 2, "images/{}.jpg")) == 2
    write_nerfstudio(tmp_path / "b", ring(2))
    assert photos_without_poses(tmp_path / "b") == []
    (tmp_path / "a/poses_bounds.npy").touch()
    assert photos_without_poses(tmp_path / "a") == []
    assert photos_without_poses(tmp_path / "missing") == []


@pytest.mark.slow
def test_colmap_itself_places_rendered_photos(tmp_path):
    """A textured box seen by six cameras: their distances to each other come out right, up to one scale."""
    cameras = [camera.resized(320, 240) for camera in ring(6, distance=4.0)]
    cameras = [type(c).look_at((0.4 * n - 1, -3.5, 0.6), (0, 0, 0), 320, 240, fov_y=0.7) for n, c in enumerate(cameras)]
    for number, camera in enumerate(cameras):
        save(tmp_path / f"{number}.png", _rendered(camera))
    said: list[str] = []
    find_poses(tmp_path, photos_without_poses(tmp_path), said.append)
    views = [view for split in ("train", "test") for view in load_dataset(tmp_path, split, photos=True).views]
    assert len(views) == 6, said
    places = {view.name: view.camera.position for view in views}
    pairs = [(a, b) for a in range(6) for b in range(a)]
    found = np.array([np.linalg.norm(places[str(a)] - places[str(b)]) for a, b in pairs])
    true = np.array([np.linalg.norm(cameras[a].position - cameras[b].position) for a, b in pairs])
    scale = found / true
    assert scale.std() < 0.05 * scale.mean(), said


def _rendered(camera):
    """Two walls and a floor with random squares in several sizes, by ray casting."""
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    rays = np.stack([x, -y, -np.ones_like(x)], axis=-1) @ camera.matrix[:3, :3].T
    depth, colour = np.full(x.shape, np.inf), np.full((*x.shape, 3), 90.0)
    for axis, place in ((2, -1.0), (1, 1.5), (0, 1.5)):
        t = (place - camera.position[axis]) / rays[..., axis]
        hit = camera.position + t[..., None] * rays
        others = [other for other in range(3) if other != axis]
        texture = np.zeros((*x.shape, 3))
        for size in (4, 11, 31):
            table = np.random.default_rng(10 * axis + size).integers(0, 256, (64, 64, 3))
            cells = np.floor(np.nan_to_num(hit[..., others]) * size).astype(int) % 64
            texture += table[cells[..., 0], cells[..., 1]] / 3
        nearer = (t > 0) & (t < depth)
        depth, colour = np.where(nearer, t, depth), np.where(nearer[..., None], texture, colour)
    return colour.astype(np.uint8)
