"""A training that runs beside the window: what is asked for, and how far it is."""

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kilonerf.model_io import OutputError, UsageError
from kilonerf.model_io.files.atomic import write_text
from kilonerf.model_io.files.json_values import is_object
from kilonerf.model_io.files.lock import lock_holder

from ..panels.recording_panel import duration
from .child import ChildProgram

Preset = Literal["tiny", "fast", "quality"]
PRESETS: dict[Preset, str] = {
    "tiny": "tiny: some minutes, to see whether the photos will do",
    "fast": "fast: about an hour on two CPU cores",
    "quality": "quality: hours",
}
STAGES = ("teacher", "occupancy", "distillation", "fine-tuning")
SNAPSHOT = "view.knf"
LOG = "window.log"
CHOICE = "window.json"
LOCK = "lock"


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be trained.

    Attributes:
        data: the data set.
        output: the scene, a .knf file.
        preset: of the trainer.
        live: whether the growing scene is shown.
        restart: whether what is there of an earlier training is forgotten.
    """

    data: Path
    output: Path
    preset: Preset = "fast"
    live: bool = True
    restart: bool = False

    @property
    def folder(self) -> Path:
        """Where the trainer keeps its progress, as ``kilonerf-train`` chooses it."""
        return self.output.with_suffix(".training")

    @property
    def has_progress(self) -> bool:
        """Whether an earlier training has left something to go on with."""
        with suppress(OSError):
            return any(self.folder.glob("*.safetensors"))
        return False

    @property
    def running(self) -> int | None:
        """The process that trains it already, if any; 0 if its number is not known."""
        return lock_holder(self.folder / LOCK)

    @property
    def arguments(self) -> list[str]:
        """Of ``kilonerf-train``."""
        restart = ["--restart-from", STAGES[0]] if self.restart else []
        return [str(self.data), "-o", str(self.output), "--preset", self.preset, *restart]

    @property
    def command(self) -> str:
        """What does the same in a terminal."""
        return shlex.join(["kilonerf-train", *self.arguments, "--view"])

    def check(self) -> None:
        """See that it can be begun.

        Raises:
            UsageError: the scene's name does not end in .knf.
            OutputError: its folder is missing.
        """
        if self.output.suffix != ".knf":
            raise UsageError(f"{self.output}: expected a name that ends in .knf")
        if not self.output.parent.is_dir():
            raise OutputError(f"{self.output}: expected an existing folder, got none named {self.output.parent}")

    def start(self) -> ChildProgram:
        """Start the trainer, or follow the one that runs.

        Raises:
            KiloNeRFError: it cannot be started; one runs that was not started from a window.
        """
        self.check()
        holder = self.running
        if holder is not None:
            if not holder or not (self.folder / LOG).is_file():
                raise OutputError(f"{self.folder}: another program trains this scene already (process {holder or '?'})")
            return ChildProgram.followed(self.folder / LOG, holder, lambda: self.running is not None)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot make this folder: {error.strerror}") from error
        write_text(self.folder / CHOICE, json.dumps({"data": str(self.data.absolute()), "preset": self.preset}))
        return ChildProgram("train", [*self.arguments, "--json", "--snapshots"], self.folder / LOG)


def remembered_preset(folder: Path) -> Preset | None:
    """The preset of the training that was begun in ``folder`` from a window, if it is known."""
    with suppress(OSError, ValueError, RecursionError):
        document: Any = json.loads((folder / CHOICE).read_text("utf-8"))
        if is_object(document) and document.get("preset") in get_args(Preset):
            return document["preset"]
    return None


class TrainingRun:
    """Follows a trainer.

    Args:
        plan: what it trains.
        child: the trainer.

    Attributes:
        stage: its stage; "" before the first.
        step: finished steps of the stage.
        steps: all of them.
        seconds_left: of the stage, if known.
        psnr: of the photos' rays in training, decibel, if the stage has one.
        preview: PSNR of the newest preview, decibel, of views that are rendered whole.
        snapshots: how many there were.
        message: the newest one.
    """

    def __init__(self, plan: TrainingPlan, child: ChildProgram) -> None:
        self.plan, self.child = plan, child
        self.stage, self.step, self.steps = "", 0, 0
        self.seconds_left: float | None = None
        self.psnr: float | None = None
        self.preview: float | None = None
        self.snapshots = 0
        self.message = ""

    @property
    def snapshot(self) -> Path:
        """The file with the growing scene."""
        return self.plan.folder / SNAPSHOT

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self.child.state == "running"

    @property
    def share(self) -> float:
        """Of the stage, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def place(self) -> str:
        """The stage among all."""
        if self.stage not in STAGES:
            return "Reading the photos"
        return f"{STAGES.index(self.stage) + 1} of {len(STAGES)}: {self.stage}"

    @property
    def status(self) -> str:
        """All of it in one line."""
        if self.child.stopping:
            return "Training stops, keeping its progress"
        if not self.stage:
            return "Training: reading the photos"
        parts = [f"Training: {self.stage} {100 * self.share:.0f} %"]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        if self.psnr is not None:
            parts.append(f"{self.psnr:.1f} dB")
        return ", ".join(parts)

    def poll(self) -> None:
        """Take note of what the trainer has said."""
        for event in self.child.poll():
            kind = event["event"]
            if kind in ("stage", "step"):
                self._take_step(event)
            elif kind == "message":
                self.message = str(event.get("text", ""))
            elif kind == "preview":
                self.preview = _number(event.get("psnr"))
            elif kind == "snapshot":
                self.snapshots += 1

    def _take_step(self, event: dict[str, Any]) -> None:
        self.stage = str(event.get("stage", ""))
        self.step, self.steps = (int(_number(event.get(name)) or 0) for name in ("step", "steps"))
        self.seconds_left, self.psnr = _number(event.get("seconds_left")), _number(event.get("psnr"))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
