"""An import that runs beside the window: what is asked for, and how far it is."""

import shlex
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kilonerf.model_io import OutputError, UsageError
from kilonerf.model_io.files.atomic import AtomicFile

from .child import ChildProgram

OCCUPANCY, BOX = "occupancy.pth", "bbox.txt"
NUMBERS = ("near", "far", "samples")


@dataclass(frozen=True)
class ImportPlan:
    """What is to be imported.

    Attributes:
        checkpoint: of the original code.
        occupancy: its occupancy.pth, as typed.
        box: its bbox.txt, as typed.
        output: the scene, a .knf file, as typed.
        resolution: networks along x, y and z, as typed; "" where a yaml says it. Likewise the rest.
        near: depth of a ray's first sample.
        far: depth of its last.
        samples: of a ray.
    """

    checkpoint: Path
    occupancy: str
    box: str
    output: str
    resolution: str = ""
    near: str = ""
    far: str = ""
    samples: str = ""

    @classmethod
    def of(cls, checkpoint: Path) -> "ImportPlan":
        """With the files that it needs, where they lie as the original code leaves them."""
        found = dict.fromkeys((OCCUPANCY, BOX), "")
        for name in found:
            for folder in checkpoint.absolute().parents[:3]:
                if (folder / name).is_file():
                    found[name] = str(folder / name)
                    break
        return cls(checkpoint, found[OCCUPANCY], found[BOX], str(checkpoint.absolute().with_suffix(".knf")))

    @property
    def arguments(self) -> list[str]:
        """Of ``kilonerf-import``."""
        found = [str(self.checkpoint), "--occupancy", self.occupancy or OCCUPANCY.upper()]
        found += ["--bbox", self.box or BOX.upper(), "-o", self.output]
        if self.resolution.split():
            found += ["--resolution", *self.resolution.split()]
        for name in NUMBERS:
            value = getattr(self, name).strip()
            found += [f"--{name}", value] if value else []
        return found

    @property
    def command(self) -> str:
        """What does the same in a terminal."""
        return shlex.join(["kilonerf-import", *self.arguments])

    @property
    def scene(self) -> Path:
        """The file to write."""
        return Path(self.output).expanduser()

    def check(self) -> None:
        """See that nothing is missing.

        Raises:
            UsageError: a file is not chosen, or the scene's name does not end in .knf.
            OutputError: the scene cannot be written.
        """
        for value, name in ((self.occupancy, OCCUPANCY), (self.box, BOX)):
            if not value:
                raise UsageError(f"{name}: expected the checkpoint's own, got none: choose it")
        if self.scene.suffix != ".knf":
            raise UsageError(f"{self.output}: expected a name that ends in .knf")
        if not self.scene.parent.is_dir():
            raise OutputError(f"{self.scene}: expected an existing folder, got none named {self.scene.parent}")
        AtomicFile(self.scene).discard()


class ImportRun:
    """Follows an importer.

    Args:
        plan: what it imports.

    Attributes:
        stage: what it does now.
        share: of the whole, 0 to 1.

    Raises:
        KiloNeRFError: it cannot be started.
    """

    def __init__(self, plan: ImportPlan) -> None:
        plan.check()
        self.plan = plan
        self.stage, self.share = "starting", 0.0
        self._folder = tempfile.TemporaryDirectory(prefix="kilonerf-import-")
        self.child = ChildProgram("import_checkpoint", [*plan.arguments, "--json"], Path(self._folder.name) / "log")

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self.child.state == "running"

    @property
    def status(self) -> str:
        """All of it in one line."""
        return f"Importing {self.plan.checkpoint.name}: {self.stage}"

    def poll(self) -> None:
        """Take note of what the importer has said."""
        for event in self.child.poll():
            if event["event"] == "step":
                with suppress(KeyError, TypeError, ZeroDivisionError):
                    self.stage, self.share = str(event["stage"]), event["step"] / event["steps"]

    def close(self) -> None:
        """End it; it leaves nothing behind."""
        self.child.stop()
        self.child.wait(5.0)
        self._folder.cleanup()
