"""Where a scene is: a file, or a URL."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import UsageError

LONGEST = 4096
_SHOWN = 200  # characters of a URL in a message


@dataclass(frozen=True)
class SceneUrl:
    """A scene on a web server.

    Attributes:
        text: the URL, http or https, without a fragment.
    """

    text: str

    @property
    def name(self) -> str:
        """As a file would be called."""
        parts = urlsplit(self.text)
        return unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc

    def __str__(self) -> str:
        return self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}..."


Location = Path | SceneUrl


def is_there(location: Location) -> bool:
    """Whether it is a file that exists, or a URL, of which only its server knows."""
    return isinstance(location, SceneUrl) or location.is_file()


def location_key(location: Location) -> str:
    """What tells it from all others, on this machine."""
    return location.text if isinstance(location, SceneUrl) else str(location.absolute())


def is_url(text: str) -> bool:
    """Whether a person who typed this meant a URL, be it one that can be opened or not."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def parse_location(text: str) -> Location:
    """What a person typed for a scene.

    Raises:
        UsageError: a URL that cannot be opened.
    """
    return parse_url(text) if is_url(text) else Path(text)


def parse_url(text: str) -> SceneUrl:
    """A URL that a person typed.

    Raises:
        UsageError: it cannot be opened.
    """
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    if len(text) > LONGEST or not text.isprintable() or re.search(r"\s", text):
        raise UsageError(f"{shown!r}: expected a URL of at most {LONGEST} characters, without spaces in it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{shown}: expected a URL, got one that is none: {error}") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise UsageError(f"{shown}: expected a URL with http or https, got {parts.scheme}")
    if not parts.hostname or port == 0:
        raise UsageError(f"{shown}: expected a URL with the name of a server, got none")
    if parts.username is not None or parts.password is not None:
        raise UsageError("expected a URL without a user's name and password: they would be shown and kept")
    return SceneUrl(parts._replace(fragment="").geturl())
