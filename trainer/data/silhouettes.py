"""Which pixels show the object: by the photos' transparency, or by a plain background."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera

from .photos import Photos

_LONGEST_SIDE = 256  # pixels of a silhouette
_OPAQUE = 8  # alpha of 255 that counts as object
_PLAIN = 16  # of 255: a background's colours are so near to each other in each channel
_PLAIN_BORDER = 0.6  # share of a picture's border that must be background: the object may be cut off


@dataclass(frozen=True)
class Silhouette:
    """One view's silhouette.

    Attributes:
        camera: of the silhouette's pixels.
        sums: int32 [H + 1, W + 1], the number of object pixels above and to the left (summed-area table).
        complete: whether no object touches the picture's border: then there is none outside of it either.
    """

    camera: Camera
    sums: NDArray[np.int32]
    complete: bool

    def look_at(
        self, columns: NDArray[np.float64], rows: NDArray[np.float64], depth: NDArray[np.float64], radius: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What this view says about spheres.

        Args:
            columns: of their projected centres, [P].
            rows: likewise, [P].
            depth: z-depth of their centres, [P].
            radius: of all spheres.

        Returns:
            visible: whether this view can say anything about the centre, [P].
            background: whether there is no object in the whole image of the sphere, [P].
        """
        camera = self.camera
        in_front = depth > 1.001 * radius
        # Half the size of an upright rectangle around the sphere's image; off the axis the image is a longer ellipse.
        divisor = np.where(in_front, depth - radius, np.inf)
        slant_x = np.sqrt(1 + ((columns - camera.cx) / camera.fx) ** 2)
        slant_y = np.sqrt(1 + ((rows - camera.cy) / camera.fy) ** 2)
        half_x, half_y = camera.fx * radius / divisor * slant_x, camera.fy * radius / divisor * slant_y
        left, right = np.floor(columns - half_x), np.ceil(columns + half_x)
        top, bottom = np.floor(rows - half_y), np.ceil(rows + half_y)
        width, height = camera.width, camera.height
        x0, x1 = (np.clip(edge, 0, width).astype(np.intp) for edge in (left, right))
        y0, y1 = (np.clip(edge, 0, height).astype(np.intp) for edge in (top, bottom))
        sums = self.sums
        empty = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] == 0
        if self.complete:
            around = np.abs(depth) <= 1.001 * radius  # at the camera itself: its image is everywhere
            return np.ones(len(depth), np.bool_), (empty | (depth < 0)) & ~around
        visible = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height) & (depth > 0)
        whole = in_front & (left >= 0) & (right <= width) & (top >= 0) & (bottom <= height)
        return visible, empty & whole


def silhouettes(photos: Photos, most: int, background: tuple[float, float, float] | None = None) -> list[Silhouette]:
    """The silhouettes of at most ``most`` views, evenly chosen; [] if the photos have none.

    Photos have silhouettes by their transparency or, where they are opaque, if nearly all of them have the same plain
    colour along their border.

    Args:
        photos: the pictures.
        most: number of views.
        background: RGB in [0, 1] of the plain background, if it is known.
    """
    step = max(1, -(-len(photos) // most))
    chosen = range(0, len(photos), step)
    masks: list[NDArray[np.bool_]]
    if photos.has_alpha:
        masks = [photos.image(view)[..., 3] >= _OPAQUE for view in chosen]
    else:
        plain = _plain_color(photos, chosen) if background is None else np.rint(np.multiply(background, 255))
        masks = [] if plain is None else [_unlike(photos.image(view), plain) for view in chosen]
    # A view without background, or without object, says nothing about where the object ends.
    share = np.array([mask.mean() for mask in masks])
    if not len(masks) or not 0 < np.median(share) < 0.98:
        return []
    return [_silhouette(mask, photos.cameras[view]) for mask, view in zip(masks, chosen, strict=True) if mask.any()]


def plain_background(photos: Photos) -> tuple[float, float, float] | None:
    """The plain colour behind the object of opaque photos, RGB in [0, 1]; None where there is none."""
    color = None if photos.has_alpha else _plain_color(photos, range(len(photos)))
    if color is None:
        return None
    red, green, blue = (float(channel) / 255 for channel in color)
    return red, green, blue


def _unlike(pixels: NDArray[np.uint8], color: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels [..., 3 or 4] are of another colour."""
    difference = np.abs(pixels[..., :3].astype(np.int16) - color.astype(np.int16))
    return (difference > _PLAIN).max(axis=-1)


def _plain_color(photos: Photos, chosen: range) -> NDArray[np.float64] | None:
    """The colour that most of nearly every picture's border has, [3] of 255, or None."""
    borders = []
    for view in chosen:
        image = photos.image(view)[..., :3]
        borders.append(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]))
    color = np.median(np.concatenate(borders), axis=0)
    plain = [1 - _unlike(border, color).mean() >= _PLAIN_BORDER for border in borders]
    return color if np.mean(plain) >= 0.95 else None


def _silhouette(mask: NDArray[np.bool_], camera: Camera) -> Silhouette:
    """Blocks of pixels become one, object if any of them is: a smaller silhouette is never a narrower one."""
    block = max(1, -(-max(mask.shape) // _LONGEST_SIDE))
    height, width = -(-mask.shape[0] // block), -(-mask.shape[1] // block)
    padded = np.zeros((height * block, width * block), np.bool_)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    small = padded.reshape(height, block, width, block).any(axis=(1, 3))
    sums = np.zeros((height + 1, width + 1), np.int32)
    sums[1:, 1:] = small.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    lens = {key: getattr(camera, key) / block for key in ("fx", "fy", "cx", "cy")}
    complete = not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    return Silhouette(replace(camera, width=width, height=height, **lens), sums, complete)
