"""From where frames are measured: some of a scene's poses."""

from collections.abc import Sequence
from typing import TypeVar

from kilonerf.model_io import Camera, Scene
from kilonerf.model_io.camera.turntable import turntable_cameras

Item = TypeVar("Item")


def scene_poses(scene: Scene, count: int, width: int, height: int) -> tuple[str, list[Camera]]:
    """``count`` training poses, evenly chosen, else a ring around the scene; cameras are of the given size.

    Returns:
        which they are, "training poses" or "ring", and the cameras; fewer if the scene has fewer poses.
    """
    ring = turntable_cameras(scene, count, width, height)
    if scene.training_poses is None or not len(scene.training_poses):
        return "ring", ring
    return "training poses", [ring[0].moved(pose) for pose in evenly_chosen(list(scene.training_poses), count)]


def evenly_chosen(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of the items, evenly spread from the first on; all of them if there are no more."""
    if count >= len(items):
        return list(items)
    return [items[k * len(items) // count] for k in range(count)]
