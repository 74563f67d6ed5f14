import math
import sys

import numpy as np
import pytest

from kilonerf.kernels.measure.metrics import color_fitted_psnr, lpips_available, psnr, ssim, ssim_available


def test_psnr_of_hand_values():
    black = np.zeros((4, 5, 3), np.float32)
    assert psnr(black, black) == math.inf
    assert psnr(black, np.ones_like(black)) == 0.0
    assert psnr(black, np.full_like(black, 0.1)) == pytest.approx(20.0)
    one_pixel = black.copy()
    one_pixel[0, 0, 0] = 1.0  # MSE is 1 / 60
    assert psnr(one_pixel, black) == pytest.approx(10 * math.log10(60))


def test_psnr_takes_no_broadcast():
    with pytest.raises(ValueError, match="one shape"):
        psnr(np.zeros((4, 5, 3)), np.zeros((1, 5, 3)))


def test_colors_are_fitted_on_the_left_half_and_measured_on_the_right():
    picture = np.random.default_rng(0).random((20, 31, 3)) * 0.6 + 0.1
    exposed = picture @ np.diag([1.2, 1.0, 0.8]) + 0.03
    assert psnr(picture, exposed) < 25
    assert color_fitted_psnr(picture, exposed) > 45
    left = exposed.copy()
    left[:, 15:] = picture[:, 15:]  # only the left half is exposed otherwise: that says the wrong colours
    assert color_fitted_psnr(picture, left) < 25
    assert color_fitted_psnr(np.full((5, 4, 3), 0.5), np.full((5, 4, 3), 0.5)) > 60  # one colour tells nothing
    assert color_fitted_psnr(np.zeros((0, 0, 3)), np.zeros((0, 0, 3))) == math.inf


def test_ssim_of_flat_pictures_is_their_luminance_term():
    a, b = np.full((16, 16, 3), 0.2), np.full((16, 16, 3), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4))
    assert ssim(a, a) == pytest.approx(1.0)


def test_ssim_of_one_window_follows_the_paper():
    rng = np.random.default_rng(0)
    a, b = rng.random((11, 11, 3)), rng.random((11, 11, 3))
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights)[..., None] / weights.sum() ** 2
    mean_a, mean_b = (window * a).sum((0, 1)), (window * b).sum((0, 1))
    var_a, var_b = (window * a * a).sum((0, 1)) - mean_a**2, (window * b * b).sum((0, 1)) - mean_b**2
    covariance = (window * a * b).sum((0, 1)) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2)
    assert ssim(a, b) == pytest.approx((luminance * structure).mean(), abs=1e-12)


def test_what_is_not_installed_is_known(monkeypatch):
    assert ssim_available()
    for name in ("skimage", "lpips"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not ssim_available()
    assert not lpips_available()
