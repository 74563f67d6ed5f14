"""Which scene is shown, what is known about it, and the messages so far."""

from pathlib import Path

from imgui_bundle import imgui

from kilonerf.model_io import PARAMETERS_PER_NETWORK, Scene

from .. import theme
from ..notices import Notices
from . import widgets
from .actions import Actions

LOG_LINES = 6


class ScenePanel:
    """File, sizes and the list of messages."""

    def __init__(self, actions: Actions, notices: Notices) -> None:
        self._actions = actions
        self._notices = notices
        self._described: Scene | None = None
        self._facts: list[tuple[str, str, str]] = []

    def draw(self, scene: Scene | None, path: Path | None, loading: Path | None) -> None:
        """Draw the section."""
        if not widgets.section("Scene"):
            return
        if scene is not None and path is not None:
            imgui.text_unformatted(path.name)
            widgets.tip(str(path))
            for name, value, tooltip in self._describe(scene):
                widgets.figure(name, value, tooltip)
        elif loading is None:
            imgui.text_disabled("No scene yet")
        if loading is not None:
            imgui.text_colored(theme.ACCENT, f"Loading {loading.name} ...")
        if widgets.full_button("Open scene ...  (O)", "Choose a .knf file. Dropping one on the window works too."):
            self._actions.browse()
        self._messages()

    def _describe(self, scene: Scene) -> list[tuple[str, str, str]]:
        """The facts of ``scene``, worked out once: counting voxels takes a moment."""
        if scene is not self._described:
            self._described = scene
            cells = " x ".join(map(str, scene.resolution))
            voxels = " x ".join(map(str, scene.occupancy.shape))
            parameters = widgets.thousands(scene.num_networks * PARAMETERS_PER_NETWORK)
            self._facts = [
                ("Networks", f"{scene.num_networks} of {scene.network_index.size}", "Cells that have a tiny network."),
                ("Grid", cells, "Cells of the network grid."),
                ("Occupancy", f"{voxels}, {scene.occupancy.mean():.1%}", "Voxels, and the share that is occupied."),
                ("Parameters", f"{parameters}, {scene.dtype}", "Of all networks, and how they are stored."),
            ]
        return self._facts

    def _messages(self) -> None:
        if not self._notices.log or not imgui.tree_node(f"Messages ({len(self._notices.log)})###messages"):
            return
        for notice in list(self._notices.log)[-LOG_LINES:]:
            color = {"error": theme.BAD, "good": theme.GOOD, "info": theme.DIM}[notice.kind]
            imgui.push_style_color(imgui.Col_.text, color)
            imgui.push_text_wrap_pos(0.0)
            imgui.text_unformatted(notice.text + (f"  (x{notice.times})" if notice.times > 1 else ""))
            imgui.pop_text_wrap_pos()
            imgui.pop_style_color()
        imgui.tree_pop()
