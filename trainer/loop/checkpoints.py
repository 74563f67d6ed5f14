"""What training leaves on disk: tensors and a JSON document in one file, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from kilonerf.model_io import CheckpointError, SceneError, TrainingError
from kilonerf.model_io.files.atomic import AtomicFile
from kilonerf.model_io.knf.safetensors_reader import parse_json, read_tensor_file

_KEY = "kilonerf-training"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by their names, and what belongs to them (JSON values only)."""

    tensors: Mapping[str, torch.Tensor]
    document: Mapping[str, Any]


def save_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], document: Mapping[str, Any]) -> None:
    """Write a safetensors file.

    Raises:
        OutputError: it cannot be written; an older one is still there.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(held, {_KEY: json.dumps(document, allow_nan=False)})
    with AtomicFile(path) as temporary:
        temporary.write_bytes(data)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; nothing of it is executed.

    Raises:
        CheckpointError: it is missing, damaged, or no such file.
    """
    try:
        file = read_tensor_file(path)
        if _KEY not in file.metadata:
            raise SceneError(f"metadata: expected {_KEY!r}, got {sorted(file.metadata)[:4]}")
        document = parse_json(file.metadata[_KEY], _KEY)
        if not isinstance(document, dict):
            raise SceneError(f"{_KEY}: expected an object, got {type(document).__name__}")
    except SceneError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint({name: torch.from_numpy(array.copy()) for name, array in file.tensors.items()}, document)


def restore(tensors: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], what: str) -> None:
    """Copy a state into tensors, in place; what else is in it is left alone.

    Raises:
        TrainingError: a tensor is missing or has another shape; ``what`` it should be the state of.
    """
    for name, tensor in tensors.items():
        if name not in state or state[name].shape != tensor.shape:
            got = list(state[name].shape) if name in state else "none"
            raise TrainingError(f"{what}: {name}: expected shape {list(tensor.shape)}, got {got}")
        tensor.copy_(state[name])
