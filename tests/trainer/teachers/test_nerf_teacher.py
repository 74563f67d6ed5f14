"""The NeRF teacher: against a float64 twin written from the paper, and files of the original code."""

from collections import OrderedDict

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import CheckpointError, OutputError
from kilonerf.trainer.teachers import nerf
from kilonerf.trainer.teachers.nerf import NerfTeacher, encoded

SHAPES = {  # of run_nerf_helpers.NeRF at width 256: torch's order, [OUT, IN]
    "pts_linears.0": (256, 63),
    "pts_linears.1": (256, 256),
    "pts_linears.2": (256, 256),
    "pts_linears.3": (256, 256),
    "pts_linears.4": (256, 256),
    "pts_linears.5": (256, 319),
    "pts_linears.6": (256, 256),
    "pts_linears.7": (256, 256),
    "views_linears.0": (128, 283),
    "feature_linear": (256, 256),
    "alpha_linear": (1, 256),
    "rgb_linear": (3, 128),
}


def rays(count, seed=0):
    """Points and unit directions, [count, 3] each."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 3, generator=generator) * 3 - 1.5
    directions = torch.randn(count, 3, generator=generator)
    return points, directions / directions.norm(dim=1, keepdim=True)


def lively(width, seed):
    """Densities of both signs and colours that differ from place to place."""
    teacher = NerfTeacher(width, seed=seed)
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            parameter.mul_(2.0 if name.endswith("weight") else 1.0)
        teacher.get_parameter("alpha_linear.bias").sub_(teacher.raw_density(rays(300)[0]).median())
    return teacher


def encoding_in_float64(values, frequencies):
    values = values.double().numpy()
    bands = [f(2.0**power * values) for power in range(frequencies) for f in (np.sin, np.cos)]
    return np.concatenate([values, *bands], axis=1)


def in_float64(state, points, directions):
    """Colour and raw density as NeRF's Fig. 7 has them."""

    def layer(name, values):
        weight, bias = (state[f"{name}.{part}"].double().numpy() for part in ("weight", "bias"))
        return values @ weight.T + bias

    position, direction = encoding_in_float64(points, 10), encoding_in_float64(directions, 4)
    hidden = position
    for number in range(8):
        hidden = np.maximum(layer(f"pts_linears.{number}", hidden), 0)
        if number == 4:
            hidden = np.concatenate([position, hidden], axis=1)
    feature = layer("feature_linear", hidden)
    seen = np.maximum(layer("views_linears.0", np.concatenate([feature, direction], axis=1)), 0)
    return 1 / (1 + np.exp(-layer("rgb_linear", seen))), layer("alpha_linear", hidden)[:, 0]


def checkpoint(path, state, **more):
    torch.save({"global_step": 3, "model_state_dict": OrderedDict(state), **more}, path)
    return path


@pytest.mark.parametrize("frequencies", [0, 4, 10])
def test_encoding(frequencies):
    points, _ = rays(200)
    expected = encoding_in_float64(points, frequencies)
    assert expected.shape == (200, 3 + 6 * frequencies)
    np.testing.assert_allclose(encoded(points.double(), frequencies).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(encoded(points, frequencies).numpy(), expected, atol=1e-6)  # 2^k x is exact


def test_names_shapes_and_order_of_the_original_code():
    state = NerfTeacher().state()
    expected = [(f"{name}.{part}", shape) for name, shape in SHAPES.items() for part in ("weight", "bias")]
    assert list(state) == [name for name, _ in expected]
    for name, (outputs, inputs) in expected:
        assert tuple(state[name].shape) == ((outputs, inputs) if name.endswith("weight") else (outputs,))
        largest = float(state[name].detach().abs().max()) * inputs**0.5
        assert (0.95 if name.endswith("weight") else 0.0) < largest <= 1.0
    assert torch.equal(NerfTeacher(seed=0).state()["rgb_linear.bias"], state["rgb_linear.bias"])
    assert not torch.equal(NerfTeacher(seed=1).state()["rgb_linear.bias"], state["rgb_linear.bias"])


def test_forward_is_that_of_the_paper():
    teacher = lively(64, seed=2).double()
    points, directions = rays(300)
    rgb, raw = teacher(points.double(), directions.double())
    expected_rgb, expected_raw = in_float64(teacher.state(), points, directions)
    assert 100 < (expected_raw > 0).sum() < 200
    assert expected_rgb.std(axis=0).min() > 0.01
    np.testing.assert_allclose(rgb.detach().numpy(), expected_rgb, atol=1e-12)
    np.testing.assert_allclose(raw.detach().numpy(), expected_raw, atol=1e-12)


def test_answers_in_parts_have_no_gradients(monkeypatch):
    teacher = lively(32, seed=1)
    points, directions = rays(100)
    expected_rgb, expected_raw = in_float64(teacher.state(), points, directions)
    sizes = []
    trunk = teacher._trunk
    monkeypatch.setattr(teacher, "_trunk", lambda part: sizes.append(len(part)) or trunk(part))
    monkeypatch.setattr(nerf, "_POINTS_AT_ONCE", 32)
    rgb, density = teacher.radiance(points, directions)
    alone = teacher.density(points.double())  # of another type
    raw = teacher.raw_density(points)
    assert sizes == [32, 32, 32, 4] * 3
    assert not rgb.requires_grad
    assert not density.requires_grad
    assert rgb.dtype == density.dtype == alone.dtype == torch.float32
    np.testing.assert_allclose(rgb.numpy(), expected_rgb, atol=1e-5)
    np.testing.assert_allclose(raw.numpy(), expected_raw, atol=1e-5)
    np.testing.assert_allclose(density.numpy(), np.maximum(expected_raw, 0), atol=1e-5)
    np.testing.assert_allclose(alone.numpy(), np.maximum(expected_raw, 0), atol=1e-5)
    assert teacher.extent() is None
    assert len(teacher.density(points[:0])) == 0


def test_the_toys_teacher(shared_data):
    """A checkpoint that the original code wrote itself; its densities are compared by its occupancy elsewhere."""
    path = shared_data / "kilonerf_toy/logs/paper/pretrain/Synthetic_NeRF_Toy/checkpoint_0000001.pth"
    teacher = NerfTeacher.from_checkpoint(path)
    original = torch.load(path, weights_only=False)["model_state_dict"]
    assert list(teacher.state()) == list(original)
    for name, tensor in original.items():
        assert torch.equal(teacher.state()[name], tensor)
    points, directions = rays(50)
    rgb, density = teacher.radiance(points, directions)
    expected_rgb, expected_raw = in_float64(original, points, directions)
    np.testing.assert_allclose(rgb.numpy(), expected_rgb, atol=1e-5)
    np.testing.assert_allclose(density.numpy(), np.maximum(expected_raw, 0), atol=1e-5)


def test_saved_and_read_again(tmp_path):
    teacher = NerfTeacher(32, seed=5)
    teacher.save(tmp_path / "a.pth", global_step=12)
    again = NerfTeacher.from_checkpoint(tmp_path / "a.pth")
    assert again.width == 32
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in teacher.state().items())
    assert torch.load(tmp_path / "a.pth", weights_only=True)["global_step"] == 12
    with pytest.raises(OutputError, match="cannot write"):
        teacher.save(tmp_path / "nowhere" / "a.pth")


def test_a_teacher_of_its_own_parameters_is_independent():
    """Training goes on with the one that a teacher was made from."""
    teacher = NerfTeacher(32)
    copy = NerfTeacher.from_state(teacher.state())
    with torch.no_grad():
        teacher.get_parameter("rgb_linear.bias").add_(1)
    assert not torch.equal(copy.state()["rgb_linear.bias"], teacher.state()["rgb_linear.bias"])


class Payload:
    def __reduce__(self):
        return print, ("run!",)


def test_nothing_of_the_pickle_runs(tmp_path, capsys):
    path = checkpoint(tmp_path / "a.pth", NerfTeacher(32).state(), numpy_rng_state=Payload())
    with pytest.raises(CheckpointError, match=r"refused, nothing in it was run: it names builtins\.print"):
        NerfTeacher.from_checkpoint(path)
    assert "run!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pts_linears.0.weight", None, r"pts_linears\.0\.weight: expected shape \[width, 63\], got none"),
        ("pts_linears.0.weight", torch.zeros(32, 57), r"expected shape \[width, 63\], got \[32, 57\]"),
        ("pts_linears.0.weight", torch.zeros(33, 63), r"expected shape \[width, 63\], got \[33, 63\]"),
        ("pts_linears.0.weight", torch.zeros(9, 63, 32), r"got \[9, 63, 32\] \(tiny networks, not a teacher\)"),
        ("pts_linears.8.weight", torch.zeros(32, 32), r"pts_linears\.8\.weight: expected no such layer"),
        (
            "pts_linears.5.bias",
            None,
            r"pts_linears\.5\.bias: expected floating-point numbers of shape \[32\], got none",
        ),
        ("pts_linears.5.weight", torch.zeros(32, 32), r"of shape \[32, 95\], got torch\.float32 \[32, 32\]"),
        ("rgb_linear.bias", torch.zeros(3, dtype=torch.int64), r"of shape \[3\], got torch\.int64 \[3\]"),
        ("rgb_linear.bias", [0.0, 0.0, 0.0], r"rgb_linear\.bias: .* got list"),
        ("alpha_linear.bias", torch.tensor([torch.nan]), r"alpha_linear\.bias: expected finite numbers, got 1"),
        (7, torch.zeros(3), "7: expected no such layer"),
    ],
)
def test_variants_are_refused(key, value, message, tmp_path):
    state = NerfTeacher(32).state() | {key: value}
    if value is None:
        del state[key]
    with pytest.raises(CheckpointError, match=rf"a\.pth: .*{message}"):
        NerfTeacher.from_checkpoint(checkpoint(tmp_path / "a.pth", state))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "got Tensor"),
        ({"root_nodes": []}, r"got \['root_nodes'\]"),
        ({"model_state_dict": 3}, r"got \['model_state_dict'\]"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"expected a teacher's checkpoint with 'model_state_dict', {message}"):
        NerfTeacher.from_checkpoint(tmp_path / "a.pth")


def test_half_precision_checkpoints_are_read(tmp_path):
    state = {name: tensor.half() for name, tensor in NerfTeacher(32).state().items()}
    again = NerfTeacher.from_checkpoint(checkpoint(tmp_path / "a.pth", state))
    assert again.get_parameter("rgb_linear.bias").dtype == torch.float32
