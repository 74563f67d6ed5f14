"""How training's native code runs: by how many threads, by which code path. Results do not depend on the threads."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from kilonerf.model_io import TrainingError

extension: Any = None
"""The native extension, or None: everything that needs speed has a twin in torch."""
with suppress(ImportError):
    from kilonerf.kernels import _cpu as extension


@dataclass(frozen=True)
class NativeSettings:
    """How the native operations run.

    Attributes:
        threads: None: as many as torch uses.
        path: one of :func:`training_paths`, "auto" for the best, or "torch" for the plain twins.
    """

    threads: int | None = None
    path: str = "auto"

    def thread_count(self) -> int:
        """Threads to use, at least 1."""
        return max(1, torch.get_num_threads() if self.threads is None else self.threads)

    def arguments(self) -> dict[str, Any]:
        """What every native operation with code paths takes."""
        return {"threads": self.thread_count(), "path": self.path}


_settings = NativeSettings()


def current_settings() -> NativeSettings:
    """The settings in force."""
    return _settings


@contextmanager
def native_settings(threads: int | None = None, path: str = "auto") -> Iterator[None]:
    """Settings for the operations that are called inside; their backward passes keep them.

    Raises:
        TrainingError: this machine cannot run ``path``.
    """
    global _settings
    known = ("auto", "torch", *training_paths())
    if path not in known:
        raise TrainingError(f"training's code path: expected one of {', '.join(known)}, got {path!r}")
    before = _settings
    _settings = NativeSettings(threads, path)
    try:
        yield
    finally:
        _settings = before


def training_paths() -> tuple[str, ...]:
    """Native code paths that this machine can run, best first; none without the extension."""
    return () if extension is None else tuple(extension.train_paths())


def native_for(*tensors: torch.Tensor) -> Any:
    """The extension, if it can take these tensors (float32 on the CPU), else None."""
    if extension is None or _settings.path == "torch":
        return None
    native = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    return extension if native else None
