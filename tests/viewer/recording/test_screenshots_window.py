"""F12 in the real window, under Xvfb: the picture goes on, whatever is saved."""

import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from kilonerf.viewer.settings import ScreenshotSettings
from support.driving import Driver
from support.gated_renderer import GatedRenderer

pytestmark = pytest.mark.skipif(not shutil.which("xdotool") or not shutil.which("Xvfb"), reason="needs xdotool, Xvfb")


def saved(driver, text="Screenshot saved"):
    return lambda: any(text in notice.text for notice in driver.app.notices.log)


def test_the_picture_follows_the_camera_while_a_screenshot_is_rendered(toy_scene, tmp_path):
    window, screenshot = threading.Event(), threading.Event()
    window.set()
    gates = iter((window, screenshot, screenshot))
    with Driver(
        tmp_path, toy_scene, make_renderer=lambda scene, backend: GatedRenderer(scene, backend, gate=next(gates))
    ) as driver:
        driver.settings.screenshot.size = (320, 200)
        driver.settle()
        driver.press("F12")
        driver.press("F12")
        before = driver.app.view.shown
        driver.drag((250, 300), (400, 340))
        driver.settle()
        assert driver.app.view.shown is not before  # new pictures come, though no screenshot is done
        assert list(tmp_path.iterdir()) == []
        driver.press("Escape")
        driver.until(saved(driver, "Screenshot cancelled"))
        screenshot.set()
        driver.press("F12")
        driver.until(saved(driver))
        assert [path.name for path in tmp_path.iterdir()] == ["screenshot_001.png"]
        with Image.open(tmp_path / "screenshot_001.png") as image:
            assert image.size == (320, 200)


def test_size_samples_transparency_and_overlays_of_choice(driver, tmp_path):
    driver.settle()
    pictures = []
    for number, still in enumerate(
        (ScreenshotSettings((400, 300)), ScreenshotSettings((400, 300), samples=4, transparent=True)), start=1
    ):
        driver.settings.screenshot = still
        driver.app.notices.log.clear()
        driver.press("F12")
        driver.until(saved(driver))
        with Image.open(tmp_path / f"screenshot_{number:03d}.png") as image:
            pictures.append(np.asarray(image))
    assert [picture.shape for picture in pictures] == [(300, 400, 3), (300, 400, 4)]
    assert pictures[1][..., 3].min() == 0
    driver.settings.screenshot = ScreenshotSettings((400, 300))
    driver.settings.overlays = type(driver.settings.overlays)(box=True)
    driver.app.notices.log.clear()
    driver.press("F12")
    driver.until(saved(driver))
    with Image.open(tmp_path / "screenshot_003.png") as image:
        changed = np.abs(np.asarray(image).astype(int) - pictures[0]).max(axis=2) > 30
    assert 0.001 < changed.mean() < 0.2
