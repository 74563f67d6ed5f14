"""How an octree field's features are kept while they are trained: freely, as learnt or random codes, by low rank."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch

from kilonerf.model_io.scene.octree_scene import FEATURES, LevelFeatures, hashed_codes

from ..ops.octree import CodeState, FieldLevel, learn_codes

_SMALL = 0.01  # standard deviation of features at first


class Features(Protocol):
    """The features of one level, by a coding.

    Attributes:
        parameters: tensors that Adam steps, by name; their gradients are set by :meth:`backward`.
    """

    parameters: dict[str, torch.Tensor]

    def values(self) -> torch.Tensor:
        """[C, 16], without a graph."""
        ...

    def backward(self, gradient: torch.Tensor) -> None:
        """Set the parameters' gradients; ``gradient``, [C, 16], is that of the values."""
        ...

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Step what is not among the parameters."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """All tensors, parameters too: what a resumed training goes on from."""
        ...

    def stored(self, dtype: type[np.floating]) -> LevelFeatures:
        """As a scene stores them."""
        ...


class FreeFeatures:
    """Features themselves (NGLOD-NeRF, the uncompressed field)."""

    def __init__(self, level: FieldLevel, rows: torch.Tensor) -> None:
        self._level, self.parameters = level, {"rows": rows}

    @classmethod
    def initial(cls, level: FieldLevel, generator: torch.Generator) -> "FreeFeatures":
        """Small random ones."""
        return cls(level, _SMALL * torch.randn((level.num_corners, FEATURES), generator=generator))

    def values(self) -> torch.Tensor:  # noqa: D102
        return self.parameters["rows"]

    def backward(self, gradient: torch.Tensor) -> None:  # noqa: D102
        self.parameters["rows"].grad = gradient

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Nothing: all is among the parameters."""

    def state(self) -> dict[str, torch.Tensor]:  # noqa: D102
        return dict(self.parameters)

    def stored(self, dtype: type[np.floating]) -> LevelFeatures:  # noqa: D102
        return LevelFeatures("plain", _in_morton_order(self._level, self.parameters["rows"]).numpy().astype(dtype))


class LowRankFeatures:
    """Rank r: coefficients [C, r] of rows [r, 16]."""

    def __init__(self, level: FieldLevel, coefficients: torch.Tensor, basis: torch.Tensor) -> None:
        self._level, self.parameters = level, {"coefficients": coefficients, "basis": basis}

    @classmethod
    def initial(cls, level: FieldLevel, rank: int, generator: torch.Generator) -> "LowRankFeatures":
        """Random rows of length 1, small coefficients."""
        basis = torch.nn.functional.normalize(torch.randn((rank, FEATURES), generator=generator), dim=1)
        scale = _SMALL * (FEATURES / rank) ** 0.5
        return cls(level, scale * torch.randn((level.num_corners, rank), generator=generator), basis)

    def values(self) -> torch.Tensor:  # noqa: D102
        return self.parameters["coefficients"] @ self.parameters["basis"]

    def backward(self, gradient: torch.Tensor) -> None:  # noqa: D102
        coefficients, basis = self.parameters["coefficients"], self.parameters["basis"]
        coefficients.grad, basis.grad = gradient @ basis.T, coefficients.T @ gradient

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Nothing: all is among the parameters."""

    def state(self) -> dict[str, torch.Tensor]:  # noqa: D102
        return dict(self.parameters)

    def stored(self, dtype: type[np.floating]) -> LevelFeatures:  # noqa: D102
        coefficients = _in_morton_order(self._level, self.parameters["coefficients"]).numpy().astype(dtype)
        return LevelFeatures("low-rank", self.parameters["basis"].numpy().astype(dtype), coefficients=coefficients)


class HashedFeatures:
    """A codebook whose rows are taken by random codes, as hashing without regard to collisions would."""

    def __init__(self, level: FieldLevel, depth: int, codebook: torch.Tensor) -> None:
        self._bits, self.parameters = (len(codebook) - 1).bit_length(), {"codebook": codebook}
        self._codes = torch.from_numpy(hashed_codes(depth, level.num_corners, self._bits))[level.order]

    @classmethod
    def initial(cls, level: FieldLevel, depth: int, bits: int, generator: torch.Generator) -> "HashedFeatures":
        """Small random rows; ``depth`` is the level's number in the octree."""
        return cls(level, depth, _SMALL * torch.randn((1 << bits, FEATURES), generator=generator))

    def values(self) -> torch.Tensor:  # noqa: D102
        return self.parameters["codebook"][self._codes]

    def backward(self, gradient: torch.Tensor) -> None:  # noqa: D102
        self.parameters["codebook"].grad = _summed_by(self._codes, gradient, 1 << self._bits)

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Nothing: all is among the parameters."""

    def state(self) -> dict[str, torch.Tensor]:  # noqa: D102
        return dict(self.parameters)

    def stored(self, dtype: type[np.floating]) -> LevelFeatures:  # noqa: D102
        return LevelFeatures("hash", self.parameters["codebook"].numpy().astype(dtype))


class CodedFeatures:
    """A codebook [2^b, 16] and a code for each corner, both learnt (the paper's vector quantisation)."""

    def __init__(self, level: FieldLevel, codebook: torch.Tensor, codes: CodeState, steps: int = 0) -> None:
        self._level, self.parameters, self._codes, self._steps = level, {"codebook": codebook}, codes, steps

    @classmethod
    def initial(cls, level: FieldLevel, bits: int, generator: torch.Generator) -> "CodedFeatures":
        """As in the paper: random rows, logits that are nearly equal."""
        codebook = _SMALL * torch.randn((1 << bits, FEATURES), generator=generator)
        return cls._of_logits(level, codebook, 0.01 * torch.randn((level.num_corners, 1 << bits), generator=generator))

    @classmethod
    def of_features(cls, level: FieldLevel, rows: torch.Tensor, bits: int, seed: int) -> "CodedFeatures":
        """From features [C, 16]: codebook and codes by k-means, logits by how near each row is."""
        codebook = k_means(rows, 1 << bits, seed)
        distances = torch.cdist(rows, codebook) ** 2
        width = distances.min(1).values.mean().clamp(min=1e-12)
        return cls._of_logits(level, codebook, (-0.5 * distances / width).clamp(min=_FARTHEST))

    @classmethod
    def _of_logits(cls, level: FieldLevel, codebook: torch.Tensor, logits: torch.Tensor) -> "CodedFeatures":
        nothing = torch.zeros_like(logits)
        chosen = logits.argmax(1).to(torch.uint8)
        return cls(level, codebook, CodeState(logits.contiguous(), nothing, nothing.clone(), chosen))

    @classmethod
    def of_state(cls, level: FieldLevel, state: Mapping[str, torch.Tensor]) -> "CodedFeatures":
        """From what :meth:`state` gave."""
        codes = CodeState(*(state[name].contiguous() for name in CodeState._fields))
        return cls(level, state["codebook"], codes, int(state["steps"]))

    def values(self) -> torch.Tensor:  # noqa: D102
        return self.parameters["codebook"][self._codes.chosen.long()]

    def backward(self, gradient: torch.Tensor) -> None:  # noqa: D102
        codebook = self.parameters["codebook"]
        codebook.grad = _summed_by(self._codes.chosen.long(), gradient, len(codebook))

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:  # noqa: D102
        self._steps += 1
        learn_codes(self._codes, self.parameters["codebook"], gradient, self._steps, learning_rate)

    def state(self) -> dict[str, torch.Tensor]:  # noqa: D102
        return self.parameters | self._codes._asdict() | {"steps": torch.tensor(self._steps)}

    def stored(self, dtype: type[np.floating]) -> LevelFeatures:  # noqa: D102
        codes = _in_morton_order(self._level, self._codes.chosen).numpy()
        return LevelFeatures("codes", self.parameters["codebook"].numpy().astype(dtype), codes)


_FARTHEST = -8.0  # of logits at first: farther rows could not be chosen any more
_K_MEANS_ROUNDS = 20
_K_MEANS_ROWS = 1 << 15  # that the rounds look at


def k_means(rows: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Centres [count, 16] of rows [C, 16] by Lloyd's algorithm.

    It begins with rows drawn by their squared distance from those drawn before (Arthur and Vassilvitskii 2007).
    """
    generator = torch.Generator().manual_seed(seed)
    seen = rows[torch.randperm(len(rows), generator=generator)[:_K_MEANS_ROWS]]
    centres = seen[:1].repeat(count, 1)
    distances = ((seen - centres[0]) ** 2).sum(1)
    for number in range(1, count):
        odds = distances if float(distances.sum()) > 0 else torch.ones_like(distances)
        centres[number] = seen[torch.multinomial(odds, 1, generator=generator)[0]]
        distances = torch.minimum(distances, ((seen - centres[number]) ** 2).sum(1))
    for _ in range(_K_MEANS_ROUNDS):
        distances, nearest = torch.cdist(seen, centres).min(1)
        sums = _summed_by(nearest, seen, count)
        members = torch.bincount(nearest, minlength=count)
        centres = torch.where((members > 0)[:, None], sums / members.clamp(min=1)[:, None], centres)
        empty = (members == 0).nonzero()[:, 0][: len(seen)]
        centres[empty] = seen[distances.topk(len(empty)).indices]  # begin anew where it fits worst
    return centres


def _summed_by(index: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    return rows.new_zeros((count, FEATURES)).index_add_(0, index, rows)


def _in_morton_order(level: FieldLevel, rows: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(rows).index_copy_(0, level.order, rows)
