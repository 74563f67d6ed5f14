"""Which sections of the side panel are open.

ImGui has one context, and the program one window, at a time in a process; so there is one table.
"""

from collections.abc import Mapping


class Folding:
    """What the user has opened and folded, by title."""

    def __init__(self) -> None:
        self._chosen: dict[str, bool] = {}

    @property
    def chosen(self) -> Mapping[str, bool]:
        """Whether each section that the user has touched is open."""
        return self._chosen

    def is_open(self, title: str, *, default: bool) -> bool:
        """Whether a section is open."""
        return self._chosen.get(title, default)

    def choose(self, title: str, *, is_open: bool) -> None:
        """The user has opened or folded a section."""
        self._chosen[title] = is_open

    def restore(self, chosen: Mapping[str, bool]) -> None:
        """Take what an earlier run has left."""
        self._chosen = dict(chosen)


sections = Folding()
