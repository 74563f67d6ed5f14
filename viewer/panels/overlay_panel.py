"""What is drawn in 3D over the picture."""

from dataclasses import replace

from imgui_bundle import imgui

from ..actions import CAMERAS, GROUND
from ..settings import ViewerSettings
from . import widgets

LEVELS = ("Full resolution", "1/2", "1/4", "1/8", "1/16")


class OverlayPanel:
    """The scene's box and its two grids."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._settings = settings

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("Overlays"):
            return
        now = self._settings.overlays
        column = widgets.LABEL_SHARE * imgui.get_window_width()
        box = widgets.switch("Box", now.box, "The box that holds the scene.")
        imgui.same_line(0.68 * column)
        network = widgets.switch("Networks", now.network_grid, "The cells that have a tiny network of their own.")
        imgui.same_line(1.75 * column)
        occupancy = widgets.switch("Occupancy", now.occupancy_grid, "The voxels in which something may be.")
        imgui.begin_disabled(not occupancy)
        axes = widgets.switch("Axes", now.axes, "The world's x, y and z, red, green and blue.")
        imgui.same_line(0.68 * column)
        ground = widgets.switch("Ground", now.ground, GROUND.tooltip("A grid on the floor; with the key, axes as well"))
        imgui.same_line(1.75 * column)
        cameras = widgets.switch("Cameras", now.cameras, CAMERAS.tooltip("Where the photos were taken"))
        level = widgets.choice(
            "Occupancy at",
            LEVELS[now.occupancy_level],
            LEVELS,
            "At a coarser level a block of voxels is shown if any voxel in it is occupied.",
        )
        imgui.end_disabled()
        imgui.begin_disabled(not (box or network or occupancy))
        opacity = widgets.slider("Opacity", 100.0 * now.opacity, 5.0, 100.0, "%.0f %%", "Of all lines.")
        imgui.end_disabled()
        self._settings.overlays = replace(
            now,
            box=box,
            network_grid=network,
            occupancy_grid=occupancy,
            occupancy_level=LEVELS.index(level),
            axes=axes,
            ground=ground,
            cameras=cameras,
            opacity=now.opacity if opacity == 100.0 * now.opacity else opacity / 100.0,
        )
