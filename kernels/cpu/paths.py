"""The code paths of the CPU backend: one for each instruction set and precision that it is compiled for."""

from dataclasses import dataclass
from typing import Literal

from kilonerf.model_io import BackendError

Precision = Literal["float32", "int8", "int16", "bfloat16"]


@dataclass(frozen=True)
class CpuPath:
    """A code path that this machine can run.

    Attributes:
        name: as ``--cpu-path`` takes it.
        precision: in which its networks multiply; everything else of a frame is float32 everywhere.
            "int8": chosen by itself, some networks of a scene have 16 bits where 8 are too coarse.
    """

    name: str
    precision: Precision


def available_cpu_paths() -> tuple[CpuPath, ...]:
    """The code paths that this machine can run, best first: "auto" takes the first.

    Where 8 bits are too few for a scene, it takes the first that has more.

    Raises:
        BackendError: the native extension does not load.
    """
    try:
        from .. import _cpu
    except ImportError as error:
        raise BackendError(f"backend 'cpu': the native extension does not load: {error}") from error
    return tuple(CpuPath(name, precision) for name, precision in _cpu.available_paths())
