"""The scenes that were opened last, remembered from run to run."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from kilonerf.model_io import KiloNeRFError
from kilonerf.model_io.files.atomic import write_text
from kilonerf.model_io.streaming.address import Location, SceneUrl, location_key, parse_location

KEPT = 10


def state_file() -> Path:
    """Where they are remembered: by the XDG base directory specification."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "kilonerf-view" / "recent.json"


def remember(file: Path, document: object) -> None:
    """Write JSON values for later runs. To remember is a convenience: whatever goes wrong is passed over."""
    with suppress(OSError, KiloNeRFError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(document, indent=1))


class RecentFiles:
    """Newest first. To remember is a convenience: whatever goes wrong with the file is passed over.

    Args:
        file: where they are remembered; None: nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: list[Location] = []
        if file is not None:
            with suppress(OSError, ValueError, KiloNeRFError):
                names: Any = json.loads(file.read_text("utf-8"))
                self._known = [parse_location(name) for name in names if isinstance(name, str)][:KEPT]

    @property
    def there(self) -> list[Path]:
        """The files that still exist."""
        return [location for location in self.locations if isinstance(location, Path)]

    @property
    def locations(self) -> list[Location]:
        """The files that still exist, and URLs."""
        found: list[Location] = []
        for location in self._known:
            with suppress(OSError):
                if isinstance(location, SceneUrl) or location.exists():
                    found.append(location)
        return found

    def add(self, location: Location) -> None:
        """It was opened."""
        location = location.absolute() if isinstance(location, Path) else location
        self._known = [location, *(other for other in self._known if other != location)][:KEPT]
        if self._file is not None:
            remember(self._file, [location_key(known) for known in self._known])
