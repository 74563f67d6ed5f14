"""A scene in the files of the original KiloNeRF code, as it leaves them after fine-tuning.

``import_checkpoint`` reads them back. Like the importer, this needs torch and PyYAML, at its first use only.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError, OutputError
from ..files.atomic import AtomicFile
from ..scene.architecture import DIRECTION_FREQUENCIES, HIDDEN, POSITION_FREQUENCIES, tensor_shapes
from ..scene.scene import KiloNeRFScene

CHECKPOINT = Path("finetune", "checkpoint_final.pth")
_TENSOR_ORDER = ("pts_linears.0", "pts_linears.1", "direction_layer", "feature_linear", "alpha_linear", "rgb_linear")
_NSVF_VOXEL = 0.4  # the seventh number of every bbox.txt of the paper; it is not read
_OCCUPANCY_SAMPLES, _OCCUPANCY_THRESHOLD = [3, 3, 3], 10  # section 3.4


def export_original(
    scene: KiloNeRFScene, folder: str | os.PathLike[str], *, global_step: int = 0, overwrite: bool = False
) -> Path:
    """Write a scene in the original layout: ``finetune/checkpoint_final.pth``, and beside that folder the rest.

    The rest is ``occupancy.pth``, the data set's ``bbox.txt``, ``near_and_far.txt`` and ``background_color.txt``, and
    ``distill.yaml``, ``finetune.yaml`` and ``occupancy.yaml`` with the keys that a loader needs. The checkpoint holds
    a network for every cell in x-major order, as float32: those of cells that have none are zero. The optimiser is
    one that has not made a step, and the states of random numbers are those of seed 0.

    Imported again without a conversion, the scene is the same bit for bit, if its networks are float32 and numbered
    in grid order, with one in each cell that has an occupied voxel and in no other. Other scenes become such a one:
    renumbered, the networks of empty cells dropped (unless the import keeps them all). Start camera, training
    poses, preview and provenance have no place in this layout.

    Args:
        scene: what to write.
        folder: where to; it is made, with the folders that lead to it.
        global_step: what the checkpoint says of the steps that it was trained.
        overwrite: replace files that are there; without it they are an error.

    Returns:
        The checkpoint's path.

    Raises:
        CheckpointError: torch or PyYAML are not installed; the scene has nested boxes, which this layout cannot hold.
        OutputError: a file is there already, or cannot be written.
    """
    if scene.outer:
        raise CheckpointError(
            f"{folder}: expected a scene of one box to write in the original layout, got nested boxes"
        )
    root = Path(folder)
    contents = {
        Path("bbox.txt"): _line(*scene.box_min, *scene.box_max, _NSVF_VOXEL),
        Path("near_and_far.txt"): _line(scene.near, scene.far),
        Path("background_color.txt"): _line(*scene.background),
        **{Path(name): _yaml_text(document) for name, document in _documents(scene).items()},
        Path("occupancy.pth"): _torch_file(_torch().from_numpy(scene.occupancy.copy())),
        CHECKPOINT: _torch_file(_checkpoint(scene, global_step)),  # the last: where it is, all is
    }
    there = [str(root / name) for name in contents if (root / name).exists()]
    if there and not overwrite:
        raise OutputError(f"{there[0]}: expected no such file yet, got {len(there)} of {len(contents)} to overwrite")
    try:
        (root / CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{root}: cannot make this folder: {error.strerror or error}") from error
    for name, content in contents.items():
        with AtomicFile(root / name) as temporary:
            temporary.write_bytes(content)
    return root / CHECKPOINT


def _line(*numbers: float) -> bytes:
    """Numbers with all their digits: read as a double and rounded to their own type they are the same again."""
    return (" ".join(repr(float(number)) for number in numbers) + "\n").encode()


def _documents(scene: KiloNeRFScene) -> dict[str, dict[str, Any]]:
    """What the yamls say, by the original's keys; paths are those of the files here."""
    data_set = {"dataset_dir": ".", "dataset_type": "nsvf"}
    return {
        "distill.yaml": {
            **data_set,
            "fixed_resolution": list(scene.resolution),
            "discovery": {
                "hidden_layer_size": HIDDEN,
                "num_hidden_layers": 2,
                "direction_layer_size": HIDDEN,
                "num_frequencies": POSITION_FREQUENCIES,
                "num_frequencies_direction": DIRECTION_FREQUENCIES,
                "late_feed_direction": True,
                "refeed_position_index": "None",  # a string: no layer has that number
                "outputs": "color_and_density",
                "convert_density_to_alpha": True,
            },
            "max_error": 100000,  # which no network reaches: none is ever split
            "skip_final": True,
            "tree_type": "kdtree_longest",
        },
        "finetune.yaml": {
            "distilled_cfg_path": "distill.yaml",
            "occupancy_cfg_path": "occupancy.yaml",
            "occupancy_log_path": "occupancy.pth",
            "num_samples_per_ray": int(scene.num_samples),
            "near": float(scene.near),
            "far": float(scene.far),
            "perturb": 1.0,
            "raw_noise_std": 0.0,
            "render_only": False,
        },
        "occupancy.yaml": {
            **data_set,
            "resolution": list(scene.occupancy.shape),
            "subsample_resolution": _OCCUPANCY_SAMPLES,
            "threshold": _OCCUPANCY_THRESHOLD,
        },
    }


def _yaml_text(document: Mapping[str, Any]) -> bytes:
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError("the original layout needs PyYAML: pip install 'kilonerf-view[import]'") from error
    return yaml.safe_dump(document, sort_keys=False).encode()


def _torch_file(content: object) -> bytes:
    """What ``torch.save`` writes; a buffer has no name, so the bytes do not depend on where they go."""
    buffer = io.BytesIO()
    _torch().save(content, buffer)
    return buffer.getvalue()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError("the original layout needs torch: pip install 'kilonerf-view[import]'") from error
    return torch


def _checkpoint(scene: KiloNeRFScene, global_step: int) -> dict[str, Any]:
    torch = _torch()
    state = _state(scene)
    return {
        "global_step": global_step,
        "model_state_dict": OrderedDict((name, torch.from_numpy(array)) for name, array in state.items()),
        "optimizer_state_dict": {"state": {}, "param_groups": [_ADAM | {"params": list(range(len(state)))}]},
        "torch_rng_state": torch.Generator().manual_seed(0).get_state(),
        "torch_cuda_rng_state": torch.zeros(16, dtype=torch.uint8),  # seed and offset
        "numpy_rng_state": _numpy_random_state(),
    }


_ADAM = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
"""The settings that torch's Adam had in version 1.8; a newer one adds its own."""


def _state(scene: KiloNeRFScene) -> dict[str, NDArray[np.float32]]:
    """The tensors in the original's order, the bias first; float32, a network for each cell."""
    index = scene.network_index.reshape(-1)
    kept = index >= 0
    shapes = tensor_shapes(index.size)
    state: dict[str, NDArray[np.float32]] = {}
    for name in [f"{layer}.{part}" for layer in _TENSOR_ORDER for part in ("bias", "weight")]:
        state[name] = np.zeros(shapes[name], np.float32)
        state[name][kept] = scene.layers[name][index[kept]]
    return state


class _PlainArray:
    """An array of NumPy as a pickle that every version of NumPy reads: the default one names private modules."""

    def __init__(self, array: NDArray[np.uint32]) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        return np.ndarray, (self.array.shape, self.array.dtype.str, self.array.tobytes())


def _numpy_random_state() -> tuple[Any, ...]:
    name, words, *rest = np.random.RandomState(0).get_state(legacy=True)
    return name, _PlainArray(np.asarray(words, np.uint32)), *rest
