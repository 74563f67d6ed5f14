"""Which scene is shown, what is known about it, and the messages so far."""

from imgui_bundle import imgui

from kilonerf.model_io import PARAMETERS_PER_NETWORK, KiloNeRFScene, OctreeScene, Scene
from kilonerf.model_io.scene.facts import describe
from kilonerf.model_io.streaming.address import Location

from .. import theme
from ..actions import OPEN, Program
from ..appearance.reading_order import displayed
from ..notices import Notices
from ..streamed_scene import StreamedScene
from . import widgets

LOG_HEIGHT = 9.0  # font heights
NO_FACTS = [((name, "", ""),) for name in ("Networks", "Parameters", "Occupied")]


class ScenePanel:
    """File, sizes and the list of messages."""

    def __init__(self, program: Program, notices: Notices) -> None:
        self._program = program
        self._notices = notices
        self._described: Scene | None = None
        self._listed = 0
        self._facts: list[tuple[tuple[str, str, str], ...]] = []

    def draw(
        self,
        scene: Scene | None,
        path: Location | None,
        loading: Location | None,
        streamed: StreamedScene | None,
    ) -> None:
        """Draw the section."""
        if not widgets.section("Scene"):
            return
        imgui.align_text_to_frame_padding()
        if loading is not None and loading != path:
            imgui.text_colored(theme.ACCENT, displayed(f"Loading {loading.name} ..."))
        elif path is not None:
            imgui.text_unformatted(displayed(path.name))
            widgets.tip(str(path))
        else:
            imgui.text_disabled("No scene yet")
        button = 6.0 * imgui.get_font_size()
        imgui.same_line(imgui.get_cursor_pos_x() + imgui.get_content_region_avail().x - button)
        if widgets.wide_button("Open ...", OPEN.tooltip("Choose a .knf file, or drop one on the window")):
            self._program.browse()
        facts = NO_FACTS if scene is None else self._describe(scene)
        if streamed is not None and streamed.url == path:
            tip = f"Of the file at {streamed.url}. {streamed.stream.download.cached / 1e6:.2f} MB were in the cache."
            facts = [*facts, (("Loaded", streamed.loaded, tip),)]
        widgets.figures(facts)
        self._program.detail.draw(scene, path)
        self._messages()

    def _describe(self, scene: Scene) -> list[tuple[tuple[str, str, str], ...]]:
        """The facts of ``scene``, worked out once: counting voxels takes a moment."""
        if scene is not self._described:
            self._described = scene
            occupancy = scene.cells.occupancy
            occupied = f"{occupancy.mean():.1%} of {' x '.join(map(str, occupancy.shape))}"
            self._facts = [*_facts(scene), (("Occupied", occupied, "Voxels in which something may be."),)]
        return self._facts

    def _messages(self) -> None:
        count = len(self._notices.log)
        if not widgets.subsection(f"Messages ({count})", "Scene", "Messages"):
            return
        imgui.begin_child("messages", imgui.ImVec2(0.0, LOG_HEIGHT * imgui.get_font_size()))
        for notice in self._notices.log:
            color = {"error": theme.BAD, "good": theme.GOOD, "info": theme.DIM}[notice.kind]
            widgets.paragraph(notice.text + (f"  (x{notice.times})" if notice.times > 1 else ""), color)
        if count != self._listed:  # the newest is seen
            imgui.set_scroll_here_y(1.0)
            self._listed = count
        imgui.end_child()


def _facts(scene: Scene) -> list[tuple[tuple[str, str, str], ...]]:
    """What a kind of scene consists of."""
    if isinstance(scene, KiloNeRFScene):
        networks = f"{scene.num_networks:,} in {' x '.join(map(str, scene.resolution))} cells"
        parameters = f"{widgets.thousands(scene.num_networks * PARAMETERS_PER_NETWORK)}, {scene.dtype}"
        return [
            (("Networks", networks, "Cells of the network grid that have a tiny network."),),
            (("Parameters", parameters, "Of all networks, and how they are stored."),),
        ]
    assert isinstance(scene, OctreeScene)  # noqa: S101 - there are two kinds
    facts = describe(scene)
    levels = f"{scene.first_level} to {scene.depth}, {sum(scene.num_corners):,} corners"
    coding = ", ".join(dict.fromkeys(facts["codings"]))
    size = (sum(facts["feature_bytes_by_level"]) + facts["octree_bytes"] + facts["decoder_bytes"]) / 1e6
    return [
        (("Octree", levels, "Levels that have features, at the corners of their voxels."),),
        (("Features", f"{coding}, {size:.2f} MB", "How features are stored; with the octree and the decoder."),),
    ]
