"""Adam for the tiny networks against torch's own."""

import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import TrainingError
from kilonerf.trainer.ops.adam import Adam
from kilonerf.trainer.ops.native import native_settings, training_paths
from kilonerf.trainer.ops.networks import TinyNetworks, layers_of
from support.network_batches import different_networks

PATHS = ["torch", *training_paths()]
RATE = 3e-3


def gradients(networks: TinyNetworks, steps: int) -> list[torch.Tensor]:
    """Of very different sizes; zero in the gaps between layers, and at times for whole networks."""
    generator = torch.Generator().manual_seed(4)
    found = []
    for step in range(steps):
        gradient = torch.zeros_like(networks.rows)
        for layer in layers_of(gradient).values():
            layer.copy_(torch.randn(layer.shape, generator=generator) * 10.0 ** (-step % 7))
        gradient[step % len(gradient)] = 0
        found.append(gradient)
    return found


@pytest.mark.parametrize("l2", [0.0, 1e-2])
@pytest.mark.parametrize("path", PATHS)
def test_twenty_steps_are_those_of_torch(path: str, l2: float) -> None:
    ours, theirs = different_networks(5), different_networks(5)
    adam = Adam(ours, learning_rate=RATE, view_dependent_l2=l2)
    other = torch.optim.Adam([theirs.rows], lr=RATE)
    with native_settings(path=path):
        for step, gradient in enumerate(gradients(ours, 20)):
            adam.learning_rate = other.param_groups[0]["lr"] = RATE * 0.9**step
            ours.rows.grad = gradient
            adam.step()
            other.zero_grad()
            layers = theirs.layers()
            last = [
                layers[f"{name}.{part}"] for name in ("direction_layer", "rgb_linear") for part in ("weight", "bias")
            ]
            loss = (theirs.rows * gradient).sum() + l2 / 2 * sum((layer**2).sum() for layer in last)
            loss.backward()
            other.step()
    torch.testing.assert_close(ours.rows, theirs.rows, rtol=1e-5, atol=1e-6)
    assert (ours.rows - different_networks(5).rows).abs().max() > RATE
    gaps = TinyNetworks(ours.rows.detach().clone())
    with torch.no_grad():
        for layer in gaps.layers().values():
            layer.zero_()
    assert not gaps.rows.any()


@pytest.mark.parametrize("path", PATHS)
def test_chosen_networks_have_as_it_were_an_optimiser_each(path: str) -> None:
    together = different_networks(4)
    alone = [TinyNetworks(together.rows[[n]].detach().clone()) for n in range(4)]
    adam = Adam(together, learning_rate=RATE, view_dependent_l2=1e-3)
    each = [Adam(networks, learning_rate=RATE, view_dependent_l2=1e-3) for networks in alone]
    with native_settings(path=path):
        for step, gradient in enumerate(gradients(together, 6)):
            chosen = [n for n in range(3) if (step + n) % 3]  # network 3 never
            together.rows.grad = gradient
            adam.step(torch.tensor(chosen, dtype=torch.int32))
            for n in chosen:
                alone[n].rows.grad = gradient[[n]]
                each[n].step()
    assert torch.equal(together.rows, torch.cat([networks.rows for networks in alone]))
    assert torch.equal(together.rows[3], different_networks(4).rows[3])
    assert adam.steps.tolist() == [4, 4, 4, 0]


@pytest.mark.parametrize("path", PATHS)
def test_a_run_goes_on_from_its_state(path: str) -> None:
    unbroken, broken = different_networks(3), different_networks(3)
    adam = Adam(unbroken, learning_rate=RATE)
    first = Adam(broken, learning_rate=RATE)
    with native_settings(path=path):
        for step, gradient in enumerate(gradients(unbroken, 7)):
            if step == 4:
                kept = {name: tensor.clone() for name, tensor in first.state_dict().items()}
                first = Adam(broken, learning_rate=RATE)
                first.load_state_dict(kept)
            unbroken.rows.grad, broken.rows.grad = gradient, gradient.clone()
            adam.step()
            first.step()
    assert torch.equal(unbroken.rows, broken.rows)


def test_threads_change_nothing() -> None:
    found = []
    for threads in (1, 2, 5):
        networks = different_networks(37)
        adam = Adam(networks, learning_rate=RATE)
        with native_settings(threads=threads):
            for gradient in gradients(networks, 3):
                networks.rows.grad = gradient
                adam.step()
        found.append(networks.rows.detach())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_cannot_be_stepped_is_refused() -> None:
    networks = different_networks(2)
    adam = Adam(networks, learning_rate=RATE)
    with pytest.raises(TrainingError, match="expected a gradient of the networks' rows, got none"):
        adam.step()
    networks.rows.grad = torch.zeros_like(networks.rows)
    with pytest.raises(TrainingError, match="chosen: expected different networks from 0 to 1, got 2"):
        adam.step(torch.tensor([2], dtype=torch.int32))
    with pytest.raises(TrainingError, match="chosen: expected different networks from 0 to 1, got 1 twice"):
        adam.step(torch.tensor([1, 1], dtype=torch.int32))
    with pytest.raises(TrainingError, match=r"first: expected shape \[2, 6240\], got \[3, 6240\]"):
        adam.load_state_dict(Adam(different_networks(3), learning_rate=RATE).state_dict())
    with pytest.raises(TrainingError, match=r"second: expected shape .* got none"):
        adam.load_state_dict({"first": adam.first})
