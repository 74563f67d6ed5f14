"""A scene's own pictures, in the place of photos that are not there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from kilonerf.kernels import Renderer, RenderOptions
from kilonerf.model_io import Camera, KiloNeRFScene, OutputError
from kilonerf.model_io.camera.turntable import turntable_cameras
from kilonerf.model_io.datasets import View
from kilonerf.model_io.files.atomic import AtomicFile

_SIDE = 400  # pixels of a picture's longer side


def own_views(
    scene: KiloNeRFScene,
    renderer: Renderer,
    folder: Path,
    count: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[View]:
    """Pictures of a scene as the views of a data set; those that are in the folder already are not rendered again.

    They are seen from where the photos of its training were, if it says so, else in a turn around it; by the lens of
    its start camera.

    Args:
        scene: of whose pictures.
        renderer: of that scene.
        folder: where they go, as PNG files with opacity.
        count: at most.
        progress: is told how many there are.

    Raises:
        OutputError: the folder cannot be written.
    """
    options = RenderOptions.as_trained(scene, background=(0.0, 0.0, 0.0))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from error
    views = []
    for number, camera in enumerate(own_cameras(scene, count)):
        file = folder / f"{number:04d}.png"
        if not file.is_file():
            _write(renderer, camera, options, file)
        views.append(View(camera, file, file.stem))
        progress(number + 1)
    return views


def own_cameras(scene: KiloNeRFScene, count: int) -> list[Camera]:
    """The cameras of :func:`own_views`."""
    width = height = _SIDE
    if scene.start_camera is not None:
        size = (scene.start_camera.width, scene.start_camera.height)
        width, height = (max(1, round(side * _SIDE / max(size))) for side in size)
    around = turntable_cameras(scene, count, width, height)
    poses = scene.training_poses
    if poses is None or not len(poses):
        return around
    chosen = np.unique(np.linspace(0, len(poses) - 1, min(count, len(poses))).round().astype(int))
    return [around[0].moved(poses[number].astype(np.float64)) for number in chosen]


def _write(renderer: Renderer, camera: Camera, options: RenderOptions, file: Path) -> None:
    frame = renderer.render(camera, options)
    alpha = np.clip(frame.alpha, 0.0, 1.0)[..., None]
    color = frame.rgb / np.maximum(alpha, 1e-3)  # as in photos with transparency: of what is opaque
    pixels = np.rint(255.0 * np.clip(np.concatenate([color, alpha], axis=-1), 0.0, 1.0)).astype(np.uint8)
    with AtomicFile(file) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)
