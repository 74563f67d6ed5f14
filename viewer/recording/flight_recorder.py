"""Keeps the camera's motion while a person flies, so that it can be saved and rendered later at full quality."""

from dataclasses import replace

from kilonerf.model_io import Camera, CameraPath, Keyframe
from kilonerf.model_io.camera.path import SHORTEST_STEP

SHORTEST_INTERVAL = 1.0 / 75.0  # seconds: keeps every frame of a 60 Hz window, also when its clock is uneven


class FlightRecorder:
    """Turns cameras seen at irregular moments into a :class:`~kilonerf.model_io.CameraPath`.

    It has no clock: the caller says what time it is, in seconds of any steady clock. At most 75 cameras a second
    are kept, and while the camera rests only the first and the last of the rest, so that the path rests as long
    as the camera did. The path begins at 0 seconds, when the camera first moves, and ends when it moves no more;
    where it never moved, it lasts as long as the recording.
    """

    def __init__(self) -> None:
        self._recording = False
        self._start = 0.0
        self._kept: list[Keyframe] = []
        self._latest: Keyframe | None = None  # the newest camera, not kept yet

    @property
    def recording(self) -> bool:
        """Whether cameras are being kept."""
        return self._recording

    @property
    def seconds(self) -> float:
        """Length of the recording up to the newest camera."""
        newest = self._latest or (self._kept[-1] if self._kept else None)
        return newest.seconds if newest else 0.0

    def start(self, now: float) -> None:
        """Begin a new recording at ``now``; what an unfinished one held is forgotten."""
        self._recording = True
        self._start = now
        self._kept.clear()
        self._latest = None

    def add(self, camera: Camera, now: float) -> None:
        """Show the camera of this moment; ignored while not recording.

        Call it once per frame of the window, also while the camera rests. Times that do not increase are ignored.
        """
        if not self._recording:
            return
        if not self._kept:
            self._kept.append(Keyframe.from_camera(0.0, camera))  # it was there since the start
        key = Keyframe.from_camera(now - self._start, camera)
        if key.seconds - self.seconds < SHORTEST_STEP:
            return
        if self._latest and not self._redundant(self._latest, key):
            self._kept.append(self._latest)
        self._latest = key

    def kept_since(self, count: int) -> list[Keyframe]:
        """What has been kept after the first ``count`` cameras."""
        return self._kept[count:]

    def stop(self) -> CameraPath:
        """End the recording.

        Returns:
            The path; a still where only one camera was seen.

        Raises:
            ValueError: no camera was added since :meth:`start`.
        """
        self._recording = False
        if not self._kept:
            raise ValueError("FlightRecorder.stop: no camera was added")
        if self._latest:
            self._kept.append(self._latest)
        keyframes, self._kept, self._latest = self._kept, [], None
        return CameraPath(_without_rests_at_the_ends(keyframes))

    def _redundant(self, latest: Keyframe, newest: Keyframe) -> bool:
        """Whether ``latest`` can be left out now that ``newest`` is known."""
        kept = self._kept[-1]
        if _same_view(kept, latest):
            return _same_view(latest, newest)  # inside a rest; else it is the rest's last moment
        if _same_view(latest, newest):
            return False  # a rest begins: its first moment is kept exactly
        return latest.seconds - kept.seconds < SHORTEST_INTERVAL


def _without_rests_at_the_ends(keyframes: list[Keyframe]) -> tuple[Keyframe, ...]:
    first, last = 0, len(keyframes) - 1
    while first < last and _same_view(keyframes[first], keyframes[first + 1]):
        first += 1
    if first == last:  # it never moved: a still, as long as it was shown
        return tuple(keyframes)
    while _same_view(keyframes[last], keyframes[last - 1]):
        last -= 1
    begin = keyframes[first].seconds
    return tuple(replace(key, seconds=key.seconds - begin) for key in keyframes[first : last + 1])


def _same_view(a: Keyframe, b: Keyframe) -> bool:
    return a.c2w == b.c2w and a.fov_y == b.fov_y
