"""What programs that train share: which device, and Ctrl-C, after which what runs is finished or saved first."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kilonerf.model_io import UsageError
from kilonerf.trainer.loop.distributed import World


def training_device(name: str, world: World) -> torch.device:
    """The device of this process.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device: expected auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("--device: expected a torch with CUDA and a GPU for cuda, got none")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", world.rank)) % torch.cuda.device_count())
    elif device.type != "cpu":
        raise UsageError(f"--device: expected auto, cpu or cuda, got {name!r}")
    return device


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and ``kill`` are noted, so that a step is finished first; a second one ends at once."""
    noted = False

    def note(number: int, frame: object) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
