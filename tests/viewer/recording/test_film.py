"""Samples per pixel, motion blur, depth of field, frame rates."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import Camera, CameraPath, UsageError
from kilonerf.viewer.recording.film import (
    Film,
    frame_count,
    path_cameras,
    path_exposures,
    still_exposures,
)
from kilonerf.viewer.recording.frame_rate import exact_rate, parse_rate
from kilonerf.viewer.recording.render_job import RenderJob
from kilonerf.viewer.rendering.accumulation import LinearMean

START = Camera.look_at((0.0, -4.0, 1.0), (0.0, 0.0, 0.0), 40, 30)
PATH = CameraPath.from_cameras([0.0, 1.0], [START, Camera.look_at((2.0, -4.0, 1.0), (2.0, 0.0, 0.0), 40, 30)])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("30", Fraction(30)),
        ("29.97", Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("12.5", Fraction(25, 2)),
    ],
)
def test_frame_rates_are_what_people_mean(typed, meant):
    assert parse_rate(typed) == meant
    assert exact_rate(float(meant)) == meant


@pytest.mark.parametrize("typed", ["0", "nan", "-3", "30/0", "1/2/3", "29.97/1", "2000", ""])
def test_what_is_no_frame_rate_is_refused(typed):
    with pytest.raises(UsageError, match="--fps"):
        parse_rate(typed)


def test_a_closed_path_leaves_its_last_frame_to_the_first():
    assert frame_count(replace(PATH, closing_seconds=1.0), 30) == 60
    assert frame_count(PATH, 30) == 31


def test_one_sample_is_the_camera_itself():
    assert path_exposures(PATH, 40, 30, 10, Film()) == [(camera,) for camera in path_cameras(PATH, 40, 30, 10)]
    assert still_exposures([START], Film()) == [(START,)]


def test_the_shutter_is_open_around_the_frame():
    frames = path_exposures(PATH, 40, 30, 10, Film(8, shutter=180.0))
    offsets = np.array([camera.position[0] for camera in frames[5]]) - PATH.camera_at(0.5, 40, 30).position[0]
    assert np.abs(offsets).max() <= 2.0 * 0.25 / 10 + 1e-9  # units a second, a quarter of a frame's time
    assert len(set(offsets.round(9))) == 8
    assert abs(offsets.mean()) < 0.01
    assert frames[0][0].position[0] >= 0.0  # nothing is before the path


def test_what_is_in_focus_stays_where_it_is_and_the_rest_moves():
    cameras = still_exposures([START], Film(16, aperture=0.2, focus=4.0))[0]

    def place(camera, point):
        local = camera.matrix[:3, :3].T @ (np.array(point) - camera.position)
        return np.array([camera.cx - camera.fx * local[0] / local[2], camera.cy + camera.fy * local[1] / local[2]])

    sharp = START.position - 4.0 * START.matrix[:3, 2] + 0.5 * START.matrix[:3, 0]
    near = START.position - 2.0 * START.matrix[:3, 2]
    assert np.ptp([place(camera, sharp) for camera in cameras], axis=0).max() < 1.0  # within the pixel
    assert np.ptp([place(camera, near) for camera in cameras], axis=0).min() > 1.2


def test_pictures_are_averaged_as_light():
    mean = LinearMean()
    mean.add(np.zeros((1, 1, 3), np.uint8))
    mean.add(np.full((1, 1, 3), 255, np.uint8))
    assert mean.picture()[0, 0, 0] == 188  # half of the light
    for value in range(256):
        same = LinearMean()
        same.add(np.full((1, 1, 3), value, np.uint8))
        assert same.picture()[0, 0, 0] == value


def test_samples_smooth_an_edge_and_change_nothing_inside(toy_scene, tmp_path):
    def picture(name, film):
        job = RenderJob(toy_scene, [START], RenderOptions(), tmp_path / name, 40, 30, 1, backend="cpu", film=film)
        job.start()
        assert job.wait(60.0)
        assert job.error is None
        from PIL import Image

        return np.asarray(Image.open(tmp_path / name)).astype(int)

    plain = create_renderer(toy_scene, "cpu").render(START, RenderOptions()).to_rgb8()
    np.testing.assert_array_equal(picture("one.png", Film()), plain)
    fine = create_renderer(toy_scene, "cpu").render(START.resized(320, 240), RenderOptions()).rgb
    truth = fine.reshape(30, 8, 40, 8, 3).mean(axis=(1, 3)) * 255.0
    many = picture("many.png", Film(16))
    assert np.abs(many - truth).mean() < 0.5 * np.abs(plain - truth).mean()


@pytest.mark.parametrize(
    "wrong",
    [{"samples": 0}, {"samples": 1000}, {"shutter": 400.0}, {"aperture": 0.1}, {"aperture": math.nan}],
)
def test_a_film_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError):
        Film(**wrong)
