"""Pictures for files: size, samples per pixel, transparency, heat maps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kilonerf.kernels import CancelToken, Frame, RenderOptions, create_renderer
from kilonerf.model_io import BackendError
from kilonerf.viewer.camera.navigator import scaled_camera
from kilonerf.viewer.recording.stills import PictureMaker
from kilonerf.viewer.rendering.accumulation import LinearMean, offset_camera
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


def test_more_samples_are_the_mean_of_offset_pictures(toy_scene, camera):
    options = RenderOptions()
    picture = make(toy_scene, camera, options=options, samples=16)
    mean = LinearMean()
    for number in range(16):
        mean.add(rendered(toy_scene, offset_camera(camera, number), options).rgb)
    np.testing.assert_array_equal(picture, mean.picture())
    large = rendered(toy_scene, scaled_camera(camera, 8), options).rgb
    truth = LinearMean()
    for row, column in np.ndindex(8, 8):
        truth.add(large[row::8, column::8])
    plain = rendered(toy_scene, camera, options).rgb
    assert np.abs(picture / 255.0 - truth.mean()).mean() < 0.4 * np.abs(plain - truth.mean()).mean()


def test_a_transparent_picture_over_any_background_is_the_picture_with_it(toy_scene, camera):
    options = RenderOptions(ert=False, background=(1.0, 1.0, 1.0))
    picture = make(toy_scene, camera, options=options, transparent=True) / 255.0
    assert picture.shape == (18, 24, 4)
    assert 0.05 < (picture[..., 3] < 0.5).mean() < 0.95
    for background in ((1.0, 1.0, 1.0), (0.1, 0.7, 0.3)):
        over = picture[..., :3] * picture[..., 3:] + (1.0 - picture[..., 3:]) * np.array(background)
        opaque = make(toy_scene, camera, options=replace(options, background=background))
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


def test_transparent_samples_over_any_background_are_its_samples_as_light(toy_scene, camera):
    """Laid over a background as light: an edge that covers half of a pixel lets half of the light through."""

    class Solid:
        """The scene, wholly opaque or not there at all."""

        def __init__(self):
            self._renderer = create_renderer(toy_scene, backend="reference")

        def render(self, camera, options, cancel=None):
            frame = self._renderer.render(camera, replace(options, background=(0.0, 0.0, 0.0)))
            solid = frame.alpha > 0.5
            rgb = np.where(solid[..., None], frame.rgb.clip(0.0, 1.0), np.float32(options.background))
            return Frame(rgb, solid.astype(np.float32), frame.depth, frame.statistics)

    def light(srgb):
        return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)

    renderer: Any = Solid()
    options = RenderOptions(background=(1.0, 1.0, 1.0))
    picture = PictureMaker(options, samples=8, transparent=True).values(renderer, camera, CancelToken())
    partly = (picture[..., 3] > 0.2) & (picture[..., 3] < 0.8)
    assert partly.mean() > 0.05
    for background in ((1.0, 1.0, 1.0), (0.1, 0.7, 0.3)):
        over = light(picture[..., :3]) * picture[..., 3:] + (1.0 - picture[..., 3:]) * light(np.array(background))
        maker = PictureMaker(replace(options, background=background), samples=8)
        np.testing.assert_allclose(over, light(maker.values(renderer, camera, CancelToken())), atol=1e-4)


def test_false_colors_are_never_averaged(toy_scene, camera):
    one, many = (make(toy_scene, camera, options=RenderOptions(), heat_map="samples", samples=n) for n in (1, 8))
    np.testing.assert_array_equal(one, many)


def test_a_heat_map_is_made_by_a_renderer_that_counts_and_refused_by_others(toy_scene, camera):
    picture = make(toy_scene, camera, options=RenderOptions(), heat_map="samples")
    assert np.abs(picture.astype(int) - make(toy_scene, camera, options=RenderOptions())).max() > 50
    maker = PictureMaker(RenderOptions(), heat_map="lookups")
    with pytest.raises(BackendError, match="heat map"):
        maker.picture(create_renderer(toy_scene, backend="reference"), camera, CancelToken())
