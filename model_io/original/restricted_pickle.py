"""Original checkpoints are pickles. They are read by torch's restricted reader, which runs nothing that they name.

Every class that an original file names is answered with an inert stand-in that only keeps what was stored in it. A file
that names anything else is refused before anything of it is used.
"""

import os
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files.json_values import is_object


class Stored:
    """Stands in for a class of the original code: keeps the attributes that were stored, does nothing."""

    def __init__(self, *arguments: object) -> None:
        del arguments  # of NumPy's random state, which is not needed

    def __setstate__(self, state: object) -> None:
        if is_object(state):
            self.__dict__.update(state)


class Node(Stored):
    """A node of the distilled checkpoint's tree: domain_min, domain_max, network."""


class Module(Stored):
    """A torch module: ``_modules`` and ``_parameters`` by name."""

    _modules: dict[str, "Module"]
    _parameters: dict[str, Any]


_STAND_INS: dict[str, type] = {
    "__main__.Node": Node,
    "local_distill.Node": Node,
    "multi_modules.MultiNetwork": Module,
    "multi_modules.MultiNetworkLinear": Module,
    "torch.nn.modules.activation.ReLU": Module,
    "torch.nn.modules.container.ModuleList": Module,
    "torch.nn.modules.linear.Linear": Module,
    "numpy.core.multiarray._reconstruct": Stored,  # NumPy before 2
    "numpy._core.multiarray._reconstruct": Stored,
    "numpy.ndarray": Stored,
    "numpy.dtype": Stored,
    "collections.deque": list,
    "builtins.set": list,
    "__builtin__.set": list,
}


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What a file written by ``torch.save`` holds, with every tensor on the CPU.

    Raises:
        CheckpointError: torch is not installed; the file is missing, cut short or no torch file; or it names a
            class or function that original KiloNeRF files do not have (nothing in it is run).
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: expected a file, got {'a folder' if Path(path).is_dir() else 'nothing there'}")
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(f"{path}: needs torch to be read: pip install 'kilonerf-view[import]'") from error
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in _STAND_INS.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file makes torch raise nearly anything
        raise CheckpointError(f"{path}: {_reason(path, error)}") from error


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    """One line on why torch refused the file; its own text is a page that tells people to trust the file."""
    import torch

    if isinstance(error, PermissionError):
        return "cannot read: permission denied"
    try:
        named: set[str] = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - _STAND_INS.keys()
    except Exception:  # not even a zip file
        named = set()
    if named:
        return f"refused, nothing in it was run: it names {', '.join(sorted(named))}, which no KiloNeRF file has"
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"expected a file written by torch.save, got: {first_line[:160]}"
