"""Screenshots: rendered beside the window, which goes on as if nothing had been asked, then written."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import BackendChoice, CancelToken, RenderCancelled
from kilonerf.model_io import Camera, KiloNeRFError, Scene

from ..notices import Notices
from ..rendering.priority import VIDEO_NICENESS, lower_thread_priority
from ..rendering.worker import RendererFactory
from .output_files import PngWriter
from .stills import PictureMaker


@dataclass(eq=False)
class _Wanted:
    picture: Future[NDArray[np.uint8]]
    cancel: CancelToken = field(default_factory=CancelToken)


class Screenshots:
    """They are rendered one after the other, by renderers of their own.

    Args:
        folder: where they go.
        notices: is told what became of each.
        make_renderer: makes the renderers.

    Attributes:
        folder: as given, or as the user has chosen since.
    """

    def __init__(self, folder: Path, notices: Notices, make_renderer: RendererFactory) -> None:
        self.folder = folder
        self._notices, self._make_renderer = notices, make_renderer
        self._writer = PngWriter()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="screenshot")
        self._wanted: list[_Wanted] = []

    @property
    def rendering(self) -> bool:
        """Whether one is being rendered or waits."""
        return bool(self._wanted)

    @property
    def writing(self) -> bool:
        """Whether one has not been reported yet."""
        return self.rendering or self._writer.busy

    def take(self, scene: Scene, backend: BackendChoice, camera: Camera, maker: PictureMaker) -> None:
        """Render the picture and write it, without waiting for it."""
        cancel = CancelToken()

        def make() -> NDArray[np.uint8]:
            lower_thread_priority(VIDEO_NICENESS)
            if cancel.cancelled:
                raise RenderCancelled
            return maker.picture(self._make_renderer(scene, backend), camera, cancel)

        self._wanted.append(_Wanted(self._executor.submit(make), cancel))

    def cancel(self) -> None:
        """Give up those that are being rendered or wait."""
        for wanted in self._wanted:
            wanted.cancel.cancel()

    def save(self, pixels: NDArray[np.uint8]) -> None:
        """Write a picture that is there already under the next free name.

        Raises:
            OutputError: the folder cannot be read.
        """
        self._writer.write(self.folder, "screenshot", pixels)

    def poll(self, now: float) -> None:
        """Write what has been rendered; report the files that have been written, or could not be."""
        while self._wanted and self._wanted[0].picture.done():
            error = self._wanted[0].picture.exception()
            wanted = self._wanted.pop(0)
            if isinstance(error, RenderCancelled):
                self._notices.add("Screenshot cancelled", "info", now)
            elif error is not None:
                text = str(error) if isinstance(error, KiloNeRFError) else f"{type(error).__name__}: {error}"
                self._notices.add(f"Screenshot failed: {text}", "error", now)
            else:
                self.save_or_say(wanted.picture.result(), now)
        for path, error in self._writer.take_outcomes():
            if error is None:
                self._notices.add(f"Screenshot saved: {path}", "good", now)
            else:
                self._notices.add(f"Screenshot failed: {error}", "error", now)

    def save_or_say(self, pixels: NDArray[np.uint8], now: float) -> None:
        """As :meth:`save`; a folder that cannot be read is a message."""
        try:
            self.save(pixels)
        except KiloNeRFError as error:
            self._notices.add(f"Screenshot failed: {error}", "error", now)

    def close(self) -> None:
        """Give up what is being rendered, finish writing."""
        self.cancel()
        self._executor.shutdown(wait=True)
        self._writer.close()
