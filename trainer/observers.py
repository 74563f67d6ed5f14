"""What a user sees while a scene is trained: progress, previews, curves, and the scene itself in the viewer."""

import io
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import Camera, Scene, UsageError, save_scene
from kilonerf.model_io.atomic_file import AtomicFile
from kilonerf.model_io.datasets import View, load_image

_SMOOTHING = 0.98  # of the training error, from step to step
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


class _Rates:
    """Errors and rates of a stage, smoothed."""

    def __init__(self, step: int) -> None:
        self._began, self._first = time.perf_counter(), step
        self._rays = self._samples = 0
        self.steps = 0
        self.errors: dict[str, float] = {}

    def add(self, metrics: Mapping[str, float], rays: int, samples: int) -> None:
        self.steps += 1
        self._rays += rays
        self._samples += samples
        for name, value in metrics.items():
            before = self.errors.get(name, value)
            self.errors[name] = _SMOOTHING * before + (1 - _SMOOTHING) * value

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self._began, 1e-6)

    def per_second(self) -> dict[str, float]:
        """Steps, rays and samples."""
        amounts = {"steps": self.steps, "rays": self._rays, "samples": self._samples}
        return {name: amount / self.seconds for name, amount in amounts.items() if amount}

    def text(self) -> str:
        parts = [f"{decibel(self.errors['error']):.2f} dB"] if "error" in self.errors else []
        parts += [f"{name} {value:.3g}" for name, value in self.errors.items() if name != "error"]
        parts += [f"{short(value)} {name}/s" for name, value in self.per_second().items()]
        return ", ".join(parts)


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
        self._rates, self._steps, self._first = _Rates(step), steps, step
        if not self._console.is_terminal:
            self._console.print(f"{stage}: " + (f"step {step} of {steps}" if step else f"{steps} steps"))
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[said]}"),
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
            done = step + 1 - self._first
            left = self._rates.seconds / done * (self._steps - step - 1)
            text = f"{stage}: step {step + 1} of {self._steps}, {self._rates.text()}, {left / 60:.1f} minutes left"
            self._console.print(text, soft_wrap=True)

    def message(self, text: str) -> None:  # noqa: D102
        self._console.print(text, soft_wrap=True)

    def end(self, stage: str, step: int) -> None:  # noqa: D102
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=self._rates.text())
        elif self._rates.steps:
            self._console.print(f"{stage}: done, {self._rates.text()}", soft_wrap=True)
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
        self._rates = _Rates(step)

    def step(self, stage: str, step: int, metrics: Mapping[str, float], rays: int, samples: int) -> None:  # noqa: D102
        self._rates.add(metrics, rays, samples)
        if step % _CURVE_EVERY:
            return
        for name, value in self._rates.errors.items():
            if name == "error":
                self._writer.add_scalar(f"{stage}/psnr", decibel(value), step)
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


class PreviewObserver(Observer):
    """Renders some views now and then and puts them beside their photos.

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
        self._views, self._folder, self._every, self._say, self._show = views, folder, every, say, show
        self._next = every

    def wants_snapshot(self, seconds: float) -> bool:  # noqa: D102
        if seconds < self._next:
            return False
        self._next = seconds + self._every
        return True

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:  # noqa: D102
        renderer, options = create_renderer(scene), RenderOptions.as_trained(scene)
        rows, errors = [], []
        for view in self._views:
            camera, photo = preview_size(view.camera, load_image(view, scene.background))
            rendered = np.clip(renderer.render(camera, options).rgb, 0, 1)
            errors.append(float(((rendered - photo) ** 2).mean()))
            rows.append(np.concatenate([photo, rendered], axis=1))
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=1.0) for row in rows]
        picture = np.rint(255 * np.concatenate(rows)).astype(np.uint8)
        psnr = decibel(sum(errors) / len(errors))
        self._folder.mkdir(exist_ok=True)
        with AtomicFile(self._folder / f"{stage}_{step + 1:06d}.png") as temporary:
            data = io.BytesIO()
            Image.fromarray(picture).save(data, "PNG")
            temporary.write_bytes(data.getvalue())
        self._say(f"preview at step {step + 1} of {stage}: {psnr:.2f} dB on {len(rows)} views")
        if self._show is not None:
            self._show(stage, step, picture, psnr)


class ViewObserver(Observer):
    """Shows the scene in the viewer while it is trained.

    Args:
        path: of the file that the viewer watches.
        say: is told why there is no viewer.
        command: what opens it; ``path`` is appended.
    """

    def __init__(self, path: Path, say: Callable[[str], None], command: Sequence[str] | None = None) -> None:
        self._path, self._say = path, say
        self._command = viewer_command() if command is None else list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        self._next = 0.0

    def wants_snapshot(self, seconds: float) -> bool:  # noqa: D102
        if self._process is not None and not self._over and self._process.poll() is not None:
            self._over = True
            code = self._process.returncode
            self._say("the viewer was closed; training goes on" if code == 0 else f"the viewer ended with code {code}")
        if self._over or seconds < self._next:
            return False
        self._next = seconds + _VIEW_EVERY
        return True

    def snapshot(self, stage: str, step: int, scene: Scene) -> None:  # noqa: D102
        save_scene(scene, self._path, "float32")
        if self._process is None:
            try:
                self._process = subprocess.Popen([*self._command, str(self._path)], start_new_session=True)  # noqa: S603
            except OSError as error:
                self._over = True
                self._say(f"--view: cannot open the viewer: {error.strerror}")


def viewer_command() -> list[str]:
    """The viewer's command, beside the running Python or on the path."""
    own = Path(sys.executable).with_name("kilonerf-view")
    found = str(own) if own.is_file() else shutil.which("kilonerf-view")
    start = [found] if found else [sys.executable, "-c", "from kilonerf.viewer.view_command import main; main()"]
    return [*start, "--watch"]


def preview_size(camera: Camera, photo: NDArray[np.float32]) -> tuple[Camera, NDArray[np.float32]]:
    """A camera and its photo, made smaller by a whole number."""
    factor = math.ceil(max(camera.width, camera.height) / _PREVIEW_SIDE)
    width, height = camera.width // factor, camera.height // factor
    lens = {key: getattr(camera, key) / factor for key in ("fx", "fy", "cx", "cy")}
    small = photo[: height * factor, : width * factor].reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return Camera.from_matrix(camera.matrix, width, height, **lens), small


def decibel(error: float) -> float:
    """PSNR of a mean squared error."""
    return -10.0 * math.log10(max(error, 1e-12))


def short(value: float) -> str:
    """A rate in few letters: 1.2 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
