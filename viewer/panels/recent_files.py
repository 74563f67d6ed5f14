"""The scenes that were opened last, remembered from run to run."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from kilonerf.model_io import KiloNeRFError
from kilonerf.model_io.files.atomic import write_text

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
        self._paths: list[Path] = []
        if file is not None:
            with suppress(OSError, ValueError):
                names: Any = json.loads(file.read_text("utf-8"))
                self._paths = [Path(name) for name in names if isinstance(name, str)][:KEPT]

    @property
    def there(self) -> list[Path]:
        """Those that still exist."""
        found: list[Path] = []
        for path in self._paths:
            with suppress(OSError):
                if path.exists():
                    found.append(path)
        return found

    def add(self, path: Path) -> None:
        """``path`` was opened."""
        path = path.absolute()
        self._paths = [path, *(other for other in self._paths if other != path)][:KEPT]
        if self._file is not None:
            remember(self._file, [str(known) for known in self._paths])
