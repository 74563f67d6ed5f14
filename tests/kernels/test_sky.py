"""The sky: its definition, and that every renderer shows it where a ray leaves the scene."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import load_scene, save_scene
from kilonerf.model_io.scene.sky import harmonics, sky_colors
from support.scenes import sky_scene, views

pytest.importorskip("kilonerf.kernels._cpu", reason="the native extension is not built")

SCENE = sky_scene()
assert SCENE.sky is not None
CAMERA = views(SCENE)["inside"]
AWAY = views(SCENE)["away"].moved(  # outside of everything, looking on outwards
    np.array([[0, 0, -1, 60], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
)


def test_harmonics_are_orthonormal() -> None:
    z = (np.arange(400) + 0.5) / 200 - 1
    turn = np.arange(40) * (2 * np.pi / 40)
    z, turn = (grid.ravel() for grid in np.meshgrid(z, turn))
    ring = np.sqrt(1 - z * z)
    basis = harmonics(np.stack([ring * np.cos(turn), ring * np.sin(turn), z], -1))
    np.testing.assert_allclose(4 * np.pi * basis.T @ basis / len(z), np.eye(16), atol=1e-4)


def test_the_sky_is_a_polynomial_of_the_unit_direction_clipped() -> None:
    sky = np.zeros((16, 3), np.float32)
    sky[0] = 2.0
    sky[2] = (1.0, -1.0, 5.0)  # z
    up, level = sky_colors(sky, np.array([[0, 0, 7], [0.3, -4, 0]], np.float32))
    np.testing.assert_allclose(level, 2 * 0.28209479, rtol=1e-6)
    np.testing.assert_allclose(up, [1.0, 0.07558707, 1.0], rtol=1e-5)
    assert sky_colors(sky, np.array([0, 0, -1], np.float32))[2] == 0


@pytest.mark.parametrize("path", [path.name for path in available_cpu_paths()])
def test_every_code_path_has_the_very_same_sky(path: str) -> None:
    renderer = CpuRenderer(SCENE, threads=2, path=path)
    for camera in (AWAY, replace(AWAY, width=131, height=77)):
        frame = renderer.render(camera, RenderOptions.as_trained(SCENE))
        expected = ReferenceRenderer(SCENE).render(camera, RenderOptions.as_trained(SCENE))
        assert frame.statistics.rays_hit == 0
        np.testing.assert_array_equal(frame.rgb, expected.rgb)
        np.testing.assert_array_equal(frame.rgb, sky_colors(SCENE.sky, ray_directions(camera)))  # pyright: ignore


@pytest.mark.parametrize("ert", [True, False])
def test_the_sky_is_behind_what_is_transparent(ert: bool) -> None:
    options = replace(RenderOptions.as_trained(SCENE), ert=ert, precision="float32")
    sky = sky_colors(SCENE.sky, ray_directions(CAMERA))  # pyright: ignore
    black, shown = (
        CpuRenderer(SCENE, threads=2).render(CAMERA, how) for how in (options.before((0.0, 0.0, 0.0)), options)
    )
    expected = ReferenceRenderer(SCENE).render(CAMERA, options)
    np.testing.assert_allclose(shown.rgb, expected.rgb, atol=2e-4)
    np.testing.assert_array_equal(shown.alpha, black.alpha)
    np.testing.assert_array_equal(shown.depth, black.depth)
    rest = 1 - shown.alpha[..., None]
    assert 0.2 < (rest > 0.01).mean() < 0.95
    ended = ert & (rest < options.ert_threshold)
    np.testing.assert_allclose(
        shown.rgb - black.rgb, rest * np.where(ended, SCENE.background, sky), atol=3e-6 if not ert else 1e-4
    )


def test_a_background_that_was_asked_for_is_shown_instead() -> None:
    renderer = CpuRenderer(SCENE, threads=1)
    plain = CpuRenderer(replace(SCENE, sky=None), threads=1)
    asked = RenderOptions.as_trained(SCENE, background=(0.0, 1.0, 0.0))
    assert RenderOptions.as_trained(SCENE).sky
    assert not asked.sky
    np.testing.assert_array_equal(renderer.render(CAMERA, asked).rgb, plain.render(CAMERA, asked).rgb)
    shown = RenderOptions.as_trained(SCENE)  # a scene without a sky has its background
    np.testing.assert_array_equal(
        plain.render(CAMERA, shown).rgb, plain.render(CAMERA, shown.before(SCENE.background)).rgb
    )
    assert not np.array_equal(renderer.render(CAMERA, shown).rgb, plain.render(CAMERA, shown).rgb)


def test_a_file_s_sky_is_rendered(tmp_path: Path) -> None:
    save_scene(SCENE, tmp_path / "a.knf")
    options = RenderOptions.as_trained(SCENE)
    frames = [
        CpuRenderer(scene, threads=1).render(CAMERA, options) for scene in (SCENE, load_scene(tmp_path / "a.knf"))
    ]
    np.testing.assert_array_equal(frames[0].rgb, frames[1].rgb)


def test_evaluations_are_counted_by_level() -> None:
    options = RenderOptions.as_trained(SCENE, ert=False, precision="float32")
    for camera in (CAMERA, AWAY):
        expected, found = (
            renderer.render(camera, options).statistics
            for renderer in (ReferenceRenderer(SCENE), CpuRenderer(SCENE, threads=2))
        )
        assert found.evaluations_by_level == expected.evaluations_by_level
        assert sum(found.evaluations_by_level) == found.evaluations
        assert len(found.evaluations_by_level) == 3
    assert min(CpuRenderer(SCENE).render(CAMERA, options).statistics.evaluations_by_level) > 0
