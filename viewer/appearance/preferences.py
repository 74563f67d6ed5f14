"""What is remembered from run to run of how the window looks: theme, backdrop, folded sections."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilonerf.model_io.files.json_values import is_object

from ..notices import Notices
from ..panels.recent_files import remember
from ..settings import ViewerSettings
from ..theme import PALETTES, ThemeName
from .folding import Folding

MOST_SECTIONS = 100


@dataclass
class Preferences:
    """The content of the file."""

    theme: ThemeName = "dark"
    backdrop: bool = True
    sections: dict[str, bool] = field(default_factory=dict[str, bool])

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"theme": self.theme, "backdrop": self.backdrop, "sections": self.sections}

    @classmethod
    def from_document(cls, document: object) -> "Preferences":
        """From JSON values; what is not there keeps its default.

        Raises:
            ValueError: a value is not what it should be.
        """
        known = cls()
        if not is_object(document):
            raise ValueError("expected a JSON object")
        theme = document.get("theme", known.theme)
        backdrop, sections = document.get("backdrop", known.backdrop), document.get("sections", {})
        if theme != "dark" and theme != "light":
            raise ValueError(f"theme: expected {' or '.join(PALETTES)}, got {theme!r}")
        if not isinstance(backdrop, bool):
            raise ValueError(f"backdrop: expected true or false, got {backdrop!r}")
        if not is_object(sections) or not all(isinstance(is_open, bool) for is_open in sections.values()):
            raise ValueError("sections: expected true or false for each")
        known.theme, known.backdrop = theme, backdrop
        known.sections = dict(list(sections.items())[:MOST_SECTIONS])
        return known


class Remembered:
    """Brings back what an earlier run has left, and writes what the user changes in this one.

    Args:
        file: where; a file that cannot be understood is ignored, with a message, and replaced at the next change.
        settings: given the theme unless they name one, and the backdrop.
        folding: given the folded sections.
        notices: for the message.
        now: the time of the message.
    """

    def __init__(self, file: Path, settings: ViewerSettings, folding: Folding, notices: Notices, now: float) -> None:
        self._file, self._settings, self._folding = file, settings, folding
        self._known = Preferences()
        try:
            self._known = Preferences.from_document(json.loads(file.read_text("utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            notices.add(f"The remembered look of the window was ignored: {file}: {why}", "info", now)
        settings.theme = settings.theme or self._known.theme
        settings.backdrop = settings.backdrop and self._known.backdrop
        folding.restore(self._known.sections)
        self._seen = self._now()

    def keep(self) -> None:
        """Write what has changed since the last call; to be called once for each frame of the window."""
        current = self._now()
        if current == self._seen:
            return
        # Only what the user changed: an option of this run is not for the next.
        if current.theme != self._seen.theme:
            self._known.theme = current.theme
        if current.backdrop != self._seen.backdrop:
            self._known.backdrop = current.backdrop
        self._known.sections, self._seen = current.sections, current
        remember(self._file, self._known.document())

    def _now(self) -> Preferences:
        settings = self._settings
        return Preferences(settings.theme or "dark", settings.backdrop, dict(self._folding.chosen))
