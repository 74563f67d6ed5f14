"""The dialog that asks how a data set is to be trained."""

from dataclasses import dataclass, replace
from pathlib import Path

from imgui_bundle import imgui

from .. import theme
from ..panels import widgets
from .buttons import do_copy_or_cancel
from .child import is_installed
from .path_fields import PathFields
from .training import PRESETS, TrainingPlan, remembered_preset

MISSING = "Training needs torch, which is not installed here: pip install 'kilonerf-view[train]'"


@dataclass(frozen=True)
class _Found:
    """What lies under an output's name."""

    output: Path
    has_progress: bool
    running: int | None
    exists: bool

    @classmethod
    def of(cls, plan: TrainingPlan) -> "_Found":
        return cls(plan.output, plan.has_progress, plan.running, plan.output.is_file())


class TrainDialog:
    """Shows a plan; :meth:`draw` returns it, as changed, when it is to be done."""

    def __init__(self) -> None:
        self._plan: TrainingPlan | None = None
        self._what = self._error = self._typed = ""
        self._found: _Found | None = None
        self._fields = PathFields()
        self._dialog = widgets.Dialog("train", 46.0)
        self._can = False

    def show(self, plan: TrainingPlan, what: str, error: str = "") -> None:
        """Show it from the next frame on.

        Args:
            plan: to begin with.
            what: is known about the data set.
            error: what went wrong the last time.
        """
        self._plan, self._what, self._error = plan, what, error
        self._dialog.open()
        self._typed, self._found = str(plan.output), None
        self._can = is_installed("torch")

    def draw(self) -> TrainingPlan | None:
        """Draw it if it is open; what is to be trained."""
        plan = self._plan
        if plan is None:
            return None
        with self._dialog.drawn(f"Train a scene from {plan.data.name}") as is_open:
            if not is_open:
                return None
            found = self._look(plan)
            plan = self._rows(self._plan or plan, found)
            self._plan = plan
            self._messages(found)
            pressed, done = self._buttons(plan, found)
            browsing = self._fields.draw_browser()
            if pressed or done or (imgui.is_key_pressed(imgui.Key.escape, False) and not browsing):
                imgui.close_current_popup()
        return plan if pressed else None

    def _look(self, plan: TrainingPlan) -> _Found:
        """What is there, looked up once for each name; an earlier training's preset is taken over."""
        found = self._found
        if found is None or found.output != plan.output:
            found = self._found = _Found.of(plan)
            if found.has_progress or found.running is not None:
                self._plan = replace(plan, preset=remembered_preset(plan.folder) or plan.preset)
        return found

    def _rows(self, plan: TrainingPlan, found: _Found) -> TrainingPlan:
        widgets.paragraph(self._what, theme.DIM)
        names = {text: name for name, text in PRESETS.items()}
        chosen = widgets.choice("Preset", PRESETS[plan.preset], list(names), "How long and how well it is trained.")
        self._typed = self._fields.output("Save as", self._typed, "The scene to write, a .knf file")
        live = widgets.switch(
            "Show it while it trains",
            plan.live,
            "From its third stage on, every 15 seconds; the camera stays where you put it.",
        )
        restart = False
        if found.has_progress and found.running is None:
            restart = widgets.switch("Start over", plan.restart, "Forget what the earlier training has left.")
        return replace(plan, preset=names[chosen], output=Path(self._typed).expanduser(), live=live, restart=restart)

    def _messages(self, found: _Found) -> None:
        if not self._can or self._error:
            widgets.paragraph(self._error if self._can else MISSING, theme.BAD)
        elif found.running is not None:
            widgets.paragraph(f"It is being trained already, by process {found.running or '?'}.", theme.DIM)
        elif found.has_progress:
            widgets.paragraph("An earlier training has left its progress; it is resumed.", theme.DIM)
        elif found.exists:
            widgets.paragraph("A scene of this name exists; it will be replaced when training is done.", theme.DIM)

    def _buttons(self, plan: TrainingPlan, found: _Found) -> tuple[bool, bool]:
        """Whether to train, and whether the dialog is done with otherwise."""
        text = "Resume" if found.has_progress and not plan.restart else "Train"
        text = f"{'Follow it' if found.running is not None else text}###do train"
        return do_copy_or_cancel(text, plan.command, "train", can_do=self._can)
