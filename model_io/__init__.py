"""What a scene is: Scene, Camera, CameraPath, the .knf file, importers and data sets' cameras.

Imports numpy and safetensors; torch only inside the checkpoint importer.
"""

from .camera import Camera
from .camera_path import CameraPath, Keyframe
from .checkpoint import import_checkpoint
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
    UsageError,
)
from .knf import load_scene, save_scene
from .scene import LAYER_SHAPES, PARAMETERS_PER_NETWORK, Scene

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
    "OutputError",
    "Scene",
    "SceneError",
    "UsageError",
    "View",
    "import_checkpoint",
    "load_blender",
    "load_dataset",
    "load_image",
    "load_nsvf",
    "load_scene",
    "save_scene",
]
