"""Pictures for files: size, samples per pixel, transparency, heat maps."""

from dataclasses import replace

import numpy as np
import pytest

from kilonerf.kernels import CancelToken, RenderOptions, create_renderer
from kilonerf.model_io import BackendError
from kilonerf.viewer.camera.navigator import scaled_camera
from kilonerf.viewer.recording.stills import PictureMaker
from kilonerf.viewer.settings import ViewerSettings
from support.scenes import sky_scene, views


def rendered(scene, camera, options):
    return create_renderer(scene, backend="reference").render(camera, options)


@pytest.fixture
def camera(toy_scene):
    return toy_scene.start_camera.resized(24, 18)


def make(scene, camera, **how):
    return PictureMaker(**how).picture(create_renderer(scene, backend="reference"), camera, CancelToken())


def test_a_plain_picture_is_the_renderer_s(toy_scene, camera):
    options = RenderOptions(background=(0.2, 0.4, 0.6))
    picture = make(toy_scene, camera, options=options)
    np.testing.assert_array_equal(picture, rendered(toy_scene, camera, options).to_rgb8())


def test_more_samples_are_the_mean_of_a_larger_picture(toy_scene, camera):
    options = RenderOptions()
    large = rendered(toy_scene, scaled_camera(camera, 2), options).rgb.clip(0.0, 1.0)
    mean = 0.25 * (large[::2, ::2] + large[1::2, ::2] + large[::2, 1::2] + large[1::2, 1::2])
    picture = make(toy_scene, camera, options=options, side_samples=2)
    assert picture.shape == (18, 24, 3)
    assert np.abs(picture / 255.0 - mean).max() < 1.01 / 255.0
    assert np.abs(picture.astype(int) - rendered(toy_scene, camera, options).to_rgb8()).max() > 8


@pytest.mark.parametrize("side_samples", [1, 2])
def test_a_transparent_picture_over_any_background_is_the_picture_with_it(toy_scene, camera, side_samples):
    options = RenderOptions(ert=False, background=(1.0, 1.0, 1.0))
    picture = make(toy_scene, camera, options=options, transparent=True, side_samples=side_samples) / 255.0
    assert picture.shape == (18, 24, 4)
    assert 0.05 < (picture[..., 3] < 0.5).mean() < 0.95
    for background in ((1.0, 1.0, 1.0), (0.1, 0.7, 0.3)):
        over = picture[..., :3] * picture[..., 3:] + (1.0 - picture[..., 3:]) * np.array(background)
        opaque = make(toy_scene, camera, options=replace(options, background=background), side_samples=side_samples)
        assert np.abs(over - opaque / 255.0).max() < 3.0 / 255.0


def test_the_sky_is_in_a_picture_but_not_in_a_transparent_one():
    scene = sky_scene()
    camera = views(scene)["outside"].resized(40, 30)
    settings = ViewerSettings()
    options = settings.render_options(scene)
    assert options.sky
    settings.background = scene.background
    plain = settings.render_options(scene)
    assert not plain.sky
    shown, without = (make(scene, camera, options=how) for how in (options, plain))
    assert np.abs(shown.astype(int) - without.astype(int)).max() > 50
    shown, without = (make(scene, camera, options=how, transparent=True) for how in (options, plain))
    np.testing.assert_array_equal(shown, without)
    shown, without = (make(scene, camera, options=how, heat_map="samples") for how in (options, plain))
    np.testing.assert_array_equal(shown, without)


def test_a_heat_map_is_made_by_a_renderer_that_counts_and_refused_by_others(toy_scene, camera):
    picture = make(toy_scene, camera, options=RenderOptions(), heat_map="samples")
    assert np.abs(picture.astype(int) - make(toy_scene, camera, options=RenderOptions())).max() > 50
    maker = PictureMaker(RenderOptions(), heat_map="lookups")
    with pytest.raises(BackendError, match="heat map"):
        maker.picture(create_renderer(toy_scene, backend="reference"), camera, CancelToken())
