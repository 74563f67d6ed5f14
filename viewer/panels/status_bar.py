"""The line at the window's lower edge: the buttons used most, how the camera moves, what is under way."""

from imgui_bundle import imgui

from .. import theme
from ..actions import HELP, PANEL, RECORD, SCREENSHOT, Program
from ..appearance.reading_order import displayed
from ..recording.recording import Recording
from ..rectangle import Rectangle
from ..settings import ViewerSettings
from . import widgets
from .file_browser import shortened
from .overlay_panel import OverlayMenu
from .recording_panel import duration

HEIGHT = 2.0  # font heights
MESSAGE = 8.0  # font heights: what a message gets before facts are left out for it


class StatusBar:
    """Always there, with the panel and without."""

    def __init__(self, settings: ViewerSettings, recording: Recording, program: Program) -> None:
        self._recording = recording
        self._program = program
        self._overlays = OverlayMenu(settings)

    @staticmethod
    def height() -> float:
        """In ImGui's units."""
        return float(round(HEIGHT * theme.font_height()))

    def draw(self, area: Rectangle, *, mode: str, size: tuple[int, int] | None, rate: float, message: str) -> None:
        """Draw it.

        Args:
            area: where.
            mode: how the camera moves.
            size: of the picture on the screen, if there is one.
            rate: pictures per second, 0 at rest.
            message: what is under way; "" for nothing.
        """
        em = imgui.get_font_size()
        imgui.set_next_window_pos(imgui.ImVec2(area.x, area.y))
        imgui.set_next_window_size(imgui.ImVec2(area.width, area.height))
        flags = (
            imgui.WindowFlags_.no_decoration.value
            | imgui.WindowFlags_.no_background.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.no_saved_settings.value
            | imgui.WindowFlags_.no_bring_to_front_on_focus.value
            | imgui.WindowFlags_.no_focus_on_appearing.value
        )
        imgui.push_style_var(imgui.StyleVar_.window_padding, imgui.ImVec2(0.6 * em, 0.22 * em))
        imgui.push_style_var(imgui.StyleVar_.window_min_size, imgui.ImVec2(1.0, 1.0))
        imgui.begin("status", None, flags)
        self._buttons(enabled=size is not None)
        facts = [mode]
        if size is not None:
            facts += [f"{size[0]} x {size[1]}", f"{rate:.0f} fps" if rate > 0.0 else "at rest"]
        self._texts(facts, message, area.width)
        imgui.end()
        imgui.pop_style_var(2)

    def _buttons(self, *, enabled: bool) -> None:
        recording = self._recording.stage == "recording"
        imgui.begin_disabled(not enabled)
        if recording:
            imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.RECORDING, 0.85))
        text = f"Stop {self._recording.seconds:.1f} s" if recording else "Record"
        # Always as wide: the other buttons stay where they are.
        width = imgui.calc_text_size("Stop 000.0 s").x + imgui.get_style().frame_padding.x
        if imgui.button(f"{text}###status record", imgui.ImVec2(width, 0.0)):
            self._program.toggle_recording()
        if recording:
            imgui.pop_style_color()
        widgets.tip(RECORD.tooltip("Record a flight; its video is rendered when you stop"))
        imgui.same_line()
        if imgui.button("Screenshot###status screenshot"):
            self._program.take_screenshot()
        widgets.tip(SCREENSHOT.tooltip("Save the picture, on the scene's own background"))
        imgui.same_line()
        shown = self._overlays.count > 0
        imgui.push_style_color(imgui.Col_.text, theme.ACCENT if shown else theme.TEXT)
        if imgui.button("Overlays###status overlays"):
            self._overlays.open()
        imgui.pop_style_color()
        widgets.tip("Lines over the picture: grids, axes, ground, cameras")
        self._overlays.draw()
        imgui.end_disabled()

    @staticmethod
    def _texts(facts: list[str], message: str, width: float) -> None:
        """As many facts as there is space for beside a message, and the two keys that explain the rest."""
        em = imgui.get_font_size()
        imgui.same_line(0.0, 0.9 * em)
        left, right = imgui.get_cursor_pos_x(), width - 0.8 * em
        needed = min(imgui.calc_text_size(message).x, MESSAGE * em) + em if message else 0.0
        texts = ["   ".join(facts[:count]) for count in range(len(facts), -1, -1)]
        text = next((text for text in texts if left + imgui.calc_text_size(text).x + needed <= right), "")
        imgui.align_text_to_frame_padding()
        imgui.push_style_color(imgui.Col_.text, theme.DIM)
        imgui.text_unformatted(text)
        imgui.pop_style_color()
        left += imgui.calc_text_size(text).x + (em if text else 0.0)
        if message:
            imgui.same_line(left)
            shown = shortened(message, right - left) if right - left > 2.0 * em else ""
            imgui.push_style_color(imgui.Col_.text, theme.ACCENT)
            imgui.text_unformatted(displayed(shown))
            imgui.pop_style_color()
            if shown != message:
                widgets.tip(message)
            left += imgui.calc_text_size(shown).x + em
        for keys in (f"{HELP.first_key} keys   {PANEL.shown} panel", f"{HELP.first_key} keys"):
            start = right - imgui.calc_text_size(keys).x
            if start >= left:
                imgui.same_line(start)
                imgui.text_disabled(keys)
                break


def progress_text(done: int, total: int, seconds_left: float | None, waiting: int) -> str:
    """37 %, 2:05 min left, 1 more."""
    parts = [f"{100 * done // max(1, total)} %"]
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    if waiting:
        parts.append(f"{waiting} more")
    return ", ".join(parts)
