"""NeRF itself (Mildenhall et al. 2020) with random weights, in torch on the CPU: how fast its networks are evaluated.

The network is the paper's: 8 layers of 256 units with the positions given again after the fifth, then a density, a
feature layer, and 128 units that see the direction. A pixel takes 64 evaluations of a coarse network and 64 + 128 of a
fine one, both of this size. Encoding is included; compositing and the drawing of the fine samples are left out, in
NeRF's favour.
"""

import importlib.util
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

EVALUATIONS_PER_PIXEL = 64 + (64 + 128)
DTYPES = ("float32", "bfloat16")
CHUNKS = (1024, 4096, 16384, 65536)  # samples that one call of the network is given
TRIAL = 16384  # evaluations of one setting when the fastest is looked for
SKIP = 5  # the layer that sees the positions again
WIDTH, POSITION_FREQUENCIES, DIRECTION_FREQUENCIES = 256, 10, 4


@dataclass(frozen=True)
class Setting:
    """How the network is evaluated."""

    dtype: str
    chunk: int


def torch_is_installed() -> bool:
    """Whether there is a torch to try; imports nothing."""
    return importlib.util.find_spec("torch") is not None


def layer_sizes() -> list[tuple[int, int]]:
    """Inputs and outputs of each layer: eight of the trunk, density, feature, view and colour."""
    positions = 3 * (1 + 2 * POSITION_FREQUENCIES)
    directions = 3 * (1 + 2 * DIRECTION_FREQUENCIES)
    trunk = [(width, WIDTH) for width in (positions, *[WIDTH] * (SKIP - 1), WIDTH + positions, *[WIDTH] * 2)]
    return [*trunk, (WIDTH, 1), (WIDTH, WIDTH), (WIDTH + directions, WIDTH // 2), (WIDTH // 2, 3)]


@cache
def network(dtype: str) -> Callable[[Any, Any], Any]:
    """The network: encoded positions [N, 63] and directions [N, 27] to raw colour and density [N, 4]."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Linear(inputs, outputs).to(getattr(torch, dtype)) for inputs, outputs in layer_sizes()]
    trunk, (density, feature, view, color) = layers[:8], layers[8:]

    def evaluate(x: Any, d: Any) -> Any:
        h = x
        for number, layer in enumerate(trunk):
            if number == SKIP:
                h = torch.cat([x, h], -1)
            h = torch.relu_(layer(h))
        seen = torch.relu_(view(torch.cat([feature(h), d], -1)))
        return torch.cat([color(seen), density(h)], -1)

    return evaluate


def encode(x: Any, frequencies: int) -> Any:
    """NeRF's positional encoding without pi, as in its code: [N, 3] to [N, 3 (1 + 2 frequencies)]."""
    import torch

    angles = (x[:, None, :] * 2.0 ** torch.arange(frequencies)[:, None]).flatten(1)
    return torch.cat([x, torch.sin(angles), torch.cos(angles)], -1)


@cache
def samples(count: int) -> tuple[Any, Any]:
    """Random positions and unit directions, both [count, 3] float32."""
    import torch

    generator = torch.Generator().manual_seed(0)
    positions = 2.0 * torch.rand(count, 3, generator=generator) - 1.0
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return positions, directions


def seconds_for(setting: Setting, evaluations: int, threads: int) -> float:
    """Wall time of this many evaluations, at least one chunk, scaled to exactly as many."""
    import torch

    torch.set_num_threads(threads)
    evaluate, kind = network(setting.dtype), getattr(torch, setting.dtype)
    positions, directions = samples(setting.chunk)
    chunks = math.ceil(evaluations / setting.chunk)
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(chunks):
            x = encode(positions, POSITION_FREQUENCIES).to(kind)
            d = encode(directions, DIRECTION_FREQUENCIES).to(kind)
            evaluate(x, d)
        return (time.perf_counter() - began) * evaluations / (chunks * setting.chunk)


class NerfBaseline:
    """NeRF in a process of its own, so that torch's threads and memory do not meet the renderer's.

    Args:
        threads: threads of torch.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))

    def seconds(self, setting: Setting, evaluations: int) -> float:
        """See :func:`seconds_for`."""
        return self._pool.submit(seconds_for, setting, evaluations, self._threads).result()

    def try_all(self) -> dict[Setting, float]:
        """Seconds for ``TRIAL`` evaluations in every precision and chunk size: the better of two, after a warm-up."""
        tried = {}
        for setting in (Setting(dtype, chunk) for dtype in DTYPES for chunk in CHUNKS):
            self.seconds(setting, setting.chunk)
            tried[setting] = min(self.seconds(setting, TRIAL) for _ in range(2))
        return tried

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()
