"""Scenes of nested boxes in files: version 2."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from kilonerf.model_io import Scene, SceneError, load_kilonerf_scene, save_scene
from kilonerf.model_io.scene.facts import describe, fact_rows
from kilonerf.model_io.scene.levels import OuterLevel, hole, level_box
from support.knf_files import join, split
from support.scenes import nested_scene, random_scene, sky_scene

SCENE = nested_scene()


def test_a_nested_scene_is_written_and_read(tmp_path: Path) -> None:
    save_scene(SCENE, tmp_path / "a.knf")
    again = load_kilonerf_scene(tmp_path / "a.knf")
    assert len(again.levels) == 3
    for level, expected in zip(again.levels, SCENE.levels, strict=True):
        assert np.array_equal(level.occupancy, expected.occupancy)
        assert np.array_equal(level.network_index, expected.network_index)
        assert np.array_equal(level.box.min, expected.box.min)
    facts = describe(again)
    assert (facts["version"], facts["levels"]) == (2, 3)
    assert facts["networks_by_level"] == [np.count_nonzero(cells.network_index >= 0) for cells in SCENE.levels]
    assert facts["occupied_voxels_by_level"] == [np.count_nonzero(cells.occupancy) for cells in SCENE.levels]
    save_scene(again, tmp_path / "b.knf")
    assert (tmp_path / "b.knf").read_bytes() == (tmp_path / "a.knf").read_bytes()


def test_a_sky_is_written_and_read_and_others_are_as_before(tmp_path: Path) -> None:
    scene = sky_scene()
    assert scene.sky is not None
    save_scene(scene, tmp_path / "a.knf", np.float16)
    again = load_kilonerf_scene(tmp_path / "a.knf")
    assert again.sky is not None
    assert again.sky.dtype == np.float32
    assert np.array_equal(again.sky, scene.sky)
    assert describe(again)["sky"]
    assert "sky" in dict(fact_rows(again, describe(again) | {"file_bytes": 0}))
    save_scene(SCENE, tmp_path / "b.knf")
    assert "sky" not in split((tmp_path / "b.knf").read_bytes())[0]
    assert not describe(SCENE)["sky"]


@pytest.mark.parametrize(
    ("sky", "message"),
    [
        (np.zeros((9, 3), np.float32), "sky: expected shape [16, 3], got shape [9, 3]"),
        (np.zeros((16, 3), np.float16), "sky: expected dtype float32, got float16"),
        (np.full((16, 3), np.nan, np.float32), "sky: expected numbers from -1e+06 to 1e+06, got nan"),
        (np.full((16, 3), 2e6, np.float32), "sky: expected numbers from -1e+06 to 1e+06, got 2000000"),
    ],
)
def test_skies_that_do_not_fit_are_refused(sky: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=re.escape(message)):
        replace(SCENE, sky=sky)
    save_scene(sky_scene(), tmp_path / "a.knf")
    tensors = safetensors.numpy.load_file(tmp_path / "a.knf") | {"sky": sky}
    header, _ = split((tmp_path / "a.knf").read_bytes())
    safetensors.numpy.save_file(tensors, tmp_path / "b.knf", header["__metadata__"])
    with pytest.raises(SceneError, match=re.escape(message)):
        load_kilonerf_scene(tmp_path / "b.knf")


def test_files_of_one_level_have_no_sky(tmp_path: Path) -> None:
    message = re.escape("sky: expected several levels around which it is, got a scene of one level")
    with pytest.raises(SceneError, match=message):
        replace(random_scene(), sky=np.zeros((16, 3), np.float32))
    save_scene(random_scene(), tmp_path / "a.knf")
    tensors = safetensors.numpy.load_file(tmp_path / "a.knf") | {"sky": np.zeros((16, 3), np.float32)}
    header, _ = split((tmp_path / "a.knf").read_bytes())
    safetensors.numpy.save_file(tensors, tmp_path / "b.knf", header["__metadata__"])
    with pytest.raises(SceneError, match=message):
        load_kilonerf_scene(tmp_path / "b.knf")


def test_one_level_is_still_version_1(tmp_path: Path) -> None:
    save_scene(random_scene(), tmp_path / "a.knf")
    assert b'\\"version\\":1' in (tmp_path / "a.knf").read_bytes()[:2000]


def test_levels_have_one_middle_and_double(tmp_path: Path) -> None:
    for number, cells in enumerate(SCENE.levels):
        np.testing.assert_allclose(cells.box.middle, SCENE.box.middle, atol=1e-6)
        np.testing.assert_allclose(cells.box.size, SCENE.box.size * 2**number, rtol=1e-6)
    outer = SCENE.levels[1]
    low, high = (outer.box.min + part * outer.box.size for part in (0.25, 0.75))
    np.testing.assert_allclose((low, high), (level_box(SCENE.box, 0).min, level_box(SCENE.box, 0).max), atol=1e-5)


def with_level(**changes: np.ndarray) -> Scene:
    return replace(SCENE, outer=(replace(SCENE.outer[0], **changes), *SCENE.outer[1:]))


def filled_hole() -> Scene:
    index = SCENE.outer[0].network_index.copy()
    index[hole(index.shape)] = np.where(index[hole(index.shape)] < 0, SCENE.network_index[0, 0, 0], -1)
    return with_level(network_index=index)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (filled_hole, "network_index of level 1: expected no network where the next level in is"),
        (lambda: with_level(occupancy=SCENE.occupancy[:-1]), "occupancy of level 1: expected shape [16, 24, 8]"),
        (lambda: replace(SCENE, outer=SCENE.outer * 4), "levels: expected 1 to 8, got 9"),
        (lambda: nested_scene(resolution=(2, 4, 4)), "network_index: expected multiples of 4 up to 40 cells"),
        (
            lambda: replace(SCENE, outer=(OuterLevel(SCENE.outer[0].occupancy, SCENE.outer[1].network_index),)),
            "occupancy: expected no occupied voxel in a cell without a network",
        ),
    ],
)
def test_levels_that_do_not_fit_are_refused(make, message: str) -> None:
    with pytest.raises(SceneError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("levels", "message"),
    [("two", "levels: expected a whole number"), (9, "levels: expected 1 to 8"), (2, "network_index: expected int32")],
)
def test_files_with_a_wrong_number_of_levels_are_refused(levels: object, message: str, tmp_path: Path) -> None:
    save_scene(SCENE, tmp_path / "a.knf")
    header, tensors = split((tmp_path / "a.knf").read_bytes())
    document = json.loads(header["__metadata__"]["knf"])
    header["__metadata__"]["knf"] = json.dumps(document | {"levels": levels})
    (tmp_path / "a.knf").write_bytes(join(header, tensors))
    with pytest.raises(SceneError, match=message):
        load_kilonerf_scene(tmp_path / "a.knf")
