"""The card over the welcome scene."""

from imgui_bundle import imgui

from kilonerf.model_io.streaming.address import Location

from .. import theme
from ..actions import HELP, OPEN, Program
from ..appearance.reading_order import displayed
from ..panels import widgets
from ..panels.file_browser import shortened
from ..panels.recent_files import RecentFiles
from ..rectangle import Rectangle

WIDTH = 20.0  # font heights
LARGE = (30.0, 24.0)  # font heights: in a smaller picture the card has its buttons only
RECENT = 5
DROPS = (
    (".knf", "a scene, to fly through"),
    ("folder", "photos with poses: shows their cameras, offers to train"),
    (".json", "a camera path: offers to render its video"),
    (".pth", "an original checkpoint: offers to import it"),
)


class WelcomeCard:
    """Stays until another scene is opened or it is closed.

    Args:
        program: opens what is chosen.
        recent: what was opened before.

    Attributes:
        shown: whether it is.
    """

    def __init__(self, program: Program, recent: RecentFiles) -> None:
        self._program, self._recent = program, recent
        self._there: list[Location] | None = None  # of the recent files: looked up once
        self.shown = False

    def draw(self, area: Rectangle) -> None:
        """Draw it in the top left corner of the picture."""
        em = imgui.get_font_size()
        width = min(WIDTH * em, area.width - 2.0 * em)
        if not self.shown or width < 10.0 * em:
            return
        if self._there is None:
            self._there = self._recent.locations[:RECENT]
        imgui.set_next_window_pos(imgui.ImVec2(area.x + em, area.y + em))
        imgui.set_next_window_size_constraints(
            imgui.ImVec2(width, 0.0), imgui.ImVec2(width, max(4.0 * em, area.height - 2.0 * em))
        )
        flags = (
            imgui.WindowFlags_.no_title_bar.value
            | imgui.WindowFlags_.no_resize.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.always_auto_resize.value
            | imgui.WindowFlags_.no_saved_settings.value
            | imgui.WindowFlags_.no_focus_on_appearing.value
        )
        imgui.push_style_var(imgui.StyleVar_.window_rounding, 0.5 * em)
        imgui.push_style_color(imgui.Col_.window_bg, theme.with_alpha(theme.SURFACE, 0.93))
        imgui.begin("welcome", None, flags)
        self._content(self._there, whole=area.width > LARGE[0] * em and area.height > LARGE[1] * em)
        imgui.end()
        imgui.pop_style_color()
        imgui.pop_style_var()

    def _content(self, there: list[Location], *, whole: bool) -> None:
        em = imgui.get_font_size()
        imgui.push_font(None, 1.35 * theme.FONT_SIZE)
        imgui.text_unformatted("kilonerf-view")
        imgui.pop_font()
        imgui.same_line(imgui.get_window_width() - 2.6 * em)
        if imgui.button("x##close welcome"):
            self.shown = False
        if whole:
            imgui.push_text_wrap_pos(0.0)
            imgui.text_disabled("A chair of 547 tiny networks. Drag to turn, wheel to zoom, W A S D to fly.")
            imgui.pop_text_wrap_pos()
            imgui.spacing()
        if widgets.wide_button("Open ...", OPEN.tooltip("Choose a file or folder"), share=0.5, accent=True):
            self._program.browse()
        imgui.same_line()
        if widgets.wide_button("Keys", HELP.tooltip("All keys")):
            self._program.toggle_help()
        if not whole:
            return
        if there:
            _heading("Recent")
            for path in there:
                name = shortened(path.name, imgui.get_content_region_avail().x)
                if imgui.selectable(f"{displayed(name)}##{path}", False)[0]:
                    self._program.open_scene(path)
                widgets.tip(str(path))
        _heading("Drop on the window")
        for what, meaning in DROPS:
            imgui.text_colored(theme.ACCENT, what)
            imgui.same_line(4.4 * em)
            imgui.push_text_wrap_pos(0.0)
            imgui.text_disabled(meaning)
            imgui.pop_text_wrap_pos()


def _heading(text: str) -> None:
    imgui.spacing()
    imgui.separator_text(text)
