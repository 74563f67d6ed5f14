"""What is learnt about each photo: its exposure and its pose; and which photos are blurred."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kilonerf.model_io import Camera
from kilonerf.model_io.datasets import load_splits
from kilonerf.model_io.scene.box import Box
from kilonerf.trainer.data.corrections import PhotoCorrections, PhotoSettings, applied, refined_camera, rotated
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.data.ray_sampling import RaySamples
from kilonerf.trainer.data.sharpness import photo_weights, relative_sharpness
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.teachers.grid import GridSettings
from kilonerf.trainer.teachers.nested_grid import NestedGridTraining
from support.analytic_scene import write_room

needs_native = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
BOX = Box(np.full(3, -1.6, np.float32), np.full(3, 1.6, np.float32))
NOTHING = PhotoSettings(sharpness=0.0)


def trained(
    photos: Photos, settings: PhotoSettings, resolution: int = 64, rays: int = 1024
) -> tuple[dict[str, torch.Tensor], float]:
    """What a nested grid learns about the photos, and its last mean error."""
    weights, steps = torch.ones(len(photos)), 60
    grid = GridSettings(resolution=resolution, steps=(steps, steps, steps, 0), rays=rays)
    corrections = PhotoCorrections(settings, weights, distance=1.6, steps=3 * steps)
    training = NestedGridTraining(photos, BOX, 3, 0.08, 16.0, grid, corrections=corrections, seed=0)
    errors = [training.step(step)["error"] for step in range(3 * steps)]
    training.finish()
    return corrections.product(), float(np.mean(errors[-20:]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    (train,) = load_splits(write_room(tmp_path_factory.mktemp("room"), 24), ("train",))
    return Photos(train.views)


@pytest.mark.slow
@needs_native
def test_exposures_are_learnt(photos: Photos) -> None:
    gains = np.random.default_rng(0).uniform(0.75, 1.1, (len(photos), 3))
    exposed = photos.placed(photos.cameras)
    exposed.pixels = np.concatenate(
        [np.rint(photos.image(view).reshape(-1, 3) * gain).clip(0, 255) for view, gain in enumerate(gains)]
    ).astype(np.uint8)
    _, worse = trained(exposed, NOTHING)
    product, better = trained(exposed, replace(NOTHING, colors=True))
    assert better < 0.9 * worse
    # What each photo makes of a mean colour, compared with what was done to it.
    grey = torch.full((len(photos), 3), 0.5)
    found = applied(product["photos.colors"], torch.arange(len(photos)), grey).numpy() / 0.5
    relative = gains / gains.mean(axis=0)
    assert np.corrcoef(found.reshape(-1), relative.reshape(-1))[0, 1] > 0.85
    assert product["photos.colors"].mean(dim=0).abs().max() < 1e-5  # the scene has the mean exposure


@needs_native
@pytest.mark.slow
def test_poses_are_refined(tmp_path: Path) -> None:
    (train,) = load_splits(write_room(tmp_path, 24, 80), ("train",))
    photos = Photos(train.views)
    wrong = np.random.default_rng(1).normal(0, 0.03, (len(photos), 6))
    wrong -= wrong.mean(axis=0)
    moved = [refined_camera(c, torch.from_numpy(w)) for c, w in zip(photos.cameras, wrong, strict=True)]
    off = photos.placed(moved)
    product, _ = trained(off, replace(NOTHING, poses=True, pose_rate=2e-4), 96, 2048)
    refined = [refined_camera(c, p) for c, p in zip(moved, product["photos.poses"], strict=True)]
    before, after = away(moved, photos.cameras), away(refined, photos.cameras)
    assert after < 0.9 * before  # in so few steps
    assert product["photos.poses"].mean(dim=0).abs().max() < 1e-5  # all together do not turn


def away(cameras: list[Camera], right: list[Camera]) -> float:
    """The mean angle by which cameras are turned, radians."""
    turns = [np.trace(a.matrix[:3, :3] @ b.matrix[:3, :3].T) for a, b in zip(cameras, right, strict=True)]
    return float(np.arccos(np.clip((np.array(turns) - 1) / 2, -1, 1)).mean())


def test_a_rotation_keeps_lengths_and_turns_by_its_angle() -> None:
    turn = torch.tensor([[0.0, 0.0, np.pi / 2], [0.0, 0.0, 0.0]], dtype=torch.float64)
    got = rotated(turn, torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor([[0.0, 2.0, 1.0], [2.0, 0.0, 1.0]], dtype=torch.float64))


def test_points_have_the_gradients_of_the_cameras_motion(photos: Photos) -> None:
    corrections = PhotoCorrections(replace(NOTHING, poses=True), torch.ones(len(photos)), distance=2.0)
    batch = corrections.moved(photos.batch(0, 0, 5))
    depth = torch.tensor([1.0, 2.0, 3.0, 4.0])
    ray = torch.tensor([0, 2, 2, 4])
    points = batch.origins[ray] + depth[:, None] * batch.directions[ray]
    offsets = torch.tensor([0, 1, 1, 3, 3, 4])
    samples = RaySamples(offsets, points, batch.directions[ray], ray.int(), depth, depth)
    attached = corrections.attached(batch, samples, torch.ones(3))
    assert torch.equal(attached, points)  # nothing has moved yet
    along = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    (attached * along).sum().backward()
    gradient = corrections._learnt["poses"].grad  # pyright: ignore[reportPrivateUsage]
    assert gradient is not None
    # By finite differences: the pose of a photo is turned and moved, less the mean of all.
    view, axis, small = int(batch.views[2]), 1, 1e-3
    for part in (axis, 3 + axis):
        pose = torch.zeros(len(photos), 6, dtype=torch.float64)
        pose[view, part] = small
        pose -= pose.mean(dim=0)
        own = pose[batch.views[ray]]
        moved = (
            batch.origins[ray] + 2.0 * own[:, 3:] + depth[:, None] * rotated(own[:, :3], batch.directions[ray].double())
        )
        expected = ((moved - points) * along).sum() / small
        assert float(gradient[view, part]) == pytest.approx(float(expected), rel=5e-3, abs=1e-3)


def test_a_blurred_photo_counts_less(photos: Photos) -> None:
    noise = np.random.default_rng(0).integers(0, 60, photos.pixels.shape)
    detailed = photos.placed(photos.cameras)
    detailed.pixels = (photos.pixels * 0.7 + noise).astype(np.uint8)
    assert (photo_weights(detailed, 0.5) == 1).all()
    blurred = detailed.image(7).astype(np.float64)
    detailed.image(7)[:] = ((blurred + np.roll(blurred, 1, 1) + np.roll(blurred, 2, 1)) / 3).astype(np.uint8)  # motion
    detailed.image(3)[:] = 0.3 * detailed.image(3)  # dark, but sharp
    weights = photo_weights(detailed, 0.5)
    assert weights[7] < 0.6
    assert (np.delete(weights, 7) == 1).all()
    assert (photo_weights(detailed, 0.0) == 1).all()
    assert relative_sharpness(detailed)[3] == pytest.approx(1.0, abs=0.2)


def test_what_is_left_out_depends_on_whether_photos_show_a_whole_place() -> None:
    assert PhotoSettings().of_capture(True) == PhotoSettings(sharpness=0.5)
    assert PhotoSettings().of_capture(False) == NOTHING
    assert PhotoSettings(sharpness=0.2).of_capture(False) == PhotoSettings(sharpness=0.2)
