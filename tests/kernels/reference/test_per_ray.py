"""What each ray cost, by the reference: samples and first network."""

import numpy as np
import pytest

from kilonerf.kernels import PER_RAY, PICTURE, RenderOptions
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.model_io import Camera
from support.rendering import rays_by_definition
from support.scenes import random_scene, views


@pytest.mark.parametrize("ess", [True, False])
def test_samples_and_networks_of_each_ray(toy_scene, ess) -> None:
    camera = views(toy_scene)["outside"].resized(40, 31)
    options = RenderOptions.as_trained(toy_scene, ess=ess, ert=False)
    frame = ReferenceRenderer(toy_scene).render(camera, options, PICTURE | PER_RAY)
    counts, first = rays_by_definition(toy_scene, camera, options)
    assert frame.samples is not None
    assert frame.network is not None
    assert frame.samples.dtype == frame.network.dtype == np.int32
    np.testing.assert_array_equal(frame.samples, counts)
    np.testing.assert_array_equal(frame.network, first)
    assert len(np.unique(first)) > 5
    assert frame.statistics.samples == counts.sum()
    assert frame.statistics.rays_hit == (counts > 0).sum()


def test_early_termination_takes_fewer_samples_and_the_same_first_network(toy_scene) -> None:
    camera = views(toy_scene)["outside"].resized(40, 31)
    renderer = ReferenceRenderer(toy_scene)
    whole, ended = (
        renderer.render(camera, RenderOptions.as_trained(toy_scene, ert=ert, ert_threshold=0.5), PICTURE | PER_RAY)
        for ert in (False, True)
    )
    assert whole.samples is not None
    assert ended.samples is not None
    assert (ended.samples <= whole.samples).all()
    assert (ended.samples < whole.samples).sum() > 100
    assert ended.samples.sum() == ended.statistics.samples
    np.testing.assert_array_equal(ended.network, whole.network)


def test_the_picture_is_the_same_and_has_them_only_if_asked_for(toy_scene) -> None:
    camera = views(toy_scene)["inside"].resized(12, 9)
    renderer = ReferenceRenderer(toy_scene)
    plain, counted = (renderer.render(camera, RenderOptions(), outputs) for outputs in (PICTURE, PICTURE | PER_RAY))
    for name in ("rgb", "alpha", "depth"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(counted, name))
    assert plain.samples is None
    assert plain.network is None
    assert renderer.outputs == PICTURE | PER_RAY


@pytest.mark.parametrize("size", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_pictures_of_any_size_and_rays_that_meet_nothing(size) -> None:
    scene = random_scene(dropped=1.0)
    camera = Camera.from_matrix(views(scene)["outside"].matrix, *size, fx=60)
    frame = ReferenceRenderer(scene).render(camera, RenderOptions(), PICTURE | PER_RAY)
    assert frame.samples is not None
    assert frame.network is not None
    assert frame.samples.shape == frame.network.shape == size[::-1]
    assert not frame.samples.any()
    assert (frame.network == -1).all()
    assert frame.statistics.rays_hit == 0
