"""A whole compression: how much each network matters, how finely it is rounded, fine-tuning; and what is written."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import KiloNeRFScene, TrainingError
from kilonerf.model_io.knf.compressed import MAX_CHUNKS, CoarseNetworks
from kilonerf.model_io.knf.format import compressed_file
from kilonerf.model_io.knf.quantized import GROUPS, NUM_WEIGHTS, QuantizedNetworks, from_layers, to_layers

from ..data.photos import Photos
from ..loop.distributed import World
from ..pipeline.observers import Observer
from ..pipeline.stage_loop import Stage, run_stage
from ..pipeline.store import StageStore
from ..stages.fine_tuning import FineTuning, FineTuningSettings
from ..stages.student import DENSITY_UNIT, Student
from .coarse import CoarseLevel
from .feedback import Shares, importance, rounded
from .rounded_tuning import RoundedFineTuning
from .rounding import Rounding, plain_strength, scene_numbers
from .settings import CompressionSettings
from .survey import Samples, Survey, samples_of

_TRIES, _NEAR = 6, 0.99  # roundings until the size is at least this share of what is wanted
_LEAST_BITS = 0.05  # of a number
DOUBLINGS = 4
"""Of the first chunks of a file, up to the size of the others."""


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


class Compression:
    """Runs the stages, or what is left of them.

    Args:
        scene: what is compressed.
        photos: what it is measured and fine-tuned by.
        settings: how.
        size: bytes of the file, at most; or bits of a number, see ``bits``.
        bits: in the mean, where no size is given.
        coarse_size: bytes of the coarse level of detail, about, which are part of ``size``; 0: none.
        folder: where the stages leave what they made; it exists.
        source: names the scene and the photos, so that a run is not resumed with others.
        observer: is told how it goes.
        device: of parameters and batches.
        interrupted: asked after each step; True: progress is saved and KeyboardInterrupt raised.
    """

    def __init__(
        self,
        scene: KiloNeRFScene,
        photos: Photos,
        settings: CompressionSettings,
        *,
        size: int | None = None,
        bits: float | None = None,
        coarse_size: int = 0,
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
        described = {"settings": settings.document(), "size": size, "bits": bits, "coarse size": coarse_size, **source}
        self._store = StageStore(folder, World(), lambda stage: described)
        self._wanted_size, self._wanted_bits, self._device = size, bits, device
        self._coarse_size = coarse_size
        self._coarse: CoarseNetworks | None = None

    def run(self) -> Compressed:
        """Run all stages; those that are done are read, not run again.

        Raises:
            TrainingError: the folder is of a compression with other settings, or the size is too small.
            CheckpointError: a file in it is damaged.
            OutputError: a file cannot be written.
            KeyboardInterrupt: it was interrupted; the same call goes on.
        """
        rows = self._student.networks.rows
        factor = DENSITY_UNIT / self._student.density_lengths
        samples = self._survey()
        if self._coarse_size:
            self._coarse = CoarseLevel(
                self._scene,
                self._photos,
                self._settings,
                size=self._coarse_size,
                store=self._store,
                run_stage=self._run_stage,
                device=self._device,
            ).run(samples)
        numbers = scene_numbers(rows, factor.cpu().numpy())
        shares = Shares.of(samples, numbers)
        self._importance = importance(samples, shares, numbers)
        rounding = Rounding(rows.detach(), self._importance, factor, self._settings.rounding)
        self._round(rounding, samples, shares, numbers)
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

    def _survey(self) -> Samples:
        settings, networks = self._settings, self._student.networks
        done = self._store.product("survey")
        if done is None:
            looking = FineTuning(
                self._student,
                self._photos,
                self._fine_tuning_settings(0),
                random_background=False,
                seed=settings.seed,
                world=World(),
            )
            stage = Survey(looking, self._student, seed=settings.seed, steps=settings.survey_steps)
            self._run_stage(stage, "survey")
            done = stage.product()
            self._store.keep("survey", done)
        return samples_of(done, networks.num_networks, 3 * settings.rays * settings.survey_steps)

    def _round(self, rounding: Rounding, samples: Samples, shares: Shares, numbers: NDArray[np.float32]) -> None:
        """Choose the steps by which the file has the wanted size, and round."""
        rows = self._student.networks.rows
        done = self._store.product("rounding")
        if done is not None:
            rounding.load_state(done)
            self._size = float(done["size"])
            with torch.no_grad():
                rows.copy_(done["rows"])
            return
        began = time.perf_counter()
        self._observer.begin("rounding", 0, _TRIES)
        wanted = self._target(rounding, rows)
        strength = plain_strength(rounding, rows, wanted)
        tries: list[tuple[float, float, NDArray[np.int16]]] = []
        for tried in range(_TRIES):
            rounding.set_strength(strength)
            found = rounded(samples, shares, numbers, rounding.step_sizes, rounding.shared)
            size = rounding.size(found)
            if self._wanted_size is not None:
                wanted = self._wanted_size - (len(self._file(rounding.with_symbols(found))) - size)
            tries.append((size, strength, found))
            self._observer.step("rounding", tried, {"kB": size / 1000}, 0, len(samples.points))
            if self._interrupted():
                raise KeyboardInterrupt
            if _NEAR * wanted < size <= wanted:
                break
            # Nearly: bytes fall with the square root of the steps.
            strength *= (size / (wanted * (1 + _NEAR) / 2)) ** 2
        fitting = [one for one in tries if one[0] <= wanted]  # else :meth:`_finish` rounds down
        one = max(fitting, key=itemgetter(0)) if fitting else min(tries, key=itemgetter(0))
        _, strength, found = one
        rounding.set_strength(strength)
        with torch.no_grad():
            rows.copy_(rounding.rows(rounding.with_symbols(found)))
        rounding.look_at_rate(rows)
        self._size = wanted
        self._store.seconds["rounding"] = time.perf_counter() - began
        self._store.keep("rounding", {"rows": rows, "size": torch.tensor(wanted), **rounding.state()})
        self._observer.end("rounding", _TRIES)

    def _target(self, rounding: Rounding, rows: torch.Tensor) -> float:
        """Bytes that the networks' symbols may take."""
        numbers = NUM_WEIGHTS * len(rows)
        if self._wanted_size is None:
            assert self._wanted_bits is not None  # noqa: S101 - the command has one of both
            return self._wanted_bits * numbers / 8
        # Beside them there are grids, tables, poses: about as much as when weights have the whole size.
        most = max(8 * self._wanted_size / numbers, _LEAST_BITS) * numbers / 8
        rounding.set_strength(plain_strength(rounding, rows, most))
        plain = rounding.quantized(rows)
        beside = len(self._file(plain)) - rounding.size(plain.symbols)
        if self._wanted_size - beside < _LEAST_BITS * numbers / 8:
            least = beside + _LEAST_BITS * numbers / 8
            raise TrainingError(
                f"--size: expected more than {least:.0f} bytes, for all that is not weights takes {beside:.0f}, "
                f"got {self._wanted_size}"
            )
        return self._wanted_size - beside

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
            bits=rounding,
            rounding=rounding,
            size=self._size,
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
        bits = 8 * rounding.size(networks.symbols) / networks.symbols.size
        return Compressed(data, bits, dict(self._store.seconds))

    def _file(self, networks: QuantizedNetworks) -> bytes:
        return compressed_file(self._scene, networks, self._chunks(), self._coarse)

    def _chunks(self) -> NDArray[np.int64]:
        """The chunk of each network: what the pictures show most of comes first.

        The first chunks are small, so that there is something to see early where a file comes over a network.
        """
        order = np.argsort(-self._importance[:, list(GROUPS).index("rgb_linear")], kind="stable")
        largest = max(self._settings.chunk, -(-len(order) // (MAX_CHUNKS - DOUBLINGS)))
        sizes = [max(1, largest >> max(0, DOUBLINGS - number)) for number in range(MAX_CHUNKS)]
        chunk = np.empty(len(order), np.int64)
        chunk[order] = np.repeat(np.arange(MAX_CHUNKS), sizes)[: len(order)]
        return chunk

    def _run_stage(self, stage: Stage, name: str) -> None:
        run_stage(stage, name, self._store, world=World(), observer=self._observer, interrupted=self._interrupted)
