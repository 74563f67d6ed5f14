"""Photos and cameras of a training, with what was learnt about them: :mod:`..data.corrections`, :mod:`..data.sky`."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from kilonerf.model_io import Camera, TrainingError

from ..data.bounds import middle_of_views
from ..data.corrections import PhotoCorrections, PhotoSettings, refined_camera
from ..data.photos import Photos
from ..data.sharpness import photo_weights
from ..data.sky import OPEN, Sky
from ..settings import TrainingSettings
from .subject import Subject

_NAMED = 5  # blurred photos


class CorrectedPhotos:
    """What stages learn from.

    Args:
        subject: whose photos.
        settings: with nothing left out.
        device: where corrections are.
    """

    def __init__(self, subject: Subject, settings: PhotoSettings, device: torch.device | str = "cpu") -> None:
        self._subject, self._settings, self._device = subject, settings, device
        self._learnt: dict[str, torch.Tensor] = {}

    @cached_property
    def weights(self) -> torch.Tensor:
        """Of the photos, in the error, float32 [V]."""
        return torch.from_numpy(photo_weights(self._given, self._settings.sharpness or 0.0)).to(self._device)

    @property
    def colors(self) -> torch.Tensor | None:
        """Affine colours of the photos, to add to the identity, [V, 3, 4]; None: not learnt."""
        colors = self._learnt.get("photos.colors")
        return None if colors is None else colors.to(self._device)

    @property
    def photos(self) -> Photos:
        """With refined cameras.

        Raises:
            TrainingError: there are none.
        """
        given = self._given
        poses = self._learnt.get("photos.poses")
        return given if poses is None else given.placed(_refined(given.cameras, poses))

    @property
    def cameras(self) -> list[Camera]:
        """Of the data set's views, refined."""
        cameras = [view.camera for view in self._subject.dataset.views]
        poses = self._learnt.get("photos.poses")
        return cameras if poses is None else _refined(cameras, poses)

    def corrections(self, steps: int) -> PhotoCorrections:
        """To learn in so many steps."""
        distance = middle_of_views(self._given.cameras)[1] or 1.0
        return PhotoCorrections(self._settings, self.weights, distance=distance, steps=steps, device=self._device)

    def take(self, product: Mapping[str, torch.Tensor]) -> None:
        """What :meth:`.PhotoCorrections.product` gave, maybe among other tensors."""
        self._learnt = {name: tensor for name, tensor in product.items() if name.startswith("photos.")}

    @property
    def sky(self) -> Sky | None:
        """What is behind them, if anything was found to be."""
        sky = self._learnt.get("photos.sky")
        return None if sky is None else Sky(sky.numpy(), float(self._learnt["photos.sky_share"]))

    def find_sky(self, settings: TrainingSettings, known: Sky | None = None) -> dict[str, torch.Tensor]:
        """Look for a sky, where there may be one: from then on it is :attr:`sky`. Returns what :meth:`take` takes.

        Args:
            settings: of the run.
            known: taken in place of one that the photos show.
        """
        wanted, given = settings.sky if self._subject.bounds.levels > 1 else "off", self._subject.photos
        if wanted == "auto" and settings.background is not None:
            wanted = "off"
        if wanted == "auto" and (given is None or given.has_alpha or self._subject.dataset.background is not None):
            wanted = "off" if known is None else "on"
        found: dict[str, torch.Tensor] = {}
        if wanted != "off":
            sky = known or Sky.of(self._given, settings.seed)
            found["photos.sky_share"] = torch.tensor(sky.share)
            if wanted == "on" or sky.share > OPEN:
                found["photos.sky"] = torch.from_numpy(sky.coefficients)
        self.take(self._learnt | found)
        return found

    def said(self) -> Iterator[str]:
        """Lines for the user."""
        weights = self.weights.cpu().numpy()
        blurred = np.flatnonzero(weights < 1)
        if len(blurred):
            names = [f"{self._given.names[view]} ({weights[view]:.0%})" for view in blurred[:_NAMED]]
            more = ", ..." if len(blurred) > _NAMED else ""
            said = "photo is blurred and counts" if len(blurred) == 1 else "photos are blurred and count"
            yield f"{len(blurred)} {said} less: {', '.join(names)}{more}"
        summary = self.summary()
        if (share := self._learnt.get("photos.sky_share")) is not None:
            said = "a sky is" if self.sky is not None else "no sky (--sky on for one all the same):"
            yield f"{said} behind {float(share):.0%} of the photos' pixels"
        if "gains" in summary:
            low, high = summary["gains"]
            yield f"exposure: photos are {low:.2f} to {high:.2f} times as bright as the scene"
        if "turned_degrees" in summary:
            yield (
                f"poses: turned by {summary['turned_degrees'][0]:.2f} degrees in the median, "
                f"{summary['turned_degrees'][1]:.2f} at most; moved by {summary['moved'][0]:.2%} of the cameras' "
                f"distance in the median, {summary['moved'][1]:.2%} at most"
            )

    def summary(self) -> dict[str, Any]:
        """For the scene's provenance: the sky's share; least and greatest gain; median and most of poses' moves."""
        found: dict[str, Any] = {}
        if self.sky is not None:
            found["sky_share"] = round(self.sky.share, 4)
        if (colors := self._learnt.get("photos.colors")) is not None:
            gains = 1 + colors[:, [0, 1, 2], [0, 1, 2]].mean(dim=1)
            found["gains"] = [round(float(gains.min()), 4), round(float(gains.max()), 4)]
        if (poses := self._learnt.get("photos.poses")) is not None:
            distance = middle_of_views(self._given.cameras)[1] or 1.0
            turned, moved = poses[:, :3].norm(dim=1).rad2deg(), poses[:, 3:].norm(dim=1) / distance
            found["turned_degrees"] = [round(float(turned.median()), 4), round(float(turned.max()), 4)]
            found["moved"] = [round(float(moved.median()), 6), round(float(moved.max()), 6)]
        return found

    @property
    def _given(self) -> Photos:
        if self._subject.photos is None:
            raise TrainingError("photos: expected some to learn from, got none")
        return self._subject.photos


def _refined(cameras: list[Camera], poses: torch.Tensor) -> list[Camera]:
    return [refined_camera(camera, pose) for camera, pose in zip(cameras, poses.cpu(), strict=True)]
