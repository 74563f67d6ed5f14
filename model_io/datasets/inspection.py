"""All faults of a data set in one list, so that nobody has to find them one run after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DatasetError
from .pictures import Size, check_picture, picture_size

LISTED = 10  # faults that an error lists; of the others it gives the number


class Inspection:
    """What readers found on their way through a data set: faults, and the photos that exist.

    Readers go on after a fault with what is whole, and :meth:`close` raises one error for all.
    """

    def __init__(self) -> None:
        self._faults: dict[str, None] = {}  # in order, each once: splits share files
        self._photos: dict[Path, bool] = {}  # whether a fault of this photo is known already

    def add(self, fault: str) -> None:
        """Note a fault: one line, what and where, expected and got."""
        self._faults[fault] = None

    @contextmanager
    def collecting(self, where: str = "") -> Iterator[None]:
        """Note a DatasetError of the block as a fault, with ``where`` before it, and go on after it."""
        try:
            yield
        except DatasetError as error:
            self.add(f"{where}{error}")

    def photo_size(self, path: Path) -> Size | None:
        """A photo's width and height from its header; None, and a fault, if that cannot be read."""
        self._photos.setdefault(path, False)
        try:
            return picture_size(path)
        except DatasetError as error:
            self.photo_fault(path, str(error))
            return None

    def expect_size(self, path: Path, expected: Size, reason: str) -> bool:
        """Whether a photo has the size that it should have; a fault if not."""
        size = self.photo_size(path)
        if size is not None and size != expected:
            fault = f"{path}: expected {expected[0]}x{expected[1]} as {reason}, got {size[0]}x{size[1]}"
            self.photo_fault(path, fault)
        return size == expected

    def photo_fault(self, path: Path, fault: str) -> None:
        """Note a fault of a photo."""
        self._photos[path] = True
        self.add(fault)

    def close(self, where: Path | str) -> None:
        """Raise what was found, if anything.

        Headers are read for every data set, whole photos only when there is an error anyway: so that its list is
        complete, without decoding every photo twice when all is well.

        Raises:
            DatasetError: the fault, if there is one; with ``faults`` (at most 10, and the number of others), if there
                are several.
        """
        if not self._faults:
            return
        for path, known in self._photos.items():
            if not known:
                with self.collecting():
                    check_picture(path)
        raise_faults(where, list(self._faults))


def raise_faults(where: Path | str, faults: list[str]) -> None:
    """Raise a DatasetError for all ``faults``, if there are any.

    Raises:
        DatasetError: as said at :meth:`Inspection.close`.
    """
    if not faults:
        return
    if len(faults) == 1:
        raise DatasetError(faults[0])
    listed = faults[:LISTED] + ([f"and {len(faults) - LISTED} more"] if len(faults) > LISTED else [])
    raise DatasetError(f"{where}: expected a whole data set, got {len(faults)} faults", listed)
