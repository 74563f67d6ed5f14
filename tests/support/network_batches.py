"""Networks and batches of samples that tests of training make for themselves."""

import torch

from kilonerf.model_io.scene.architecture import DIRECTION_FREQUENCIES, POSITION_FREQUENCIES
from kilonerf.trainer.ops.networks import TinyNetworks, encode, layers_of

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # points, directions, network_index


def different_networks(num_networks: int, seed: int = 0, frequencies: int = POSITION_FREQUENCIES) -> TinyNetworks:
    """Networks that differ from each other; float32."""
    networks = TinyNetworks.initial(num_networks, seed=seed, frequencies=frequencies)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in networks.layers().values():
            layer += 0.1 * torch.randn(layer.shape, generator=generator)
        networks.rows.copy_(networks.trained_rows())
    return networks


def in_float64(networks: TinyNetworks) -> TinyNetworks:
    return TinyNetworks(networks.rows.detach().double(), networks.frequencies)


def random_batch(networks: TinyNetworks, counts: list[int], *, run: int = 5, seed: int = 0) -> Batch:
    """``counts[n]`` samples of network n, in no order; directions come in runs of equal ones.

    No sample lies so near to the kink of a ReLU that single and double precision might fall on different sides of it.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for network, count in enumerate(counts):
        points = torch.rand((2 * count + 20, 3), generator=generator) * 2 - 1
        runs = torch.randn((len(points) // run + 1, 3), generator=generator)
        directions = torch.nn.functional.normalize(runs, dim=1).repeat_interleave(run, 0)[: len(points)]
        clear = _distance_from_kinks(networks, network, points, directions) > 2e-5
        assert clear.sum() >= count
        parts.append((points[clear][:count], directions[clear][:count], torch.full((count,), network)))
    points, directions, index = (torch.cat(part) for part in zip(*parts, strict=True))
    groups = torch.arange(len(points)) // run  # whole runs change places
    order = torch.rand(len(points) // run + 1, generator=generator)[groups].argsort(stable=True)
    return points[order], directions[order], index[order].to(torch.int32)


def _distance_from_kinks(
    networks: TinyNetworks, network: int, points: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    layers = {name: layer[0] for name, layer in layers_of(networks.rows[[network]].detach().double()).items()}

    def dense(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ layers[f"{name}.weight"] + layers[f"{name}.bias"]

    first = dense("pts_linears.0", encode(points.double(), POSITION_FREQUENCIES))
    second = dense("pts_linears.1", first.relu())
    joined = [dense("feature_linear", second.relu()), encode(directions.double(), DIRECTION_FREQUENCIES)]
    third = dense("direction_layer", torch.cat(joined, 1))
    density = dense("alpha_linear", second.relu())
    return torch.cat([first, second, third, density], 1).abs().amin(1)
