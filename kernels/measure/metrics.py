"""How near a picture is to a photo: PSNR, SSIM and, where it is installed, LPIPS."""

import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.floating]


def psnr(
    picture: Picture,  # [H, W, 3] in [0, 1]
    photo: Picture,  # [H, W, 3] in [0, 1]
) -> float:
    """Peak signal-to-noise ratio in decibel, -10 log10(MSE); infinite for equal and for empty pictures.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shapes(picture, photo)
    error = float(np.mean(np.square(picture.astype(np.float64) - photo))) if picture.size else 0.0
    return psnr_of_mse(error)


def color_fitted_psnr(
    picture: Picture,  # [H, W, 3] in [0, 1]
    photo: Picture,  # [H, W, 3] in [0, 1]
) -> float:
    """PSNR of the right half, after an affine map of colours that fits the left half to the photo's.

    For photos whose exposure and white balance differ, after NeRF in the Wild (Martin-Brualla et al., CVPR 2021), which
    fits its embeddings to the left half.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shapes(picture, photo)
    half = picture.shape[1] // 2
    left, right = picture[:, :half].reshape(-1, 3), picture[:, half:]
    known = np.concatenate([left, np.ones((len(left), 1))], axis=1).astype(np.float64)
    # Towards the identity where the left half has too few colours to tell.
    ridge = 1e-3 * max(1, len(left)) * np.eye(4)
    wanted = np.concatenate([np.eye(3), np.zeros((1, 3))])
    shown = photo[:, :half].reshape(-1, 3).astype(np.float64)
    colors = np.linalg.solve(known.T @ known + ridge, known.T @ shown + ridge @ wanted)
    fitted = right.astype(np.float64) @ colors[:3] + colors[3]
    return psnr(np.clip(fitted, 0.0, 1.0), photo[:, half:])


def psnr_of_mse(error: float) -> float:
    """Peak signal-to-noise ratio in decibel of a mean squared error of colours in [0, 1]; infinite for 0."""
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def ssim_available() -> bool:
    """Whether scikit-image is installed."""
    return importlib.util.find_spec("skimage") is not None


def ssim(
    picture: Picture,  # [H, W, 3] in [0, 1]
    photo: Picture,  # [H, W, 3] in [0, 1]
) -> float:
    """Structural similarity as in Wang et al. 2004 and the NeRF papers: Gaussian window of sigma 1.5.

    The window has 11x11 pixels; smaller pictures have no SSIM.

    Raises:
        ImportError: scikit-image is not installed.
        ValueError: the shapes differ, or a side is shorter than 11 pixels.
    """
    metrics: Any = importlib.import_module("skimage.metrics")  # it has types, but not whole ones

    _check_shapes(picture, photo)
    similarity: Any = metrics.structural_similarity(
        picture.astype(np.float64),
        photo.astype(np.float64),
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def lpips_available() -> bool:
    """Whether the packages lpips and torch are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("lpips", "torch"))


def make_lpips() -> Callable[[Picture, Picture], float]:
    """LPIPS with the VGG network (Zhang et al. 2018), as in the NeRF papers.

    Returns:
        A function of picture and photo, both [H, W, 3] in [0, 1]; lower is nearer.

    Raises:
        ImportError: lpips or torch is not installed.
        OSError: the network's weights are not on this machine and cannot be fetched.
    """
    lpips: Any = importlib.import_module("lpips")
    torch: Any = importlib.import_module("torch")
    network = lpips.LPIPS(net="vgg", verbose=False).eval()

    def as_tensor(picture: Picture) -> Any:
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32))

    def distance(picture: Picture, photo: Picture) -> float:
        _check_shapes(picture, photo)
        with torch.no_grad():
            return float(network(as_tensor(picture), as_tensor(photo), normalize=True))

    return distance


def _check_shapes(picture: Picture, photo: Picture) -> None:
    if picture.shape != photo.shape:
        raise ValueError(f"expected pictures of one shape, got {picture.shape} and {photo.shape}")
