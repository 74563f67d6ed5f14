"""Photos as batches of rays."""

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kilonerf.model_io import Camera, DatasetError, OutputError, View
from kilonerf.model_io.datasets.lens import Lens, pinhole_camera
from kilonerf.model_io.datasets.views import Mask
from kilonerf.trainer.data.photos import Photos
from support.photo_sets import projected, ring, save

FIELDS = ("origins", "directions", "rgb", "background")


def views_of(folder: Path, sizes=((13, 9), (13, 9), (8, 11)), channels=4, seed=0) -> list[View]:
    """Views with photos of noise."""
    rng, views = np.random.default_rng(seed), []
    for number, (camera, (width, height)) in enumerate(zip(ring(len(sizes)), sizes, strict=True)):
        path = folder / f"v_{number}.png"
        save(path, rng.integers(0, 256, (height, width, channels), dtype=np.uint8))
        lens = Camera.from_matrix(camera.matrix, width, height, fx=20.0 + number, fy=22.0, cx=6.2, cy=4.1)
        views.append(View(lens, path, f"v_{number}"))
    return views


def same(first, second) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


def drawn(photos, seed, step, size, background=(1.0, 1.0, 1.0)) -> SimpleNamespace:
    """A batch as NumPy arrays, with the pixels that it is of."""
    batch = photos.batch(seed, step, size, background)
    arrays = {name: getattr(batch, name).numpy() for name in FIELDS}
    return SimpleNamespace(**arrays, pixels=photos.draw(seed, step, size))


def test_rays_go_through_their_pixels_and_see_their_colours(tmp_path):
    views = views_of(tmp_path)
    photos = Photos(views)
    batch = drawn(photos, 3, 5, 2000)
    assert [getattr(batch, name).dtype for name in FIELDS] == [np.float32] * 4
    assert batch.pixels.dtype == np.int64
    assert set(batch.pixels) == set(range(13 * 9 * 2 + 8 * 11))  # every pixel is drawn sooner or later
    for ray in range(0, 2000, 41):
        view = int(np.searchsorted(photos.offsets, batch.pixels[ray], side="right")) - 1
        camera = views[view].camera
        row, column = divmod(int(batch.pixels[ray] - photos.offsets[view]), camera.width)
        np.testing.assert_allclose(batch.origins[ray], camera.position, atol=1e-6)
        somewhere = (batch.origins[ray] + 2.5 * batch.directions[ray])[None].astype(np.float64)
        np.testing.assert_allclose(projected(camera, somewhere), [[column + 0.5, row + 0.5]], atol=1e-4)
        # Not normalised: the ray parameter is z-depth.
        assert -camera.matrix[:3, 2] @ batch.directions[ray] == pytest.approx(1, abs=1e-6)
        red, green, blue, alpha = photos.image(view)[row, column] / 255
        expected = np.array([red, green, blue]) * alpha + (1 - alpha)
        np.testing.assert_allclose(batch.rgb[ray], expected, atol=1e-6)


@pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.9), "random"])
def test_backgrounds(background, tmp_path):
    photos = Photos(views_of(tmp_path))
    batch = drawn(photos, 0, 0, 500, background)
    pixels = photos.pixels[batch.pixels] / 255
    expected = pixels[:, :3] * pixels[:, 3:] + batch.background * (1 - pixels[:, 3:])
    np.testing.assert_allclose(batch.rgb, expected, atol=1e-6)
    if background == "random":
        assert batch.background.min() < 0.05
        assert batch.background.max() > 0.95
        assert len(np.unique(batch.background)) > 1400
        other = drawn(photos, 0, 1, 500, background)
        assert not np.array_equal(other.background, batch.background)
        # Backgrounds are no copy of the numbers that chose the pixels.
        assert abs(np.corrcoef(batch.background.ravel()[:500], batch.pixels)[0, 1]) < 0.25
    else:
        np.testing.assert_array_equal(batch.background, np.tile(np.float32(background), (500, 1)))
        np.testing.assert_allclose(
            photos.blended(0, background).reshape(-1, 3)[batch.pixels[batch.pixels < 117]],
            batch.rgb[batch.pixels < 117],
            atol=1e-6,
        )


def test_a_batch_depends_on_seed_and_step_only(tmp_path):
    views = views_of(tmp_path)
    photos = Photos(views)
    unbroken = [photos.batch(7, step, 100, "random") for step in range(6)]
    resumed = Photos(views)
    for step in (5, 3, 4):
        assert same(resumed.batch(7, step, 100, "random"), unbroken[step])
    assert not same(unbroken[0], unbroken[1])
    assert not same(resumed.batch(8, 0, 100, "random"), unbroken[0])
    # Steps do not overlap: what one draws late is not what the next draws early.
    long = photos.draw(7, 0, 5000)
    assert not any(np.array_equal(long[k : k + 100], photos.draw(7, 1, 100)) for k in range(4900))


def test_the_first_pixels_are_the_same_for_ever(tmp_path):
    """A run must be resumable with a newer version of this program, of Python and of NumPy."""
    assert Photos(views_of(tmp_path)).draw(1, 2, 6).tolist() == [304, 223, 33, 44, 202, 239]


def test_pixels_are_drawn_evenly(tmp_path):
    photos = Photos(views_of(tmp_path))
    counts = np.bincount(photos.draw(0, 0, 322 * 400), minlength=322)
    assert np.abs(counts - 400).max() < 6 * 20  # six standard deviations


@pytest.mark.parametrize("channels", [3, 4])
def test_a_mapped_file_gives_the_same_batches(channels, tmp_path):
    views = views_of(tmp_path, channels=channels)
    cache = tmp_path / "cache"
    cache.mkdir()
    in_memory, mapped = Photos(views), Photos(views, memory=100, cache_folder=cache)
    assert (in_memory.in_memory, mapped.in_memory) == (True, False)
    assert isinstance(mapped.pixels, np.memmap)
    assert not any(cache.iterdir())  # the file has no name: nothing is left, however the program ends
    for step in range(3):
        assert same(in_memory.batch(0, step, 300, "random"), mapped.batch(0, step, 300, "random"))
    assert in_memory.has_alpha == mapped.has_alpha == (channels == 4)
    del mapped
    gc.collect()  # no ResourceWarning


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match="missing: cannot cache 1288 bytes of photos"):
        Photos(views_of(tmp_path), memory=0, cache_folder=tmp_path / "missing")


@pytest.mark.parametrize("memory", [0, 2**20])
def test_photos_with_and_without_transparency_mix(memory, tmp_path):
    opaque, clear = tmp_path / "a", tmp_path / "b"
    views = [*views_of(opaque, channels=3)[:2], views_of(clear, channels=4)[2]]
    photos = Photos(views, memory=memory)
    assert photos.has_alpha
    assert (photos.image(0)[..., 3] == 255).all()
    np.testing.assert_array_equal(photos.image(1)[..., :3], Photos(views[1:2]).image(0))
    np.testing.assert_array_equal(photos.image(2), Photos(views[2:]).image(0))
    turned = Photos(views[::-1], memory=memory)
    for view in range(3):
        np.testing.assert_array_equal(turned.image(2 - view), photos.image(view))


def test_downscaling_is_an_area_mean_of_premultiplied_colours(tmp_path):
    views = views_of(tmp_path)
    full, small = Photos(views), Photos(views, downscale=3)
    assert [(c.width, c.height) for c in small.cameras] == [(4, 3), (4, 3), (2, 3)]
    for view in range(3):
        for row, column in np.ndindex(*small.image(view).shape[:2]):
            block = full.image(view)[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].reshape(9, 4) / 255.0
            alpha = block[:, 3].mean()
            got = small.image(view)[row, column] / 255.0
            assert got[3] == pytest.approx(alpha, abs=0.51 / 255)
            expected = (block[:, :3] * block[:, 3:]).mean(axis=0) / alpha
            np.testing.assert_allclose(got[:3], expected, atol=0.51 / 255)
    # A small pixel's ray is the ray of its block's middle, here a pixel's centre.
    batch = drawn(small, 0, 0, 50)
    for ray in np.flatnonzero(batch.pixels < 12)[:5]:
        row, column = divmod(int(batch.pixels[ray]), 4)
        _, middle = full.rays(np.array([(3 * row + 1) * 13 + 3 * column + 1]))
        np.testing.assert_allclose(batch.directions[ray], middle[0], atol=1e-6)


def test_hidden_colours_of_transparent_pixels_do_not_count(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[...] = (0, 255, 0, 0)
    pixels[0, 0] = (255, 0, 0, 255)
    save(tmp_path / "a.png", pixels)
    photos = Photos([View(Camera.from_matrix(np.eye(4), 2, 2, fx=2), tmp_path / "a.png", "a")], downscale=2)
    assert photos.pixels.tolist() == [[255, 0, 0, 64]]


def test_opaque_photos_downscale_too(tmp_path):
    views = views_of(tmp_path, channels=3)
    full, small = Photos(views), Photos(views, downscale=2)
    block = full.image(0)[2:4, 4:6].reshape(4, 3).mean(axis=0)
    np.testing.assert_allclose(small.image(0)[1, 2], block, atol=0.51)


def test_distorted_photos_are_straightened(tmp_path):
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    lens = Lens(40, 30, 40.0, 40.0, 20.0, 15.0, k1=0.4)
    save(tmp_path / "a.png", np.full((30, 40, 3), 77, np.uint8))
    view = View(pinhole_camera(lens, np.eye(4)), tmp_path / "a.png", "a", lens)
    photos = Photos([view], downscale=2)
    assert photos.cameras[0].width == view.camera.width // 2 < 20
    assert (photos.pixels == 77).all()


def test_all_broken_photos_are_listed(tmp_path):
    views = views_of(tmp_path)
    (tmp_path / "v_0.png").write_bytes(b"nothing")
    save(tmp_path / "v_2.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DatasetError) as caught:
        Photos(views)
    first, second = caught.value.faults
    assert first.startswith(f"{tmp_path / 'v_0.png'}: cannot read this picture")
    assert second == f"{tmp_path / 'v_2.png'}: expected 8x11 pixels, got 5x5"


def test_wrong_use_is_refused(tmp_path):
    views = views_of(tmp_path)
    with pytest.raises(DatasetError, match="at least one view"):
        Photos([])
    with pytest.raises(DatasetError, match="downscale: expected at least 1, got 0"):
        Photos(views, downscale=0)
    with pytest.raises(DatasetError, match="got 3 faults"):
        Photos(views, downscale=12)
    with pytest.raises(DatasetError, match="view x: expected a photo"):
        Photos([View(views[0].camera, None, "x")])


def test_progress_is_told(tmp_path):
    told = []
    Photos(views_of(tmp_path), progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("downscale", [1, 2])
def test_what_a_mask_hides_is_not_drawn(downscale, tmp_path):
    views = views_of(tmp_path)
    mask = np.full((9, 13), 255, np.uint8)
    mask[:, 5:] = 0
    save(tmp_path / "mask.png", mask)
    views[1] = replace(views[1], mask=Mask(tmp_path / "mask.png"))
    photos = Photos(views, downscale=downscale)
    sizes = [(9 // downscale, 13 // downscale), (9 // downscale, 13 // downscale), (11 // downscale, 8 // downscale)]
    learnt = [np.ones(size, np.bool_) for size in sizes]
    learnt[1][:, 5 // downscale :] = False  # also blocks that are hidden in part
    expected = np.flatnonzero(np.concatenate([part.reshape(-1) for part in learnt]))
    assert set(photos.draw(0, 0, 20000)) == set(expected)
    among = np.arange(photos.offsets[1], photos.offsets[2])
    assert set(photos.draw(0, 0, 5000, among)) == set(expected) & set(among)
    assert same(photos.batch(0, 3, 50, among=among), photos.batch(0, 3, 50, among=among))


def test_masks_that_hide_everything_or_cannot_be_read_are_refused(tmp_path):
    save(tmp_path / "black.png", np.zeros((9, 13), np.uint8))
    views = [replace(view, mask=Mask(tmp_path / "black.png")) for view in views_of(tmp_path)[:2]]
    with pytest.raises(DatasetError, match="masks: expected pixels to learn, got none that no mask hides"):
        Photos(views).batch(0, 0, 10)
    (tmp_path / "black.png").write_bytes(b"none")
    with pytest.raises(DatasetError, match=r"black.png: cannot read this picture"):
        Photos(views[:1])
