"""The SIMT host as a device of training: the operations' own launches on torch's tensors, executed on the CPU."""

from collections.abc import Sequence
from typing import Any

import torch

from simt.simt_device import module
from simt.simt_host import DeviceArray


class SimtTraining:
    """Takes tensors of the CPU as if they were a GPU's.

    Args:
        checked: whether races, bounds and reads of unwritten shared memory are looked for.
        order: in which threads run, as in ``SimtModule.launch``.
    """

    def __init__(self, *, checked: bool = False, order: str | int = "ascending") -> None:
        self.checked, self.order = checked, order
        self.launches: list[tuple[str, int]] = []

    def launch(self, source: str, name: str, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        self.launches.append((name, blocks))
        tensors: dict[int, tuple[torch.Tensor, DeviceArray]] = {}
        for value in arguments:
            if isinstance(value, torch.Tensor):
                assert value.is_contiguous()
                tensors[id(value)] = value, DeviceArray(value.numpy(), f"{value.dtype} {list(value.shape)}")
        plain = [tensors[id(value)][1] if isinstance(value, torch.Tensor) else value for value in arguments]
        compiled = module(source, (("KNF_SIMT_HOST", 800),), self.checked)
        compiled.launch(name, (blocks,), (threads,), plain, order=self.order)
        for tensor, there in tensors.values():
            tensor.numpy()[...] = there.get()  # unseen by autograd, as what a kernel writes
