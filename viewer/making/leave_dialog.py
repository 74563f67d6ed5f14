"""Asks what becomes of a training when the window is closed."""

from typing import Literal

from imgui_bundle import imgui

from .. import theme
from ..panels import widgets
from .training import TrainingRun

TITLE = "A scene is being trained"
Answer = Literal["stop", "go on", "stay"]


class LeaveDialog:
    """Opened by :meth:`show`; :meth:`draw` returns the answer, once.

    Attributes:
        is_open: whether it waits for an answer.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._dialog = widgets.Dialog("leaving", 34.0)

    def show(self) -> None:
        """Ask from the next frame on."""
        self.is_open = True
        self._dialog.open()

    def draw(self, run: TrainingRun | None) -> Answer | None:
        """Draw it if it is open; the answer. A training that ends meanwhile needs none."""
        if not self.is_open:
            return None
        with self._dialog.drawn(TITLE) as shown:
            answer = "stay" if not shown or run is None or not run.running else self._ask(run)
            if shown and answer is not None:
                imgui.close_current_popup()
        self.is_open = answer is None
        return answer

    @staticmethod
    def _ask(run: TrainingRun) -> Answer | None:
        widgets.paragraph(f"{run.plan.output.name}: {run.status}")
        widgets.paragraph(
            "Stopped, it keeps its progress: open the data set again, and Train resumes it. Or it goes on without the "
            "window: open the data set again to follow it.",
            theme.DIM,
        )
        imgui.spacing()
        answer: Answer | None = None
        if imgui.button("Stop it and leave"):
            answer = "stop"
        imgui.same_line()
        if imgui.button("Let it go on"):
            answer = "go on"
        imgui.same_line()
        if imgui.button("Stay##leaving") or imgui.is_key_pressed(imgui.Key.escape, False):
            answer = "stay"
        return answer
