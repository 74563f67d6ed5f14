"""Screenshots: asked for, rendered at full size, then written in the background."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import KiloNeRFError

from ..notices import Notices
from ..rendering.worker import RenderRequest
from .output_files import PngWriter


class Screenshots:
    """One screenshot at a time is rendered; any number are being written.

    Args:
        folder: where they go.
        notices: is told what became of each.

    Attributes:
        wanted: the picture that is being rendered for one, None if there is none.
    """

    def __init__(self, folder: Path, notices: Notices) -> None:
        self.wanted: RenderRequest | None = None
        self.folder, self._notices = folder, notices
        self._writer = PngWriter()

    @property
    def writing(self) -> bool:
        """Whether a file has not been reported yet."""
        return self._writer.busy

    def cancel(self) -> RenderRequest | None:
        """Give up the one that is being rendered; returns what it was."""
        wanted, self.wanted = self.wanted, None
        return wanted

    def save(self, pixels: NDArray[np.uint8], now: float) -> None:
        """Write the picture that was wanted under the next free name."""
        self.wanted = None
        try:
            self._writer.write(self.folder, "screenshot", pixels)
        except KiloNeRFError as error:
            self._notices.add(f"Screenshot failed: {error}", "error", now)

    def poll(self, now: float) -> None:
        """Report the files that have been written, or could not be."""
        for path, error in self._writer.take_outcomes():
            if error is None:
                self._notices.add(f"Screenshot saved: {path}", "good", now)
            else:
                self._notices.add(f"Screenshot failed: {error}", "error", now)

    def close(self) -> None:
        """Finish writing."""
        self._writer.close()
