"""Scenes that grow while their file is fetched."""

import queue
import threading
from collections.abc import Callable, Iterator

from ..errors import SceneError, StreamError
from ..knf.growing import GrowingScene, ScenePart
from .address import SceneUrl
from .download import Arrival, Download
from .options import StreamOptions
from .source import CancelledError


class SceneStream:
    """Fetches a scene in a thread of its own, and puts together what has come.

    Args:
        url: where it is.
        options: budgets, patience, the cache.

    Attributes:
        url: where it is.
        download: how far it is; may be read by any thread.
    """

    def __init__(self, url: SceneUrl, options: StreamOptions | None = None) -> None:
        self.url = url
        self._cancel = threading.Event()
        self.download = Download(url, options or StreamOptions(), self._cancel)
        self._queue: queue.SimpleQueue[Arrival | BaseException | None] = queue.SimpleQueue()

    def parts(self) -> Iterator[ScenePart]:
        """The scene as it grows, the whole one last; each state once there is something new to see.

        What comes while a state is put together, or looked at, is in the next one: it is never waited for.

        Raises:
            StreamError: the file cannot be fetched, or no more than what has been given already.
            SceneError: it is no scene.
        """
        threading.Thread(target=self._fetch, name="kilonerf-fetch", daemon=True).start()
        put_together = _Assembly(self.url)
        shown: ScenePart | None = None
        whole = False  # has been given
        end: Arrival | BaseException | None = None
        try:
            while end is None and not self._cancel.is_set():
                new = False
                for arrival in self._waiting():
                    if not isinstance(arrival, Arrival):
                        end = arrival or CancelledError()
                        break
                    new = True
                    if put_together.add(arrival):
                        shown, whole = None, False
                part = put_together.part() if new and not whole else None
                if part is not None and not self._cancel.is_set():
                    whole = put_together.complete
                    if shown is None or part.there > shown.there or whole:
                        shown = part
                        yield part
            if isinstance(end, BaseException) and not isinstance(end, CancelledError):
                raise end
            if shown is None and not self._cancel.is_set():
                raise put_together.too_little(self.download)
        except SceneError:
            self.download.forget()
            raise
        finally:
            self._cancel.set()  # a scene that is none, or nobody who looks: what else comes is of no use

    def close(self) -> None:
        """Fetch no more; :meth:`parts` ends."""
        self._cancel.set()
        self._queue.put(None)

    def _waiting(self) -> Iterator[Arrival | BaseException | None]:
        """What has come, at least one thing."""
        yield self._queue.get()
        while not self._queue.empty():
            yield self._queue.get()

    def _fetch(self) -> None:
        try:
            for arrival in self.download.arrivals():
                self._queue.put(arrival)
            self._queue.put(None)
        except BaseException as error:  # raised where the parts are asked for
            self._queue.put(error)


def fetch_scene(
    url: SceneUrl, options: StreamOptions | None = None, progress: Callable[[Download], None] = lambda download: None
) -> tuple[ScenePart, Download]:
    """A scene at a URL, as much of it as the budget allows, and how it was fetched.

    Args:
        url: where it is.
        options: budgets, patience, the cache.
        progress: called now and then, with how far it is.

    Raises:
        StreamError: it cannot be fetched.
        SceneError: it is no scene.
    """
    download = Download(url, options or StreamOptions(), threading.Event())
    download.on_progress = lambda: progress(download)
    put_together = _Assembly(url)
    try:
        for arrival in download.arrivals():
            put_together.add(arrival)
        part = put_together.part()
    except SceneError:
        download.forget()
        raise
    if part is None:
        raise put_together.too_little(download)
    return part, download


class _Assembly:
    """What has come of a scene; its faults name the URL."""

    def __init__(self, url: SceneUrl) -> None:
        self._url = url
        self._growing: GrowingScene | None = None

    @property
    def complete(self) -> bool:
        """Whether every tensor is there."""
        return self._growing is not None and self._growing.whole

    def add(self, arrival: Arrival) -> bool:
        """Take it; whether it belongs to another version of the scene than what came before.

        Raises:
            SceneError: it is no part of a scene.
        """
        new = arrival.growing is not self._growing
        self._growing = arrival.growing
        if arrival.span is not None:
            try:
                self._growing.add(arrival.span.name, arrival.span.array(arrival.data))
            except SceneError as error:
                raise SceneError(f"{self._url}: {error}") from error
        return new

    def part(self) -> ScenePart | None:
        """The scene, as far as it is there.

        Raises:
            SceneError: it is none.
        """
        try:
            return None if self._growing is None else self._growing.part()
        except SceneError as error:
            raise SceneError(f"{self._url}: {error}") from error

    def too_little(self, download: Download) -> StreamError:
        """What to raise where this is no scene yet, and nothing more will come."""
        return StreamError(f"{self._url}: {download.note or 'the file ended'}: too little for a part of the scene")
