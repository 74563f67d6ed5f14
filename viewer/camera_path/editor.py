"""A camera path while it is edited: keys, selection, playhead, undo. Pure: no window, no clock, no disk."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kilonerf.model_io import Camera, CameraPath, Keyframe
from kilonerf.model_io.camera.path import Speed
from kilonerf.model_io.camera.rotation import exponential, matrix_from_quaternion

SECTION_SECONDS = 2.5
"""What a key that is added at the end makes the path longer by: five keys make ten seconds."""
SHORTEST_SECTION = 0.05  # seconds between keys
LONGEST = 36_000.0  # seconds of a path
STEPS_KEPT = 200  # of undo
AT_KEY = 1e-3  # seconds: nearer, the playhead is at a key


class PathEditor:
    """One path and everything that can be done to it; every change can be undone.

    Times are seconds from the first key, which is always at 0.

    Attributes:
        path: the path; None while it has no keys.
        selected: the key that is shown and changed, an index.
        playhead: the moment that is shown, in seconds.
        playing: whether the playhead moves by itself.
        revision: grows with every change of the path.
    """

    def __init__(self) -> None:
        self.path: CameraPath | None = None
        self.selected: int | None = None
        self.playhead = 0.0
        self.playing = False
        self.revision = 0
        self._undo: list[CameraPath | None] = []
        self._redo: list[CameraPath | None] = []
        self._gesture = False  # a drag under way: all of it is one step of undo
        self._new_speed: Speed = "even"
        self._times: tuple[float, ...] = ()

    @property
    def keys(self) -> tuple[Keyframe, ...]:
        """All key frames, in their order."""
        return self.path.keyframes if self.path else ()

    @property
    def times(self) -> tuple[float, ...]:
        """When each key is passed."""
        return self._times

    @property
    def duration(self) -> float:
        """Seconds of the whole path."""
        return self.path.duration if self.path else 0.0

    @property
    def even(self) -> bool:
        """Whether the speed is even."""
        return (self.path.speed if self.path else self._new_speed) == "even"

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return bool(self._redo)

    @property
    def key_at_playhead(self) -> int | None:
        """The key that the playhead is at."""
        near = [i for i, time in enumerate(self.times) if abs(time - self.playhead) < AT_KEY]
        return near[0] if near else None

    def camera(self, width: int, height: int) -> Camera | None:
        """What the path shows at the playhead."""
        return self.path.camera_at(self.playhead, width, height) if self.path else None

    # Keys.

    def add(self, camera: Camera) -> None:
        """A key at the end of the path."""
        if self.path is None:
            self._change(CameraPath((Keyframe.from_camera(0.0, camera),), self._new_speed))
        else:
            seconds = self.keys[-1].seconds + self._typical_section()
            keys = (*self.keys, Keyframe.from_camera(seconds, camera))
            self._change(replace(self.path, keyframes=keys))
        self._select(len(self.keys) - 1)

    def insert(self, camera: Camera) -> None:
        """A key at the playhead, between its neighbours; at the end of the path or on a key, after it."""
        if self.path is None or self.playhead >= self.times[-1] - AT_KEY:
            self.add(camera)
            return
        at = self.key_at_playhead
        after = at if at is not None else max(i for i, time in enumerate(self.times) if time <= self.playhead)
        seconds = self.playhead if at is None else 0.5 * (self.times[at] + self.times[at + 1])
        key = Keyframe.from_camera(seconds, camera)
        self._change(replace(self.path, keyframes=(*self.keys[: after + 1], key, *self.keys[after + 1 :])))
        self._select(after + 1)

    def duplicate(self) -> None:
        """The selected key once more after it, both at fixed times: the camera rests between them."""
        if self.path is None or self.selected is None:
            return
        i, keys, times = self.selected, list(self.keys), self.times
        following = times[i + 1] if i + 1 < len(keys) else math.inf
        rest = min(1.0, 0.5 * (following - times[i]))
        keys[i] = replace(keys[i], timed=True)
        keys.insert(i + 1, replace(keys[i], seconds=times[i] + rest))
        self._change(replace(self.path, keyframes=tuple(keys)))
        self._select(i + 1)

    def delete(self) -> None:
        """Remove the selected key."""
        if self.path is None or self.selected is None:
            return
        i = self.selected
        keys = (*self.keys[:i], *self.keys[i + 1 :])
        self._change(_from_zero(replace(self.path, keyframes=keys)) if keys else None)
        self.selected = min(i, len(keys) - 1) if keys else None

    def overwrite(self, camera: Camera) -> None:
        """Give the selected key the view of ``camera``; its time stays."""
        self._replace_selected(lambda key: replace(Keyframe.from_camera(key.seconds, camera), timed=key.timed))

    def set_lens(self, fov_y: float) -> None:
        """Set the selected key's vertical field of view, radians."""
        self._replace_selected(lambda key: replace(key, fov_y=fov_y))

    def roll(self, angle: float) -> None:
        """Turn the selected key about its line of sight, counter-clockwise, radians."""

        def rolled(key: Keyframe) -> Keyframe:
            matrix = np.array(key.c2w)
            matrix[:3, :3] = matrix[:3, :3] @ matrix_from_quaternion(exponential(np.array([0.0, 0.0, angle])))
            camera = Camera.from_matrix(matrix, 2, 2, fx=1.0)
            return replace(key, c2w=camera.c2w)

        self._replace_selected(rolled)

    def set_timed(self, timed: bool) -> None:
        """Fix the selected key's time, or let the even speed decide."""
        self._replace_selected(lambda key: replace(key, timed=timed))

    def move(self, seconds: float) -> None:
        """Give the selected key another time, between its neighbours; the last one takes the path's end with it."""
        if self.path is None or self.selected in (None, 0):
            return
        i, keys = self.selected, list(self.keys)
        low = self.times[i - 1] + SHORTEST_SECTION
        high = LONGEST
        if i + 1 < len(keys):
            high = max(low, self.times[i + 1] - SHORTEST_SECTION)
        seconds = max(low, min(high, seconds))
        inner = i + 1 < len(keys) or self.path.closed
        keys[i] = replace(keys[i], seconds=seconds, timed=keys[i].timed or (inner and self.even))
        self._change(replace(self.path, keyframes=tuple(keys)))
        self.playhead = self.times[i]

    # The whole path.

    def set_duration(self, seconds: float) -> None:
        """Play the whole path in this time; every key's time is scaled."""
        if self.path is None or self.duration == 0.0:
            return
        least = SHORTEST_SECTION * (len(self.keys) - (0 if self.path.closed else 1))
        factor = max(least, min(LONGEST, seconds)) / self.duration
        keys = tuple(replace(key, seconds=key.seconds * factor) for key in self.keys)
        self._change(CameraPath(keys, self.path.speed, self.path.closing_seconds * factor))
        self.playhead *= factor

    def set_even(self, even: bool) -> None:
        """Even speed, or the keys' own times (which begin as the even speed had them)."""
        self._new_speed = "even" if even else "keys"
        if self.path is not None:
            keys = tuple(replace(key, timed=False) for key in self.keys)
            self._change(replace(self.path, keyframes=keys, speed=self._new_speed))

    def set_closed(self, closed: bool) -> None:
        """Let the path come back to its first key, or end at its last."""
        if self.path is None:
            return
        if closed != self.path.closed:
            self._change(replace(self.path, closing_seconds=self._typical_section() if closed else 0.0))

    def reset(self, path: CameraPath | None) -> None:
        """Begin anew with a path; there is nothing to undo."""
        self._undo.clear()
        self._redo.clear()
        self._gesture, self.playing, self.playhead, self.selected = False, False, 0.0, None
        self._set(path)

    def load(self, path: CameraPath | None) -> None:
        """Take another path in place of this one."""
        self._change(_from_zero(path) if path else None)
        self.selected = 0 if path else None
        self.playhead, self.playing = 0.0, False

    # Time.

    def seek(self, seconds: float) -> None:
        """Show another moment; the key that is there is selected."""
        self.playhead = max(0.0, min(self.duration, seconds))
        at = self.key_at_playhead
        if at is not None:
            self.selected = at

    def select(self, index: int) -> None:
        """Select a key and go to it."""
        self._select(index)

    def step_key(self, direction: int) -> None:
        """Go to the next key (1) or the one before (-1)."""
        if direction > 0:
            there = [time for time in self.times if time > self.playhead + AT_KEY]
        else:
            there = [time for time in reversed(self.times) if time < self.playhead - AT_KEY]
        if there:
            self.playing = False
            self.seek(there[0])

    def toggle_playing(self) -> None:
        """Play from the playhead, from the start if that is at the end; or stop."""
        if not self.playing and self.duration > 0.0:
            if self.playhead >= self.duration - AT_KEY:
                self.playhead = 0.0
            self.playing = True
        else:
            self.playing = False

    def advance(self, seconds: float) -> None:
        """Let time pass while it plays: a closed path goes round, any other stops at its end."""
        if not self.playing:
            return
        self.playhead += seconds
        if self.playhead >= self.duration:
            closed = self.path is not None and self.path.closed
            self.playhead = self.playhead % self.duration if closed else self.duration
            self.playing = closed

    # Undo.

    def begin_gesture(self) -> None:
        """Make one step of undo of all changes until :meth:`end_gesture`."""
        if not self._gesture:
            self._gesture = True
            self._remember()

    def end_gesture(self) -> None:
        """The drag is over."""
        if self._gesture:
            self._gesture = False
            if self._undo and self._undo[-1] == self.path:
                self._undo.pop()  # nothing came of it

    def undo(self) -> None:
        """Take back the last change."""
        self._restore(self._undo, self._redo)

    def redo(self) -> None:
        """Do again what was taken back."""
        self._restore(self._redo, self._undo)

    def _restore(self, source: list[CameraPath | None], other: list[CameraPath | None]) -> None:
        self.end_gesture()
        if source:
            other.append(self.path)
            self._set(source.pop())

    def _remember(self) -> None:
        self._undo.append(self.path)
        del self._undo[:-STEPS_KEPT]
        self._redo.clear()

    def _change(self, path: CameraPath | None) -> None:
        if not self._gesture:
            self._remember()
        self._set(path)

    def _set(self, path: CameraPath | None) -> None:
        self.path = path.settled() if path else None
        self._times = tuple(key.seconds for key in self.path.keyframes) if self.path else ()
        self.revision += 1
        self.selected = min(self.selected, len(self.keys) - 1) if self.selected is not None and self.keys else None
        self.playhead = min(self.playhead, self.duration)
        self.playing = self.playing and self.duration > 0.0

    def _select(self, index: int) -> None:
        self.selected = index
        self.playhead = self.times[index]

    def _replace_selected(self, changed: Callable[[Keyframe], Keyframe]) -> None:
        if self.path is None or self.selected is None:
            return
        keys = list(self.keys)
        keys[self.selected] = changed(keys[self.selected])
        self._change(replace(self.path, keyframes=tuple(keys)))

    def _typical_section(self) -> float:
        count = len(self.keys)
        return self.times[-1] / (count - 1) if count > 1 else SECTION_SECONDS


def roll_of(key: Keyframe) -> float:
    """How far a key is turned about its line of sight from upright (world z up), radians, counter-clockwise."""
    matrix = np.array(key.c2w)
    right = np.cross((0.0, 0.0, 1.0), matrix[:3, 2])
    length = float(np.linalg.norm(right))
    if length < 1e-6:
        return 0.0  # straight up or down: any roll is a heading
    right /= length
    return math.atan2(float(matrix[:3, 0] @ np.cross(matrix[:3, 2], right)), float(matrix[:3, 0] @ right))


def _from_zero(path: CameraPath) -> CameraPath:
    begin = path.start
    return replace(path, keyframes=tuple(replace(key, seconds=key.seconds - begin) for key in path.keyframes))
