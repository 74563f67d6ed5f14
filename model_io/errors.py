"""The one hierarchy of errors: library code raises these, a command's ``main`` turns them into one line."""

from collections.abc import Sequence


class KiloNeRFError(Exception):
    """Base of every error that a user can cause; its text is one line: what, where, expected, got."""


class SceneError(KiloNeRFError):
    """A ``.knf`` file or a :class:`~kilonerf.model_io.Scene` that breaks the format's rules."""


class StreamError(KiloNeRFError):
    """A scene that cannot be fetched from a server."""


class CheckpointError(KiloNeRFError):
    """An original KiloNeRF checkpoint, occupancy grid, box or yaml that cannot be imported."""


class DatasetError(KiloNeRFError):
    """A data set (cameras, photos) that cannot be read.

    Attributes:
        faults: one line each, where several things are wrong with it; its text lists them before the error itself.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join([*self.faults, *map(str, self.args)])


class CameraPathError(KiloNeRFError):
    """A camera path file that cannot be read."""


class OutputError(KiloNeRFError):
    """A file that cannot be written."""


class BackendError(KiloNeRFError):
    """A render backend that is unknown, or cannot run on this machine."""


class TrainingError(KiloNeRFError):
    """Something that training cannot do, or cannot do with what it was given."""


class DisplayError(KiloNeRFError):
    """No display, no OpenGL, or too old an OpenGL to open a window."""


class UsageError(KiloNeRFError):
    """Options of a command that make no sense, alone or together."""
