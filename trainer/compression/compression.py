"""A whole compression: how much each network matters, how finely it is rounded, fine-tuning; and what is written."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import Scene, TrainingError
from kilonerf.model_io.knf.compressed import MAX_CHUNKS
from kilonerf.model_io.knf.format import compressed_file
from kilonerf.model_io.knf.quantized import GROUPS, NUM_WEIGHTS, QuantizedNetworks, from_layers, to_layers

from ..data.photos import Photos
from ..loop.distributed import World
from ..pipeline.observers import Observer
from ..pipeline.store import StageStore
from ..stages.fine_tuning import FineTuning, FineTuningSettings
from ..stages.student import DENSITY_UNIT, Student
from .importance import Importance
from .rounding import Rounding
from .settings import CompressionSettings

_SAVE_EVERY = 60.0  # seconds
_LOOK_EVERY = 25  # steps between two looks at the size
_FIRST_BITS = 3.0  # of a number, from which the size falls to what is wanted
_FALLING = 0.6  # share of the steps in which the size falls to what is wanted
_SETTLED = 0.85  # share of the steps after which steps of rounding stay as they are
_ROOM = 0.995  # of the size that fine-tuning aims at: it can only be rounded down later


@dataclass(frozen=True)
class Compressed:
    """What is written.

    Attributes:
        data: the file.
        bits: of a number of a network, in the mean.
        seconds: by stage.
    """

    data: bytes
    bits: float
    seconds: dict[str, float]


class RoundedFineTuning(FineTuning):
    """Fine-tuning through a rounding that is adapted until the networks have a size."""

    def __init__(self, *arguments: Any, rounding: Rounding, size: float, **named: Any) -> None:
        super().__init__(*arguments, rounding=rounding, **named)
        self._bits, self._size, self._now = rounding, size, 0.0
        self._start = _FIRST_BITS * NUM_WEIGHTS * self.student.networks.num_networks / 8

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the error before it, and the size in bytes."""
        if step % _LOOK_EVERY == 0:
            rows = self.student.networks.rows
            self._now = self._bits.look_at_rate(rows)
            if step < _SETTLED * self.steps:
                # A step twice as large takes up to one bit less for each number, in the mean about half a bit.
                octaves = 1.5 * np.log2(self._now / self._aim(step))
                self._bits.set_strength(self._bits.strength * 2.0 ** float(np.clip(octaves, -0.5, 0.5)))
                self._now = self._bits.look_at_rate(rows)
        return {**super().step(step), "kB": self._now / 1000}

    def _aim(self, step: int) -> float:
        """Bytes at a step: they fall slowly to what is wanted, so that networks are never far from good ones."""
        return self._size * max(1.0, self._start / self._size) ** max(0.0, 1 - step / (_FALLING * self.steps))

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        return {**super().state(), **{f"rounding.{key}": value for key, value in self._bits.state().items()}}

    def load_state(self, state: Any) -> None:
        """Go on from what :meth:`state` gave."""
        super().load_state(state)
        self._bits.load_state({key[9:]: value for key, value in state.items() if key.startswith("rounding.")})


class Compression:
    """Runs the stages, or what is left of them.

    Args:
        scene: what is compressed.
        photos: what it is measured and fine-tuned by.
        settings: how.
        size: bytes of the file, at most; or bits of a number, see ``bits``.
        bits: in the mean, where no size is given.
        folder: where the stages leave what they made; it exists.
        source: names the scene and the photos, so that a run is not resumed with others.
        observer: is told how it goes.
        device: of parameters and batches.
        interrupted: asked after each step; True: progress is saved and KeyboardInterrupt raised.
    """

    def __init__(
        self,
        scene: Scene,
        photos: Photos,
        settings: CompressionSettings,
        *,
        size: int | None = None,
        bits: float | None = None,
        folder: Path,
        source: dict[str, Any],
        observer: Observer,
        device: torch.device | str = "cpu",
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._photos, self._settings, self._folder = photos, settings, folder
        self._observer, self._interrupted = observer, interrupted
        folded = from_layers(folded_layers(scene.layers))
        self._scene = replace(scene, layers=to_layers(folded))
        self._student = Student.of(self._scene)
        self._student.networks.to(device)
        self._described = {"settings": settings.document(), "size": size, "bits": bits, **source}
        self._store = StageStore(folder, World(), lambda stage: self._described)
        self._wanted_size, self._wanted_bits = size, bits

    def run(self) -> Compressed:
        """Run all stages; those that are done are read, not run again.

        Raises:
            TrainingError: the folder is of a compression with other settings, or the size is too small.
            CheckpointError: a file in it is damaged.
            OutputError: a file cannot be written.
            KeyboardInterrupt: it was interrupted; the same call goes on.
        """
        rows = self._student.networks.rows
        self._importance = self._find_importance()
        factor = DENSITY_UNIT / self._student.density_lengths
        rounding = Rounding(rows.detach(), self._importance, factor, self._settings.rounding)
        self._choose_size(rounding, rows)
        if self._settings.steps:
            self._fine_tune(rounding)
        return self._finish(rounding, rows)

    def _fine_tuning_settings(self, steps: int) -> FineTuningSettings:
        settings = self._settings
        return FineTuningSettings(
            steps=steps,
            rays=settings.rays,
            learning_rate=settings.learning_rate,
            last_learning_rate=settings.last_learning_rate,
            view_dependent_l2=0.0,
        )

    def _find_importance(self) -> torch.Tensor:
        done = self._store.product("importance")
        if done is None:
            looking = FineTuning(
                self._student,
                self._photos,
                self._fine_tuning_settings(0),
                random_background=False,
                seed=self._settings.seed,
                world=World(),
            )
            stage = Importance(looking, self._student, seed=self._settings.seed, steps=self._settings.importance_steps)
            self._run_stage(stage, "importance")
            done = {"importance": stage.of_groups}
            self._store.keep("importance", done)
        return done["importance"]

    def _choose_size(self, rounding: Rounding, rows: torch.Tensor) -> None:
        """Choose the strength by which the networks' symbols have the size that is left for them."""
        numbers = NUM_WEIGHTS * len(rows)
        if self._wanted_size is None:
            assert self._wanted_bits is not None  # noqa: S101 - the command has one of both
            self._size = self._wanted_bits * numbers / 8
        else:
            rounding.set_strength(rounding.weakest())
            beside = len(self._file(rounding.quantized(rows))) - rounding.look_at_rate(rows)
            self._size = self._wanted_size - beside
            if self._size < 0.02 * numbers / 8:
                raise TrainingError(
                    f"--size: expected more than {beside + 0.02 * numbers / 8:.0f} bytes, for all that is not weights "
                    f"takes {beside:.0f}, got {self._wanted_size}"
                )
        size = self._size
        if self._settings.steps:
            size = max(size, _FIRST_BITS * numbers / 8)
        low, high = np.log2(rounding.weakest()) - 4, np.log2(rounding.weakest()) + 40
        for _ in range(14):
            middle = (low + high) / 2
            rounding.set_strength(2.0**middle)
            if rounding.look_at_rate(rows) > size:
                low = middle
            else:
                high = middle
        rounding.set_strength(2.0**high)
        rounding.look_at_rate(rows)

    def _fine_tune(self, rounding: Rounding) -> None:
        networks = self._student.networks
        done = self._store.product("fine-tuning")
        if done is not None:
            with torch.no_grad():
                networks.rows.copy_(done["rows"])
            rounding.load_state(done)
            return
        stage = RoundedFineTuning(
            self._student,
            self._photos,
            self._fine_tuning_settings(self._settings.steps),
            random_background=True,
            seed=self._settings.seed + 1,
            world=World(),
            rounding=rounding,
            size=_ROOM * self._size,
        )
        self._run_stage(stage, "fine-tuning")
        self._store.keep("fine-tuning", {"rows": networks.rows, **rounding.state()})

    def _finish(self, rounding: Rounding, rows: torch.Tensor) -> Compressed:
        """The file; if it is too large, rounded down as far as it takes."""
        low, high = 0.0, 0.5
        data = self._file(networks := rounding.quantized(rows))
        most = self._wanted_size
        if most is not None and len(data) > most:
            for _ in range(8):
                middle = (low + high) / 2
                tried = self._file(fewer := rounding.quantized(rows, middle))
                if len(tried) > most:
                    low = middle
                else:
                    high, data, networks = middle, tried, fewer
            if len(data) > most:
                raise TrainingError(f"--size: expected at least {len(data)} bytes, got {most}")
        bits = 8 * rounding.look_at_rate(rows) / networks.symbols.size
        return Compressed(data, bits, dict(self._store.seconds))

    def _file(self, networks: QuantizedNetworks) -> bytes:
        return compressed_file(self._scene, networks, self._chunks())

    def _chunks(self) -> NDArray[np.int64]:
        """The chunk of each network: what the pictures show most of comes first."""
        order = np.argsort(-self._importance[:, list(GROUPS).index("rgb_linear")].numpy(), kind="stable")
        size = max(self._settings.chunk, -(-len(order) // MAX_CHUNKS))
        chunk = np.empty(len(order), np.int64)
        chunk[order] = np.arange(len(order)) // size
        return chunk

    def _run_stage(self, stage: Any, name: str) -> None:
        first, before = self._store.resume(stage, name, World())
        self._observer.begin(name, first, stage.steps)
        began = saved = time.perf_counter()
        for step in range(first, stage.steps):
            metrics = stage.step(step)
            now = time.perf_counter()
            self._store.seconds[name] = before + now - began
            self._observer.step(name, step, metrics, stage.rays, stage.samples)
            stop = self._interrupted()
            if stop or now - saved > _SAVE_EVERY:
                self._store.save_progress(stage, name, step + 1)
                saved = time.perf_counter()
            if stop:
                raise KeyboardInterrupt
        stage.finish()
        self._observer.end(name, stage.steps)
