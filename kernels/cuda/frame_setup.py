"""What a frame's kernel is told by value: made once for a scene and options, then patched for each camera."""

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.scene.levels import MAX_LEVELS
from kilonerf.model_io.scene.sky import COEFFICIENTS

from ..native.grid import GRID, SAMPLE_STEPS, native_steps
from ..options import RenderOptions
from ..sampling import SampleSteps, ray_origin
from .groups import seen_tiles
from .scene import CudaScene

LEVEL = np.dtype([("grid", GRID), ("steps", SAMPLE_STEPS)])
LEAF_WORDS = 128  # as in scene.cuh
_SLACK = 4e-6  # as box_slack in sampling_rule.h


def frame_setup_type(levels: int) -> np.dtype[np.void]:
    """The ``FrameSetup`` structure of kernels that can have so many levels."""
    sky = [("sky", "<f4", (COEFFICIENTS, 3)), ("shows_sky", "<i4")] if levels > 1 else []
    return np.dtype(
        [
            ("levels", LEVEL, levels),
            ("origin", "<f4", 3),
            ("rotation", "<f4", 9),
            ("lens", "<f4", 4),
            ("ert_threshold", "<f4"),
            ("background", "<f4", 3),
            ("slack", "<f4", 3),
            ("width", "<i4"),
            ("height", "<i4"),
            ("num_cells", "<i4"),
            ("num_groups", "<i4"),
            ("ess", "<i4"),
            ("leaf_words", "<i4"),
            ("first_tile", "<i4"),
            ("end_tile", "<i4"),
            ("seen_tiles", "<i4", 4),
            *sky,
        ]
    )


class FrameSetup:
    """The ``FrameSetup`` structure of all frames of a scene that are made in one way.

    Args:
        scene: what is shown.
        layout: the same as the kernels read it.
        options: how frames are made.

    Attributes:
        options: as given.
        structure: a 0-dimensional array, as of the last camera; its range of tiles is the caller's.
    """

    def __init__(self, scene: Scene, layout: CudaScene, options: RenderOptions) -> None:
        self.options, self._scene = options, scene
        levels, groups, outermost = len(layout.grids), layout.groups_of(options.ess), scene.levels[-1].box
        self._around: tuple[list[float], list[float]] = tuple(groups.box.tolist())
        self._extent: list[float] = np.maximum(np.abs(outermost.min), np.abs(outermost.max)).tolist()
        self.structure = frame = np.zeros((), frame_setup_type(1 if levels == 1 else MAX_LEVELS))
        steps = SampleSteps.of(scene, options)
        for number, grid in enumerate(layout.grids):
            frame["levels"][number] = grid, native_steps(steps.of_level(number))
        frame["ert_threshold"] = options.ert_threshold if options.ert else -1.0
        frame["background"] = options.background
        if options.sky and scene.sky is not None:
            frame["sky"], frame["shows_sky"] = scene.sky, 1
        frame["num_groups"], frame["ess"] = len(groups.boxes), options.ess
        frame["leaf_words"] = layout.leaf_words if layout.leaf_words <= LEAF_WORDS else 0
        words, fields = frame.reshape(1).view(np.int32), frame.dtype.fields
        assert fields is not None  # noqa: S101
        place = {name: fields[name][1] // 4 for name in fields}
        # Fields side by side are written at once.
        self._eye = words[place["origin"] : place["ert_threshold"]].view(np.float32)
        self._slack = words[place["slack"] : place["width"]].view(np.float32)
        self._size = words[place["width"] : place["num_groups"]]
        self._seen = words[place["seen_tiles"] :][:4]

    def aim(self, camera: Camera, num_cells: int) -> NDArray[np.void]:
        """The structure for a frame from ``camera`` with so many cells in order; the same one each time."""
        (a, b, c, x), (d, e, f, y), (g, h, i, z), _ = camera.c2w
        if self._scene.outer:
            x, y, z = ray_origin(camera, self._scene).tolist()
        self._eye[:] = (x, y, z, a, b, c, d, e, f, g, h, i, camera.fx, camera.fy, camera.cx, camera.cy)
        slack = [_SLACK * (abs(at) + extent) for at, extent in zip((x, y, z), self._extent, strict=True)]
        self._slack[:] = slack
        self._size[:] = (camera.width, camera.height, num_cells)
        low, high = self._around
        self._seen[:] = seen_tiles(
            camera,
            [at - by for at, by in zip(low, slack, strict=True)],
            [at + by for at, by in zip(high, slack, strict=True)],
        )
        return self.structure
