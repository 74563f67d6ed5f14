"""All faults of a data set in one list, instead of one a run; and what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DatasetError
from .photo_files import Found, listed
from .pictures import Size, check_picture, orientation, picture_size

LISTED = 10  # faults that an error lists; of the others it gives the number


class Inspection:
    """What readers found on their way through a data set: faults, notes, and the photos that exist.

    Readers go on after a fault with what is whole, and :meth:`close` raises one error for all.

    Args:
        strict: what would be left out with a note is a fault.
        photos: a data set without photos is a fault.
    """

    def __init__(self, *, strict: bool = False, photos: bool = False) -> None:
        self.strict = strict
        self.photos = photos
        self._faults: dict[str, None] = {}  # in order, each once: splits share files
        self._notes: dict[str, None] = {}
        self._photos: dict[Path, bool] = {}  # whether a fault of this photo is known already

    @property
    def faulty(self) -> bool:
        """Whether there is any fault so far."""
        return bool(self._faults)

    def add(self, fault: str) -> None:
        """Note a fault: one line, what and where, expected and got."""
        self._faults[fault] = None

    def note(self, line: str) -> None:
        """Note something for the user that is no fault."""
        self._notes[line] = None

    def take_notes(self) -> tuple[str, ...]:
        """The notes since the last call."""
        notes = tuple(self._notes)
        self._notes.clear()
        return notes

    @contextmanager
    def collecting(self, where: str = "") -> Iterator[None]:
        """Note a DatasetError of the block as a fault, with ``where`` before it, and go on after it."""
        try:
            yield
        except DatasetError as error:
            if error.faults:  # several, and the line that counts them
                for fault in error.faults:
                    self.add(f"{where}{fault}")
            else:
                self.add(f"{where}{error}")

    def missing_photos(self, where: Path, found: Found, names: Sequence[str]) -> None:
        """Poses whose photo was not found are left out with a note; where none was, the data set is one of poses only.

        Raises:
            DatasetError: there is no photo at all, and there must be photos.
        """
        if not names:
            return
        missing = [name for name, path in zip(names, found.paths, strict=True) if path is None]
        if len(missing) == len(names):
            if self.photos:
                count = "its photo" if len(names) == 1 else f"photos for {len(names)} poses"
                raise DatasetError(f"{where}: expected {count}, got none: {found.searched}")
            return
        if self.strict:
            for name in missing:
                self.add(f"{where}: expected a photo for every pose, got none for {name}")
        elif missing:
            verb = "has" if len(missing) == 1 else "have"
            count = f"{len(missing)} of {len(names)} poses {verb} no photo"
            self.note(f"{where.name}: {count}: left out: {listed(missing)}")
        if found.reduction > 1:
            self.note(
                f"{where.name}: no photos of full size: those of images_{found.reduction} are taken, and the lens is "
                f"divided by {found.reduction}"
            )

    def photo_size(self, path: Path) -> Size | None:
        """A photo's width and height from its header; None, and a fault, if that cannot be read."""
        self._photos.setdefault(path, False)
        try:
            return picture_size(path)
        except DatasetError as error:
            self.photo_fault(path, str(error))
            return None

    def expect_size(self, path: Path, expected: Size, reason: str) -> bool:
        """Whether a photo has the size that it should have, as stored or turned by its EXIF; a fault if not."""
        size = self.photo_size(path)
        if size is None or size == expected:
            return size is not None
        if size[::-1] == expected and self._turned(path):
            return True
        fault = f"{path}: expected {expected[0]}x{expected[1]} as {reason}, got {size[0]}x{size[1]}"
        self.photo_fault(path, fault)
        return False

    def common_size(self, images: Sequence[Path | None]) -> Size | None:
        """The size that photos have, by majority; the others are faults. None if there are none."""
        sizes = {path: self.photo_size(path) for path in images if path is not None}
        whole = {path: size for path, size in sizes.items() if size is not None}
        if not whole:
            return None
        expected = Counter(whole.values()).most_common(1)[0][0]
        for path, size in whole.items():
            if size != expected:
                fault = f"{path}: expected {expected[0]}x{expected[1]} as the others, got {size[0]}x{size[1]}"
                self.photo_fault(path, fault)
        return expected

    def reduced_size(self, path: Path, full: Size, reduction: int) -> Size | None:
        """The size of a photo of ``images_N``, which must be that of the full photo divided by N, however rounded."""
        size = self.photo_size(path)
        if size is None:
            return None
        if any(abs(small * reduction - large) >= reduction for small, large in zip(size, full, strict=True)):
            self.photo_fault(
                path,
                f"{path}: expected {full[0] / reduction:g}x{full[1] / reduction:g}, a photo of {full[0]}x{full[1]} "
                f"divided by {reduction}, got {size[0]}x{size[1]}",
            )
            return None
        return size

    def note_orientations(self, images: Sequence[Path | None], sizes: Sequence[Size | None]) -> None:
        """Say how photos with an EXIF orientation are read.

        Args:
            images: the photos.
            sizes: what the data set's cameras say about them; None where that is the photos' own.
        """
        turned, stored = 0, 0
        for path, size in zip(images, sizes, strict=True):
            if path is None or self._photos.get(path, False):
                continue
            try:
                if orientation(path) == 1:
                    continue
                as_stored = size is None or picture_size(path) == size
            except DatasetError:
                continue  # a fault already, or found when its pixels are read
            stored, turned = stored + as_stored, turned + (not as_stored)
        if turned:
            self.note(f"{turned} photos are turned upright as their EXIF orientation says: so the cameras' size has it")
        if stored:
            self.note(
                f"{stored} photos have an EXIF orientation that is not applied: their pixels are read as stored, as "
                "COLMAP reads them, and the poses must be of these"
            )

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

    def _turned(self, path: Path) -> bool:
        """Whether a photo's EXIF exchanges width and height."""
        try:
            return orientation(path) >= 5
        except DatasetError:
            return False


def raise_faults(where: Path | str, faults: list[str]) -> None:
    """Raise a DatasetError for all ``faults``, if there are any.

    Raises:
        DatasetError: as said at :meth:`Inspection.close`.
    """
    if not faults:
        return
    if len(faults) == 1:
        raise DatasetError(faults[0])
    listed_ = faults[:LISTED] + ([f"and {len(faults) - LISTED} more"] if len(faults) > LISTED else [])
    raise DatasetError(f"{where}: expected a whole data set, got {len(faults)} faults", listed_)
