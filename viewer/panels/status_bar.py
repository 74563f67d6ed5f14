"""The line below the picture: how the camera moves, what is shown, what is under way, and the buttons used most."""

from pathlib import Path

from imgui_bundle import imgui

from .. import theme
from ..actions import HELP, PANEL, RECORD, SCREENSHOT, Program
from ..recording.recording import Recording
from ..recording.take_queue import QueueProgress
from ..rectangle import Rectangle
from . import widgets
from .file_browser import shortened
from .recording_panel import duration

HEIGHT = 2.0  # font heights


class StatusBar:
    """Always there, with the panel and without."""

    def __init__(self, recording: Recording, program: Program) -> None:
        self._recording = recording
        self._program = program

    @staticmethod
    def height() -> float:
        """In ImGui's units."""
        return float(round(HEIGHT * imgui.get_font_size()))

    def draw(self, area: Rectangle, *, mode: str, size: tuple[int, int] | None, rate: float, message: str) -> None:
        """Draw it.

        Args:
            area: where.
            mode: how the camera moves.
            size: of the picture on the screen, if there is one.
            rate: pictures per second, 0 at rest.
            message: what is under way beside videos; "" for nothing.
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
        self._buttons(size is not None)
        facts = [mode]
        if size is not None:
            facts.append(f"{size[0]} x {size[1]}")
            facts.append(f"{rate:.0f} fps" if rate > 0.0 else "at rest")
        keys = f"{HELP.first_key} keys   {PANEL.shown} panel"
        right = area.width - imgui.calc_text_size(keys).x - 0.8 * em
        self._text("   ".join(facts), right, theme.DIM)
        self._text(message or self._progress(), right, theme.ACCENT)
        if imgui.get_item_rect_max().x - area.x + em < right:
            imgui.same_line(right)
            imgui.text_disabled(keys)
        imgui.end()
        imgui.pop_style_var(2)

    def _buttons(self, enabled: bool) -> None:
        recording = self._recording.stage == "recording"
        imgui.begin_disabled(not enabled)
        if recording:
            imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.RECORDING, 0.85))
        text = f"Stop {self._recording.seconds:.1f} s" if recording else "Record"
        if imgui.button(f"{text}###status record"):
            self._program.toggle_recording()
        if recording:
            imgui.pop_style_color()
        _tip_above(RECORD.tooltip("Record a flight; its video is rendered when you stop"))
        imgui.same_line()
        if imgui.button("Screenshot###status screenshot"):
            self._program.take_screenshot()
        _tip_above(SCREENSHOT.tooltip("Save the picture"))
        imgui.end_disabled()

    def _progress(self) -> str:
        progress = self._recording.progress
        if progress is None:
            return ""
        return f"Video {progress_text(progress.done, progress.total, progress.seconds_left, progress.waiting)}"

    @staticmethod
    def _text(text: str, right: float, color: theme.RGBA) -> None:
        if not text:
            return
        imgui.same_line()
        left = imgui.get_cursor_pos_x()
        shown = shortened(text, right - left) if right - left > 2.0 * imgui.get_font_size() else ""
        imgui.align_text_to_frame_padding()
        imgui.push_style_color(imgui.Col_.text, color)
        imgui.text_unformatted(shown)
        imgui.pop_style_color()
        if shown != text:
            widgets.tip(text)


def window_title(program: str, scene: Path | None, progress: QueueProgress | None) -> str:
    """The open file, the program, and first of all how far a video is."""
    title = program if scene is None else f"{scene.name} - {program}"
    if progress is None:
        return title
    return f"{progress_text(progress.done, progress.total, progress.seconds_left, progress.waiting)} - {title}"


def progress_text(done: int, total: int, seconds_left: float | None, waiting: int) -> str:
    """37 %, 2:05 min left, 1 more."""
    parts = [f"{100 * done // max(1, total)} %"]
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    if waiting:
        parts.append(f"{waiting} more")
    return ", ".join(parts)


def _tip_above(text: str) -> None:
    """A tooltip that does not cover the bar: at the window's lower edge one below the mouse would be pushed over it."""
    if imgui.is_item_hovered(imgui.HoveredFlags_.for_tooltip.value | imgui.HoveredFlags_.allow_when_disabled.value):
        low = imgui.get_item_rect_min()
        imgui.set_next_window_pos(
            imgui.ImVec2(low.x, low.y - 0.5 * imgui.get_font_size()), imgui.Cond_.always.value, imgui.ImVec2(0.0, 1.0)
        )
        imgui.begin_tooltip()
        imgui.text_unformatted(text)
        imgui.end_tooltip()
