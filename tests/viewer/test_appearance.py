"""Theme, backdrop, folded sections and fonts: what they do, and what a later run knows of them."""

import json
from pathlib import Path

import imgui_bundle
import pytest
from imgui_bundle import imgui

from kilonerf.viewer import theme
from kilonerf.viewer.appearance.folding import Folding
from kilonerf.viewer.appearance.fonts import SystemFonts, find_fonts, outline_font_size
from kilonerf.viewer.appearance.preferences import Remembered
from kilonerf.viewer.notices import Notices
from kilonerf.viewer.settings import ViewerSettings
from kilonerf.viewer.theme import BACKDROPS
from support.scenes import nested_scene

ROBOTO = Path(imgui_bundle.__file__).parent / "assets" / "fonts" / "Roboto" / "Roboto-Regular.ttf"
ARMENIAN = 0x531  # which Roboto lacks


class Run:
    """One run of the program as far as it is remembered."""

    def __init__(self, file: Path, **settings: object) -> None:
        self.settings, self.folding, self.notices = ViewerSettings(**settings), Folding(), Notices()  # type: ignore[arg-type]
        self.remembered = Remembered(file, self.settings, self.folding, self.notices, 1.0)


def test_the_next_run_looks_as_this_one_was_left(tmp_path: Path) -> None:
    file = tmp_path / "state" / "preferences.json"
    first = Run(file)
    assert (first.settings.theme, first.settings.backdrop) == ("dark", True)
    first.remembered.keep()
    assert not file.exists()  # nothing was chosen
    first.settings.theme, first.settings.backdrop = "light", False
    first.folding.choose("Camera", is_open=True)
    first.remembered.keep()
    second = Run(file)
    assert (second.settings.theme, second.settings.backdrop) == ("light", False)
    assert second.folding.is_open("Camera", default=False)
    assert not second.folding.is_open("View", default=False)
    assert not second.notices.log


def test_a_theme_that_was_asked_for_is_of_this_run_only(tmp_path: Path) -> None:
    file = tmp_path / "preferences.json"
    asked = Run(file, theme="light")
    asked.folding.choose("View", is_open=True)
    asked.remembered.keep()
    assert asked.settings.theme == "light"
    assert Run(file).settings.theme == "dark"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"theme": "purple"}',
        '{"theme": []}',
        '{"backdrop": 1}',
        '{"sections": {"Camera": 2}}',
        "\0\xff",
    ],
)
def test_a_damaged_file_is_ignored_with_one_message_and_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "preferences.json"
    file.write_bytes(content.encode("latin-1"))
    run = Run(file)
    (notice,) = run.notices.log
    assert str(file) in notice.text
    assert (run.settings.theme, run.settings.backdrop) == ("dark", True)
    run.settings.theme = "light"
    run.remembered.keep()
    assert json.loads(file.read_text())["theme"] == "light"
    assert not Run(file).notices.log


def test_a_folder_that_cannot_be_written_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    run = Run(tmp_path / "state" / "preferences.json")
    run.settings.theme = "light"
    run.remembered.keep()
    assert [notice.kind for notice in run.notices.log] in ([], ["info"])


def test_only_the_window_has_the_backdrop_and_only_behind_objects(toy_scene) -> None:
    settings = ViewerSettings(theme="light")
    assert settings.window_options(toy_scene).background == BACKDROPS["light"]
    assert settings.render_options(toy_scene).background == toy_scene.background
    nested = nested_scene()
    assert settings.window_options(nested).background == nested.background
    settings.background = (0.1, 0.2, 0.3)
    assert settings.window_options(toy_scene) == settings.render_options(toy_scene)
    settings.background, settings.backdrop = None, False
    assert settings.window_options(toy_scene) == settings.render_options(toy_scene)


def test_text_is_legible_in_both_themes() -> None:
    def luminance(name: str, palette) -> float:
        red, green, blue = (((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in palette[name][:3])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for palette in theme.PALETTES.values():
        for text, ground, least in (
            *(("TEXT", ground, 7.0) for ground in ("SURFACE", "RAISED", "POPUP")),
            *((text, "SURFACE", 4.5) for text in ("DIM", "ACCENT", "GOOD", "BAD")),
            ("ON_ACCENT", "ACCENT", 4.5),
        ):
            dark, bright = sorted((luminance(text, palette), luminance(ground, palette)))
            assert (bright + 0.05) / (dark + 0.05) >= least, (text, ground)


def test_the_theme_changes_what_panels_draw_with(frames) -> None:
    try:
        theme.apply(1.0, "light")
        assert theme.SURFACE[0] > 0.9
        assert imgui.get_style().color_(imgui.Col_.window_bg).x > 0.9
    finally:
        theme.apply(1.0)
    assert theme.SURFACE[0] < 0.1


def test_bitmap_fonts_and_what_is_no_font_are_left_out(tmp_path: Path) -> None:
    assert outline_font_size(ROBOTO, 0) == ROBOTO.stat().st_size
    assert outline_font_size(ROBOTO, 1) == 0
    (tmp_path / "emoji.ttf").write_bytes(ROBOTO.read_bytes().replace(b"glyf", b"CBDT", 1))
    (tmp_path / "text.ttf").write_text("no font at all")
    (tmp_path / "cut.ttc").write_bytes(b"ttcf\0\1\0\0\0\0\0\2")
    for name in ("emoji.ttf", "text.ttf", "cut.ttc", "missing.ttf"):
        assert outline_font_size(tmp_path / name, 0) == 0


def test_fonts_of_the_system_add_the_scripts_that_are_missing(frames) -> None:
    theme.apply(1.0)
    frames.frame(lambda: None)
    own = imgui.get_font()
    if not any("DejaVuSans.ttf" in path.name for path, _ in find_fonts()):
        pytest.skip("needs DejaVu Sans")
    assert not own.is_glyph_in_font(ARMENIAN)
    woken = []
    fonts = SystemFonts(lambda: woken.append(1))
    assert fonts.merge() == 0
    fonts._run()
    assert woken == [1]
    assert fonts.merge() > 0
    assert fonts.merge() == 0  # once
    frames.frame(lambda: None)
    assert imgui.get_font().is_glyph_in_font(ARMENIAN)
    frames.frame(lambda: imgui.text("Հայաստան"))


def test_without_any_font_nothing_happens(frames, tmp_path: Path) -> None:
    theme.apply(1.0)
    fonts = SystemFonts(lambda: None, lambda: [(tmp_path / "gone.ttf", 0)])
    fonts._run()
    assert fonts.merge() == 0
    frames.frame(lambda: imgui.text("Հ"))
