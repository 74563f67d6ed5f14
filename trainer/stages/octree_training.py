"""An octree field learns the photos (Variable Bitrate Neural Fields, sections 3 and 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch

from kilonerf.model_io.scene.octree import MAX_DEPTH
from kilonerf.model_io.scene.octree_scene import MAX_HASH_BITS

from ..data.footprints import covered_pixels
from ..data.photos import Photos, RayBatch, prefetched_batches
from ..loop.schedule import learning_rate, sample_seed, step_generator
from ..ranges import Count, NotNegative, Positive, Range
from .octree_features import CodedFeatures, FreeFeatures, HashedFeatures, LowRankFeatures
from .octree_student import OctreeStudent, initial_decoder

_LEAK = 0.1  # of the gradient that a dead density would have
_LARGEST_DENSITY = 400.0  # of an estimate: so that it can fall again soon
_WARM_UP = 100  # steps
_BETAS, _EPSILON = (0.9, 0.99), 1e-15


@dataclass(frozen=True)
class OctreeSettings:
    """An octree field and how it learns the photos."""

    # The coarsest level that has features: 2^level voxels along each side of the box.
    first_level: Annotated[int, Range(1, most=MAX_DEPTH)] = 5
    # The deepest level.
    depth: Annotated[int, Range(1, most=MAX_DEPTH)] = 8
    # Where --bits is not 0: codes that are learnt; by k-means, once features have been learnt; or random ones.
    # low-rank: features of a lower rank instead of codes.
    codes: Literal["learned", "k-means", "hash", "low-rank"] = "learned"
    # Of learnt codes: share of the steps in which features are learnt freely first. Codes then begin by k-means; 0:
    # they begin at random, as in the paper.
    free_share: Annotated[float, Range(0, most=1)] = 0.5
    # Rank of low-rank features.
    rank: Annotated[int, Range(1, most=15)] = 4
    # Bits of random codes; as many as --bits says if left out.
    hash_bits: Annotated[int | None, Range(1, most=MAX_HASH_BITS)] = None
    # Levels of detail that are learnt: in each step all of them, one drawn by weights 1:2:4:8, or the deepest only.
    details: Literal["all", "drawn", "deepest"] = "drawn"
    # Steps, each of one batch of rays.
    steps: Count = 15_000
    # Rays of a step.
    rays: Count = 4_096
    # Learning rate of features and codebooks at the beginning.
    learning_rate: Positive = 2e-2
    # Learning rate of the decoder at the beginning.
    decoder_rate: Positive = 2e-3
    # Learning rate of the codes' logits.
    code_rate: Positive = 1e-1
    # At the end, learning rates are this share of what they begin with.
    last_share: Positive = 0.05
    # Rays end where an estimate of their transmittance falls below this; 0: never.
    min_transmittance: NotNegative = 1e-3
    # Steps between two looks at how dense each voxel is, for that estimate.
    refresh_every: Count = 100


class OctreeTraining:
    """The stage; a step depends on its number, the parameters and the density estimates only.

    Args:
        student: is given features and a decoder, which are trained in place.
        photos: to learn.
        settings: how.
        bits: of each code; 0: features are stored as they are.
        random_background: photos have transparency: every other step lays them over random colours, for opacity.
        seed: of batches, samples and first values.

    Attributes:
        steps: how many there are.
        rays: of a step.
        samples: samples evaluated in the last step.
    """

    def __init__(
        self,
        student: OctreeStudent,
        photos: Photos,
        settings: OctreeSettings,
        *,
        bits: int,
        random_background: bool,
        seed: int,
    ) -> None:
        self.student, self.settings, self.steps = student, settings, settings.steps
        self.rays, self.samples = settings.rays, 0
        self._bits, self._seed = bits, seed
        self._depths = range(student.first_level, student.octree.depth + 1)
        generator = torch.Generator().manual_seed(seed)
        student.decoder = {name: t.requires_grad_() for name, t in initial_decoder(generator).items()}
        student.features = [self._first_features(depth, generator) for depth in self._depths]
        self._free_steps = self._steps_before_codes()
        self._make_adam()
        trained = [student.octree.depth] if settings.details == "deepest" else list(self._depths)
        self._samplers = {depth: student.sampler(depth) for depth in trained}
        self._densities = {depth: np.zeros(len(own.voxels), np.float32) for depth, own in self._samplers.items()}
        widest = student.cells(trained[0])
        self._batches = prefetched_batches(
            photos,
            settings.rays,
            student.background,
            random_background=random_background,
            seed=seed,
            device="cpu",
            among=covered_pixels(photos.cameras, student.box, widest.occupancy),
        )

    def step(self, step: int) -> dict[str, float]:
        """One batch of rays; returns the mean squared error before it, of the deepest level that is rendered."""
        settings, student = self.settings, self.student
        if step == self._free_steps:
            self._begin_codes()
        if settings.min_transmittance > 0 and step % settings.refresh_every == 0:
            self._refresh(step)
        batch = self._batches.get(step)
        depths = self._depths_of(step)
        own = [f.values().detach().requires_grad_() for f in student.features[: self._count(depths[-1])]]
        self._adam.zero_grad(set_to_none=True)
        self.samples, error = 0, 0.0
        for depth in depths:
            error = self._learn(batch, own[: self._count(depth)], depth, step)
        share = learning_rate(step, self.steps, 1.0, settings.last_share, _WARM_UP)
        for features, values in zip(student.features, own, strict=False):
            assert values.grad is not None  # noqa: S101 - every level is in the sum
            features.backward(values.grad)
            features.learn(values.grad, settings.code_rate * share)
        rates = {"features": settings.learning_rate, "decoder": settings.decoder_rate}
        for group in self._adam.param_groups:
            group["lr"] = rates[group["name"]] * share
        self._adam.step()
        return {"error": error}

    def finish(self) -> None:
        """Codes by k-means, if these are asked for; stop making batches."""
        self._batches.close()
        if self._bits and self.settings.codes == "k-means":
            self._begin_codes()

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed stage goes on from."""
        tensors = {f"decoder.{name}": t.detach() for name, t in self.student.decoder.items()}
        for depth, features in zip(self._depths, self.student.features, strict=True):
            tensors |= {f"features.{depth}.{name}": t.detach() for name, t in features.state().items()}
        for name, parameter in self._named_parameters().items():
            state = self._adam.state.get(parameter)
            if state:
                tensors |= {f"adam.{key}.{name}": state[key] for key in ("step", "exp_avg", "exp_avg_sq")}
        return tensors | {f"densities.{depth}": torch.from_numpy(own) for depth, own in self._densities.items()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        student = self.student
        for name in student.decoder:
            student.decoder[name] = state[f"decoder.{name}"].clone().requires_grad_()
        for number, depth in enumerate(self._depths):
            own = _under(state, f"features.{depth}.")
            if "logits" in own:
                student.features[number] = CodedFeatures.of_state(student.levels[number], own)
            else:
                for name, tensor in student.features[number].parameters.items():
                    tensor.copy_(own[name])
        self._make_adam()
        for name, parameter in self._named_parameters().items():
            if f"adam.step.{name}" in state:
                keys = ("step", "exp_avg", "exp_avg_sq")
                self._adam.state[parameter] = {key: state[f"adam.{key}.{name}"].clone() for key in keys}
        for depth, sampler in self._samplers.items():
            self._densities[depth] = state[f"densities.{depth}"].numpy().copy()
            sampler.set_densities(self._densities[depth])

    def _first_features(
        self, depth: int, generator: torch.Generator
    ) -> FreeFeatures | CodedFeatures | HashedFeatures | LowRankFeatures:
        settings, level = self.settings, self.student.levels[depth - self.student.first_level]
        if settings.codes == "low-rank":
            return LowRankFeatures.initial(level, settings.rank, generator)
        if settings.codes == "hash" and (settings.hash_bits or self._bits):
            return HashedFeatures.initial(level, depth, settings.hash_bits or self._bits, generator)
        if self._bits and settings.codes == "learned" and not settings.free_share:
            return CodedFeatures.initial(level, self._bits, generator)
        return FreeFeatures.initial(level, generator)

    def _steps_before_codes(self) -> int | None:
        """When free features become codes; None: never, or they are from the beginning."""
        settings = self.settings
        if not self._bits or settings.codes != "learned" or not settings.free_share:
            return None
        return round(settings.free_share * settings.steps)

    def _begin_codes(self) -> None:
        """Codes in place of free features."""
        student = self.student
        student.features = [
            CodedFeatures.of_features(level, features.values(), self._bits, self._seed)
            for level, features in zip(student.levels, student.features, strict=True)
        ]
        kept = {name: self._adam.state.get(parameter) for name, parameter in self._named_decoder().items()}
        self._make_adam()
        for name, parameter in self._named_decoder().items():
            if kept[name]:
                self._adam.state[parameter] = kept[name]

    def _make_adam(self) -> None:
        features = [parameter for own in self.student.features for parameter in own.parameters.values()]
        groups = [
            {"name": "features", "params": features},
            {"name": "decoder", "params": list(self.student.decoder.values())},
        ]
        self._adam = torch.optim.Adam(groups, betas=_BETAS, eps=_EPSILON, fused=True)

    def _named_decoder(self) -> dict[str, torch.Tensor]:
        return {f"decoder.{name}": tensor for name, tensor in self.student.decoder.items()}

    def _named_parameters(self) -> dict[str, torch.Tensor]:
        named = self._named_decoder()
        for depth, features in zip(self._depths, self.student.features, strict=True):
            named |= {f"features.{depth}.{name}": tensor for name, tensor in features.parameters.items()}
        return named

    def _count(self, depth: int) -> int:
        """Levels with features down to one."""
        return depth - self.student.first_level + 1

    def _depths_of(self, step: int) -> list[int]:
        """The levels of detail that a step renders."""
        depths = list(self._samplers)
        if self.settings.details != "drawn":
            return depths
        weights = 2.0 ** np.arange(len(depths))
        return [depths[step_generator(self._seed, step, 7).choice(len(depths), p=weights / weights.sum())]]

    def _learn(self, batch: RayBatch, own: list[torch.Tensor], depth: int, step: int) -> float:
        """Gradients of one level of detail; returns its mean squared error."""
        samples = self._samplers[depth].sample(
            batch.origins,
            batch.directions,
            sample_seed(self._seed, step),
            min_transmittance=self.settings.min_transmittance,
        )
        seen = self.student.seen(samples, batch.directions, own, _LEAK)
        error = ((seen.over(batch.background) - batch.rgb) ** 2).mean()
        error.backward()
        self.samples += len(samples.points)
        return float(error.detach())

    def _refresh(self, step: int) -> None:
        """Look how dense the voxels are: at a random point of each, in a random direction."""
        for depth, sampler in self._samplers.items():
            random = step_generator(self._seed, step, 1 + depth)
            places = random.random((len(sampler.voxels), 3), np.float32)
            points = (sampler.voxels + places) * (2.0 / (1 << depth)) - 1.0
            directions = random.normal(size=points.shape)
            found = self.student.density(
                torch.from_numpy(points.astype(np.float32)), torch.from_numpy(directions.astype(np.float32)), depth
            )
            found = found.clamp(max=_LARGEST_DENSITY).numpy()
            before = self._densities[depth]
            self._densities[depth] = (0.8 * before + 0.2 * found).astype(np.float32) if before.any() else found
            sampler.set_densities(self._densities[depth])


def _under(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor.clone() for name, tensor in state.items() if name.startswith(prefix)}
