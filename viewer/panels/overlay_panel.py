"""What is drawn in 3D over the picture: the section of the panel, and the menu of the status bar."""

from dataclasses import dataclass, replace

from imgui_bundle import imgui

from ..actions import CAMERAS, GROUND
from ..settings import ViewerSettings
from . import widgets

LEVELS = ("Full resolution", "1/2", "1/4", "1/8", "1/16")


@dataclass(frozen=True)
class Overlay:
    """One of the switches; ``name`` is that of the option."""

    name: str
    text: str
    tooltip: str
    key: str = ""


OVERLAYS = (
    Overlay("box", "Box", "The box that holds the scene."),
    Overlay("network_grid", "Networks", "The cells that have a tiny network of their own."),
    Overlay("occupancy_grid", "Occupancy", "The voxels in which something may be."),
    Overlay("axes", "Axes", "The world's x, y and z, red, green and blue."),
    Overlay("ground", "Ground", GROUND.tooltip("A grid on the floor; with the key, axes as well"), GROUND.shown),
    Overlay("cameras", "Cameras", CAMERAS.tooltip("Where the photos were taken"), CAMERAS.shown),
)
COLUMNS = (0.0, 0.245, 0.63)  # of the panel


class OverlayPanel:
    """The scene's box and grids, axes, ground and cameras."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._settings = settings

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("Overlays", is_open=False):
            return
        now = self._settings.overlays
        width = imgui.get_window_width()
        for index, overlay in enumerate(OVERLAYS):
            if column := index % len(COLUMNS):
                imgui.same_line(COLUMNS[column] * width)
            on = widgets.switch(overlay.text, getattr(now, overlay.name), overlay.tooltip)
            now = replace(now, **{overlay.name: on})
        imgui.begin_disabled(not now.occupancy_grid)
        level = widgets.choice(
            "Occupancy at",
            LEVELS[now.occupancy_level],
            LEVELS,
            "At a coarser level a block of voxels is shown if any voxel in it is occupied.",
        )
        imgui.end_disabled()
        imgui.begin_disabled(not (now.box or now.network_grid or now.occupancy_grid))
        opacity = widgets.slider("Opacity", 100.0 * now.opacity, 5.0, 100.0, "%.0f %%", "Of all lines.")
        imgui.end_disabled()
        self._settings.overlays = replace(
            now,
            occupancy_level=LEVELS.index(level),
            opacity=now.opacity if opacity == 100.0 * now.opacity else opacity / 100.0,
        )


class OverlayMenu:
    """The same switches as a menu that opens above a button and stays while several are chosen."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._settings = settings

    @property
    def count(self) -> int:
        """How many overlays are shown."""
        return sum(getattr(self._settings.overlays, overlay.name) for overlay in OVERLAYS)

    def open(self) -> None:
        """Open it above the last item."""
        imgui.open_popup("overlay menu")

    def draw(self) -> None:
        """Draw it if it is open; to be called right after the item that it belongs to."""
        low = imgui.get_item_rect_min()
        place = imgui.ImVec2(low.x, low.y - 0.3 * imgui.get_font_size())
        imgui.set_next_window_pos(place, imgui.Cond_.always.value, imgui.ImVec2(0.0, 1.0))
        imgui.push_style_var(imgui.StyleVar_.window_padding, imgui.ImVec2(*2 * (0.6 * imgui.get_font_size(),)))
        if imgui.begin_popup("overlay menu"):
            imgui.push_item_flag(imgui.ItemFlags_.auto_close_popups.value, False)
            for overlay in OVERLAYS:
                shown = getattr(self._settings.overlays, overlay.name)
                _, on = imgui.menu_item(overlay.text, overlay.key, shown)
                widgets.tip(overlay.tooltip)
                self._settings.overlays = replace(self._settings.overlays, **{overlay.name: on})
            imgui.separator()
            settings = self._settings
            _, settings.frame_guide = imgui.menu_item("Frame guide", "", settings.frame_guide)
            widgets.tip("Show what a video contains.")
            _, settings.show_cube = imgui.menu_item("View cube", "", settings.show_cube)
            imgui.pop_item_flag()
            if imgui.is_key_pressed(imgui.Key.escape, False):
                imgui.close_current_popup()
            imgui.end_popup()
        imgui.pop_style_var()
