"""What an original checkpoint does not say itself: resolution, samples and near/far, from the yamls and text files.

The original keeps a checkpoint in ``logs/<stage>/<scene>/`` and its configuration in ``cfgs/<stage>/<scene>.yaml``.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..files.json_values import is_array, is_object
from ..files.text import read_text
from ..scene.architecture import DIRECTION_FREQUENCIES, HIDDEN, POSITION_FREQUENCIES

_ARCHITECTURE: Mapping[str, object] = {
    "hidden_layer_size": HIDDEN,
    "num_hidden_layers": 2,
    "direction_layer_size": HIDDEN,
    "num_frequencies": POSITION_FREQUENCIES,
    "num_frequencies_direction": DIRECTION_FREQUENCIES,
    "late_feed_direction": True,
    "use_view_independent_color": False,
    "no_color_sigmoid": False,
}
_MAX_TEXT = 2**20  # bytes; these files have a few lines


@dataclass(frozen=True)
class OriginalConfig:
    """What the yamls say; None where they do not.

    Attributes:
        resolution: network grid (fixed_resolution).
        num_samples: samples per ray.
        near: z-depth of the first sample.
        far: z-depth of the last sample.
        domain: float32 [2, 3], box that takes the place of bbox.txt (global_domain_min, global_domain_max).
        files: the yamls that were used.
    """

    resolution: tuple[int, int, int] | None = None
    num_samples: int | None = None
    near: float | None = None
    far: float | None = None
    domain: NDArray[np.float32] | None = None
    files: tuple[Path, ...] = ()


def find_config(checkpoint: Path, config: Path | None = None) -> OriginalConfig:
    """Read the distillation's and the fine-tuning's yaml of a checkpoint.

    Args:
        checkpoint: the checkpoint file; its folder, the one above and the original ``cfgs`` layout are searched.
        config: a yaml or a folder of yamls to read in their place.

    Raises:
        CheckpointError: a yaml cannot be read, two of them contradict each other, or the architecture is not ours.
    """
    documents = _documents(checkpoint, config)
    distill = {path: yaml for path, yaml in documents.items() if "fixed_resolution" in yaml}
    finetune = {path: yaml for path, yaml in documents.items() if "distilled_cfg_path" in yaml}
    for path, yaml in distill.items():
        _check_architecture(path, yaml)

    def overlaid(key: str) -> Any:  # the fine-tuning's keys lie over the distillation's
        value = _agreed(key, finetune)
        return _agreed(key, distill) if value is None else value

    resolution = _agreed("fixed_resolution", distill)
    samples = _agreed("num_samples_per_ray", finetune)
    near, far = overlaid("near"), overlaid("far")
    corners = [overlaid("global_domain_min"), overlaid("global_domain_max")]
    for path, yaml in documents.items():
        if "tight_domain_min" in (yaml.get("render") or {}):
            raise CheckpointError(f"{path}: render.tight_domain_min is not supported: leave it out")
    if overlaid("dataset_type") == "blender":  # for which the original's loader fixes them
        near, far = 2.0 if near is None else near, 6.0 if far is None else far
    return OriginalConfig(
        resolution=None if resolution is None else _resolution(resolution),
        num_samples=None if samples is None else _whole("num_samples_per_ray", samples),
        near=None if near is None else _finite("near", near),
        far=None if far is None else _finite("far", far),
        domain=None if None in corners else np.asarray([_triple("global_domain", c) for c in corners], np.float32),
        files=tuple(sorted({*distill, *finetune})),
    )


def _documents(checkpoint: Path, config: Path | None) -> dict[Path, dict[str, Any]]:
    if config is not None:
        if not config.exists():
            raise CheckpointError(f"{config}: expected a yaml or a folder of yamls, got nothing there")
        paths = sorted(config.rglob("*.yaml")) if config.is_dir() else [config]
        return {path: _read_yaml(path) for path in paths}
    for candidates in _candidates(checkpoint.absolute()):
        documents = {path: _read_yaml(path) for path in sorted(candidates)}
        if any("fixed_resolution" in yaml or "distilled_cfg_path" in yaml for yaml in documents.values()):
            return documents
    return {}


def _candidates(checkpoint: Path) -> Iterable[Iterable[Path]]:
    yield checkpoint.parent.glob("*.yaml")
    for folder in checkpoint.parents:
        if folder.name == "logs":
            scene, stage, cfgs = checkpoint.parent, checkpoint.parent.parent, folder.parent / "cfgs"
            own = cfgs / scene.relative_to(folder).with_name(f"{scene.name}.yaml")
            others = (cfgs / stage.relative_to(folder)).parent.glob(f"*/{scene.name}.yaml")
            # Of the stages with this scene's name, the distillation and one fine-tuning count: the checkpoint's own
            # (end-to-end training, for one) where it has a yaml.
            stages = {"distill", stage.name if own.is_file() and stage.name != "distill" else "finetune"}
            yield [path for path in others if path.parent.name in stages]
    yield checkpoint.parent.parent.glob("*.yaml")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError(f"{path}: needs PyYAML to be read: pip install 'kilonerf-view[import]'") from error
    try:
        document = yaml.safe_load(read_text(path, _MAX_TEXT, CheckpointError))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CheckpointError(f"{path}: expected yaml, got {' '.join(str(error).split())[:120]}") from error
    if not is_object(document):
        return {}
    # The distillation's network settings stand under its phase.
    phase = document.get("discovery")
    return {**document, **phase} if is_object(phase) else document


def _check_architecture(path: Path, yaml: Mapping[str, Any]) -> None:
    for key, expected in _ARCHITECTURE.items():
        if yaml.get(key, expected) != expected:
            raise CheckpointError(f"{path}: {key}: expected {expected}, got {yaml[key]!r:.40} (not supported)")
    refeed = yaml.get("refeed_position_index")
    if refeed not in (None, "None"):  # the yamls say `None`, which is a string there
        raise CheckpointError(f"{path}: refeed_position_index: expected None, got {refeed!r:.40} (not supported)")


def _agreed(key: str, documents: Mapping[Path, Mapping[str, Any]]) -> Any:
    found = {path: yaml[key] for path, yaml in documents.items() if yaml.get(key) not in (None, "None")}
    if len({repr(value) for value in found.values()}) > 1:
        said = ", ".join(f"{path.name}: {value!r:.40}" for path, value in found.items())
        raise CheckpointError(f"{key}: expected one value, got several ({said}): choose one yaml with --config")
    return next(iter(found.values()), None)


def _whole(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"{key}: expected a whole number, got {value!r:.40}")
    return value


def _finite(key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise CheckpointError(f"{key}: expected a finite number, got {value!r:.40}")
    return float(value)


def _triple(key: str, values: object) -> list[Any]:
    if not is_array(values) or len(values) != 3:
        raise CheckpointError(f"{key}: expected three numbers, got {values!r:.60}")
    return [_finite(key, value) for value in values]


def _resolution(values: object) -> tuple[int, int, int]:
    if not is_array(values) or len(values) != 3 or not all(type(value) is int and value > 0 for value in values):
        raise CheckpointError(f"fixed_resolution: expected three whole numbers > 0, got {values!r:.60}")
    return values[0], values[1], values[2]


def read_box(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """``bbox.txt``: lower and upper corner, float32 [2, 3]; a seventh number (a voxel size) is ignored.

    Raises:
        CheckpointError: it is missing or has other than six or seven finite numbers.
    """
    words = read_text(path, _MAX_TEXT, CheckpointError).split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (6, 7) or not all(map(math.isfinite, numbers)):
        got = repr(" ".join(words)[:80])
        raise CheckpointError(f"{path}: expected six numbers (lower and upper corner), got {got}")
    return np.asarray(numbers[:6], dtype=np.float32).reshape(2, 3)
