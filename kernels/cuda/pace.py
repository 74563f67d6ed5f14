"""How many tiles one launch takes, so that no launch lasts seconds: a display's watchdog, and cancelling."""

from collections.abc import Hashable
from dataclasses import dataclass, field

LONG_MS = 100.0  # a frame that is expected to take longer is cut up
RANGE_MS = 50.0  # what a launch of such a frame should take
MOST_GROWTH = 4  # from one range to the next: background tiles are cheap, those behind them may not be
FIRST_WAVES = 4  # tiles per resident block in the first launch of a frame of which nothing is known


@dataclass
class Pace:
    """What frames cost, told from those before.

    Attributes:
        costs: milliseconds per tile of the last frame with options like these.
    """

    costs: dict[Hashable, float] = field(default_factory=dict[Hashable, float])

    def first_range(self, key: Hashable, tiles: int, resident_blocks: int) -> int:
        """Tiles of a frame's first launch: all of them if the last such frame was fast."""
        cost = self.costs.get(key)
        if cost is None:
            return min(tiles, FIRST_WAVES * resident_blocks)
        if cost * tiles <= LONG_MS:
            return tiles
        return min(tiles, max(resident_blocks, int(RANGE_MS / cost)))

    def next_range(self, done: int, milliseconds: float, resident_blocks: int) -> int:
        """Tiles of the launch that follows one of ``done`` tiles; at least a block each."""
        fitting = int(done * RANGE_MS / milliseconds) if milliseconds > 0.0 else MOST_GROWTH * done
        return max(resident_blocks, min(fitting, MOST_GROWTH * done))

    def frame_done(self, key: Hashable, tiles: int, milliseconds: float) -> None:
        """Remember the last frame; of few kinds only, as options can be moved by a slider."""
        if len(self.costs) > 16:
            self.costs.clear()
        self.costs[key] = milliseconds / max(1, tiles)
