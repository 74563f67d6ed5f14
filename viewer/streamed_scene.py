"""The scene of a server while it comes: how far it is, for the status bar, the panel and scripts."""

import threading
from typing import TYPE_CHECKING

from kilonerf.model_io import KiloNeRFError, ScenePart
from kilonerf.model_io.streaming.address import SceneUrl

if TYPE_CHECKING:  # it loads a web client, which few need
    from kilonerf.model_io.streaming.stream import SceneStream


class StreamedScene:
    """A scene of a server, for all who want to know how far it is.

    Args:
        stream: fetches it.

    Attributes:
        stream: fetches it.
        part: what there is of it.
        running: whether more may come.
        error: why nothing more will come.
        taken: whether the window has taken the last state.
    """

    def __init__(self, stream: "SceneStream") -> None:
        self.stream = stream
        self.part: ScenePart | None = None
        self.running = True
        self.error: KiloNeRFError | None = None
        self.taken = threading.Event()

    @property
    def url(self) -> SceneUrl:
        """Where it is."""
        return self.stream.url

    @property
    def said(self) -> str:
        """What the stream has to say beside its outcome."""
        note = self.stream.download.note
        if not note or self.part is None or self.error is not None:
            return ""
        return f"{self.url.name}: {note}" if self.part.whole else f"{self.url.name}: {note}: {self.part} are there"

    @property
    def loaded(self) -> str:
        """1.20 of 5.00 MB."""
        download = self.stream.download
        if not download.total:
            return f"{download.received / 1e6:.2f} MB"
        return f"{download.done / 1e6:.2f} of {download.total / 1e6:.2f} MB"

    @property
    def progress(self) -> str:
        """For the status bar; "": there is nothing more to come."""
        if not self.running:
            return ""
        parts = "" if self.part is None else f", {self.part}"
        return f"Loading {self.loaded}{parts}"

    def stop(self) -> None:
        """Fetch no more."""
        self.running = False
        self.taken.set()
        self.stream.close()
