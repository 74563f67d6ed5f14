"""Bytes of a file on a web server: by ranges where it has them, and on from where a connection was cut."""

import http.client
import re
import threading
import time
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from ..errors import StreamError
from .address import SceneUrl
from .options import StreamOptions

BLOCK = 1 << 16  # bytes that are read at once
MOST_REDIRECTS = 5
ENOUGH = 1 << 14  # bytes after which a connection that is cut counts as the first one again
LEAST = 1 << 12  # bytes in three times the read timeout; a server that sends fewer is as good as silent
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})


class UnreachableError(StreamError):
    """There is no server, or none that answers."""


class FileChangedError(Exception):
    """The file on the server is not the one that reading began with."""


class BudgetSpentError(Exception):
    """As many bytes were received as are allowed."""


class CancelledError(Exception):
    """Somebody does not want the bytes any more."""


class _CutError(Exception):
    """What may go better at the next try."""


@dataclass(frozen=True)
class Version:
    """Which file it is that a server has.

    Attributes:
        etag: "" if the server says none.
        last_modified: "" likewise.
        size: bytes; None: not said.
    """

    etag: str
    last_modified: str
    size: int | None

    @property
    def validator(self) -> str:
        """What tells one version from another; "": nothing does."""
        return self.etag or self.last_modified

    def differs(self, other: "Version") -> bool:
        """Whether the other is surely another version."""
        pairs = (
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
            (self.size, other.size),
        )
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


class HttpSource:
    """One file; used by one thread.

    Args:
        url: where it is.
        options: how patient to be, and how many bytes may be received.
        cancel: set it to end a read with :class:`CancelledError`.

    Attributes:
        received: bytes that came, also those that were of no use.
        version: of the file, once :meth:`open` has said it.
    """

    def __init__(self, url: SceneUrl, options: StreamOptions, cancel: threading.Event) -> None:
        self._url, self._options, self._cancel = url, options, cancel
        self._pool = _pool(url.text, options)
        self._body: urllib3.BaseHTTPResponse | None = None
        self._at, self._end = 0, 0.0  # of the body that is being read; it ends at _end, if that is known
        self._ranged = False  # whether the server has ranges
        self._target = url.text  # behind redirects
        self._pace = _Pace(options)
        self.version: Version | None = None
        self.received = 0

    @property
    def size(self) -> int | None:
        """Bytes of the file, if they are known."""
        return None if self.version is None else self.version.size

    def open(self, first: int) -> None:
        """Ask for the first bytes, to learn which file it is.

        Args:
            first: how many bytes.

        Raises:
            StreamError: they cannot be read.
            CancelledError: nobody wants them any more.
        """
        tries = _Tries(self._url, self._options, self._cancel)
        while True:
            try:
                self._request(0, first)
                return
            except _CutError as error:
                tries.failed(error)

    def read(self, begin: int, end: int, until: int) -> Generator[bytes, None, None]:
        """The bytes of a range, in pieces; fewer, if the file's size was not known and it ends before.

        Args:
            begin: first byte.
            end: behind the last byte.
            until: up to where is probably read next; ``end`` or more.

        Raises:
            StreamError: they cannot be read.
            FileChangedError: the file is another one now.
            BudgetSpentError: as many bytes as are allowed have come.
            CancelledError: nobody wants them any more.
        """
        at = begin
        tries = _Tries(self._url, self._options, self._cancel)
        while at < end:
            mark = at
            try:
                for data in self._pieces(at, end, until):
                    at += len(data)
                    yield data
                return
            except _CutError as error:
                self.close()
                if at - mark >= ENOUGH:
                    tries.count = 0
                tries.failed(error)

    def at_end(self, size: int) -> bool:
        """Whether the file has ``size`` bytes, all of which were read, as far as can be seen."""
        if self.size is not None:
            return self.size == size
        try:
            return self._body is None or self._at != size or not self._body.read1(1)
        except _FAULTS:
            return True

    def close(self) -> None:
        """End the connection."""
        self._drop()
        self._pool.clear()

    def _pieces(self, at: int, end: int, until: int) -> Iterator[bytes]:
        """The range over as few connections as the server allows."""
        while at < end:
            if not self._leads_to(at):
                self._request(at, max(until, end))
            while self._at < at:  # a server without ranges begins at 0
                if not self._receive(at - self._at):
                    raise _CutError(f"the connection was cut at byte {self._at:,}")
            data = self._receive(end - at)
            if not data and self.size is None and self.version is not None:
                self.version = Version(self.version.etag, self.version.last_modified, at)
                return
            if not data:
                raise _CutError(f"the connection was cut at byte {at:,}")
            at += len(data)
            yield data

    def _leads_to(self, at: int) -> bool:
        """Whether the body that is being read has this byte, without too much before it that is of no use."""
        if self._body is None or not self._at <= at < self._end:
            return False
        return not self._ranged or at - self._at <= BLOCK

    def _receive(self, most: int) -> bytes:
        """What has come of the body that is being read; nothing: it has ended."""
        assert self._body is not None  # noqa: S101 - callers have asked for one
        if self._cancel.is_set():
            raise CancelledError
        allowed = self._options.budget - self.received
        if allowed <= 0:
            raise BudgetSpentError
        try:
            data = self._body.read1(min(BLOCK, most, allowed), decode_content=False)
        except _FAULTS as error:
            if isinstance(error, ReadTimeoutError | SSLError):
                raise _CutError(_reason(error, self._options)) from error
            raise _CutError(f"the connection was cut at byte {self._at:,}") from error
        self.received += len(data)
        self._at += len(data)
        self._pace.add(len(data))
        return data

    def _request(self, at: int, until: int) -> None:
        """Ask for a range; what comes is the body that is read next."""
        self._drop()
        if self._cancel.is_set():
            raise CancelledError
        if self.received >= self._options.budget:
            raise BudgetSpentError
        headers = {"Range": f"bytes={at}-{until - 1}"}
        known = self.version
        if known is not None and known.validator and not known.validator.startswith("W/"):
            headers["If-Range"] = known.validator
        response = self._answer(headers)
        try:
            begin, end, version = self._checked(response, at, until)
        except BaseException:
            response.close()
            raise
        if known is not None and known.differs(version):
            response.close()
            raise FileChangedError
        self.version = known if known is not None and known.size is not None else version
        self._body, self._at, self._end = response, begin, end
        self._ranged = response.status == 206
        self._pace = _Pace(self._options)

    def _answer(self, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The server's answer, wherever the file has moved to."""
        target = self._target
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._pool.request(
                    "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
                )
            except _FAULTS as error:
                raise self._unreachable(error) from error
            except (UnicodeError, ValueError) as error:  # a name that no server can have
                raise StreamError(f"{self._url}: expected the name of a server, got another: {_text(error)}") from error
            if response.status not in _MOVED:
                self._target = target
                return response
            place = response.headers.get("Location", "")
            response.close()
            target = self._moved(target, place)
        raise StreamError(f"{self._url}: expected the file after at most {MOST_REDIRECTS} redirects, got more")

    def _moved(self, target: str, place: str) -> str:
        try:
            moved = urljoin(target, place)
            parts = urlsplit(moved)
            allowed = ("https",) if urlsplit(target).scheme == "https" else ("http", "https")
            good = bool(place) and parts.hostname is not None and parts.scheme in allowed
        except ValueError:
            good, moved = False, place
        if not good:
            raise StreamError(f"{self._url}: expected a redirect to a URL as safe, got one to {_shown(place)!r}")
        return moved

    def _checked(self, response: urllib3.BaseHTTPResponse, at: int, until: int) -> tuple[int, float, Version]:
        """Where the body of an answer begins and ends, and of which version it is."""
        status, headers = response.status, response.headers
        if status in _BUSY:
            raise _CutError(f"the server answered {status} {_shown(response.reason or '')}".rstrip())
        if status == 416 and self.version is not None:
            raise FileChangedError  # it has become shorter
        if status not in (200, 206):
            got = "416, an empty file" if status == 416 else f"{status} {_shown(response.reason or '')}".rstrip()
            raise StreamError(f"{self._url}: expected the file, got HTTP {got}")
        coding = headers.get("Content-Encoding", "identity")
        if coding.strip().lower() not in ("", "identity"):
            raise StreamError(f"{self._url}: expected the file as it is, got it coded as {_shown(coding)!r}")
        etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        length = headers.get("Content-Length", "").strip()
        if length and not re.fullmatch(r"[0-9]{1,18}", length):
            raise StreamError(f"{self._url}: Content-Length: expected a number, got {_shown(length)!r}")
        if status == 200:
            size = int(length) if length and "Transfer-Encoding" not in headers else None
            return 0, float("inf") if size is None else size, Version(etag, modified, size)
        said = headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", said.strip())
        begin, last = (int(match[1]), int(match[2])) if match else (-1, -1)
        size = int(match[3]) if match and match[3] != "*" else None
        if not at == begin <= last < until or (size is not None and last >= size):
            wanted = f"bytes {at}-{until - 1} or fewer"
            raise StreamError(f"{self._url}: Content-Range: expected {wanted}, got {_shown(said)!r}")
        if length and int(length) != last + 1 - begin:
            wanted = f"{last + 1 - begin} for bytes {begin}-{last}"
            raise StreamError(f"{self._url}: Content-Length: expected {wanted}, got {length}")
        return begin, last + 1, Version(etag, modified, size)

    def _unreachable(self, error: Exception) -> Exception:
        """What to raise where no answer came: at first sight it is final."""
        reason = _reason(error, self._options)
        if self.version is None and isinstance(error, _FINAL):
            return UnreachableError(f"{self._url}: {reason}")
        return _CutError(reason)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None


class _Tries:
    """Counts how often it went wrong, and waits before it may be tried again."""

    def __init__(self, url: SceneUrl, options: StreamOptions, cancel: threading.Event) -> None:
        self._url, self._options, self._cancel = url, options, cancel
        self.count = 0

    def failed(self, error: _CutError) -> None:
        """Wait.

        Raises:
            StreamError: it was the last try.
            CancelledError: nobody wants another one.
        """
        self.count += 1
        if self.count >= self._options.tries:
            raise StreamError(f"{self._url}: {error} (tried {self.count} times)") from error
        if self._cancel.wait(self._options.backoff * 2 ** (self.count - 1)):
            raise CancelledError


class _Pace:
    """Notices a server that sends a byte now and then."""

    def __init__(self, options: StreamOptions) -> None:
        self._seconds = 3.0 * options.read_timeout
        self._began, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> None:
        """So many bytes came."""
        self._bytes += count
        now = time.monotonic()
        if now - self._began < self._seconds:
            return
        if self._bytes < LEAST:
            raise _CutError(f"only {self._bytes} bytes came in {now - self._began:.0f} s")
        self._began, self._bytes = now, 0


def _pool(url: str, options: StreamOptions) -> urllib3.PoolManager:
    """Connections, through the proxy that the environment names, if it does."""
    arguments = {
        "retries": False,
        "maxsize": 1,
        "timeout": urllib3.Timeout(connect=options.connect_timeout, read=options.read_timeout),
        "headers": {"Accept-Encoding": "identity", "User-Agent": "kilonerf-view"},
    }
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, **arguments)
    return urllib3.PoolManager(**arguments)


_FAULTS = (HTTPError, OSError, http.client.HTTPException)
_FINAL = (NewConnectionError, ConnectTimeoutError, SSLError, LocationValueError)


def _reason(error: Exception, options: StreamOptions) -> str:
    """Why nothing came, as a person would say it."""
    if isinstance(error, NameResolutionError):
        return "no server of that name can be found"
    if isinstance(error, ReadTimeoutError):
        return f"nothing came from the server for {options.read_timeout:g} s"
    if isinstance(error, SSLError):
        return f"no secure connection: {_text(error)}"
    if isinstance(error, NewConnectionError):
        return f"cannot connect: {_text(error).rpartition(': ')[2]}"
    if isinstance(error, ConnectTimeoutError):
        return f"the server did not answer within {options.connect_timeout:g} s"
    if isinstance(error, LocationParseError):
        return f"expected the name of a server, got another: {_text(error)}"
    return f"the connection failed: {_text(error)}"


def _text(error: Exception) -> str:
    return _shown(str(error))


def _shown(text: str) -> str:
    """What a server said, as one short line."""
    return "".join(character if character.isprintable() else " " for character in text)[:160]
