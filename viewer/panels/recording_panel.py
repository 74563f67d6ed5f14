"""Screenshots, and the way from a flight to a video."""

from imgui_bundle import imgui

from .. import theme
from ..actions import RECORD, SCREENSHOT, Program
from ..appearance.reading_order import displayed
from ..recording.recording import Recording
from ..rendering.accumulation import SAMPLE_COUNTS
from ..settings import (
    BLUR_SAMPLES,
    SCREENSHOT_SIZES,
    VIDEO_RATES,
    VIDEO_SIZES,
    VideoFormat,
    ViewerSettings,
)
from . import widgets
from .file_browser import shortened

FORMATS: dict[str, VideoFormat] = {
    "MP4 (H.264)": "mp4",
    "MP4 (AV1)": "av1",
    "WebM (VP9)": "webm",
    "PNG files": "png",
}
SHUTTER_NAMES = {0.0: "Off", 90.0: "Short (90 deg)", 180.0: "Film (180 deg)", 360.0: "Long (360 deg)"}
CUSTOM = "Other ..."


class RecordingPanel:
    """Screenshot button, record button, the video's size, rate and format, progress and abort."""

    def __init__(self, settings: ViewerSettings, recording: Recording, program: Program) -> None:
        self._settings = settings
        self._recording = recording
        self._program = program
        self._other_size = False
        self._typed: list[int] | None = None  # a size that is being typed

    def draw(self, has_scene: bool) -> None:
        """Draw the section; without a scene nothing can be recorded."""
        if not widgets.section("Recording", is_open=False):
            return
        imgui.begin_disabled(not has_scene)
        tooltip = SCREENSHOT.tooltip("Save the picture at full size, with overlays, without the panel")
        if widgets.wide_button("Screenshot", tooltip, share=0.5):
            self._program.take_screenshot()
        stage = self._recording.stage
        imgui.same_line()
        if stage == "recording":
            self._stop_button()
        else:
            tooltip = RECORD.tooltip("Record the camera's motion until you stop; its video is rendered then")
            if widgets.wide_button("Record flight###record", tooltip, accent=True):
                self._program.toggle_recording()
        self._progress()
        imgui.end_disabled()
        self._folder()
        self._video()
        if widgets.subsection("More for videos", "Recording"):
            self._exposure()
        if widgets.subsection("Screenshots", "Recording"):
            self._still()
        self._unsaved()

    def _stop_button(self) -> None:
        imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.RECORDING, 0.85))
        imgui.push_style_color(imgui.Col_.button_hovered, theme.RECORDING)
        text = f"Stop  {self._recording.seconds:.1f} s###record"
        if widgets.wide_button(text, RECORD.tooltip("End the flight and render its video")):
            self._program.toggle_recording()
        imgui.pop_style_color(2)

    def _progress(self) -> None:
        progress = self._recording.progress
        if progress is None:  # a row that came and went would move those below it
            imgui.align_text_to_frame_padding()
            imgui.text_disabled("No video is being rendered")
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
        counts: dict[str, int | None] = {"As at rest": None}
        counts |= {f"{count}": count for count in sorted({*SAMPLE_COUNTS, still.samples or 1})}
        tooltip = "Samples of each pixel of a screenshot: more are smoother, and take as much longer."
        chosen = widgets.choice("Samples / pixel", f"{still.samples or 'As at rest'}", list(counts), tooltip)
        still.samples = counts[chosen]
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
            f"{displayed(shortened(folder.name or str(folder), 11.0 * imgui.get_font_size()))}###folder",
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
        current = CUSTOM if self._other_size else f"{video.width} x {video.height}"
        name = widgets.choice("Video size", current, [*names, CUSTOM], "Pixels of the video.")
        self._other_size = name == CUSTOM
        if not self._other_size:
            video.width, video.height = sizes[names.index(name)]
        widgets.label("", "Width and height in pixels; even.")
        imgui.begin_disabled(not self._other_size)
        changed, typed = imgui.input_int2("##other size", self._typed or [video.width, video.height])
        if changed:
            self._typed = typed
        if imgui.is_item_deactivated_after_edit() and self._typed:
            video.set_size(*self._typed)
            self._typed = None
        imgui.end_disabled()
        rates = {f"{rate:g}": rate for rate in sorted({*VIDEO_RATES, video.fps})}
        tooltip = "Pictures per second of the video; 29.97 is 30000/1001."
        video.fps = rates[widgets.choice("Frames / s", f"{video.fps:g}", list(rates), tooltip)]
        current = next(name for name, value in FORMATS.items() if value == video.format)
        tooltip = "H.264 plays everywhere; AV1 is smaller; WebM is free; PNG files lose nothing."
        video.format = FORMATS[widgets.choice("Format", current, list(FORMATS), tooltip)]

    def _exposure(self) -> None:
        """Samples per pixel, blur, 360 degrees."""
        video = self._settings.video
        counts = [str(count) for count in sorted({*SAMPLE_COUNTS, video.samples})]
        tooltip = "Pictures that are averaged into one: smoother edges and blur, as much more time."
        video.samples = int(widgets.choice("Samples", str(video.samples), counts, tooltip))
        current = SHUTTER_NAMES.get(video.shutter, f"{video.shutter:g} deg")
        names = {name: angle for angle, name in SHUTTER_NAMES.items()}
        tooltip = "How long the shutter is open: 180 degrees are half of a frame's time, as in films."
        shutter = names.get(widgets.choice("Motion blur", current, list(names), tooltip), video.shutter)
        tooltip = "Depth of field: the lens's diameter as a share of the distance that is sharp."
        blur = widgets.slider("Lens blur", 100.0 * video.lens_blur, 0.0, 10.0, "%.1f %%", tooltip)
        if (shutter, blur > 0.0) != (video.shutter, video.lens_blur > 0.0) and video.samples == 1:
            video.samples = BLUR_SAMPLES  # one picture shows no blur
        video.shutter, video.lens_blur = shutter, blur / 100.0
        imgui.begin_disabled(video.lens_blur == 0.0)
        tooltip = "The distance that is sharp, in the scene's units."
        video.focus = widgets.slider("Focus", video.focus, 0.01, 1000.0, "%.3g", tooltip, logarithmic=True)
        imgui.end_disabled()
        tooltip = "All directions in one picture (equirectangular), for viewers that turn in it; half as high as wide."
        video.panorama = widgets.switch("360 degrees", video.panorama, tooltip)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 2:05 min, 1:02 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
