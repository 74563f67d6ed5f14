"""What a scene is: Scene, Camera, CameraPath, the .knf file, importers and data sets' cameras.

Imports numpy and safetensors; torch only inside the checkpoint importer.
"""

from .camera import Camera
from .errors import (
    BackendError,
    CameraPathError,
    CheckpointError,
    DatasetError,
    DisplayError,
    KiloNeRFError,
    OutputError,
    SceneError,
)
from .knf import load_scene, save_scene
from .scene import LAYER_SHAPES, PARAMETERS_PER_NETWORK, Scene

__all__ = [
    "LAYER_SHAPES",
    "PARAMETERS_PER_NETWORK",
    "BackendError",
    "Camera",
    "CameraPathError",
    "CheckpointError",
    "DatasetError",
    "DisplayError",
    "KiloNeRFError",
    "OutputError",
    "Scene",
    "SceneError",
    "load_scene",
    "save_scene",
]
