"""A scene's file, tensor after tensor, from a web server and from the cache of earlier times."""

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from ..errors import SceneError, StreamError
from ..files.downloads import HEAD, broken_content
from ..knf.growing import GrowingScene
from ..knf.safetensors_reader import TensorIndex, TensorSpan, header_end, read_index
from .address import SceneUrl
from .cache import CacheEntry, SceneCache
from .options import StreamOptions
from .source import BudgetSpentError, FileChangedError, HttpSource, UnreachableError

FIRST = 1 << 16
"""Bytes of the first request: the index of any scene that this program writes, and the beginning of the rest."""
KEPT_AT_ONCE = 1 << 20  # bytes
INDEX = 1 << 12  # bytes that most indices fit in
_UNKNOWN = 1 << 62  # size of a file whose server does not say it


@dataclass(frozen=True)
class Arrival:
    """What came: an index first, then tensor after tensor; another index, if the file was changed meanwhile.

    Attributes:
        growing: the scene that is put together; nothing has been added to it yet.
        span: which tensor; None: it is the index.
        data: the tensor's bytes.
    """

    growing: GrowingScene
    span: TensorSpan | None = None
    data: bytes = b""


class Download:
    """One file; used by one thread.

    Args:
        url: where it is.
        options: budgets, patience, the cache.
        cancel: set it to end the download.

    Attributes:
        done: bytes of the file that are there.
        total: bytes of the whole file; 0: not known yet.
        cached: bytes that were in the cache.
        index: of the file; None: not known yet.
        note: why it ended before everything was there, or what else is to be said.
        distrusted: whether what came is no scene.
        on_progress: called whenever more is there, by the thread that fetches.
    """

    def __init__(self, url: SceneUrl, options: StreamOptions, cancel: threading.Event) -> None:
        self._url, self._options, self._cancel = url, options, cancel
        self._cache = None if options.cache_folder is None else SceneCache(options.cache_folder, options.cache_budget)
        self._source = HttpSource(url, options, cancel)
        self._entry: CacheEntry | None = None
        self._head = b""
        self._offline = False
        self.done = self.total = self.cached = 0
        self.index: TensorIndex | None = None
        self.note = ""
        self.distrusted = False
        self.on_progress: Callable[[], None] = lambda: None

    @property
    def received(self) -> int:
        """Bytes that came over the network, also those that were of no use."""
        return self._source.received

    def arrivals(self) -> Iterator[Arrival]:
        """The index, and the tensors in the order in which they are of use.

        Raises:
            StreamError: the file cannot be fetched.
            SceneError: it is no scene.
            CancelledError: nobody wants it any more.
        """
        try:
            try:
                yield from self._whole()
            except FileChangedError:
                self._again()
                try:
                    yield from self._whole()
                except FileChangedError as error:
                    raise StreamError(f"{self._url}: the file is changed again and again while it is read") from error
        except BudgetSpentError:
            spent = f"{self.received:,} bytes received, as many as are allowed (--stream-budget)"
            if not self.total:
                raise StreamError(f"{self._url}: {spent}, and the file's index is not among them") from None
            self.note = f"stopped: {spent}"
        except StreamError:
            raise
        except SceneError as error:
            self.distrusted = True
            raise SceneError(f"{self._url}: {error}") from error
        finally:
            self._source.close()
            if self._entry is not None:
                self._entry.close()
            if self.distrusted:
                self.forget()

    def _again(self) -> None:
        """Begin once more: the file is another one."""
        if self._entry is not None:
            self._entry.close()
            self._entry = None
        received = self._source.received
        self._source.close()
        self._source = HttpSource(self._url, self._options, self._cancel)
        self._source.received = received
        self.done = self.total = self.cached = 0

    def _whole(self) -> Iterator[Arrival]:
        self._open()
        growing = GrowingScene(self._read_index())
        self.index = growing.index
        self.total = growing.index.end
        yield Arrival(growing)
        self.done = growing.index.begin
        for number, span in enumerate(growing.spans):
            data = self._tensor(growing, span, _run_end(growing.spans[number:]))
            yield Arrival(growing, span, data)
        if not self._offline and not self._source.at_end(self.total):
            raise SceneError(f"expected {self.total} bytes, as its header says, got more")

    def _open(self) -> None:
        """Learn which version of the file the server has, and what of it is kept already."""
        kept = None if self._cache is None else self._cache.newest(self._url.text)
        try:
            self._source.open(self._first(kept is not None))
        except UnreachableError as error:
            if self._cache is None or kept is None or self._source.version is not None:
                raise
            self._entry = self._cache.entry(self._url.text, *kept)
            if not self._entry.whole:
                raise
            self._offline = True
            self.note = f"from the cache: {str(error).removeprefix(f'{self._url}: ')}"
            return
        version = self._source.version
        if self._cache is not None and version is not None and version.validator and version.size is not None:
            self._entry = self._cache.entry(self._url.text, version.validator, version.size)

    def _read_index(self) -> TensorIndex:
        size = self._size
        known = self._offline or (self._entry is not None and bool(self._entry.read(0, 1)))
        self._head = self._fresh(0, min(self._first(known), size))
        broken = broken_content(self._head[:HEAD])
        if broken is not None:
            raise StreamError(f"{self._url}: expected a scene, got {broken}")
        if len(self._head) < 9:
            raise SceneError(f"not a scene file: expected at least 9 bytes, got {len(self._head)}")
        end = header_end(self._head, size)
        if end > len(self._head):
            self._head += self._fresh(len(self._head), end)
        if end > len(self._head):
            raise SceneError(f"cut short: expected a header of {end} bytes, got {len(self._head)} bytes in all")
        unknown = self._size == _UNKNOWN
        return read_index(self._head, len(self._head) if unknown else self._size, partial=unknown)

    def _first(self, known: bool) -> int:
        """How many bytes are asked for first; of a file that is kept, those that nothing else would check."""
        return max(1, min(FIRST, self._options.budget, INDEX if known else FIRST))

    def _fresh(self, begin: int, end: int) -> bytes:
        """Bytes of the index: it has no checksum, so it comes from the server, if there is one."""
        if self._offline:
            return self._range(begin, end, end)
        found = b"".join(self._source.read(begin, end, end))
        if self._entry is not None and self._entry.read(begin, end) != found:
            self._entry.drop(begin, end)
            self._entry.keep(begin, found)
        return found

    def forget(self) -> None:
        """Keep nothing of this file: it made no scene, and who knows why."""
        self.distrusted = True
        if self._cache is not None:
            self._cache.forget(self._url.text)

    @property
    def _size(self) -> int:
        if self._offline and self._entry is not None:
            return self._entry.size
        return _UNKNOWN if self._source.size is None else self._source.size

    def _tensor(self, growing: GrowingScene, span: TensorSpan, until: int) -> bytes:
        before = self.done
        data = self._range(span.begin, span.end, until, lambda count: self._count(before + count))
        if len(data) == span.end - span.begin and not growing.sound(span, data):
            if self._entry is not None:
                self._entry.drop(span.begin, span.end)
            if self._offline:
                raise StreamError(f"{self._url}: {self.note}; and what is kept there is damaged")
            self._head = self._head[: span.begin]
            self._source.close()
            data = self._range(span.begin, span.end, until, lambda count: self._count(before + count))
            if not growing.sound(span, data):
                if self._entry is not None:
                    self._entry.drop(span.begin, span.end)
                raise StreamError(
                    f"{self._url}: {span.name[:80]}: expected the file's own checksum, got {zlib.crc32(data)} twice, "
                    f"for bytes {span.begin} to {span.end}: the file on the server is damaged"
                )
        if len(data) < span.end - span.begin:
            size = span.begin + len(data)
            raise SceneError(f"cut short: expected {growing.index.end} bytes, as its header says, got {size}")
        self._count(before + len(data))
        return data

    def _count(self, done: int) -> None:
        self.done = done
        self.on_progress()

    def _range(self, begin: int, end: int, until: int, progress: Callable[[int], None] = lambda count: None) -> bytes:
        """The bytes from ``begin`` to ``end``; fewer, where the file ends before its size was known."""
        found = bytearray(self._head[begin:end])
        while begin + len(found) < end:
            at = begin + len(found)
            known = b"" if self._entry is None else self._entry.read(at, end)
            if known:
                found += known
                self.cached += len(known)
                progress(len(found))
                continue
            if self._offline:
                raise StreamError(f"{self._url}: {self.note}; and what is kept there is damaged")
            gap = min(until, self._size if self._entry is None else self._entry.next_block(at))
            if not self._fetch(at, min(end, gap), gap, found, progress):
                break
        return bytes(found)

    def _fetch(self, at: int, end: int, until: int, found: bytearray, progress: Callable[[int], None]) -> bool:
        """Add a range of the server's to what was found, and keep it; whether it came whole."""
        kept = len(found)  # what is before is in the cache, or as good as
        whole = len(found) + end - at
        begin = at - len(found)
        try:
            with closing(self._source.read(at, end, until)) as pieces:
                for data in pieces:
                    found += data
                    progress(len(found))
                    if len(found) - kept >= KEPT_AT_ONCE:
                        self._keep(begin + kept, bytes(found[kept:]))
                        kept = len(found)
        finally:
            self._keep(begin + kept, bytes(found[kept:]))
        return len(found) == whole

    def _keep(self, begin: int, data: bytes) -> None:
        if self._entry is not None:
            self._entry.keep(begin, data)


def _run_end(spans: tuple[TensorSpan, ...]) -> int:
    """Where the run of tensors ends that lie one after the other, beginning with the first."""
    end = spans[0].end
    for span in spans[1:]:
        if span.begin != end:
            break
        end = span.end
    return end
