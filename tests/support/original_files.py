"""Files in the original KiloNeRF layouts, made small for tests."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilonerf.model_io import LAYER_SHAPES, KiloNeRFScene, import_checkpoint

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")

RESOLUTION = (2, 3, 4)
CELLS = 24
BOX = (np.array([-0.6, -0.9, -0.4]), np.array([0.6, 0.7, 1.0]))
EMPTY_CELL = (0, 1, 2)


def tensors(networks: int = CELLS, *, transposed: bool = False) -> OrderedDict:
    """Tensors in the layout of a fine-tuned checkpoint; every number says which network it is of."""
    state = OrderedDict()
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        size = (networks, outputs, inputs) if transposed else (networks, inputs, outputs)
        number = torch.arange(networks, dtype=torch.float32)
        state[f"{name}.bias"] = number[:, None].repeat(1, outputs)
        state[f"{name}.weight"] = number[:, None, None] + torch.rand(size)
    return state


class Files:
    """A checkpoint and what belongs to it, in the way of the tests' folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint, self.occupancy, self.bbox = (
            folder / name for name in ("checkpoint.pth", "occupancy.pth", "bbox.txt")
        )
        occupancy = torch.zeros(8, 12, 16, dtype=torch.bool)
        occupancy[::4, ::4, ::4] = True  # one voxel of every cell
        occupancy[tuple(4 * index for index in EMPTY_CELL)] = False
        torch.save(occupancy, self.occupancy)
        self.bbox.write_text("-0.6 -0.9 -0.4 0.6 0.7 1.0 0.4\n")
        (folder / "near_and_far.txt").write_text("2.0 6.0")
        self.yaml("distill", fixed_resolution=list(RESOLUTION), discovery={"refeed_position_index": "None"})
        self.yaml("finetune", distilled_cfg_path="cfgs/x.yaml", num_samples_per_ray=48)
        self.state(tensors())

    def yaml(self, name: str, **content: object) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def state(self, state: object) -> None:
        torch.save({"global_step": 7, "model_state_dict": state}, self.checkpoint)

    def load(self, **changes: Any) -> KiloNeRFScene:
        paths: dict[str, Any] = {"occupancy": self.occupancy, "bbox": self.bbox} | changes
        return import_checkpoint(self.checkpoint, **paths)
