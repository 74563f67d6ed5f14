"""Messages to the user: shown for a while over the picture, and kept in a short list."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

Kind = Literal["info", "good", "error"]

SECONDS: dict[Kind, float] = {"info": 4.0, "good": 5.0, "error": 9.0}
SHOWN_AT_ONCE = 4
KEPT = 50


@dataclass
class Notice:
    """One message; ``until`` is when it leaves the picture."""

    text: str
    kind: Kind
    until: float
    times: int = 1


class Notices:
    """All messages of this run. A repeated message is counted, not shown twice."""

    def __init__(self) -> None:
        self.log: deque[Notice] = deque(maxlen=KEPT)

    def add(self, text: str, kind: Kind, now: float) -> None:
        """Show ``text`` from ``now`` on."""
        until = now + SECONDS[kind]
        if self.log and (self.log[-1].text, self.log[-1].kind) == (text, kind):
            self.log[-1].until = until
            self.log[-1].times += 1
            return
        self.log.append(Notice(text, kind, until))

    def dismiss(self) -> None:
        """Take all messages off the picture; the list keeps them."""
        for notice in self.log:
            notice.until = 0.0

    def shown(self, now: float) -> list[Notice]:
        """Messages to show over the picture at ``now``, oldest first."""
        return [notice for notice in self.log if notice.until > now][-SHOWN_AT_ONCE:]
