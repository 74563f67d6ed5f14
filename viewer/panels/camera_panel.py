"""How the camera moves, and its lens."""

import math

from imgui_bundle import imgui

from ..actions import RESET, TURNTABLE
from ..camera.navigator import SPEED_RANGE, Navigator
from . import widgets

FOV_RANGE = (10.0, 120.0)  # degrees


class CameraPanel:
    """Mode, fly speed, field of view, turntable, reset."""

    def __init__(self, navigator: Navigator) -> None:
        self._navigator = navigator

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("Camera", is_open=False):
            return
        navigator = self._navigator
        mode = widgets.choice(
            "Mode",
            navigator.mode.capitalize(),
            ["Orbit", "Fly"],
            "Orbit goes round a point; WASD switches to Fly. F or a double click focuses on a point and orbits it.",
        )
        navigator.set_mode("fly" if mode == "Fly" else "orbit")
        navigator.speed = widgets.slider(
            "Fly speed",
            navigator.speed,
            *SPEED_RANGE,
            "%.2f x",
            f"Now {navigator.units_per_second:.3g} scene units a second. Shift: 4 x, Alt: a quarter. "
            "The wheel changes it while flying.",
            logarithmic=True,
        )
        degrees = widgets.slider(
            "Field of view",
            math.degrees(navigator.fov),
            *FOV_RANGE,
            "%.0f deg",
            "Vertical, of pictures and videos alike.",
        )
        if degrees != math.degrees(navigator.fov):  # there and back is not exact: an untouched camera must not move
            navigator.fov = math.radians(degrees)
        tooltip = TURNTABLE.tooltip("Turn slowly around the scene, once in 20 s")
        turntable = widgets.switch("Turntable", navigator.turntable, tooltip)
        if turntable != navigator.turntable:
            navigator.set_turntable(turntable)
        imgui.same_line(widgets.LABEL_SHARE * imgui.get_window_width())
        if widgets.wide_button("Reset", RESET.tooltip("Back to the scene's start camera")):
            navigator.reset()
