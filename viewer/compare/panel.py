"""The section "Compare" of the side panel."""

from collections.abc import Callable
from pathlib import Path

from imgui_bundle import imgui

from kilonerf.kernels import BACKENDS
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.model_io import BackendError

from .. import actions
from ..appearance.reading_order import displayed
from ..panels import widgets
from ..panels.file_browser import FileBrowser
from ..panels.recent_files import RecentFiles
from ..panels.render_panel import BACKEND_NAMES
from .choice import GAINS, Against
from .comparison import Comparison

NAMES: dict[Against, str] = {
    "off": "Nothing",
    "ess": "ESS the other way",
    "ert": "ERT the other way",
    "precision": "The other precision",
    "path": "Another code path (CPU)",
    "backend": "Another backend",
    "scene": "Another scene",
    "photo": "The photo",
}


class ComparePanel:
    """Chooses what the picture is compared with.

    Args:
        comparison: what is compared.
        recent: files to offer in the dialog.
        go_to_photo: brings the camera to the nearest photo's.
    """

    def __init__(self, comparison: Comparison, recent: RecentFiles, go_to_photo: Callable[[], None]) -> None:
        self._comparison = comparison
        self._browser = FileBrowser(recent)
        self._go_to_photo = go_to_photo
        self._paths: list[str] | None = None

    def draw(self) -> None:
        """Draw the section, and the file dialog while it is open."""
        if widgets.section("Compare", is_open=self._comparison.active):
            self._against()
            if self._comparison.active:
                self._shown()
        chosen = self._browser.draw()
        if chosen is not None:
            self._comparison.wanted.scene = chosen

    def _against(self) -> None:
        wanted = self._comparison.wanted
        tooltip = actions.COMPARE.tooltip(
            "The picture on the left of a divider, on the right the same view with this difference"
        )
        shown = widgets.choice("With", NAMES[wanted.against], list(NAMES.values()), tooltip)
        against: Against = next(key for key, name in NAMES.items() if name == shown)
        wanted.against = against
        if against == "path":
            paths = self._code_paths()
            if paths:
                current = wanted.path if wanted.path in paths else paths[-1]
                tip = "Instruction set and precision, as kilonerf-info --machine lists them."
                wanted.path = widgets.choice("Code path", current, paths, tip)
        elif against == "backend":
            names = {backend: BACKEND_NAMES[backend] for backend in BACKENDS if backend != "auto"}
            tip = "The reference takes seconds to minutes; it is made while the camera rests."
            name = widgets.choice("With backend", names[wanted.backend], list(names.values()), tip)
            wanted.backend = next(key for key, shown_as in names.items() if shown_as == name)
        elif against == "scene":
            name = wanted.scene.name if wanted.scene is not None else "Choose a scene ..."
            if widgets.wide_button(f"{displayed(name)}###compare scene", "Another scene, seen by the same camera."):
                self._browser.open(wanted.scene.absolute().parent if wanted.scene is not None else Path.cwd())
        elif against == "photo" and widgets.wide_button("To the nearest photo", "To the camera of a photo."):
            self._go_to_photo()

    def _shown(self) -> None:
        wanted = self._comparison.wanted
        wanted.difference = widgets.switch(
            "Difference",
            wanted.difference,
            "The right side shows the largest difference of a pixel's three channels, in false colors.",
        )
        if wanted.difference:
            names = [f"{gain:.0f} x" for gain in GAINS]
            name = widgets.choice("Gain", f"{wanted.gain:.0f} x", names, "How much differences are magnified.")
            wanted.gain = GAINS[names.index(name)] if name in names else wanted.gain
        imgui.dummy(imgui.ImVec2(0.0, 0.0))

    def _code_paths(self) -> list[str]:
        if self._paths is None:
            try:
                self._paths = [path.name for path in available_cpu_paths()]
            except BackendError:
                self._paths = []
        return self._paths
