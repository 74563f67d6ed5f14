"""The NeRF learns photos: its samples, its loss against a float64 twin, and a run that was resumed."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from support.photo_sets import ellipsoid_photo, ring, save

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import TrainingError, View
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.checkpoints import load_checkpoint, save_checkpoint
from kilonerf.trainer.teachers import nerf_training
from kilonerf.trainer.teachers.nerf_training import NerfSettings, NerfTraining

NEAR, FAR = 2.5, 5.5
TINY = NerfSettings(steps=180, rays=64, samples=16, width=32, learning_rate=1e-3, centre_steps=20)


def as_arrays(batch) -> SimpleNamespace:
    return SimpleNamespace(**{name: getattr(batch, name).numpy() for name in ("origins", "directions", "rgb")})


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Photos:
    """Six pictures of an ellipsoid, 16 x 12 pixels and one of 9 x 14."""
    folder, views = tmp_path_factory.mktemp("photos"), []
    for number, camera in enumerate([*ring(6, 16, 12), *ring(1, 9, 14)]):
        path = folder / f"{number}.png"
        save(path, ellipsoid_photo(camera, np.zeros(3), np.array([0.8, 0.6, 0.7])))
        views.append(View(camera, path, str(number)))
    return Photos(views)


def training(photos, settings=TINY, *, half=1.0, **more) -> NerfTraining:
    corner = np.full(3, half)
    return NerfTraining(photos, -corner, corner, NEAR, FAR, settings, **more)


def foggy(photos, settings=TINY, **more) -> NerfTraining:
    """One that sees something everywhere from the beginning, so that all layers have gradients."""
    stage = training(photos, settings, **more)
    with torch.no_grad():
        stage.teacher().get_parameter("alpha_linear.bias").fill_(0.5)
    return stage


def copied(stage):
    return {name: tensor.clone() for name, tensor in stage.state().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_settings_are_the_papers():
    """Of the original code's configuration of the chair's first stage."""
    paper = NerfSettings()
    assert (paper.steps, paper.rays, paper.samples, paper.width) == (600_000, 1024, 384, 256)
    assert (paper.learning_rate, paper.decay_steps) == (5e-4, 500_000)
    assert (paper.centre_steps, paper.centre_share, paper.box_only) == (10_000, 0.5, False)


@pytest.mark.parametrize("box_only", [False, True])
def test_it_learns(photos, box_only):
    stage = training(photos, replace(TINY, box_only=box_only))
    errors = [stage.step(step)["error"] for step in range(stage.steps)]
    stage.finish()
    blank = float(((photos.batch(0, 0, 2000).rgb - 1) ** 2).mean())  # of a scene in which nothing is
    assert blank > 0.05
    assert np.mean(errors[-20:]) < blank / 3
    assert np.mean(errors[-20:]) < np.mean(errors[:20]) / 8
    assert stage.samples <= 64 * 16
    assert (stage.samples < 64 * 16) == box_only
    density = stage.teacher().density(torch.tensor([[0.0, 0, 0], [0.75, 0.75, 0.75]]))
    assert density[0] > 1 > density[1]


def test_a_resumed_run_equals_an_unbroken_one(photos, tmp_path):
    settings = replace(TINY, steps=6, centre_steps=3)
    unbroken = training(photos, settings)
    errors = []
    for step in range(6):
        if step in (0, 2, 4):  # before the first step too, and on both sides of the change from the middle to all
            save_checkpoint(tmp_path / f"{step}.safetensors", unbroken.state(), {})
        errors.append(unbroken.step(step)["error"])
    for first in (0, 2, 4):
        resumed = training(photos, settings)
        resumed.load_state(load_checkpoint(tmp_path / f"{first}.safetensors").tensors)
        assert [resumed.step(step)["error"] for step in range(first, 6)] == errors[first:]
        assert same(resumed.state(), unbroken.state())
    other = training(photos, settings, seed=1)
    assert other.step(0)["error"] != errors[0]


def test_steps_do_not_depend_on_parts_beyond_rounding(photos, monkeypatch):
    whole = foggy(photos)
    monkeypatch.setattr(nerf_training, "_SAMPLES_AT_ONCE", 16 * 10)  # the last part has 4 rays
    parts = foggy(photos)
    parts.step(0)
    monkeypatch.setattr(nerf_training, "_SAMPLES_AT_ONCE", 1 << 16)
    whole.step(0)
    assert whole.samples == parts.samples == 64 * 16
    for name, tensor in whole.state().items():
        if name.endswith("first"):
            largest = float(tensor.abs().max())
            assert largest > 0
            np.testing.assert_allclose(parts.state()[name].numpy(), tensor.numpy(), rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("background", [(1.0, 1.0, 1.0), (0.2, 0.9, 0.4)])
def test_the_error_is_that_of_the_volume_rendering_equation(photos, background):
    """KiloNeRF Eq. 1 with the samples' own distances, in float64, ray by ray."""
    stage = training(photos, replace(TINY, rays=24), background=background, seed=3)
    with torch.no_grad():  # transparent in places, opaque in others
        stage.teacher().get_parameter("alpha_linear.weight").mul_(80.0)
        middle = stage.teacher().raw_density(torch.rand(500, 3) * 2 - 1).mean()
        stage.teacher().get_parameter("alpha_linear.bias").sub_(middle)
    depths = stage._depths(7).astype(np.float64)
    batch = as_arrays(photos.batch(3, 7, 24, background, among=stage._centre_pixels()))
    network, error = stage.teacher(), 0.0
    opacities = []
    for ray in range(24):
        norm = np.linalg.norm(batch.directions[ray].astype(np.float64))
        points = batch.origins[ray] + depths[ray, :, None] * batch.directions[ray].astype(np.float64)
        unit = np.broadcast_to(batch.directions[ray] / norm, points.shape)
        answers = network.radiance(torch.from_numpy(points), torch.from_numpy(unit.copy()))
        rgb, density = (answer.double().numpy() for answer in answers)
        last = (FAR - NEAR) / 15 / 2
        alpha = 1 - np.exp(-density * np.append(np.diff(depths[ray]), last) * norm)
        weights = alpha * np.cumprod(np.append(1, 1 - alpha[:-1]))
        seen = (weights[:, None] * rgb).sum(0) + (1 - weights.sum()) * np.array(background)
        error += ((seen - batch.rgb[ray]) ** 2).sum() / (3 * 24)
        opacities.append(weights.sum())
    assert np.min(opacities) < 0.7 < 0.85 < np.max(opacities) < 0.99
    assert stage.step(7)["error"] == pytest.approx(error, rel=1e-4)


def test_samples_are_stratified(photos):
    stage = training(photos, replace(TINY, rays=4000, samples=5))
    depths = stage._depths(0)
    assert depths.dtype == np.float32
    # At 2.5, 3.25, 4, 4.75, 5.5: each sample's stretch ends half way to its neighbours.
    edges = np.array([2.5, 2.875, 3.625, 4.375, 5.125, 5.5])
    assert (np.diff(depths, axis=1) >= 0).all()
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        own = depths[:, number]
        assert begin <= own.min() < begin + 0.01
        assert end - 0.01 < own.max() <= end
        assert own.mean() == pytest.approx((begin + end) / 2, abs=0.02)
    assert not np.array_equal(stage._depths(1), depths)
    np.testing.assert_array_equal(stage._depths(0), depths)


def test_first_steps_see_the_middle_of_the_photos_only(photos, monkeypatch):
    drawn = []
    draw = photos.draw

    def spied(*arguments, **options):
        drawn.append(draw(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(photos, "draw", spied)
    stage = training(photos, replace(TINY, rays=3000, samples=2, width=2, centre_steps=1))
    stage.step(0)
    stage.step(1)
    middle = np.concatenate(
        [  # rows 3 to 8 and columns 4 to 11 of 16 x 12; rows 3 to 9 and columns 2 to 5 of 9 x 14
            *(view * 192 + (np.arange(3, 9)[:, None] * 16 + np.arange(4, 12)).reshape(-1) for view in range(6)),
            6 * 192 + (np.arange(3, 10)[:, None] * 9 + np.arange(2, 6)).reshape(-1),
        ]
    )
    np.testing.assert_array_equal(np.unique(drawn[0]), middle)
    assert len(np.unique(drawn[1])) > 0.8 * (6 * 192 + 9 * 14)


@pytest.mark.parametrize(("step", "rate"), [(0, 5e-4), (250_000, 5e-4 * 0.1**0.5), (500_000, 5e-5)])
def test_the_learning_rate_falls(photos, step, rate):
    """Adam's first step is as long as its learning rate, whatever the gradient."""
    stage = foggy(photos, replace(TINY, learning_rate=5e-4))
    before = copied(stage)
    stage.step(step)
    moved = (stage.state()["rgb_linear.bias.value"] - before["rgb_linear.bias.value"]).abs()
    np.testing.assert_allclose(moved.numpy(), rate, rtol=1e-2)


def test_a_box_around_everything_changes_nothing(photos):
    everywhere, boxed = foggy(photos), foggy(photos, replace(TINY, box_only=True), half=9.0)
    assert everywhere.step(0) == boxed.step(0)
    assert same(everywhere.state(), boxed.state())


def test_only_samples_in_the_box_are_evaluated(photos):
    box_min, box_max = np.array([-0.5, -0.3, -0.2]), np.array([0.1, 0.7, 0.4])
    stage = NerfTraining(photos, box_min, box_max, NEAR, FAR, replace(TINY, rays=1000, box_only=True, centre_steps=0))
    stage.step(0)
    batch = as_arrays(photos.batch(0, 0, 1000))
    points = batch.origins[:, None] + stage._depths(0)[..., None] * batch.directions[:, None]
    assert stage.samples == ((points > box_min) & (points < box_max)).all(axis=-1).sum() > 100


def test_rays_that_miss_the_box_see_the_background(photos):
    stage = training(photos, replace(TINY, box_only=True, centre_steps=0), half=1e-4)
    before = copied(stage)
    expected = float(((photos.batch(0, 0, 64).rgb - 1.0) ** 2).mean())
    assert stage.step(0)["error"] == pytest.approx(expected, rel=1e-5)
    assert stage.samples == 0
    assert torch.equal(stage.state()["rgb_linear.bias.value"], before["rgb_linear.bias.value"])


def test_what_has_no_density_anywhere_can_still_learn(photos):
    stage = training(photos)
    with torch.no_grad():
        stage.teacher().get_parameter("alpha_linear.bias").fill_(-3.0)
    assert not stage.teacher().density(torch.rand(500, 3) * 2 - 1).any()
    before = copied(stage)
    stage.step(0)
    assert stage.state()["alpha_linear.bias.value"] > before["alpha_linear.bias.value"]


def test_the_loss_is_not_changed_by_saving(photos):
    """A state that was taken keeps up with the training: it is not a copy, and taking it changes nothing."""
    one, other = training(photos), training(photos)
    other.state()
    for step in range(2):
        assert one.step(step) == other.step(step)
        other.state()
    assert same(one.state(), other.state())


@pytest.mark.parametrize(
    ("change", "near", "far", "got"),
    [({"samples": 1}, 2.0, 6.0, "2.0 to 6.0, 1"), ({}, 6.0, 6.0, "6.0 to 6.0, 16")],
)
def test_samples_that_are_none(photos, change, near, far, got):
    with pytest.raises(TrainingError, match=f"NeRF's samples: expected near < far and 2 or more, got {got}"):
        NerfTraining(photos, -np.ones(3), np.ones(3), near, far, replace(TINY, **change))


def test_a_state_of_another_network_is_refused(photos):
    stage = training(photos)
    with pytest.raises(
        TrainingError, match=r"pts_linears\.0\.weight\.value: expected shape \[32, 63\], got \[16, 63\]"
    ):
        stage.load_state(training(photos, replace(TINY, width=16)).state())
    state = stage.state()
    del state["rgb_linear.bias.steps"]
    with pytest.raises(TrainingError, match=r"rgb_linear\.bias\.steps: expected shape \[1\], got none"):
        stage.load_state(state)
