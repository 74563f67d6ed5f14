"""The section of the side panel for scenes that are being made."""

from typing import TYPE_CHECKING

from imgui_bundle import imgui

from .. import theme
from ..panels import widgets

if TYPE_CHECKING:
    from .tool import SceneMaking
    from .training import TrainingRun

TITLE = "Training and import"


class MakingPanel:
    """Buttons that begin, progress, and what can be done with it."""

    def __init__(self, tool: "SceneMaking") -> None:
        self._tool = tool

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section(TITLE, is_open=False):
            return
        tool = self._tool
        training, importing = tool.training, tool.importing
        imgui.begin_disabled(tool.training_runs)
        if widgets.wide_button("Train photos ...", "Choose the folder of a data set, or of photos.", share=0.5):
            tool.choose_data()
        imgui.end_disabled()
        imgui.same_line()
        imgui.begin_disabled(importing is not None)
        if widgets.wide_button("Import ...", "Choose a checkpoint of the original code."):
            tool.choose_checkpoint()
        imgui.end_disabled()
        if importing is not None:
            if _progress(importing.share, importing.stage, importing.status, "Cancel##import"):
                tool.cancel_import()
        elif training is None:
            imgui.align_text_to_frame_padding()  # a row that came and went would move those below it
            imgui.text_disabled("Nothing is trained or imported")
        if training is not None:
            self._training(training)

    def _training(self, run: "TrainingRun") -> None:
        tool, state = self._tool, run.child.state
        said = {"finished": "Trained", "stopped": "Stopped; its progress is kept", "failed": "Failed"}
        if run.running:
            left = tool.seconds_left_text
            if _progress(run.share, f"{100 * run.share:.0f} %{left}", f"Training {run.plan.data}", "Stop##training"):
                tool.stop_training()
        else:
            imgui.align_text_to_frame_padding()
            imgui.text_colored(theme.BAD if state == "failed" else theme.ACCENT, said[state])
            widgets.tip(run.child.error or str(run.plan.folder))
        widgets.figures(
            [
                (("Stage", run.place, "The trainer's stages: the photos are learnt by a teacher, then by networks."),),
                (
                    ("Photos", _decibel(run.psnr), "PSNR of rays of the photos in training; some stages have none."),
                    ("Views", _decibel(run.preview), "PSNR of some views rendered whole, every two minutes."),
                ),
            ]
        )
        if state in ("stopped", "failed"):
            if widgets.wide_button("Resume", "Go on with what is kept.", share=0.5, accent=True):
                tool.resume()
        else:
            imgui.begin_disabled(not tool.can_show)
            if widgets.wide_button("Show it", f"Open the scene as it is now: {run.plan.output}", share=0.5):
                tool.show_now()
            imgui.end_disabled()
        imgui.same_line()
        imgui.begin_disabled(run.running)
        if widgets.wide_button("Forget", "Take it off this list; its files stay."):
            tool.forget()
        imgui.end_disabled()


def _progress(share: float, text: str, tooltip: str, button: str) -> bool:
    """A bar with a button beside it; whether that was pressed."""
    wide = 4.6 * imgui.get_font_size()
    width = imgui.get_content_region_avail().x - wide - imgui.get_style().item_spacing.x
    imgui.push_style_color(imgui.Col_.plot_histogram, theme.with_alpha(theme.ACCENT, 0.55))
    imgui.progress_bar(share, imgui.ImVec2(width, 0.0), text)
    imgui.pop_style_color()
    widgets.tip(tooltip)
    imgui.same_line()
    return imgui.button(button, imgui.ImVec2(wide, 0.0))


def _decibel(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"
