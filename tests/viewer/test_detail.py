"""An octree field in the window up to one of its levels."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import OctreeScene, save_scene
from kilonerf.viewer.inspection.detail import LevelOfDetail
from kilonerf.viewer.scene_loading import SceneLoader
from support.driving import Driver
from support.fields.octree_scenes import random_octree_scene


def shown_by(loader: SceneLoader) -> OctreeScene:
    outcome = loader.take()
    assert outcome is not None
    assert outcome.again  # the camera stays
    assert isinstance(outcome.scene, OctreeScene)
    return outcome.scene


def test_a_level_is_the_scene_up_to_it_and_the_last_one_the_scene_itself() -> None:
    scene = random_octree_scene(5, 2, codings=("plain", "codes"))
    loader, path = SceneLoader(), Path("field.knf")
    detail = LevelOfDetail(loader)
    detail.choose(scene, path, scene.depth)
    assert loader.take() is None  # it is shown already
    detail.choose(scene, path, scene.first_level)
    coarse = shown_by(loader)
    assert (coarse.first_level, coarse.depth) == (scene.first_level, scene.first_level)
    detail.choose(coarse, path, scene.depth)
    assert shown_by(loader) is scene


def test_another_scene_has_its_own_levels() -> None:
    one, other = (random_octree_scene(5, 2, codings=("plain", "codes"), seed=seed) for seed in (1, 2))
    loader, path = SceneLoader(), Path("field.knf")
    detail = LevelOfDetail(loader)
    detail.choose(one, path, one.first_level)
    shown_by(loader)
    detail.choose(other, path, other.first_level)
    shown = shown_by(loader)
    np.testing.assert_array_equal(shown.decoder["output.bias"], other.decoder["output.bias"])
    detail.choose(shown, path, other.depth)
    assert shown_by(loader) is other


@pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")
def test_the_slider_shows_a_coarser_field_from_the_same_place(tmp_path, places) -> None:
    scene = random_octree_scene(5, 2, codings=("plain", "codes"))
    save_scene(scene, tmp_path / "field.knf")
    with Driver(tmp_path, scene, size=(1280, 800)) as driver:
        driver.settle()
        before, matrix = driver.app.view.shown, driver.app.navigator.matrix()
        driver.click(*places.at("##Detail", 0.1))  # of two levels, the left one
        driver.until(lambda: isinstance(driver.app.scene, OctreeScene) and driver.app.scene.depth == scene.first_level)
        driver.settle()
        assert driver.app.view.shown is not before
        np.testing.assert_array_equal(driver.app.navigator.matrix(), matrix)
        driver.click(*places.at("##Detail", 0.9))
        driver.until(lambda: isinstance(driver.app.scene, OctreeScene) and driver.app.scene.depth == scene.depth)
