"""Distorted photos are straightened: what a camera projects to a pixel is found at that pixel."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, View, load_image
from kilonerf.model_io.datasets import load_pixels
from kilonerf.model_io.datasets.lens import Lens, pinhole_camera, straighten, straightened
from support.photo_sets import FLIP, SPOTS, projected, ring, save, spot_places, spots_photo

LENSES = {
    "barrel": {"k1": -0.3, "k2": 0.05},
    "pincushion": {"k1": 0.25},
    "tangential": {"p1": 0.02, "p2": -0.015},
    "all": {"k1": -0.2, "k2": 0.08, "k3": -0.02, "p1": 0.004, "p2": 0.006},
}


def lens_of(name: str) -> Lens:
    return replace(Lens(200, 150, fx=160.0, fy=150.0, cx=104.0, cy=70.0), **LENSES[name])


@pytest.mark.parametrize("name", LENSES)
def test_a_point_lands_on_its_pixel(name, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="needs opencv-python-headless")
    lens, moved = lens_of(name), []
    for number, pose in enumerate(camera.matrix for camera in ring(4, distance=1.9)):
        # OpenCV itself says where the points are in the photo, from the pose and the coefficients.
        world_to_camera = np.linalg.inv(pose @ FLIP)
        matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
        turn, _ = cv2.Rodrigues(world_to_camera[:3, :3])
        coefficients = np.array([lens.k1, lens.k2, lens.p1, lens.p2, lens.k3])
        places, _ = cv2.projectPoints(SPOTS, turn, world_to_camera[:3, 3], matrix, coefficients)
        save(tmp_path / f"{number}.png", spots_photo(places[:, 0], 200, 150))
        camera = pinhole_camera(lens, pose)
        picture = load_pixels(View(camera, tmp_path / f"{number}.png", "a", lens))
        assert picture.shape == (camera.height, camera.width, 3)
        expected = projected(camera, SPOTS)
        moved.append(np.abs(expected + straightened(lens)[:2] - places[:, 0]).max())
        np.testing.assert_allclose(spot_places(picture), expected, atol=0.1)
    assert max(moved) > 1  # there was something to undo


@pytest.mark.parametrize("name", LENSES)
def test_undistort_is_the_inverse(name):
    lens = lens_of(name)
    rays = np.random.default_rng(0).uniform(-0.45, 0.45, (100, 2))
    np.testing.assert_allclose(lens.undistort(lens.distort(rays)), rays, atol=1e-9)


def test_the_fourth_radial_coefficient_is_a_term_of_the_polynomial():
    lens = Lens(200, 150, fx=100, fy=100, cx=100, cy=75, k4=0.5)
    r2 = 0.3**2 + 0.4**2
    np.testing.assert_allclose(lens.distort(np.array([0.3, 0.4])), np.array([0.3, 0.4]) * (1 + 0.5 * r2**4))


@pytest.mark.parametrize("name", LENSES)
def test_every_pixel_comes_from_the_photo_and_one_more_would_not(name):
    lens = lens_of(name)
    left, top, width, height = straightened(lens)

    def outside(x0, y0, x1, y1) -> bool:
        x, y = np.meshgrid(np.linspace(x0, x1, 400), np.linspace(y0, y1, 400))
        rays = np.stack([(x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy], axis=-1)
        photo = lens.distort(rays) * (lens.fx, lens.fy) + (lens.cx, lens.cy)
        return bool(((photo < -1e-6) | (photo > np.array([lens.width, lens.height]) + 1e-6)).any())

    right, bottom = left + width, top + height
    assert not outside(left, top, right, bottom)
    assert outside(left - 1.01, top, right, bottom)
    assert outside(left, top - 1.01, right, bottom)
    assert outside(left, top, right + 1.01, bottom)
    assert outside(left, top, right, bottom + 1.01)


def test_a_lens_without_distortion_keeps_every_pixel():
    lens = Lens(200, 150, fx=160, fy=150, cx=104, cy=70, k1=1e-300)
    assert straightened(lens) == (0, 0, 200, 150)
    camera = pinhole_camera(lens, np.eye(4))
    assert (camera.width, camera.height, camera.cx, camera.cy) == (200, 150, 104, 70)
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    photo = np.random.default_rng(0).integers(0, 256, (150, 200, 4), dtype=np.uint8)
    photo[..., 3] = np.maximum(photo[..., 3], 32)  # colours of nearly nothing are lost, as they should be
    np.testing.assert_allclose(straighten(photo, lens), photo, atol=1)


def test_transparent_colours_do_not_bleed(tmp_path):
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    photo = np.zeros((150, 200, 4), np.uint8)
    photo[...] = (0, 255, 0, 0)  # green that nobody sees
    photo[:, :100] = (255, 0, 0, 255)
    save(tmp_path / "a.png", photo)
    lens = lens_of("barrel")
    view = View(pinhole_camera(lens, np.eye(4)), tmp_path / "a.png", "a", lens)
    image = load_image(view, (0.0, 0.0, 1.0))
    assert image[..., 1].max() < 0.02
    np.testing.assert_allclose(image.sum(axis=-1), 1, atol=0.02)


FOLDS = [
    {"k1": -1.5},
    {"p1": 3.0},
    {"k1": 1e300},
    {"k1": 2.7, "k2": 0.9, "k3": -14.9},  # there is a ray for every point of the border, but beyond the fold
    {"k1": 3.2, "k2": -8.9, "k3": 6.2},  # Newton's method finds none
]


@pytest.mark.parametrize("coefficients", FOLDS)
def test_a_distortion_that_folds_is_refused(coefficients):
    with pytest.raises(DatasetError, match="distortion: expected") as caught:
        straightened(Lens(200, 150, fx=160, fy=160, cx=100, cy=75, **coefficients))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("coefficients", FOLDS[-2:])
def test_a_ray_beyond_the_fold_is_no_ray(coefficients):
    lens = Lens(200, 150, fx=160, fy=160, cx=100, cy=75, **coefficients)
    left_border = np.stack(np.broadcast_arrays(-0.625, (np.linspace(0, 150, 257) - 75) / 160), axis=-1)
    with pytest.raises(DatasetError, match="does not fold the picture"):
        lens.undistort(left_border)


def test_without_opencv_the_cameras_are_there_and_the_photo_says_what_is_missing(tmp_path, monkeypatch):
    save(tmp_path / "a.png", np.zeros((150, 200, 3), np.uint8))
    lens = lens_of("barrel")
    view = View(pinhole_camera(lens, np.eye(4)), tmp_path / "a.png", "a", lens)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DatasetError, match=r"expected opencv-python-headless .*\(pip install kilonerf-view\[train\]\)"):
        load_pixels(view)


FISHEYES = {
    "equidistant": {},
    "OpenCV's": {"k1": -0.02, "k2": 0.01, "k3": -0.004},
    "thin prism": {"k1": -0.02, "p1": 0.003, "p2": -0.002, "s1": 0.01, "s2": -0.01},
}


def fisheye(name: str) -> Lens:
    lens = Lens(200, 150, fx=70.0, fy=77.0, cx=104.0, cy=70.0, fisheye=True)
    return replace(lens, **FISHEYES[name])


@pytest.mark.parametrize("name", FISHEYES)
def test_a_fisheye_photo_is_straightened(name, tmp_path):
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    lens, moved = fisheye(name), []
    for number, pose in enumerate(camera.matrix for camera in ring(4, distance=1.3)):
        camera = pinhole_camera(lens, pose)
        expected = projected(camera, SPOTS)
        rays = (expected - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
        places = lens.distort(rays) * (lens.fx, lens.fy) + (lens.cx, lens.cy)
        save(tmp_path / f"{number}.png", spots_photo(places, 200, 150))
        picture = load_pixels(View(camera, tmp_path / f"{number}.png", "a", lens))
        moved.append(np.abs(expected + straightened(lens)[:2] - places).max())
        np.testing.assert_allclose(spot_places(picture), expected, atol=0.6)
    assert max(moved) > 1


@pytest.mark.parametrize("name", FISHEYES)
def test_the_inverse_of_a_fisheye_lens(name):
    lens = fisheye(name)
    rays = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    np.testing.assert_allclose(lens.undistort(lens.distort(rays)), rays, atol=1e-8)


def test_of_a_fisheye_photo_of_half_a_sphere_120_degrees_are_kept():
    lens = Lens(800, 800, fx=400 / (np.pi / 2), fy=400 / (np.pi / 2), cx=400, cy=400, fisheye=True)
    left, top, width, height = straightened(lens)
    assert (width, height) == (2 * int(lens.fx * np.tan(np.pi / 3)),) * 2
    corner = np.array([left - lens.cx, top - lens.cy]) / lens.fx
    photo = lens.distort(corner) * lens.fx + lens.cx
    assert (photo > 0).all()  # the corners are in the photo too


@pytest.mark.parametrize("change", [{"k1": -90.0}, {"k1": float("1e300")}, {"k1": 1e9}])
def test_a_fisheye_lens_that_no_pinhole_can_hold_is_refused(change):
    lens = Lens(200, 150, fx=70, fy=70, cx=100, cy=75, fisheye=True, **change)
    with pytest.raises(DatasetError, match="distortion: expected"):
        straightened(lens)


def test_a_lens_of_half_the_resolution_sees_the_same():
    lens = lens_of("all")
    half = lens.scaled(100, 75)
    rays = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 2))
    np.testing.assert_allclose(
        (half.distort(rays) * (half.fx, half.fy) + (half.cx, half.cy)) * 2,
        lens.distort(rays) * (lens.fx, lens.fy) + (lens.cx, lens.cy),
    )
