"""The coarse level of detail of a compressed scene: few networks, each of many cells, learnt through all of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import KiloNeRFScene
from kilonerf.model_io.knf.coarse import CHANNELS, SIDES, CoarseCells, turns
from kilonerf.model_io.knf.compressed import CoarseNetworks, encode_coarse
from kilonerf.model_io.knf.quantized import QuantizedNetworks, from_layers, to_layers
from kilonerf.model_io.scene.architecture import HIDDEN

from ..data.photos import Photos
from ..loop.distributed import World
from ..ops.networks import ROW_LAYOUT, TinyNetworks, layers_of
from ..pipeline.stage_loop import Stage
from ..pipeline.store import StageStore
from ..stages.fine_tuning import FineTuning, FineTuningSettings
from ..stages.student import DENSITY_UNIT, Student
from .feedback import Shares, importance, rounded
from .rounded_tuning import RoundedFineTuning
from .rounding import Rounding, plain_strength, scene_numbers
from .settings import CompressionSettings, RoundingSettings
from .survey import Samples

_MOST_SAMPLES = 400_000  # of the survey, for rounding
_BYTES_OF_NETWORK = 800  # with fewer, larger cells are better (docs/decisions.md)
_TRIES, _NEAR = 4, 0.97  # roundings until the size is at least this share of what is wanted


class Derivation:
    """Makes the networks of cells of coarse ones, for :class:`FineTuning`: which learns the coarse ones.

    Args:
        cells: which are made of which.
        coarse: the coarse networks.
        rounding: of these, if any.
    """

    def __init__(self, cells: CoarseCells, coarse: TinyNetworks, rounding: Rounding | None = None) -> None:
        self._coarse, self._rounding = coarse, rounding
        device = coarse.rows.device
        self._turns = torch.from_numpy(turns(cells.shifts).astype(np.float32)).to(device)
        self._of_network = torch.from_numpy(cells.of_network).to(device)
        self._made: torch.Tensor | None = None

    def rows(self) -> torch.Tensor:
        """Rows of all networks, differentiable with respect to the coarse ones."""
        rows = self._coarse.rows[self._of_network]
        weight, bias = (ROW_LAYOUT[f"pts_linears.0.{part}"][0] for part in ("weight", "bias"))
        end = weight + 3 * CHANNELS * HIDDEN
        turned = self._turns @ rows[:, weight:end].unflatten(1, (3, CHANNELS, HIDDEN))
        first = turned[:, :, :CHANNELS].flatten(1)
        added = turned[:, :, CHANNELS].sum(dim=1)
        parts = (rows[:, :weight], first, rows[:, end:bias], rows[:, bias : bias + HIDDEN] + added)
        return torch.cat([*parts, rows[:, bias + HIDDEN :]], dim=1)

    @torch.no_grad()
    def put(self, networks: TinyNetworks) -> None:
        """Give networks the parameters that are made of the coarse ones as they are now, not rounded."""
        networks.rows.copy_(self.rows())

    def apply(self, networks: TinyNetworks) -> None:
        """Put what is made of the coarse networks in place."""
        if self._rounding is not None:
            self._rounding.apply(self._coarse)
        self._made = self.rows()
        networks.rows.data.copy_(self._made.detach())
        networks.rows.grad = None

    def undo(self, networks: TinyNetworks) -> None:
        """Hand the gradient on to the coarse networks."""
        assert self._made is not None  # noqa: S101 - apply comes before undo
        if networks.rows.grad is not None:
            self._made.backward(networks.rows.grad)
        self._made = networks.rows.grad = None
        if self._rounding is not None:
            self._rounding.undo(self._coarse)


class CoarseLevel:
    """Learns, rounds and fine-tunes the coarse networks.

    Args:
        scene: whose cells they cover.
        photos: what they learn.
        settings: how.
        size: bytes that they may take, about.
        store: where the stages leave what they made.
        run_stage: runs a stage.
        device: of parameters and batches.
    """

    def __init__(
        self,
        scene: KiloNeRFScene,
        photos: Photos,
        settings: CompressionSettings,
        *,
        size: int,
        store: StageStore,
        run_stage: Callable[[Stage, str], None],
        device: torch.device | str,
    ) -> None:
        self._photos, self._settings, self._size = photos, settings, float(size)
        self._store, self._run_stage = store, run_stage
        self._student = Student.of(scene)
        self._student.networks.to(device)
        self._cells = chosen_cells(scene, size, settings.coarse.side)
        self._coarse = _initial(self._cells, settings.seed, self._student.networks.frequencies).to(device)
        used = np.flatnonzero(self._cells.shifts[:, 0])
        first = used[np.unique(self._cells.of_network[used], return_index=True)[1]]
        self._factor = (DENSITY_UNIT / self._student.density_lengths)[first]

    def run(self, samples: Samples) -> CoarseNetworks:
        """Run the stages, or what is left of them.

        Args:
            samples: of the survey.

        Raises:
            CheckpointError: a file in the folder is damaged.
            OutputError: a file cannot be written.
            KeyboardInterrupt: it was interrupted; the same call goes on.
        """
        self._learn()
        rows = self._coarse.rows
        numbers = scene_numbers(rows, self._factor.cpu().numpy())
        samples = coarse_samples(samples, self._cells)
        shares = Shares.of(samples, numbers)
        rounding = Rounding(
            rows.detach(), importance(samples, shares, numbers), self._factor, RoundingSettings(predict=False)
        )
        self._round(rounding, samples, shares, numbers)
        networks = self._fine_tuned(rounding)
        return CoarseNetworks(self._cells.side, networks)

    def _learn(self) -> None:
        done = self._store.product("coarse")
        if done is None:
            coarse = self._settings.coarse
            self._tune(FineTuning, "coarse", coarse.steps, coarse.learning_rate, self._settings.seed + 2)
            self._store.keep("coarse", done := {"rows": self._coarse.rows.detach()})
        # What is rounded has no feature layer: it is folded into the one behind.
        layers = {name: layer.cpu().numpy() for name, layer in layers_of(done["rows"]).items()}
        folded = TinyNetworks.from_layers(to_layers(from_layers(folded_layers(layers))))
        with torch.no_grad():
            self._coarse.rows.copy_(folded.rows)

    def _round(self, rounding: Rounding, samples: Samples, shares: Shares, numbers: NDArray[np.float32]) -> None:
        rows = self._coarse.rows
        rounding.set_strength(plain_strength(rounding, rows, self._size))
        plain = rounding.quantized(rows)
        self._size -= len(encode_coarse(plain)) - rounding.size(plain.symbols)  # tables
        strength, found = plain_strength(rounding, rows, self._size), plain.symbols
        for _ in range(_TRIES):
            rounding.set_strength(strength)
            found = rounded(samples, shares, numbers, rounding.step_sizes, rounding.shared)
            size = rounding.size(found)
            if _NEAR * self._size < size <= self._size:
                break
            strength *= (size / (self._size * (1 + _NEAR) / 2)) ** 2
        with torch.no_grad():
            rows.copy_(rounding.rows(rounding.with_symbols(found)))
        rounding.look_at_rate(rows)

    def _fine_tuned(self, rounding: Rounding) -> QuantizedNetworks:
        done, coarse = self._store.product("coarse-rounded"), self._settings.coarse
        if done is None:
            if coarse.rounded_steps:
                stage = partial(RoundedFineTuning, bits=rounding, size=self._size)
                steps, rate = coarse.rounded_steps, coarse.rounded_learning_rate
                self._tune(stage, "coarse-rounded", steps, rate, self._settings.seed + 3, rounding)
            self._store.keep("coarse-rounded", done := {"rows": self._coarse.rows.detach(), **rounding.state()})
        with torch.no_grad():
            self._coarse.rows.copy_(done["rows"])
        rounding.load_state(done)
        return rounding.quantized(self._coarse.rows)

    def _tune(
        self,
        stage: Callable[..., FineTuning],
        name: str,
        steps: int,
        rate: float,
        seed: int,
        rounding: Rounding | None = None,
    ) -> None:
        """Run a stage of fine-tuning the coarse networks through all that are made of them."""
        settings = FineTuningSettings(
            steps=steps,
            rays=self._settings.coarse.rays,
            learning_rate=rate,
            last_learning_rate=rate / 20,
            view_dependent_l2=0.0,
            spread=0.0,  # what is coarse is soft
        )
        made = stage(
            self._student,
            self._photos,
            settings,
            random_background=True,
            seed=seed,
            world=World(),
            rounding=Derivation(self._cells, self._coarse, rounding),
            learnt=self._coarse,
        )
        self._run_stage(made, name)


def chosen_cells(scene: KiloNeRFScene, size: int, side: int = 0) -> CoarseCells:
    """A scene's coarse cells.

    Args:
        scene: of one level or several.
        size: bytes of all coarse networks.
        side: cells of a coarse one along each axis; 0: what suits the size.
    """
    index = np.stack([level.network_index for level in scene.levels])
    tried = [CoarseCells.of(index, one, scene.num_networks) for one in (SIDES if side == 0 else (side,))]
    return next((cells for cells in tried if len(cells) * _BYTES_OF_NETWORK <= size), tried[-1])


def coarse_samples(samples: Samples, cells: CoarseCells) -> Samples:
    """The survey's samples, or some of them, as those of coarse networks: ``points`` lie where these are evaluated."""
    every = -(-len(samples.points) // _MOST_SAMPLES)
    chosen = torch.arange(0, len(samples.points), every)
    network = torch.searchsorted(samples.starts.contiguous(), chosen, right=True) - 1
    coarse = torch.from_numpy(cells.of_network)[network]
    order = coarse.argsort(stable=True)
    chosen, network = chosen[order], network[order]
    starts = torch.searchsorted(coarse[order].contiguous(), torch.arange(len(cells) + 1))
    shifted = samples.points[chosen] + torch.from_numpy(cells.shifts)[network]
    return replace(
        samples,
        points=shifted.float(),
        directions=samples.directions[chosen],
        starts=starts,
        of_rgb=samples.of_rgb[chosen],
        of_density=samples.of_density[chosen],
    )


def _initial(cells: CoarseCells, seed: int, frequencies: int) -> TinyNetworks:
    """As other networks begin; but their coordinates are larger, by the side.

    What is made of them has the same frequencies.
    """
    networks = TinyNetworks.initial(len(cells), seed=seed, frequencies=frequencies)
    with torch.no_grad():
        networks.layers()["pts_linears.0.weight"][:, ::CHANNELS] /= cells.side
    return networks
