"""How scenes are fetched."""

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_BUDGET = 4_000_000_000
DEFAULT_CACHE_BUDGET = 2_000_000_000


def cache_folder() -> Path:
    """Where scenes of servers are kept, by the rules of the system."""
    import platformdirs

    return platformdirs.user_cache_path("kilonerf-view") / "scenes"


@dataclass(frozen=True)
class StreamOptions:
    """How scenes are fetched.

    Attributes:
        budget: bytes that may be received for one scene; then loading stops.
        cache_folder: where they are kept on disk; None: nowhere.
        cache_budget: bytes that are kept at most; what was used longest ago goes first.
        connect_timeout: seconds that a server may take to answer.
        read_timeout: seconds in which something must come.
        tries: how often, one after the other, it is tried to go on where a connection was cut.
        backoff: seconds before the second of them; before each further one, twice as many.
    """

    budget: int = DEFAULT_BUDGET
    cache_folder: Path | None = field(default_factory=cache_folder)
    cache_budget: int = DEFAULT_CACHE_BUDGET
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    tries: int = 5
    backoff: float = 0.5
