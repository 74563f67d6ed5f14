"""Offline: from photos to a scene. Imports model_io and kernels; the viewer never imports it.

    scene = train("data/chair", PRESETS["tiny"], folder="chair.training")

Nothing is imported before it is used: ``import kilonerf.trainer`` works without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline.train import train
    from .settings import PRESETS, TrainingSettings

__all__ = ["PRESETS", "TrainingSettings", "train"]


def __getattr__(name: str) -> Any:
    """The public names, from where they are."""
    if name == "train":
        from .pipeline.train import train

        return train
    if name in ("PRESETS", "TrainingSettings"):
        from . import settings

        return getattr(settings, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
