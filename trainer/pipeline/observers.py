"""What a user sees while a scene is trained: progress, previews, curves, and the scene itself in the viewer."""

import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr, psnr_of_mse
from kilonerf.model_io import Camera, KiloNeRFError, OutputError, Scene, UsageError, save_scene
from kilonerf.model_io.datasets import View, load_image
from kilonerf.model_io.files.atomic import AtomicFile

from .rates import Rates

_PLAIN_EVERY = 30.0  # seconds between two lines where there is no terminal
_SHOWN_EVERY = 0.25  # seconds between two looks of the progress bar
_CURVE_EVERY = 50  # steps between two points of a curve
_PREVIEW_SIDE = 400  # pixels of a preview's longer side
_VIEW_EVERY = 15.0  # seconds between two states of the scene in the viewer


class Observer:
    """Is told how training goes; this one does nothing with it."""

    def begin(self, stage: str, step: int, steps: int) -> None:
        """A stage begins, or goes on from a step."""

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        """A step is done; its errors, rays and samples."""

    def wants_snapshot(self, seconds: float) -> bool:
        """Whether to be given the scene now, after so many seconds of training."""
        return False

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:
        """The scene as it is now."""

    def message(self, text: str) -> None:
        """A line for the user."""

    def end(self, stage: str, step: int) -> None:
        """A stage is done."""

    def close(self) -> None:
        """Training is over or was interrupted."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = list(observers)
        self._asked: list[Observer] = []

    def append(self, observer: Observer) -> None:
        """One more."""
        self._observers.append(observer)

    def begin(self, stage: str, step: int, steps: int) -> None:  # noqa: D102
        for observer in self._observers:
            observer.begin(stage, step, steps)

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:  # noqa: D102
        for observer in self._observers:
            observer.step(stage, step, metrics, rays, samples)

    def wants_snapshot(self, seconds: float) -> bool:  # noqa: D102
        self._asked = [observer for observer in self._observers if observer.wants_snapshot(seconds)]
        return bool(self._asked)

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:  # noqa: D102
        for observer in self._asked:
            observer.snapshot(stage, step, scene)

    def message(self, text: str) -> None:  # noqa: D102
        for observer in self._observers:
            observer.message(text)

    def end(self, stage: str, step: int) -> None:  # noqa: D102
        for observer in self._observers:
            observer.end(stage, step)

    def close(self) -> None:  # noqa: D102
        for observer in self._observers:
            observer.close()


class ProgressObserver(Observer):
    """A bar with rates and the time left; on a pipe or in a file a plain line now and then.

    Args:
        console: where to; standard error if left out.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(stderr=True, highlight=False) if console is None else console
        self._bar: Progress | None = None
        self._shown = 0.0

    def begin(self, stage: str, step: int, steps: int) -> None:  # noqa: D102
        self._rates, self._steps = Rates(), steps
        if not self._console.is_terminal:
            self._shown = time.perf_counter()
            self.message(f"{stage}: " + (f"step {step} of {steps}" if step else f"{steps} steps"))
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[said]}", table_column=Column()),  # on a second line, as the first is full
            console=self._console,
        )
        self._task = self._bar.add_task(stage, total=steps, completed=step, said="")
        self._bar.start()

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:  # noqa: D102
        self._rates.add(metrics, rays, samples)
        now = time.perf_counter()
        if now - self._shown < (_PLAIN_EVERY if self._bar is None else _SHOWN_EVERY):
            return
        self._shown = now
        if self._bar is not None:
            self._bar.update(self._task, completed=step + 1, said=self._rates.text())
        else:
            left = (self._steps - step - 1) / self._rates.per_second()["steps"]
            said = f"{stage}: step {step + 1} of {self._steps}, {self._rates.text()}, {left / 60:.1f} minutes left"
            self.message(said)

    def message(self, text: str) -> None:  # noqa: D102
        self._console.print(text, soft_wrap=True, markup=False)

    def end(self, stage: str, step: int) -> None:  # noqa: D102
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=self._rates.text())
        elif self._rates.steps:
            self.message(f"{stage}: done, {self._rates.text()}")
        self.close()

    def close(self) -> None:  # noqa: D102
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class TensorBoardObserver(Observer):
    """Curves of every stage, and rates.

    Args:
        folder: of the event files.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "--tensorboard: expected the package tensorboard, got none: pip install 'kilonerf-view[train]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))

    def begin(self, stage: str, step: int, steps: int) -> None:  # noqa: D102
        self._rates = Rates()

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:  # noqa: D102
        self._rates.add(metrics, rays, samples)
        if step % _CURVE_EVERY:
            return
        for name, value in self._rates.errors.items():
            if name == "error":
                self._writer.add_scalar(f"{stage}/psnr", psnr_of_mse(value), step)
            else:
                self._writer.add_scalar(f"{stage}/{name.replace(' ', '_')}", value, step)
        for name, value in self._rates.per_second().items():
            self._writer.add_scalar(f"{stage}/{name}_per_second", value, step)

    def preview(self, stage: str, step: int, picture: NDArray[np.uint8], psnr: float) -> None:
        """A preview: uint8 [H, W, 3], and its PSNR in decibel."""
        self._writer.add_image(f"{stage}/preview", picture, step, dataformats="HWC")
        self._writer.add_scalar(f"{stage}/preview_psnr", psnr, step)

    def close(self) -> None:  # noqa: D102
        self._writer.close()


class _NowAndThen(Observer):
    """Asks for the scene at intervals, and after each stage's last step.

    Args:
        first: seconds of training before the first one.
        every: seconds of training between two.
    """

    def __init__(self, first: float, every: float) -> None:
        self._next, self._every = first, every
        self._steps, self._last, self._over = 0, False, False

    def begin(self, stage: str, step: int, steps: int) -> None:
        self._steps, self._last = steps, False

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        self._last = step + 1 == self._steps

    def wants_snapshot(self, seconds: float) -> bool:
        if self._over or (seconds < self._next and not self._last):
            return False
        self._next = seconds + self._every
        return True


class PreviewObserver(_NowAndThen):
    """Renders some views now and then and puts them beside their photos. Where that fails, training goes on without.

    Args:
        views: what to render; they have photos.
        folder: of the pictures, ``<stage>_<step>.png``.
        every: seconds of training between two previews.
        say: is told each one's PSNR.
        show: is given stage, step, picture and PSNR.
    """

    def __init__(
        self,
        views: Sequence[View],
        folder: Path,
        every: float,
        say: Callable[[str], None],
        show: Callable[[str, int, NDArray[np.uint8], float], None] | None = None,
    ) -> None:
        super().__init__(every, every)
        self._views, self._folder, self._say, self._show = views, folder, say, show

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:  # noqa: D102
        try:
            picture, psnr = self._render(scene)
            self._write(picture, f"{stage}_{step + 1:06d}.png")
        except KiloNeRFError as error:
            self._over = True
            self._say(f"no more previews: {error}")
            return
        count = f"{len(self._views)} view{'s' if len(self._views) > 1 else ''}"
        self._say(f"preview at step {step + 1} of {stage}: {psnr:.2f} dB on {count}")
        if self._show is not None:
            self._show(stage, step, picture, psnr)

    def _render(self, scene: Scene) -> tuple[NDArray[np.uint8], float]:
        """A row for each view, photo and rendering, uint8 [H, W, 3]; the mean of the views' PSNR."""
        renderer, options = create_renderer(scene), RenderOptions.as_trained(scene)
        rows, values = [], []
        for view in self._views:
            camera, photo = preview_size(view.camera, load_image(view, scene.background))
            rendered = np.clip(renderer.render(camera, options).rgb, 0, 1)
            values.append(psnr(rendered, photo))
            rows.append(np.concatenate([photo, rendered], axis=1))
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=1.0) for row in rows]
        return np.rint(255 * np.concatenate(rows)).astype(np.uint8), sum(values) / len(values)

    def _write(self, picture: NDArray[np.uint8], name: str) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
            with AtomicFile(self._folder / name) as temporary:
                Image.fromarray(picture).save(temporary, "PNG")
        except OSError as error:
            raise OutputError(f"{self._folder / name}: cannot write: {error.strerror or error}") from error


class SnapshotObserver(_NowAndThen):
    """Writes the scene as it is now and then, for a viewer that follows. Where that fails, training goes on without.

    Args:
        path: of the file; each snapshot replaces the one before.
        say: is told why there are no more of them.

    Attributes:
        written: is given stage and step of each.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        super().__init__(0.0, _VIEW_EVERY)
        self._path, self._say = path, say
        self.written: Callable[[str, int], None] = lambda stage, step: None

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:  # noqa: D102
        try:
            save_scene(scene, self._path, "float32")
        except OutputError as error:
            self._over = True
            self._say(f"the viewer shows nothing new: {error}")
            return
        self.written(stage, step)


class ViewObserver(SnapshotObserver):
    """Shows the scene in the viewer while it is trained; the window stays open when training is over.

    Args:
        path: of the file that the viewer watches.
        say: is told why there is no viewer.
        command: what opens it; ``path`` is appended.
    """

    def __init__(self, path: Path, say: Callable[[str], None], command: Sequence[str] | None = None) -> None:
        super().__init__(path, say)
        self.written = lambda stage, step: self._open()
        self._command = viewer_command() if command is None else list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 # not the terminal's, which shows the progress

    def wants_snapshot(self, seconds: float) -> bool:  # noqa: D102
        if self._process is not None and not self._over and self._process.poll() is not None:
            self._over = True
            self._say(self._end_of(self._process.returncode))
        return super().wants_snapshot(seconds)

    def close(self) -> None:  # noqa: D102
        self._over = True
        self._output.close()

    def _open(self) -> None:
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [*self._command, str(self._path)],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the training
            )
        except OSError as error:
            self._over = True
            self._say(f"--view: cannot open the viewer: {error.strerror}")

    def _end_of(self, code: int) -> str:
        if code == 0:
            return "the viewer was closed; training goes on"
        self._output.seek(0)
        *_, reason = ["", *self._output.read().decode(errors="replace").strip().splitlines()]
        return f"the viewer ended with code {code}; training goes on" + (f": {reason}" if reason else "")


def viewer_command() -> list[str]:
    """The viewer's command, beside the running Python or on the path."""
    own = Path(sys.executable).with_name("kilonerf-view")
    found = str(own) if own.is_file() else shutil.which("kilonerf-view")
    start = [found] if found else [sys.executable, "-c", "from kilonerf.commands.view import main; main()"]
    return [*start, "--watch"]


def preview_size(camera: Camera, photo: NDArray[np.float32]) -> tuple[Camera, NDArray[np.float32]]:
    """A camera and its photo, made smaller by a whole number."""
    factor = math.ceil(max(camera.width, camera.height) / _PREVIEW_SIDE)
    width, height = camera.width // factor, camera.height // factor
    lens = {key: getattr(camera, key) / factor for key in ("fx", "fy", "cx", "cy")}
    small = photo[: height * factor, : width * factor].reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return Camera.from_matrix(camera.matrix, width, height, **lens), small
