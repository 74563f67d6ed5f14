"""What the statistics panel shows, gathered as pictures come; told the time, so that tests need no clock."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import PER_RAY, PICTURE, FrameStatistics, Output

from .rendering.heat_maps import Range, shown_range
from .rendering.worker import RenderResult

HISTORY = 120
RATE_SECONDS = 1.0


class RateCounter:
    """Events per second over the last second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        """Count one event."""
        self._times.append(now)

    def rate(self, now: float) -> float:
        """Events per second."""
        while self._times and now - self._times[0] > RATE_SECONDS:
            self._times.popleft()
        return len(self._times) / RATE_SECONDS


class LiveStatistics:
    """The newest frame's figures and the short history of frame times.

    Attributes:
        frame: statistics of the newest picture, None before the first.
        device: what made it.
        outputs: what that can give; everything before the first picture.
        transfer: how it came from a GPU to the window; empty if it was not made there.
        size: its width and height in pixels.
        scale: its linear scale.
        window_rate: how often the window is redrawn.
        picture_rate: how often a new picture comes.
        heat_range: the values at the ends of the scale of the newest picture's false colours.
    """

    def __init__(self) -> None:
        self.frame: FrameStatistics | None = None
        self.device = ""
        self.outputs: frozenset[Output] = PICTURE | PER_RAY
        self.transfer = ""
        self.size = (0, 0)
        self.scale = 0.0
        self.window_rate = RateCounter()
        self.picture_rate = RateCounter()
        self.heat_range: Range | None = None
        self._milliseconds: deque[float] = deque(maxlen=HISTORY)

    def add(self, result: RenderResult, now: float) -> None:
        """Take the figures of a picture."""
        if result.frame is None:
            return
        self.frame = result.frame.statistics
        self.device, self.outputs = result.device, result.outputs
        shot = result.request.shot
        self.heat_range = None
        if shot.heat_map != "off":
            self.heat_range = shown_range(result.frame, shot.heat_map, shot.heat_scale)
        self.size = (result.request.camera.width, result.request.camera.height)
        self.scale = result.request.scale
        self.picture_rate.add(now)
        self._milliseconds.append(result.milliseconds)

    @property
    def milliseconds(self) -> NDArray[np.float32]:
        """Times of the newest pictures, oldest first, float32 [<= 120]."""
        return np.asarray(self._milliseconds, dtype=np.float32)
