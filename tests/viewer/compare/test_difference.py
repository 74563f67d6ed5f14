import math

import numpy as np
import pytest

from kilonerf.kernels import BackendChoice, RenderOptions
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import Camera, UsageError
from kilonerf.model_io.datasets.views import View
from kilonerf.viewer.compare.choice import CompareSettings, other_shot, parse_compare, side_names
from kilonerf.viewer.compare.difference import difference_between
from kilonerf.viewer.compare.photo_side import nearest_photo, photo_in_view
from kilonerf.viewer.orientation.photo_cameras import PhotoCamera
from kilonerf.viewer.rendering.resolution import Shot
from support.opengl import flat_frame
from support.photo_sets import projected, spot_places, spots_photo

CAMERA = Camera.look_at((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), 64, 48)


def noisy(seed, width=40, height=30):
    random = np.random.default_rng(seed)
    frame = flat_frame(width, height, depth=3.0)
    return frame.with_colors(random.uniform(-0.1, 1.1, (height, width, 3)).astype(np.float32))


def test_equal_pictures_are_identical_and_a_single_bit_is_not():
    one, other = noisy(1), noisy(1)
    difference = difference_between(one, other)
    assert difference is not None
    assert (difference.identical, difference.psnr, difference.pixels) == (True, math.inf, 1200)
    assert "Identical" in difference.text
    assert "1,200 pixels" in difference.text
    other.rgb[3, 4, 1] = np.nextafter(other.rgb[3, 4, 1], np.float32(2.0))
    difference = difference_between(one, other)
    assert difference is not None
    assert not difference.identical


def test_psnr_is_that_of_the_metrics_for_what_the_screen_shows():
    one, other = noisy(1), noisy(2)
    difference = difference_between(one, other)
    assert difference is not None
    clipped = np.clip(one.rgb, 0, 1), np.clip(other.rgb, 0, 1)
    assert difference.psnr == pytest.approx(psnr(*clipped), abs=1e-4)
    np.testing.assert_allclose(difference.largest, np.abs(clipped[0] - clipped[1]).max(axis=-1), rtol=1e-6)


def test_only_pixels_that_count_are_compared():
    one, other = noisy(1), noisy(2)
    other.rgb[:, :20] = one.rgb[:, :20]
    counting = np.zeros((30, 40), np.bool_)
    counting[:, :20] = True
    difference = difference_between(one, other, counting)
    assert difference is not None
    assert (difference.identical, difference.pixels, difference.mse) == (True, 600, 0.0)
    assert difference.largest[:, 20:].max() == 0.0


def test_pictures_of_other_sizes_have_no_difference():
    assert difference_between(noisy(1), noisy(1, width=41)) is None
    assert difference_between(noisy(1), None) is None


def test_the_gain_brings_small_differences_to_the_bright_end():
    one, other = flat_frame(4, 4, depth=1.0), flat_frame(4, 4, depth=1.0)
    other.rgb[0, 0] += 1.0 / 64.0
    difference = difference_between(one, other)
    assert difference is not None
    dark, bright = difference.colors(1.0), difference.colors(64.0)
    assert bright[0, 0].sum() > 2.0 > dark[0, 0].sum()
    assert bright[1:].max() < 0.1


def shot(scene, **options):
    return Shot(scene, BackendChoice("cpu"), CAMERA, RenderOptions(**options), "samples", "fitted")


@pytest.mark.parametrize("name", ["ess", "ert"])
def test_switches_are_set_the_other_way(toy_scene, name):
    for on in (True, False):
        first = shot(toy_scene, **{name: on})
        other = other_shot(first, CompareSettings(name), None, (1.0, 80.0))
        assert other is not None
        assert getattr(other.options, name) is not on
        assert other.heat_scale == (1.0, 80.0)  # counts of both have one scale
        assert (other.camera, other.backend, other.scene) == (first.camera, first.backend, first.scene)
        names = side_names(first, CompareSettings(name), ("", ""), "")
        assert names == (f"{name.upper()} {'on' if on else 'off'}", f"{name.upper()} {'off' if on else 'on'}")


def test_backends_code_paths_and_scenes_are_exchanged(toy_scene):
    first = shot(toy_scene)
    backend = other_shot(first, CompareSettings("backend", backend="reference"), None, None)
    path = other_shot(first, CompareSettings("path", path="avx2"), None, None)
    precision = other_shot(first, CompareSettings("precision"), None, None)
    assert backend is not None
    assert path is not None
    assert precision is not None
    assert backend.backend.name == "reference"
    assert (path.backend.name, path.backend.cpu_path) == ("cpu", "avx2")
    assert precision.options.precision == "float32"
    assert other_shot(first, CompareSettings("scene"), None, None) is None  # not read yet


def test_names_on_the_command_line(tmp_path):
    assert parse_compare("ess").against == "ess"
    assert parse_compare("reference").backend == "reference"
    assert (parse_compare("baseline").against, parse_compare("baseline").path) == ("path", "baseline")
    (tmp_path / "other.knf").touch()
    assert parse_compare(str(tmp_path / "other.knf")).scene == tmp_path / "other.knf"
    for wrong in ("", "essay", str(tmp_path / "missing.knf")):
        with pytest.raises(UsageError, match="--compare: expected ess"):
            parse_compare(wrong)


def test_a_photo_is_seen_by_another_lens_and_a_turned_camera():
    taken = Camera.look_at((0.0, -4.0, 0.0), (0.0, 0.0, 0.0), 120, 90, fov_y=0.8)
    turned = Camera.look_at((0.0, -4.0, 0.0), (0.6, 0.2, 0.1), 200, 150, fov_y=0.7)
    points = np.array([[0.3, -0.2, 0.1], [0.5, 0.4, 0.3], [0.1, 0.6, -0.4]])
    photo = np.asarray(spots_photo(projected(taken, points), 120, 90) / 255, np.float32)
    seen, covered = photo_in_view(photo, taken, turned)
    assert seen.shape == (150, 200, 3)
    assert 0.5 < covered.mean() < 1.0
    np.testing.assert_allclose(
        spot_places(np.asarray(seen * covered[..., None] * 255, np.uint8)), projected(turned, points), atol=0.2
    )
    same, everywhere = photo_in_view(photo, taken, taken)
    np.testing.assert_allclose(same, photo, atol=1e-4)
    assert everywhere.all()


def test_the_nearest_photo_is_the_one_that_looks_the_same_way():
    views = [Camera.look_at(eye, target, 8, 8) for eye, target in (((3, 0, 0), (9, 0, 0)), ((3, 0, 0), (0, 0, 0)))]
    cameras = [PhotoCamera("pose only", CAMERA), *(PhotoCamera("x", view, View(view, None, "x")) for view in views)]
    assert nearest_photo(cameras, Camera.look_at((3, 0.1, 0), (0, 0, 0), 8, 8)) == (2, pytest.approx(0.1))
    assert nearest_photo(cameras[:1], CAMERA) is None
