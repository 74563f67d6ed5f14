"""Keeps the look of the window up to date: its theme, the size of text, fonts, and what of that is remembered."""

import time

from kilonerf.kernels.options import RGB

from .. import theme
from ..notices import Notices
from ..panels.recent_files import state_file
from ..settings import ViewerSettings
from ..window import SMALLEST_WINDOW, Window
from .folding import sections
from .fonts import SystemFonts
from .preferences import Remembered

SMALLEST_SCALE = 0.4


class Look:
    """Told of each frame of the window.

    Args:
        window: whose look it is.
        settings: has the theme.
        notices: is told if what an earlier run has left cannot be read.
    """

    def __init__(self, window: Window, settings: ViewerSettings, notices: Notices) -> None:
        self._window, self._settings = window, settings
        file = state_file().with_name("preferences.json")
        self._remembered = Remembered(file, settings, sections, notices, time.perf_counter())
        self._fonts = SystemFonts(Window.wake)
        self._applied: tuple[float, theme.ThemeName] = (0.0, "dark")
        self._apply()

    def update(self, *, has_picture: bool) -> RGB:
        """A frame begins; what is behind the first picture until it is there."""
        self._apply()
        self._remembered.keep()
        if has_picture:  # which is not to be later for the fonts
            self._fonts.start()
            self._fonts.merge()
        return theme.BACKDROPS[self._applied[1]]

    def close(self) -> None:
        """The window closes."""
        self._fonts.close()

    def _apply(self) -> None:
        width, height = self._window.size
        share = min(width / SMALLEST_WINDOW[0], height / SMALLEST_WINDOW[1])
        wanted = max(SMALLEST_SCALE, min(self._window.interface_scale, share)), self._settings.theme or "dark"
        if wanted != self._applied:
            self._applied = wanted
            theme.apply(*wanted)
