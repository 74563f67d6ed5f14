"""How the window looks: its theme and what is behind objects in it."""

from ..panels import widgets
from ..settings import ViewerSettings
from ..theme import ThemeName

THEMES: dict[str, ThemeName] = {"Dark": "dark", "Light": "light"}


class WindowPanel:
    """The section "Window"."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._settings = settings

    def draw(self) -> None:
        """Draw the section."""
        if not widgets.section("Window", is_open=False):
            return
        settings = self._settings
        current = "Light" if settings.theme == "light" else "Dark"
        settings.theme = THEMES[widgets.choice("Theme", current, list(THEMES), "Colors of the window; remembered.")]
        settings.backdrop = widgets.switch(
            "Grey behind objects",
            settings.backdrop,
            "So that neither white nor black objects are lost. In this window only: screenshots and videos have the "
            "scene's own background, or the one that is chosen; so has the window while it shows a video's frame.",
        )
        settings.show_cube = widgets.switch("View cube", settings.show_cube, "In the corner of the picture.")
