"""Scenes made from inside the window: begins imports and trainings, follows them, shows what they make."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kilonerf.model_io import KiloNeRFError
from kilonerf.model_io.streaming.address import Location

from ..appearance import folding
from ..notices import Notices
from ..panels.file_browser import CHECKPOINTS, FileBrowser
from ..panels.recent_files import RecentFiles
from ..panels.recording_panel import duration
from ..recording.recording import Recording
from ..scene_loading import SceneLoader
from .import_dialog import ImportDialog
from .importing import ImportPlan, ImportRun
from .leave_dialog import LeaveDialog
from .panel import TITLE, MakingPanel
from .train_dialog import TrainDialog
from .training import TrainingPlan, TrainingRun

PATIENCE = 20.0
"""Seconds that a closed window waits for the trainer to keep its progress; it does so without the window, too."""


class SceneMaking:
    """Composes the parts; one import and one training at a time.

    Args:
        loader: reads what they make.
        recording: a flight that is being recorded is not disturbed.
        notices: is told what became of each.
        recent: is told of finished scenes.
        open_file: opens a file that the user has chosen, and offers what can be done with it.
        close_window: the user wants to leave.

    Attributes:
        training: the training that runs, or ran last.
        importing: the import that runs.
        panel: its section of the side panel.
    """

    def __init__(
        self,
        loader: SceneLoader,
        recording: Recording,
        notices: Notices,
        recent: RecentFiles,
        open_file: Callable[[Path], None],
        close_window: Callable[[], None],
    ) -> None:
        self._loader, self._recording, self._notices, self._recent = loader, recording, notices, recent
        self._open_file, self._close_window = open_file, close_window
        self._import_dialog, self._train_dialog, self._leave_dialog = ImportDialog(), TrainDialog(), LeaveDialog()
        self._browser = FileBrowser(recent, "making")
        self._what = ""  # is known of the data set
        self._shown: Location | None = None  # the scene that is open
        self._seen = 0  # snapshots of the training that were looked at
        self._growing = False  # whether one was opened
        self._now = 0.0
        self._may_leave = self._goes_on = False
        self.training: TrainingRun | None = None
        self.importing: ImportRun | None = None
        self.panel = MakingPanel(self)

    @property
    def training_runs(self) -> bool:
        """Whether a scene is being trained."""
        return self.training is not None and self.training.running

    @property
    def can_show(self) -> bool:
        """Whether the scene that is trained can be opened, and is not."""
        run = self.training
        return run is not None and (run.snapshots > 0 or run.child.state == "finished") and not self._looks_on

    @property
    def seconds_left_text(self) -> str:
        """Of the stage that runs, for the bar."""
        left = None if self.training is None else self.training.seconds_left
        return "" if left is None else f", {duration(left)} left"

    @property
    def status(self) -> str:
        """What is under way, for the status bar; "" for nothing."""
        if self.importing is not None:
            return self.importing.status
        return self.training.status if self.training is not None and self.training.running else ""

    def offer_import(self, checkpoint: Path) -> None:
        """Ask for what an import needs."""
        if self.importing is None:
            self._import_dialog.show(ImportPlan.of(checkpoint))

    def offer_training(self, data: Path, what: str) -> None:
        """Ask how a data set is to be trained; ``what`` is known about it."""
        if self.training_runs:
            return
        self._what = what
        data = data.absolute()
        self._train_dialog.show(TrainingPlan(data, data.with_name(f"{data.name}.knf")), what)

    def choose_data(self) -> None:
        """Open the file dialog to choose a folder of photos."""
        self._browser.open(None, "folder", "Choose the folder of a data set, or of photos")

    def choose_checkpoint(self) -> None:
        """Open the file dialog to choose a checkpoint."""
        self._browser.open(None, "file", "Choose a checkpoint", CHECKPOINTS)

    def cancel_import(self) -> None:
        """End the import; it leaves nothing behind."""
        if self.importing is not None:
            self.importing.close()
            self.importing = None

    def stop_training(self) -> None:
        """Ask the trainer to keep its progress and end."""
        if self.training is not None:
            self.training.child.stop()

    def resume(self) -> None:
        """Go on with a training that was stopped, or has failed."""
        if self.training is not None and not self.training.running:
            self._start_training(replace(self.training.plan, restart=False), self._now)

    def forget(self) -> None:
        """Take a training that is over off the panel."""
        if not self.training_runs:
            self.training = None

    def show_now(self) -> None:
        """Open the scene that is trained, as it is now."""
        run = self.training
        if run is None:
            return
        if run.child.state == "finished":
            self._open_file(run.plan.output)
        elif self._loader.load_growing(run.snapshot, run.plan.output, again=False):
            self._seen, self._growing = run.snapshots, True

    def update(self, shown: Location | None, now: float) -> None:
        """Take note of what has been made since the last frame; ``shown`` is the scene that is open."""
        self._shown, self._now = shown, now
        if self.importing is not None:
            self._follow_import(self.importing, now)
        if self.training is not None and self.training.running:
            self._follow_training(self.training, now)

    def draw(self, now: float) -> None:
        """Draw the dialogs that are open."""
        plan = self._import_dialog.draw()
        if plan is not None:
            self._start_import(plan, now)
        training = self._train_dialog.draw()
        if training is not None:
            self._start_training(training, now)
        chosen = self._browser.draw()
        if chosen is not None:
            self._open_file(chosen)
        answer = self._leave_dialog.draw(self.training)
        if answer in ("stop", "go on"):
            self._may_leave, self._goes_on = True, answer == "go on"
            self._close_window()

    def may_leave(self) -> bool:
        """Whether the window may close; while a scene is being trained, the user is asked. Twice means: stop it."""
        if not self.training_runs or self._may_leave or self._leave_dialog.is_open:
            return True
        self._leave_dialog.show()
        return False

    def close(self) -> str:
        """The window is closed: end what is to end; what to say about it, "" for nothing."""
        self.cancel_import()
        run = self.training
        if run is None or not run.running:
            return ""
        if self._goes_on:
            return (
                f"training goes on as process {run.child.pid} (kill it to stop; it keeps its progress); open "
                f"{run.plan.data} again to follow it, its log is {run.child.log}"
            )
        run.child.stop()
        run.child.wait(PATIENCE)
        again = shlex.join(["kilonerf-train", *replace(run.plan, restart=False).arguments])
        return f"training was stopped, its progress is kept in {run.plan.folder}; {again} goes on"

    @property
    def _looks_on(self) -> bool:
        """Whether the scene that is trained is the one that is open."""
        return self.training is not None and self._shown == self.training.plan.output

    def _start_import(self, plan: ImportPlan, now: float) -> None:
        try:
            self.importing = ImportRun(plan)
        except KiloNeRFError as error:
            self._import_dialog.show(plan, str(error))

    def _start_training(self, plan: TrainingPlan, now: float) -> None:
        try:
            self.training = TrainingRun(plan, plan.start())
        except KiloNeRFError as error:
            self._train_dialog.show(plan, self._what, str(error))
            return
        self._seen, self._growing = 0, False
        folding.sections.choose(TITLE, is_open=True)
        self._notices.add(f"Training {plan.output}; the section {TITLE!r} says how far it is", "info", now)

    def _follow_import(self, run: ImportRun, now: float) -> None:
        run.poll()
        if run.running:
            return
        self.importing = None
        state, error = run.child.state, run.child.error
        run.close()
        if state == "finished":
            self._notices.add(f"Imported: {run.plan.scene}", "good", now)
            self._open_file(run.plan.scene)
        elif state == "failed":
            self._notices.add(f"Import failed: {error}", "error", now)
            self._import_dialog.show(run.plan, error)

    def _follow_training(self, run: TrainingRun, now: float) -> None:
        run.poll()
        if run.snapshots > self._seen and run.running:
            self._show_growing(run)
        if run.running:
            return
        plan, state = run.plan, run.child.state
        if state == "finished":
            self._finished(plan, now)
        elif state == "stopped":
            self._notices.add(f"Training stopped; its progress is kept in {plan.folder}", "info", now)
        else:
            self._notices.add(f"Training failed: {run.child.error}", "error", now)

    def _show_growing(self, run: TrainingRun) -> None:
        """A new state of the scene: show it to a user who looks on, and once to one who wants to."""
        if self._growing or self._looks_on:
            wanted = self._looks_on and (self._growing or run.plan.live)
        else:
            wanted = run.plan.live
            if wanted and self._recording.stage == "recording":
                return
        if not wanted:
            self._seen = run.snapshots
        elif self._loader.load_growing(run.snapshot, run.plan.output, again=self._looks_on):
            self._seen, self._growing = run.snapshots, True

    def _finished(self, plan: TrainingPlan, now: float) -> None:
        self._notices.add(f"Trained: {plan.output}", "good", now)
        self._recent.add(plan.output)
        if self._looks_on:
            self._loader.load_growing(plan.output, plan.output, again=True)
        elif self._recording.stage != "recording":
            self._open_file(plan.output)
