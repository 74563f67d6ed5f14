"""Original checkpoints are pickles. They are read by torch's restricted reader, which runs nothing that they name.

Every class that an original file names is answered with an inert stand-in that only keeps what was stored in it. A file
that names anything else is refused before anything of it is used.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..files.downloads import broken_download
from ..files.json_values import is_object

_SCALARS = "biuf"  # kinds of NumPy scalars that are read


class Stored:
    """Stands in for a class of the original code: keeps the attributes that were stored, does nothing."""

    def __init__(self, *arguments: object) -> None:
        del arguments  # of NumPy's random state, which is not needed

    def __setstate__(self, state: object) -> None:
        if is_object(state):
            self.__dict__.update(state)


class DType(Stored):
    """NumPy's dtype: ``code`` is what it was made from, as "f8"."""

    def __init__(self, code: object = None, *arguments: object) -> None:
        super().__init__(*arguments)
        self.code = code


def scalar(dtype: object = None, data: object = None) -> object:
    """A NumPy scalar as Python's number; None if it is of a kind that no original file has."""
    code = dtype.code if isinstance(dtype, DType) else None
    data = data.encode("latin-1", "replace") if isinstance(data, str) else data  # NumPy's protocol 2 keeps text
    if not isinstance(code, str) or code[:1] not in _SCALARS or not code[1:].isdecimal() or not isinstance(data, bytes):
        return None
    try:
        return np.frombuffer(data, np.dtype(f"<{code}"))[0].item()
    except (TypeError, ValueError, IndexError):
        return None


class Node(Stored):
    """A node of the distilled checkpoint's tree: domain_min, domain_max, network."""


class Module(Stored):
    """A torch module: ``_modules`` and ``_parameters`` by name."""

    _modules: dict[str, "Module"]
    _parameters: dict[str, Any]


_STAND_INS: dict[str, Callable[..., object]] = {
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
    "numpy.dtype": DType,
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
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
    broken = broken_download(path)
    if broken is not None:
        raise CheckpointError(f"{path}: expected a file written by torch.save, got {broken}")
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in _STAND_INS.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file makes torch raise nearly anything
        raise CheckpointError(f"{path}: {_reason(Path(path), error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """One line on why torch refused the file. Nothing of torch's own text, a page that tells people to trust the file.

    Args:
        path: the file.
        error: what torch raised.
    """
    import torch

    if isinstance(error, PermissionError):
        return "cannot read: permission denied"
    if isinstance(error, MemoryError):
        return "cannot read: not enough memory"
    try:
        named: set[str] = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - _STAND_INS.keys()
    except Exception:  # not even a zip file
        named = set()
    if named:
        return f"refused, nothing in it was run: it names {', '.join(sorted(named))}, which no KiloNeRF file has"
    return f"expected a file written by torch.save, got {_content(path)}"


def _content(path: Path) -> str:
    """What a file that torch cannot read seems to be."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return "one that cannot be read"
    if head.startswith((b"PK", b"\x80\x02")):  # a zip archive; a pickle, as torch wrote it before version 1.6
        return "one that is damaged or ends too early: download or copy it again"
    return "something else"
