"""Several processes that train one scene (torchrun): networks and rays are shared out among them."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
_PATIENCE = timedelta(days=7)  # the first process may train a teacher for long


class World:
    """The processes. One process alone needs no torch.distributed, and every method does nothing.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def from_environment(cls) -> "World":
        """As torchrun started this process; alone without it."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of ``count`` things."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process; it is called there only."""
        if self.size == 1:
            return make()
        made = [make() if self.is_first else None]
        dist.broadcast_object_list(made, src=0)
        return made[0]  # pyright: ignore[reportReturnType]

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag))
        dist.all_reduce(count)
        return bool(count > 0)

    def add_up(self, tensor: torch.Tensor) -> None:
        """Each process gets the sum of all processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)

    @torch.no_grad()
    def gather(self, tensor: torch.Tensor, own: slice) -> None:
        """Each process gets the rows that the others own, in place; ``own`` is from :meth:`share`."""
        if self.size == 1:
            return
        mine = tensor[own].clone()
        tensor.zero_()
        tensor[own] = mine
        dist.all_reduce(tensor)
