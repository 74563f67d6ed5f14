"""How often the window is redrawn: at its full rate while something moves, hardly at all at rest."""

INTERACTIVE_INTERVAL = 1.0 / 60.0
SOFTWARE_INTERVAL = 1.0 / 40.0
"""The same where OpenGL runs on the CPU: each frame there takes time from the renderer."""
BUSY_INTERVAL = 1.0 / 36.0
IDLE_INTERVAL = 0.5
AWAKE_SECONDS = 0.6
"""How long the window keeps its full rate after the last event: tooltips and highlights need some frames."""
LONGEST_STEP = 0.1
"""Held keys never count for more than this at once: a stall must not throw the camera through a wall."""


class Pacing:
    """Times of the window's frames; told the time, it holds no clock.

    Attributes:
        now: the time of the newest frame.
        resting: nothing moved in the newest frame, so held keys count from the next one on only.
    """

    def __init__(self, now: float, *, software: bool) -> None:
        self.now = now
        self.resting = True
        self._interval = SOFTWARE_INTERVAL if software else INTERACTIVE_INTERVAL
        self._awake_until = 0.0

    def next_frame_times(self, *, recording: bool, busy: bool) -> tuple[float, float]:
        """When the next frame is due if something happens, and when at the latest.

        Args:
            recording: whether a flight is being recorded, which needs every frame.
            busy: whether something is under way whose end or progress the window shows.
        """
        soon = self.now + self._interval
        if not self.resting or recording or self.now < self._awake_until:
            return soon, soon
        return soon, self.now + (BUSY_INTERVAL if busy else IDLE_INTERVAL)

    def begin_frame(self, now: float, *, event: bool) -> float:
        """A frame begins at ``now``; how many seconds held keys count for.

        Args:
            now: seconds, from any clock that only grows.
            event: whether mouse, keyboard or window woke it.
        """
        if event:
            self._awake_until = now + AWAKE_SECONDS
        seconds = self._interval if self.resting else min(now - self.now, LONGEST_STEP)
        self.now = now
        return seconds
