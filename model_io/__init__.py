"""What a scene is: Scene, Camera, CameraPath, the .knf file, importers and data sets' cameras.

Imports numpy and safetensors; torch only inside the checkpoint importer.
"""

from typing import TYPE_CHECKING, Any

from .camera.camera import Camera
from .camera.path import CameraPath, Keyframe
from .datasets import Dataset, View, load_blender, load_dataset, load_image, load_nsvf
from .errors import (
    BackendError,
    CameraPathError,
    CheckpointError,
    DatasetError,
    DisplayError,
    KiloNeRFError,
    OutputError,
    SceneError,
    StreamError,
    TrainingError,
    UsageError,
)
from .knf.format import load_kilonerf_scene, load_scene, save_scene
from .knf.growing import ScenePart, load_partial_scene
from .scene.octree_scene import OctreeScene
from .scene.scene import LAYER_SHAPES, PARAMETERS_PER_NETWORK, KiloNeRFScene, Scene

if TYPE_CHECKING:
    from .original.checkpoint import import_checkpoint

__all__ = [
    "LAYER_SHAPES",
    "PARAMETERS_PER_NETWORK",
    "BackendError",
    "Camera",
    "CameraPath",
    "CameraPathError",
    "CheckpointError",
    "Dataset",
    "DatasetError",
    "DisplayError",
    "Keyframe",
    "KiloNeRFError",
    "KiloNeRFScene",
    "OctreeScene",
    "OutputError",
    "Scene",
    "SceneError",
    "ScenePart",
    "StreamError",
    "TrainingError",
    "UsageError",
    "View",
    "import_checkpoint",
    "load_blender",
    "load_dataset",
    "load_image",
    "load_kilonerf_scene",
    "load_nsvf",
    "load_partial_scene",
    "load_scene",
    "save_scene",
]


def __getattr__(name: str) -> Any:
    """The importer is loaded at first use: the viewer, which must show its first picture at once, has none."""
    if name == "import_checkpoint":
        from .original.checkpoint import import_checkpoint

        return import_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
