"""The camera as the user steers it: orbit or fly, one lens, scaled to the scene. Pure: no window, no clock."""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kilonerf.model_io import Camera, Scene

from .controllers import FlyController, OrbitController, OrbitState, heading_towards
from .depth_in_view import DepthInView
from .easing import Coasting, Eased
from .frames import UP, roll_of, rolled, rotation_to
from .place import LensGlide, Place

Mode = Literal["orbit", "fly"]

DEFAULT_FOV = math.radians(40.0)
FAST = 4.0
SLOW = 0.25
GLIDE_SECONDS = 0.35
TURNTABLE_SPEED = math.radians(18.0)  # per second: one turn in 20 s
WHEEL_ZOOM = 0.88  # distance per wheel step
WHEEL_SECONDS = 0.06  # time constant of the way there; nine tenths are done in 0.23 s
WHEEL_DONE = 1e-3  # steps: what is left then comes at once
WHEEL_SPEED = 1.2  # fly speed per wheel step
SPEED_PER_DEPTH = 0.25  # per second: what is seen is reached in four seconds
DEPTH_SECONDS = 0.3  # time constant with which speed follows the depth in view
COAST_SECONDS = 0.09  # time constant with which a flight comes to rest after the keys are let go
SPEED_RANGE = (0.02, 20.0)
FOV_LIMITS = (math.radians(1.0), math.radians(170.0))
KEPT_JUMPS = 50
VIEW_SIDE = 1000  # pixels


@dataclass(frozen=True)
class MotionKeys:
    """What is held down: each axis -1, 0 or 1, and the two modifiers."""

    right: int = 0
    up: int = 0
    forward: int = 0
    fast: bool = False
    slow: bool = False

    @property
    def moving(self) -> bool:
        """Whether any axis is held."""
        return bool(self.right or self.up or self.forward)


class Navigator:
    """Holds both controllers and hands the pose over when the mode changes.

    The controllers move in a space whose z axis is up: :attr:`world_from_level` leads from there to the world.

    Attributes:
        mode: "orbit" or "fly"; set by :meth:`set_mode`.
        speed: fly speed as a multiple of the default one, which grows with the depth in view (:meth:`see`).
        roll: of the camera around its own axis, radians; positive turns the camera's head to the left.
        world_from_level: rotation [3, 3]; its last column is the world's up (:meth:`set_up`).
        fov: vertical field of view in radians, of what is recorded; the window's picture has the same
            unless a wider frame has to fit into it.
        turntable: whether the camera goes slowly round by itself.
    """

    def __init__(self) -> None:
        self.speed = 1.0
        self.turntable = False
        self.mode: Mode = "orbit"
        self.roll = 0.0
        self.world_from_level = np.eye(3)
        self.centre = np.zeros(3)
        self.radius = 1.0
        state = OrbitState(np.zeros(3), 4.0, math.radians(-60.0), math.radians(25.0))
        self._start = Place(state.matrix(), DEFAULT_FOV, state.distance)
        self.fov = DEFAULT_FOV
        self._orbit = OrbitController(state)
        self._fly = FlyController(state.matrix())
        self._wheel = Eased(WHEEL_SECONDS, WHEEL_DONE)
        self._coasting = Coasting(COAST_SECONDS)
        self._anchor: ArrayLike | None = None
        self._lens: LensGlide | None = None
        self._seen: DepthInView | None = None
        self._reach: float | None = None  # what speed goes by: the depth in view, with a little inertia
        self._history: deque[Place] = deque(maxlen=KEPT_JUMPS)
        self._driven = False  # by keys, since the last `advance`
        self._pivot_wanted = False  # orbit around what the next picture has in its middle

    def set_scene(self, scene: Scene, up: ArrayLike = UP) -> None:
        """Go to the scene's start camera, or to a view of its whole box where it has none.

        Args:
            scene: where to move from now on.
            up: direction [3] in the world.
        """
        low, high = scene.box_min.astype(np.float64), scene.box_max.astype(np.float64)
        self.centre = 0.5 * (low + high)
        self.radius = max(1e-6, 0.5 * float(np.linalg.norm(high - low)))
        self.world_from_level = rotation_to(up)
        camera = scene.start_camera
        if camera is None:
            distance = self.radius / math.sin(0.5 * DEFAULT_FOV)
            state = OrbitState(self._level(self.centre), distance, math.radians(-60.0), math.radians(25.0))
            self._start = Place(self._world(state.matrix()), DEFAULT_FOV, distance)
        else:
            # Orbit around the point ahead that is nearest to the middle of the box.
            ahead = float(-camera.matrix[:3, 2] @ (self.centre - camera.position))
            distance = ahead if ahead > 0.05 * self.radius else self.radius
            self._start = Place(camera.matrix, camera.fov_y, distance)
        self._orbit.nearest, self._orbit.farthest = 1e-3 * self.radius, 1e2 * self.radius
        self._seen = self._reach = None
        self._history.clear()
        self.mode = "orbit"
        self._arrive(self._start, 0.0)
        # Inside nested boxes, their middle is nothing that anybody looks at.
        self._pivot_wanted = bool(scene.outer) and camera is not None

    def see(self, depth: DepthInView | None) -> None:
        """Take note of how far away the newest picture's content is; None: nothing is in view."""
        if depth is None:
            return
        self._seen = depth
        if self._reach is None:
            self._reach = depth.median
        if self._pivot_wanted and not self.moving_by_itself:
            self._pivot_wanted = False
            if self.mode == "orbit":
                self._orbit.set_pivot(depth.ahead)

    @property
    def wants_depth(self) -> bool:
        """Whether :meth:`see` would change what happens next, so that a picture may be fetched from a GPU for it."""
        return self.mode == "fly" or self._pivot_wanted

    @property
    def units_per_second(self) -> float:
        """Fly speed in world units per second, without modifier keys: by the depth in view, else by the box."""
        if self._reach is None:
            return 0.5 * self.radius * self.speed
        return SPEED_PER_DEPTH * max(self._reach, 1e-3 * self.radius) * self.speed

    @property
    def moving_by_itself(self) -> bool:
        """Whether the next :meth:`advance` moves the camera."""
        if self._lens is not None or self.turntable:
            return True
        if self.mode == "fly":
            return self._coasting.moving
        return self._orbit.gliding or self._wheel.moving

    def matrix(self) -> NDArray[np.float64]:
        """Camera-to-world matrix [4, 4]."""
        return rolled(self._world(self._upright()), self.roll)

    @property
    def up(self) -> NDArray[np.float64]:
        """The world's up, [3]."""
        return self.world_from_level[:, 2]

    @property
    def target(self) -> NDArray[np.float64]:
        """What the camera turns around, or would if it orbited: world point [3]."""
        matrix = self.matrix()
        return matrix[:3, 3] - self.distance_ahead * matrix[:3, 2]

    def camera(self, width: int, height: int, frame_aspect: float = 0.0) -> Camera:
        """The camera for a picture of this size in pixels.

        Args:
            width: pixels.
            height: pixels.
            frame_aspect: width by height of a frame that has to be in the picture: a picture too narrow for it shows
                more above and below.
        """
        focal = 0.5 * height / math.tan(0.5 * self.fov)
        return Camera.from_matrix(self.matrix(), width, height, fx=focal / max(1.0, frame_aspect * height / width))

    @property
    def view(self) -> Camera:
        """Pose and lens alone: the camera of a square picture whose size never changes."""
        return self.camera(VIEW_SIDE, VIEW_SIDE)

    def be_at(self, c2w: ArrayLike, fov: float) -> None:
        """Be at a camera [4, 4] with a vertical field of view in radians, at once: no jump that can be taken back."""
        self.turntable = False
        if self.mode == "orbit":
            self._arrive(Place(np.asarray(c2w, np.float64), fov, self._orbit.state.distance), 0.0)
            return
        level = self._level_matrix(np.asarray(c2w, np.float64))
        self._fly, self.fov, self.roll = FlyController(level), fov, roll_of(level[:3, :3])

    def stop(self) -> None:
        """End every motion that would go on by itself."""
        self._wheel.stop()
        self._coasting.stop()
        self.turntable, self._lens = False, None
        self._orbit.glide_to(self._orbit.state, 0.0)

    def set_mode(self, mode: Mode) -> None:
        """Change between orbit and fly; the picture stays as it is."""
        if mode == self.mode:
            return
        if mode == "fly":
            self._fly = FlyController(self._orbit.matrix())
            self.turntable = False
        else:
            self._orbit.glide_to(OrbitState.from_matrix(self._fly.matrix(), self.distance_ahead), 0.0)
        self._wheel.stop()
        self._coasting.stop()
        self.mode = mode

    def place(self) -> Place:
        """Where the camera is, to come back to it."""
        return Place(self.matrix(), self.fov, self.distance_ahead)

    def back(self, seconds: float = GLIDE_SECONDS) -> bool:
        """Back to where the last jump began; whether there was one."""
        if not self._history:
            return False
        place = self._history.pop()
        self.go_to(place, seconds)
        self._history.pop()  # going back is no jump
        return True

    def go_to(self, place: Place, seconds: float = GLIDE_SECONDS) -> None:
        """Go to a place, and orbit there around what it looks at.

        Args:
            place: where to. Without a distance, that of the next picture's middle is taken.
            seconds: how long it takes.
        """
        self._remember()
        self.set_mode("orbit")
        self.turntable = False
        distance = place.distance
        if distance is None:
            distance = self._seen.ahead if self._seen else self._orbit.state.distance
        self._arrive(replace(place, distance=distance), seconds)
        self._pivot_wanted = place.distance is None

    def reset(self, seconds: float = GLIDE_SECONDS) -> None:
        """Back to the start camera and its lens, upright."""
        self._remember()
        self.set_mode("orbit")
        self.turntable = False
        self.fov = self._start.fov
        self._arrive(self._start, seconds, upright=True)

    def look_along(self, direction: ArrayLike, seconds: float = GLIDE_SECONDS) -> None:
        """Look along a direction [3] of the world at what was looked at, from the same distance."""
        self._remember()
        self.set_mode("orbit")
        self.turntable = False
        yaw, pitch = heading_towards(self._level(direction), self._orbit.state.yaw)
        self._wheel.stop()
        self._orbit.glide_to(replace(self._orbit.state, yaw=yaw, pitch=pitch), seconds)
        self._lens = LensGlide(self.fov, self.fov, self.roll, 0.0, seconds)

    def set_up(self, up: ArrayLike, seconds: float = GLIDE_SECONDS) -> None:
        """From now on, ``up`` [3] is up; the camera stays where it is and turns upright."""
        place = self.place()
        self.set_mode("orbit")
        self.world_from_level = rotation_to(up)
        self._arrive(place, 0.0)
        self._lens = LensGlide(self.fov, self.fov, self.roll, 0.0, seconds)

    def set_turntable(self, on: bool) -> None:
        """Let the camera go round by itself (in orbit mode)."""
        if on:
            self.set_mode("orbit")
        self.turntable = on

    def drag(self, right: float, down: float) -> None:
        """Left drag, in heights of the picture: orbit around the target, or look around when flying."""
        self._pivot_wanted = False
        if self.mode == "orbit":
            self._orbit.rotate(-math.pi * right, math.pi * down)
        else:
            self._fly.look(-self.fov * 1.5 * right, self.fov * 1.5 * down)

    def pan(self, right: float, down: float, depth: float | None) -> None:
        """Middle or right drag, in heights of the picture: what lies at ``depth`` (z-depth) follows the cursor."""
        distance = depth if depth is not None else self.distance_ahead
        world_per_height = 2.0 * distance * math.tan(0.5 * self.fov)
        controller = self._orbit if self.mode == "orbit" else self._fly
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        controller.pan(-(cos * right + sin * down) * world_per_height, (cos * down - sin * right) * world_per_height)

    def wheel(self, steps: float, anchor: ArrayLike | None) -> None:
        """Orbit: zoom, smoothly, towards ``anchor`` (world point [3] under the cursor). Fly: change the speed."""
        self._pivot_wanted = False
        if self.mode == "orbit":
            self._wheel.push(steps)
            self._anchor = None if anchor is None else self._level(anchor)
        else:
            low, high = SPEED_RANGE
            self.speed = max(low, min(high, self.speed * WHEEL_SPEED**steps))

    def fly(self, keys: MotionKeys, seconds: float) -> None:
        """Move with held keys; the first one pressed switches to fly."""
        if not keys.moving or seconds <= 0.0:
            return
        self.set_mode("fly")
        self._follow_depth(seconds)
        speed = self.units_per_second * (FAST if keys.fast else 1.0) * (SLOW if keys.slow else 1.0)
        before = self._fly.position
        self._fly.move(keys.right, keys.up, keys.forward, speed, seconds)
        self._coasting.push((self._fly.position - before) / seconds)
        self._driven = True

    def focus(self, point: ArrayLike, seconds: float = GLIDE_SECONDS) -> None:
        """Look at ``point`` [3] and orbit around it."""
        self._remember()
        self.set_mode("orbit")
        self._wheel.stop()
        self._orbit.focus(self._level(point), seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass for what moves by itself: glides, the turntable, and a flight that comes to rest."""
        if self._lens is not None:
            self.fov, self.roll, done = self._lens.advance(seconds)
            self._lens = None if done else self._lens
        if self.mode == "fly":
            if not self._driven and self._coasting.moving:
                self._fly.position = self._fly.position + self._coasting.advance(seconds)
            self._driven = False
            return
        if self._wheel.moving:
            self._orbit.zoom(WHEEL_ZOOM ** self._wheel.advance(seconds), self._anchor)
        self._orbit.advance(seconds)
        if self.turntable and not self._orbit.gliding:
            self._orbit.rotate(TURNTABLE_SPEED * seconds, 0.0)

    @property
    def distance_ahead(self) -> float:
        """Distance to what the camera looks at: its target, else what its picture shows."""
        if self.mode == "orbit":
            return self._orbit.state.distance
        if self._seen is not None:
            return max(self._orbit.nearest, self._seen.ahead)
        matrix = self.matrix()
        return max(0.1 * self.radius, float(-matrix[:3, 2] @ (self.centre - matrix[:3, 3])))

    def _arrive(self, place: Place, seconds: float, *, upright: bool = False) -> None:
        self._wheel.stop()
        level = self._level_matrix(place.matrix)
        distance = place.distance or self.radius
        self._orbit.glide_to(OrbitState.from_matrix(level, distance), seconds)
        roll = 0.0 if upright else roll_of(level[:3, :3])
        self._lens = LensGlide(self.fov, place.fov, self.roll, roll, seconds)
        if seconds == 0.0:
            self.fov, self.roll, _ = self._lens.advance(0.0)
            self._lens = None

    def _remember(self) -> None:
        """A jump begins here."""
        self._history.append(self.place())

    def _follow_depth(self, seconds: float) -> None:
        """Let the speed come nearer to what the depth in view asks for: it must not jump with each picture."""
        if self._seen is None or self._reach is None:
            return
        share = 1.0 - math.exp(-seconds / DEPTH_SECONDS)
        self._reach *= (self._seen.median / self._reach) ** share

    def _upright(self) -> NDArray[np.float64]:
        return self._orbit.matrix() if self.mode == "orbit" else self._fly.matrix()

    def _world(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """A camera [4, 4] in the world, from one in the controllers' space."""
        matrix = level.copy()
        matrix[:3] = self.world_from_level @ level[:3]
        return matrix

    def _level_matrix(self, c2w: NDArray[np.float64]) -> NDArray[np.float64]:
        """A camera [4, 4] in the controllers' space."""
        level = c2w.copy()
        level[:3] = self.world_from_level.T @ level[:3]
        return level

    def _level(self, vector: ArrayLike) -> NDArray[np.float64]:
        """A point or direction [3] in the controllers' space."""
        return self.world_from_level.T @ np.asarray(vector, np.float64)


def scaled_camera(camera: Camera, scale: float) -> Camera:
    """The same view with ``scale`` times the pixels on each side, at least one; it fills the same rectangle."""
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y
    )
