"""The camera as the user steers it: orbit or fly, one lens, scaled to the scene. Pure: no window, no clock."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kilonerf.kernels import Frame
from kilonerf.model_io import Camera, Scene

from .controllers import FlyController, OrbitController, OrbitState
from .easing import Eased

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
SPEED_RANGE = (0.02, 20.0)
VIEW_SIDE = 1000  # pixels
PICKABLE_ALPHA = 0.1  # fainter haze is not what the user points at


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

    Attributes:
        mode: "orbit" or "fly"; set by :meth:`set_mode`.
        speed: fly speed as a multiple of the scene's own (its radius in two seconds).
        fov: vertical field of view in radians, of what is recorded; the window's picture has the same
            unless a wider frame has to fit into it.
        turntable: whether the camera goes slowly round by itself.
    """

    def __init__(self) -> None:
        self.speed = 1.0
        self.turntable = False
        self.mode: Mode = "orbit"
        self._start = OrbitState(np.zeros(3), 4.0, math.radians(-60.0), math.radians(25.0))
        self._start_fov = self.fov = DEFAULT_FOV
        self.centre = np.zeros(3)
        self.radius = 1.0
        self._orbit = OrbitController(self._start)
        self._wheel = Eased(WHEEL_SECONDS, WHEEL_DONE)
        self._anchor: ArrayLike | None = None
        self._fly = FlyController(self._start.matrix())

    def set_scene(self, scene: Scene) -> None:
        """Go to the scene's start camera, or to a view of its whole box where it has none."""
        low, high = scene.box_min.astype(np.float64), scene.box_max.astype(np.float64)
        self.centre = 0.5 * (low + high)
        self.radius = max(1e-6, 0.5 * float(np.linalg.norm(high - low)))
        camera = scene.start_camera
        if camera is None:
            self._start_fov = DEFAULT_FOV
            distance = self.radius / math.sin(0.5 * DEFAULT_FOV)
            self._start = OrbitState(self.centre.copy(), distance, math.radians(-60.0), math.radians(25.0))
        else:
            self._start_fov = camera.fov_y
            # Orbit around the point ahead that is nearest to the middle of the box.
            ahead = float(-camera.matrix[:3, 2] @ (self.centre - camera.position))
            self._start = OrbitState.from_matrix(camera.c2w, ahead if ahead > 0.05 * self.radius else self.radius)
        self._orbit.nearest, self._orbit.farthest = 1e-3 * self.radius, 1e2 * self.radius
        self.fov = self._start_fov
        self.mode = "orbit"
        self._wheel.stop()
        self._orbit.glide_to(self._start, 0.0)

    @property
    def units_per_second(self) -> float:
        """Fly speed in world units per second, without modifier keys."""
        return 0.5 * self.radius * self.speed

    @property
    def moving_by_itself(self) -> bool:
        """Whether the next :meth:`advance` moves the camera."""
        return self.turntable or (self.mode == "orbit" and (self._orbit.gliding or self._wheel.moving))

    def matrix(self) -> NDArray[np.float64]:
        """Camera-to-world matrix [4, 4]."""
        return self._orbit.matrix() if self.mode == "orbit" else self._fly.matrix()

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

    @property
    def target(self) -> NDArray[np.float64]:
        """The point [3] that is orbited, or one straight ahead."""
        matrix = self.matrix()
        return matrix[:3, 3] - self._distance_ahead() * matrix[:3, 2]

    def place(self, c2w: ArrayLike, fov: float) -> None:
        """Be at a camera [4, 4] with a vertical field of view in radians, at once; any roll is dropped."""
        self.fov = fov
        if self.mode == "fly":
            self._fly = FlyController(c2w)
            return
        self._wheel.stop()
        self.turntable = False
        self._orbit.glide_to(OrbitState.from_matrix(c2w, self._orbit.state.distance), 0.0)

    def set_mode(self, mode: Mode) -> None:
        """Change between orbit and fly; the picture stays as it is."""
        if mode == self.mode:
            return
        if mode == "fly":
            self._fly = FlyController(self._orbit.matrix())
            self.turntable = False
        else:
            self._orbit.glide_to(OrbitState.from_matrix(self._fly.matrix(), self._distance_ahead()), 0.0)
        self._wheel.stop()
        self.mode = mode

    def reset(self, seconds: float = GLIDE_SECONDS) -> None:
        """Back to the start camera and its lens."""
        self.set_mode("orbit")
        self.turntable = False
        self.fov = self._start_fov
        self._wheel.stop()
        self._orbit.glide_to(self._start, seconds)

    def set_turntable(self, on: bool) -> None:
        """Let the camera go round by itself (in orbit mode)."""
        if on:
            self.set_mode("orbit")
        self.turntable = on

    def drag(self, right: float, down: float) -> None:
        """Left drag, in heights of the picture: orbit around the target, or look around when flying."""
        if self.mode == "orbit":
            self._orbit.rotate(-math.pi * right, math.pi * down)
        else:
            self._fly.look(-self.fov * 1.5 * right, self.fov * 1.5 * down)

    def pan(self, right: float, down: float, depth: float | None) -> None:
        """Middle or right drag, in heights of the picture: what lies at ``depth`` (z-depth) follows the cursor."""
        distance = depth if depth is not None else self._distance_ahead()
        world_per_height = 2.0 * distance * math.tan(0.5 * self.fov)
        controller = self._orbit if self.mode == "orbit" else self._fly
        controller.pan(-right * world_per_height, down * world_per_height)

    def wheel(self, steps: float, anchor: ArrayLike | None) -> None:
        """Orbit: zoom, smoothly, towards ``anchor`` (world point [3] under the cursor). Fly: change the speed."""
        if self.mode == "orbit":
            self._wheel.push(steps)
            self._anchor = anchor
        else:
            low, high = SPEED_RANGE
            self.speed = max(low, min(high, self.speed * WHEEL_SPEED**steps))

    def fly(self, keys: MotionKeys, seconds: float) -> None:
        """Move with held keys; the first one pressed switches to fly."""
        if not keys.moving:
            return
        self.set_mode("fly")
        speed = self.units_per_second * (FAST if keys.fast else 1.0) * (SLOW if keys.slow else 1.0)
        self._fly.move(keys.right, keys.up, keys.forward, speed, seconds)

    def focus(self, point: ArrayLike, seconds: float = GLIDE_SECONDS) -> None:
        """Look at ``point`` [3] and orbit around it."""
        self.set_mode("orbit")
        self._wheel.stop()
        self._orbit.focus(point, seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass for what moves by itself: glides and the turntable."""
        if self.mode != "orbit":
            return
        if self._wheel.moving:
            self._orbit.zoom(WHEEL_ZOOM ** self._wheel.advance(seconds), self._anchor)
        self._orbit.advance(seconds)
        if self.turntable and not self._orbit.gliding:
            self._orbit.rotate(TURNTABLE_SPEED * seconds, 0.0)

    def _distance_ahead(self) -> float:
        """A sensible distance to what the camera looks at, where no depth is known."""
        if self.mode == "orbit":
            return self._orbit.state.distance
        matrix = self._fly.matrix()
        return max(0.1 * self.radius, float(-matrix[:3, 2] @ (self.centre - matrix[:3, 3])))


def scaled_camera(camera: Camera, scale: float) -> Camera:
    """The same view with ``scale`` times the pixels on each side, at least one; it fills the same rectangle."""
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y
    )


def picked_point(camera: Camera, frame: Frame, u: float, v: float) -> tuple[NDArray[np.float64], float] | None:
    """World point [3] and z-depth seen at (u, v), fractions of the picture from its top left; None on background.

    Args:
        camera: the camera that ``frame`` was made with.
        frame: the picture that the user sees.
        u: 0 at the left edge, 1 at the right.
        v: 0 at the top, 1 at the bottom.
    """
    height, width = frame.depth.shape
    x, y = math.floor(u * width), math.floor(v * height)
    if not (0 <= x < width and 0 <= y < height) or frame.alpha[y, x] < PICKABLE_ALPHA:
        return None
    z = float(frame.depth[y, x])
    direction = np.array([(u * width - camera.cx) / camera.fx, -(v * height - camera.cy) / camera.fy, -1.0])
    return camera.position + z * (camera.matrix[:3, :3] @ direction), z
