"""Renders the views of a data set and compares them with its photos."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kilonerf.model_io import Camera, DatasetError
from kilonerf.model_io.datasets import View, load_image

from .. import Renderer, RenderOptions
from .metrics import Picture, color_fitted_psnr, make_lpips, psnr, ssim, ssim_available

SMALLEST_FOR_SSIM = 11  # pixels: its window


@dataclass(frozen=True)
class ViewResult:
    """How one view came out.

    Attributes:
        name: the view's name in its data set.
        psnr: in decibel; infinite where picture and photo are equal.
        ssim: None where scikit-image is missing or the picture is smaller than its window.
        lpips: None where it was not asked for.
        fitted_psnr: PSNR of the right half, with colours fitted on the left half; None where it was not asked for.
        samples: network evaluations that count, in the whole frame.
        evaluations: network evaluations made.
        samples_per_pixel: ``samples`` over the pixels of the picture.
        ms: wall time of the frame in milliseconds.
    """

    name: str
    psnr: float
    ssim: float | None
    lpips: float | None
    fitted_psnr: float | None
    samples: float
    evaluations: float
    samples_per_pixel: float
    ms: float


def evaluate(
    renderer: Renderer,
    views: Sequence[View],
    options: RenderOptions,
    *,
    downscale: int = 1,
    with_lpips: bool = False,
    with_fitted_colors: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[ViewResult]:
    """Render each view and compare it with its photo, one after the other.

    Both are float pictures in [0, 1]: the rendered one is clipped, not rounded to 8 bits; the photo is laid over
    ``options.background`` where it is transparent, and then made smaller by ``downscale``, as for training.

    Raises:
        DatasetError: a view has no photo, or it cannot be read, or is smaller than ``downscale``.
        ImportError, OSError: LPIPS was asked for and is not there.
    """
    lpips = make_lpips() if with_lpips else None
    with_ssim = ssim_available()
    for view in views:
        camera, photo = _smaller(view, load_image(view, options.background), downscale)
        began = clock()
        frame = renderer.render(camera, options)
        ms = 1000.0 * (clock() - began)
        picture: Picture = np.clip(frame.rgb, 0.0, 1.0)
        large_enough = min(picture.shape[:2]) >= SMALLEST_FOR_SSIM
        yield ViewResult(
            name=view.name,
            psnr=psnr(picture, photo),
            ssim=ssim(picture, photo) if with_ssim and large_enough else None,
            lpips=None if lpips is None else lpips(picture, photo),
            fitted_psnr=color_fitted_psnr(picture, photo) if with_fitted_colors else None,
            samples=frame.statistics.samples,
            evaluations=frame.statistics.evaluations,
            samples_per_pixel=frame.statistics.samples_per_ray,
            ms=ms,
        )


def _smaller(view: View, photo: Picture, factor: int) -> tuple[Camera, Picture]:
    """Blocks of ``factor`` squared pixels become their mean; what is left over on the right and below is cut off."""
    if factor == 1:
        return view.camera, photo
    camera = view.camera.downscaled(factor)
    width, height = camera.width, camera.height
    if not width or not height:
        size = f"{view.camera.width}x{view.camera.height}"
        raise DatasetError(f"{view.name}: expected at least {factor} pixels each way to downscale, got {size}")
    blocks = photo[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return camera, blocks.mean(axis=(1, 3), dtype=np.float32)


def mean_result(results: Sequence[ViewResult]) -> ViewResult:
    """The mean of every number over the views, as papers give it; None stays None."""

    def mean(numbers: Sequence[float | None]) -> float | None:
        known = [number for number in numbers if number is not None]
        return float(np.mean(known)) if known else None

    return ViewResult(
        name="mean",
        psnr=float(np.mean([result.psnr for result in results])),
        ssim=mean([result.ssim for result in results]),
        lpips=mean([result.lpips for result in results]),
        fitted_psnr=mean([result.fitted_psnr for result in results]),
        samples=float(np.mean([result.samples for result in results])),
        evaluations=float(np.mean([result.evaluations for result in results])),
        samples_per_pixel=float(np.mean([result.samples_per_pixel for result in results])),
        ms=float(np.mean([result.ms for result in results])),
    )
