"""The panel at the right edge: composes the sections, holds no logic of its own."""

from collections.abc import Callable

from imgui_bundle import imgui

from kilonerf.model_io import Scene
from kilonerf.model_io.streaming.address import Location

from .. import theme
from ..actions import Program
from ..appearance import folding
from ..camera.navigator import Navigator
from ..live_statistics import LiveStatistics
from ..notices import Notices
from ..recording.recording import Recording
from ..settings import ViewerSettings
from ..streamed_scene import StreamedScene
from .camera_panel import CameraPanel
from .overlay_panel import OverlayPanel
from .recording_panel import RecordingPanel
from .render_panel import RenderPanel
from .scene_panel import ScenePanel
from .statistics_panel import StatisticsPanel
from .status_bar import StatusBar

WIDTH = 21.5  # font heights
LARGEST_SHARE = 0.5  # of the window


class SidePanel:
    """All sections, from top to bottom.

    Attributes:
        sections: draw further sections, which are none of this package's.
        last_sections: the same, below all others.
    """

    def __init__(
        self,
        settings: ViewerSettings,
        navigator: Navigator,
        statistics: LiveStatistics,
        recording: Recording,
        notices: Notices,
        program: Program,
    ) -> None:
        self._tallest: dict[str, float] = {}  # of sections that change by themselves, in font heights
        self._scene = ScenePanel(program, notices)
        self._live = statistics
        self._statistics = StatisticsPanel(statistics, settings)
        self._render = RenderPanel(settings)
        self._camera = CameraPanel(navigator)
        self.sections: list[Callable[[], None]] = []
        self.last_sections: list[Callable[[], None]] = []
        self._overlays = OverlayPanel(settings)
        self._recording = RecordingPanel(settings, recording, program)

    def _steadily(self, title: str, draw: Callable[[], None]) -> None:
        """Draw an open section that never gets shorter again: what is below it does not move under the mouse."""
        em, top = imgui.get_font_size(), imgui.get_cursor_pos_y()
        draw()
        if folding.sections.is_open(title, default=True):
            height = (imgui.get_cursor_pos_y() - top) / em
            tallest = self._tallest[title] = max(height, self._tallest.get(title, 0.0))
            if tallest > height:
                imgui.set_cursor_pos_y(top + tallest * em - imgui.get_style().item_spacing.y)
                imgui.dummy(imgui.ImVec2(0.0, 0.0))

    @staticmethod
    def width(window_width: float) -> float:
        """How much of the window it takes, in ImGui's units."""
        return min(round(WIDTH * theme.font_height()), LARGEST_SHARE * window_width)

    def draw(
        self,
        scene: Scene | None,
        path: Location | None,
        loading: Location | None,
        streamed: StreamedScene | None,
        now: float,
    ) -> None:
        """Draw it at the window's right edge."""
        display = imgui.get_io().display_size
        width = self.width(display.x)
        imgui.set_next_window_pos(imgui.ImVec2(display.x - width, 0.0))
        imgui.set_next_window_size(imgui.ImVec2(width, max(1.0, display.y - StatusBar.height())))
        flags = (
            imgui.WindowFlags_.no_title_bar.value
            | imgui.WindowFlags_.no_background.value  # the window is cleared to the panel's colour already
            | imgui.WindowFlags_.no_resize.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.no_saved_settings.value
            | imgui.WindowFlags_.no_bring_to_front_on_focus.value
        )
        whole = round(WIDTH * imgui.get_font_size())
        imgui.begin("panel", None, flags)
        imgui.push_font(None, theme.FONT_SIZE * width / whole)  # in a small window all of it is smaller: nothing is cut
        self._scene.draw(scene, path, loading, streamed)
        self._steadily("Statistics", lambda: self._statistics.draw(now))
        self._render.shown_range = self._live.heat_range
        self._render.draw(scene, self._live.outputs)
        self._overlays.draw()
        self._camera.draw()
        for section in self.sections:
            section()
        self._recording.draw(scene is not None)
        for section in self.last_sections:
            section()
        imgui.pop_font()
        imgui.end()
