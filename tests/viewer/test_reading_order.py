"""Names in right-to-left scripts; ImGui draws the characters of a line from left to right."""

import pytest
from imgui_bundle import imgui

from kilonerf.viewer import theme
from kilonerf.viewer.appearance import reading_order
from kilonerf.viewer.appearance.reading_order import displayed, wrapped
from kilonerf.viewer.panels.file_browser import FileBrowser

# Written as code points: editors reorder what they show.
SHALOM, OLAM = "\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd"
KURSI = "\u0643\u0631\u0633\u064a"  # chair
KURSI_JOINED = "\ufedb\ufeae\ufeb3\ufef2"  # its letters' initial, final, initial and final forms


def backwards(text):
    return text[::-1]


@pytest.fixture
def all_glyphs(monkeypatch):
    monkeypatch.setattr(reading_order, "_can_draw", lambda text: True)


@pytest.mark.usefixtures("all_glyphs")
@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("chair.knf", "chair.knf"),
        ("椅子 (2).knf", "椅子 (2).knf"),
        (f"{SHALOM}.knf", f"{backwards(SHALOM)}.knf"),
        (f"{SHALOM} 12.knf", f"12 {backwards(SHALOM)}.knf"),
        (f"{SHALOM} (2).knf", f"(2) {backwards(SHALOM)}.knf"),
        (f"a ({SHALOM}) [{OLAM}] b", f"a ({backwards(SHALOM)}) [{backwards(OLAM)}] b"),
        (f"{SHALOM} [{OLAM} (3)]", f"[(3) {backwards(OLAM)}] {backwards(SHALOM)}"),
        (f"{SHALOM} [{OLAM} (x)]", f"{backwards(SHALOM)} [{backwards(OLAM)} (x)]"),
        (f"{SHALOM} (", f"{backwards(SHALOM)} ("),
        (f"/home/{SHALOM}/{OLAM}/a.knf", f"/home/{backwards(SHALOM)}/{backwards(OLAM)}/a.knf"),
        (f"Cannot open: /x/{SHALOM} {OLAM}.knf: gone", f"Cannot open: /x/{backwards(f'{SHALOM} {OLAM}')}.knf: gone"),
        (f"{KURSI}.knf", f"{backwards(KURSI_JOINED)}.knf"),
        (f"\u200f{SHALOM}\u202c", backwards(SHALOM)),
    ],
)
def test_text_is_drawn_as_it_is_read(text, drawn):
    assert displayed(text) == drawn


@pytest.mark.usefixtures("all_glyphs")
def test_many_brackets_keep_their_pairs():
    text = "".join(f"({SHALOM})" for _ in range(20))
    drawn = displayed(text)
    assert sorted(drawn) == sorted(text)
    assert drawn.startswith(f"({backwards(SHALOM)})")


def test_arabic_letters_stay_apart_where_the_font_has_no_joined_ones(frames):
    """The program's own font has neither; a placeholder for each letter is no worse than one for each form."""
    theme.apply(1.0)
    assert frames.frame(lambda: displayed(KURSI)) == backwards(KURSI)


def test_lines_are_broken_before_they_are_turned_around(frames):
    theme.apply(1.0)
    words = [SHALOM, OLAM, SHALOM, OLAM, SHALOM]

    def draw():
        wide = imgui.calc_text_size(f"{SHALOM} {OLAM}").x + 1.0
        plain = "Cannot open: no such file"
        lines = wrapped(" ".join(words), wide).split("\n")
        long = wrapped(SHALOM * 9, wide)
        assert all(imgui.calc_text_size(line).x <= wide for line in (*lines, *long.split("\n")))
        assert wrapped(plain, 10.0) == plain  # ImGui wraps it
        assert wrapped(f"a\n{SHALOM}", wide) == f"a\n{backwards(SHALOM)}"
        return lines, long

    lines, long = frames.frame(draw)
    assert lines == [backwards(" ".join(words[0:2])), backwards(" ".join(words[2:4])), backwards(words[4])]
    assert "".join(backwards(line) for line in long.split("\n")) == SHALOM * 9


def test_the_file_dialog_shows_names_as_they_are_read_and_opens_the_files(frames, places, tmp_path):
    theme.apply(1.0)
    file = tmp_path / f"{SHALOM} (2).knf"
    file.touch()
    browser, chosen = FileBrowser(), []

    def draw():
        path = browser.draw()
        if path is not None:
            chosen.append(path)

    browser.open(tmp_path)
    frames.frames(draw)
    frames.click(draw, *places.at(f"(2) {backwards(SHALOM)}.knf##{file}", 0.1))
    frames.click(draw, *places.at("Open"))
    assert chosen == [file]
