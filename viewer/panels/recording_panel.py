"""Screenshots, and the way from a flight to a video."""

from imgui_bundle import imgui

from .. import theme
from ..actions import RECORD, SCREENSHOT, Program
from ..recording.recording import Recording
from ..settings import SCREENSHOT_SIZES, SIDE_SAMPLES, VIDEO_RATES, VIDEO_SIZES, VideoFormat, ViewerSettings
from . import widgets
from .file_browser import shortened

FORMATS: dict[str, VideoFormat] = {"MP4": "mp4", "WebM": "webm"}


class RecordingPanel:
    """Screenshot button, record button, the video's size, rate and format, progress and abort."""

    def __init__(self, settings: ViewerSettings, recording: Recording, program: Program) -> None:
        self._settings = settings
        self._recording = recording
        self._program = program

    def draw(self, has_scene: bool) -> None:
        """Draw the section; without a scene nothing can be recorded."""
        if not widgets.section("Recording"):
            return
        imgui.begin_disabled(not has_scene)
        tooltip = SCREENSHOT.tooltip("Save the picture at full size, with overlays, without the panel")
        if widgets.wide_button("Screenshot", tooltip, share=0.5):
            self._program.take_screenshot()
        stage = self._recording.stage
        rendering = self._recording.progress is not None
        imgui.same_line()
        if stage == "recording":
            self._stop_button()
        else:
            tooltip = RECORD.tooltip("Record the camera's motion until you stop; its video is rendered then")
            if widgets.wide_button("Record flight###record", tooltip, accent=True):
                self._program.toggle_recording()
        if rendering:
            self._progress()
        imgui.end_disabled()
        self._still()
        self._unsaved()
        self._folder()
        self._video()

    def _stop_button(self) -> None:
        imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.RECORDING, 0.85))
        imgui.push_style_color(imgui.Col_.button_hovered, theme.RECORDING)
        text = f"Stop  {self._recording.seconds:.1f} s###record"
        if widgets.wide_button(text, RECORD.tooltip("End the flight and render its video")):
            self._program.toggle_recording()
        imgui.pop_style_color(2)

    def _progress(self) -> None:
        progress = self._recording.progress
        if progress is None:
            return
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        left += f", {progress.waiting} more" if progress.waiting else ""
        share = progress.done / max(1, progress.total)
        width = imgui.get_content_region_avail().x
        button = 4.2 * imgui.get_font_size()
        size = imgui.ImVec2(width - button - imgui.get_style().item_spacing.x, 0.0)
        imgui.push_style_color(imgui.Col_.plot_histogram, theme.with_alpha(theme.ACCENT, 0.55))
        imgui.progress_bar(share, size, f"{progress.done} / {progress.total}{left}")
        imgui.pop_style_color()
        widgets.tip(f"Rendering {progress.output}")
        imgui.same_line()
        if imgui.button("Abort", imgui.ImVec2(button, 0.0)):
            self._program.abort_video()
        widgets.tip("Stop rendering; the camera path is kept.")

    def _still(self) -> None:
        """How a screenshot is made."""
        still = self._settings.screenshot
        known = list(SCREENSHOT_SIZES) if still.size is None else list(dict.fromkeys([*SCREENSHOT_SIZES, still.size]))
        sizes: dict[str, tuple[int, int] | None] = {"As in the window": None}
        sizes |= {f"{width} x {height}": (width, height) for width, height in known}
        current = next(name for name, size in sizes.items() if size == still.size)
        tooltip = "Pixels of a screenshot; its height shows as much as the window's."
        still.size = sizes[widgets.choice("Screenshot size", current, list(sizes), tooltip)]
        counts = {f"{side * side}": side for side in sorted({*SIDE_SAMPLES, still.side_samples})}
        tooltip = "Samples of each pixel of a screenshot: more are smoother, and take as much longer."
        chosen = widgets.choice("Samples / pixel", f"{still.side_samples**2}", list(counts), tooltip)
        still.side_samples = counts[chosen]
        tooltip = "Screenshots without the background (PNG with alpha); overlays are left out."
        still.transparent = widgets.switch("Transparent background", still.transparent, tooltip)

    def _unsaved(self) -> None:
        """Flights that wait for a folder that can be written."""
        count = len(self._recording.unsaved)
        if not count:
            return
        imgui.text_colored(theme.BAD, f"{count} flight{'s' * (count > 1)} not saved")
        if widgets.wide_button("Save elsewhere ...", "Choose a folder that can be written.", share=0.5, accent=True):
            self._program.choose_folder()
        imgui.same_line()
        if widgets.wide_button("Discard", "Forget them."):
            self._recording.discard_unsaved()

    def _folder(self) -> None:
        folder = self._recording.folder.absolute()
        widgets.label("Folder", f"Where flights, videos and screenshots go: {folder}")
        if widgets.wide_button(
            f"{shortened(folder.name or str(folder), 11.0 * imgui.get_font_size())}###folder",
            f"{folder}\nClick to choose another.",
        ):
            self._program.choose_folder()

    def _video(self) -> None:
        self._settings.frame_guide = widgets.switch(
            "Frame guide",
            self._settings.frame_guide,
            "Show what a video of this size contains. While a flight is recorded it is always shown.",
        )
        video = self._settings.video
        video.as_seen = widgets.switch(
            "Overlays and heat map in the video",
            video.as_seen,
            "As they are shown when the flight ends. Off: the scene alone.",
        )
        sizes = list(dict.fromkeys([*VIDEO_SIZES, (video.width, video.height)]))
        names = [f"{width} x {height}" for width, height in sizes]
        name = widgets.choice("Video size", f"{video.width} x {video.height}", names, "Pixels of the video.")
        video.width, video.height = sizes[names.index(name)]
        rates = [str(rate) for rate in sorted({*VIDEO_RATES, video.fps})]
        video.fps = int(widgets.choice("Frames / s", str(video.fps), rates, "Pictures per second of the video."))
        current = next(name for name, value in FORMATS.items() if value == video.format)
        video.format = FORMATS[widgets.choice("Format", current, list(FORMATS), "MP4 plays everywhere; WebM is free.")]


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 2:05 min, 1:02 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
