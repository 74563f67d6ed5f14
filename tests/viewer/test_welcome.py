"""The scene and the card of a viewer that was given no scene."""

import zlib

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import load_scene, save_scene
from kilonerf.viewer.camera.navigator import scaled_camera
from kilonerf.viewer.panels.recent_files import RecentFiles
from kilonerf.viewer.rectangle import Rectangle
from kilonerf.viewer.welcome import CHAIR
from kilonerf.viewer.welcome.card import WelcomeCard

IN_WHEEL = 2_500_000  # bytes: a wheel of 5 MB at most, of which code takes 1.5 MB


def test_the_chair_is_small_in_a_wheel_and_looks_like_the_original():
    assert len(zlib.compress(CHAIR.read_bytes())) < IN_WHEEL
    original = load_scene(CHAIR.parents[2] / "assets" / "chair.knf")
    pictures = []
    for scene in (load_scene(CHAIR), original):
        assert original.start_camera is not None
        camera = scaled_camera(original.start_camera, 0.3)
        pictures.append(create_renderer(scene, "cpu").render(camera, RenderOptions()).rgb)
    assert psnr(*pictures) > 45.0


class Asked:
    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def test_the_card_offers_recent_files_and_can_be_closed(frames, places, tmp_path):
    recent = RecentFiles(None)
    (tmp_path / "a.knf").touch()
    recent.add(tmp_path / "a.knf")
    recent.add(tmp_path / "gone.knf")
    asked = Asked()
    card = WelcomeCard(asked, recent)  # type: ignore[arg-type]
    area = Rectangle(0.0, 0.0, 900.0, 700.0)

    def draw():
        card.draw(area)

    frames.frames(draw)
    assert not places.places  # nothing, unless it is to be shown
    card.shown = True
    frames.frames(draw)
    assert [label for label in places.places if "knf" in label] == [f"a.knf##{tmp_path / 'a.knf'}"]
    frames.click(draw, *places.at(f"a.knf##{tmp_path / 'a.knf'}"))
    assert asked.calls == [("open_scene", tmp_path / "a.knf")]
    frames.click(draw, *places.at("x##close welcome"))
    assert not card.shown


def test_another_scene_ends_the_welcome_and_the_chair_is_not_a_recent_file(driver, toy_scene, tmp_path):
    app = driver.app
    app.welcome.shown = True
    app.open_scene(CHAIR)
    driver.until(lambda: app.scene_path == CHAIR and app.settled)
    assert app.welcome.shown
    assert CHAIR not in app._recent.there
    save_scene(toy_scene, tmp_path / "toy.knf")
    app.open_scene(tmp_path / "toy.knf")
    driver.until(lambda: app.scene_path != CHAIR)
    assert not app.welcome.shown
    assert tmp_path / "toy.knf" in app._recent.there
