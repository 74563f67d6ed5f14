"""The pinhole camera that all packages share."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Row = tuple[float, float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with OpenGL axes (x right, y up, looks along -z) and pixel centres at +0.5.

    The ray of pixel (column x, row y), row 0 on top, has the direction
    ``rotation @ ((x + 0.5 - cx) / fx, -(y + 0.5 - cy) / fy, -1)``. It is not normalised, so that the ray
    parameter t is the camera's z-depth, as in the original KiloNeRF code.

    Two cameras are equal if every number is; equality decides whether a frame must be made again.

    Attributes:
        c2w: camera-to-world matrix, four rows of four floats; the last row is (0, 0, 0, 1).
        width: picture width in pixels.
        height: picture height in pixels.
        fx: focal length in pixels, horizontal.
        fy: focal length in pixels, vertical.
        cx: principal point in pixels from the left edge.
        cy: principal point in pixels from the top edge.
    """

    c2w: tuple[Row, Row, Row, Row]
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        numbers = [*(value for row in self.c2w for value in row), self.fx, self.fy, self.cx, self.cy]
        if len(self.c2w) != 4 or any(len(row) != 4 for row in self.c2w):
            raise ValueError("Camera: c2w must be 4x4")
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("Camera: every number must be finite")
        if self.width < 0 or self.height < 0 or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"Camera: size must be >= 0 and focal lengths > 0, "
                f"got {self.width}x{self.height}, fx {self.fx}, fy {self.fy}"
            )

    @classmethod
    def from_matrix(
        cls,
        c2w: ArrayLike,  # [4, 4] or [3, 4]
        width: int,
        height: int,
        *,
        fx: float,
        fy: float | None = None,
        cx: float | None = None,
        cy: float | None = None,
    ) -> "Camera":
        """Make a camera from an array; ``fy`` defaults to ``fx``, the principal point to the picture's middle."""
        matrix = np.eye(4)
        given = np.asarray(c2w, dtype=np.float64)
        if given.shape not in ((4, 4), (3, 4)):
            raise ValueError(f"Camera: c2w must be [4, 4] or [3, 4], got {list(given.shape)}")
        matrix[: given.shape[0]] = given
        rows: list[Row] = [(float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in matrix]
        return cls(
            c2w=(rows[0], rows[1], rows[2], rows[3]),
            width=width,
            height=height,
            fx=float(fx),
            fy=float(fx if fy is None else fy),
            cx=width / 2 if cx is None else float(cx),
            cy=height / 2 if cy is None else float(cy),
        )

    @classmethod
    def look_at(
        cls,
        eye: ArrayLike,  # [3]
        target: ArrayLike,  # [3]
        width: int,
        height: int,
        *,
        up: ArrayLike = (0.0, 0.0, 1.0),  # [3]
        fov_y: float = math.radians(40.0),
    ) -> "Camera":
        """A camera at ``eye`` that looks at ``target`` with a vertical field of view ``fov_y`` in radians."""
        position = np.asarray(eye, dtype=np.float64)
        backward = position - np.asarray(target, dtype=np.float64)
        backward /= np.linalg.norm(backward)
        right = np.cross(np.asarray(up, dtype=np.float64), backward)
        if np.linalg.norm(right) < 1e-9:  # looking along `up`: any horizontal axis will do
            right = np.cross((0.0, 1.0, 0.0) if abs(backward[1]) < 0.9 else (1.0, 0.0, 0.0), backward)
        right /= np.linalg.norm(right)
        c2w = np.eye(4)
        c2w[:3] = np.stack([right, np.cross(backward, right), backward, position], axis=1)
        return cls.from_matrix(c2w, width, height, fx=0.5 * height / math.tan(0.5 * fov_y))

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """c2w as a read-only array [4, 4]."""
        matrix = np.array(self.c2w, dtype=np.float64)
        matrix.flags.writeable = False
        return matrix

    @property
    def position(self) -> NDArray[np.float64]:
        """The camera's place in the world, [3]."""
        return self.matrix[:3, 3]

    @property
    def fov_y(self) -> float:
        """Vertical field of view in radians."""
        return 2.0 * math.atan(0.5 * self.height / self.fy)

    def downscaled(self, factor: int) -> "Camera":
        """For a picture whose blocks of ``factor`` squared pixels became one each; what is left over is cut off."""
        lens = {key: getattr(self, key) / factor for key in ("fx", "fy", "cx", "cy")}
        return replace(self, width=self.width // factor, height=self.height // factor, **lens)

    def resized(self, width: int, height: int) -> "Camera":
        """The same view at another size: the vertical field of view is kept, the middle stays the middle."""
        scale = height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * scale,
            fy=self.fy * scale,
            cx=0.5 * width + (self.cx - 0.5 * self.width) * scale,
            cy=0.5 * height + (self.cy - 0.5 * self.height) * scale,
        )

    def moved(self, c2w: ArrayLike) -> "Camera":
        """The same lens at another pose, [4, 4] or [3, 4]."""
        return Camera.from_matrix(c2w, self.width, self.height, fx=self.fx, fy=self.fy, cx=self.cx, cy=self.cy)
