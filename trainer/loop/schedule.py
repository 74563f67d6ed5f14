"""What the stages have in common: random numbers by step, learning rates, batches made ahead."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def step_generator(seed: int, step: int, stream: int = 0) -> np.random.Generator:
    """Random numbers that depend on seed, step and stream only, so that a resumed run draws the same ones."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, step, 0, 0]))


def uniform(seed: int, step: int, stream: int, count: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), float64 [count], that depend on the arguments only.

    Raw words of Philox-4x64, which NumPy promises to keep; distributions of its Generator may change.
    """
    generator = np.random.Philox(key=[seed, stream], counter=[0, step, 0, 0])
    words = np.asarray(generator.random_raw(count), dtype=np.uint64)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_seed(seed: int, step: int) -> int:
    """Where on its rays a step takes samples: the seed for ``RaySampler.sample``."""
    return seed * 0x9E3779B1 + step


def learning_rate(step: int, steps: int, first: float, last: float, warm_up: int = 0) -> float:
    """From ``first`` to ``last``, falling by the same factor each step; rising evenly in the first ``warm_up``."""
    return first * (last / first) ** (step / max(1, steps)) * min(1.0, (step + 1) / max(1, warm_up))


class Prefetcher(Generic[T]):
    """Makes what the next step needs while this one runs; only the step decides what it is.

    Args:
        make: gives it for a step.
    """

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[T]] | None = None

    def get(self, step: int) -> T:
        """What ``step`` needs; the next one's is begun."""
        ahead, self._next = self._next, None
        value = ahead[1].result() if ahead is not None and ahead[0] == step else self._make(step)
        self._next = step + 1, self._executor.submit(self._make, step + 1)
        return value

    def close(self) -> None:
        """Stop; what is being made is finished first."""
        self._executor.shutdown(cancel_futures=True)
