"""What is learnt about each photo beside the scene: its colours (exposure, white balance) and its pose.

A telephone measures exposure and white balance anew for each photo, and poses from COLMAP or ARKit are a little wrong.
Without corrections the scene pays for both, with fog that has another colour from each side and with blurred edges.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch

from kilonerf.model_io import Camera

from ..ranges import Positive, Range
from .photos import RayBatch
from .ray_sampling import RaySamples

_BETAS, _EPSILON = (0.9, 0.99), 1e-12
_TOWARDS_NOTHING = 1e-3  # weight of the corrections' squares in a batch's mean error
_LAST = 0.1  # of the rates, at the end


@dataclass(frozen=True)
class PhotoSettings:
    """What is taken to differ from photo to photo."""

    # Learn an affine colour for each photo: for photos whose exposure or white balance differ visibly.
    colors: bool = False
    # Learning rate of these.
    color_rate: Positive = 3e-3
    # Refine the cameras' poses while the teacher learns.
    poses: bool = False
    # Learning rate of the poses, at the beginning: radians, and parts of the cameras' distance.
    pose_rate: Positive = 1e-4
    # Photos that are blurred, compared with those taken near them, count less: from this part of their sharpness on
    # downwards. 0: all count the same. Left out: 0.5 for captures.
    sharpness: Annotated[float | None, Range(0)] = None

    def of_capture(self, capture: bool) -> "PhotoSettings":
        """With nothing left out."""
        sharpness = 0.5 if capture else 0.0
        return self if self.sharpness is not None else replace(self, sharpness=sharpness)


class PhotoCorrections:
    """The corrections of V photos. Their mean is none, so that the scene has the photos' mean colours and place.

    Args:
        settings: with nothing left out.
        weights: of the photos in the error, float32 [V].
        distance: of the cameras from what they look at, world units.
        steps: in which they are learnt.
        device: where they are.
    """

    def __init__(
        self,
        settings: PhotoSettings,
        weights: torch.Tensor,
        *,
        distance: float = 1.0,
        steps: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self._settings, self._distance, self._steps = settings, distance, steps
        self.weights = weights.to(device)
        count = len(weights)
        shapes = {"colors": (count, 3, 4)} if settings.colors else {}
        shapes |= {"poses": (count, 6)} if settings.poses else {}
        self._learnt = {name: torch.zeros(shape, device=device, requires_grad=True) for name, shape in shapes.items()}
        self._first = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}
        self._second = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}

    @property
    def refines_poses(self) -> bool:
        """Whether :meth:`attached` does anything."""
        return "poses" in self._learnt

    def moved(self, batch: RayBatch) -> RayBatch:
        """The batch as the refined cameras take it; without gradients."""
        if not self.refines_poses:
            return batch
        turn, shift = self._poses(batch.views)
        return replace(
            batch,
            origins=(batch.origins + shift).detach(),
            directions=rotated(turn, batch.directions).detach(),
        )

    def attached(self, batch: RayBatch, samples: RaySamples, scale: torch.Tensor) -> torch.Tensor:
        """The samples' points, with the gradients that tell how the cameras should move.

        Args:
            batch: from :meth:`moved`.
            samples: of its rays.
            scale: coordinates of ``samples.points`` in a world unit, [S, 3].
        """
        if not self.refines_poses:
            return samples.points
        turn, shift = self._poses(batch.views)
        turned = torch.linalg.cross(turn - turn.detach(), batch.directions)  # zero, but for the gradient
        ray = torch.repeat_interleave(torch.arange(len(batch.views), device=shift.device), samples.offsets.diff())
        moved = (shift - shift.detach())[ray] + samples.depth[:, None] * turned[ray]
        return samples.points + moved * scale

    def seen(self, batch: RayBatch, rgb: torch.Tensor) -> torch.Tensor:
        """The scene's colours [R, 3] as the rays' photos show them."""
        return rgb if "colors" not in self._learnt else applied(self._centred("colors"), batch.views, rgb)

    def penalty(self) -> torch.Tensor | float:
        """To be added to the mean error of a batch."""
        if "colors" not in self._learnt:
            return 0.0
        return _TOWARDS_NOTHING * self._learnt["colors"].square().sum(dim=(1, 2)).mean()

    @torch.no_grad()
    def step(self, step: int) -> None:
        """One step of Adam (Kingma and Ba 2015); the gradients are forgotten."""
        rates = {"colors": self._settings.color_rate, "poses": self._settings.pose_rate}
        falls = _LAST ** (step / max(1, self._steps))
        for name, values in self._learnt.items():
            if values.grad is None:
                continue
            first, second = self._first[name], self._second[name]
            first.lerp_(values.grad, 1 - _BETAS[0])
            second.lerp_(values.grad.square(), 1 - _BETAS[1])
            root = (second / (1 - _BETAS[1] ** (step + 1))).sqrt() + _EPSILON
            values -= rates[name] * falls * (first / (1 - _BETAS[0] ** (step + 1))) / root
            values.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors to resume from."""
        parts = {"": self._learnt, ".first": self._first, ".second": self._second}
        return {
            f"photos.{name}{part}": values.detach() for part, all_ in parts.items() for name, values in all_.items()
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        for part, values in {"": self._learnt, ".first": self._first, ".second": self._second}.items():
            for name, tensor in values.items():
                tensor.copy_(state[f"photos.{name}{part}"])

    @torch.no_grad()
    def product(self) -> dict[str, torch.Tensor]:
        """What was learnt: ``photos.colors`` [V, 3, 4] to add to the identity, ``photos.poses`` [V, 6]: a rotation
        vector in radians, and a shift in world units.
        """  # noqa: D205
        product = {}
        if "colors" in self._learnt:
            product["photos.colors"] = self._centred("colors").clone()
        if self.refines_poses:
            turn, shift = self._poses(torch.arange(len(self.weights)))
            product["photos.poses"] = torch.cat([turn, shift], dim=1).clone()
        return product

    def _centred(self, name: str) -> torch.Tensor:
        values = self._learnt[name]
        return values - values.mean(dim=0)

    def _poses(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation vectors and shifts of rays, [R, 3] each."""
        turn, shift = self._centred("poses")[views].split(3, dim=1)
        return turn, shift * self._distance


def applied(colors: torch.Tensor, views: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Colours [R, 3] through the affine colours [V, 3, 4] of photos ``views`` [R]."""
    own = colors[views]
    return rgb + (own[:, :, :3] @ rgb[:, :, None])[:, :, 0] + own[:, :, 3]


def rotated(turn: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [R, 3] rotated by rotation vectors [R, 3] (Rodrigues' formula)."""
    angle = turn.norm(dim=1, keepdim=True)
    axis = turn / angle.clamp(min=1e-12)
    along = (axis * vectors).sum(dim=1, keepdim=True)
    across = torch.linalg.cross(axis, vectors)
    return vectors * angle.cos() + across * angle.sin() + axis * along * (1 - angle.cos())


def refined_camera(camera: Camera, pose: torch.Tensor) -> Camera:
    """A camera as ``photos.poses`` of its photo moves it, [6]."""
    matrix = camera.matrix.copy()
    turn = pose[:3].double().expand(3, 3)
    matrix[:3, :3] = rotated(turn, torch.from_numpy(matrix[:3, :3].T.copy())).numpy().T
    matrix[:3, 3] += pose[3:].double().numpy()
    return camera.moved(matrix)
