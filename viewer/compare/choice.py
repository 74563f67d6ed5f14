"""What the window's picture is compared with: the choice, and the shot that it makes of the window's own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kilonerf.kernels import BACKENDS
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.model_io import BackendError, Scene, UsageError

from ..rendering.heat_maps import HeatScale
from ..rendering.resolution import Shot

Against = Literal["off", "ess", "ert", "precision", "path", "backend", "scene", "photo"]
GAINS = (1.0, 4.0, 16.0, 64.0)


@dataclass
class CompareSettings:
    """What is on the right of the divider.

    Attributes:
        against: what the other picture differs in: a switch is set the other way; "off": nothing is compared.
        path: code path of the CPU backend, for "path".
        backend: for "backend".
        scene: the file, for "scene".
        divider: where the divider is, as a share of the picture's width.
        difference: whether the right side shows the difference of both, not the other picture.
        gain: the difference is bright from 1 / gain on.
    """

    against: Against = "off"
    path: str = "auto"
    backend: str = "reference"
    scene: Path | None = None
    divider: float = 0.5
    difference: bool = False
    gain: float = 16.0


def parse_compare(text: str) -> CompareSettings:
    """What ``--compare`` names: a switch, the photo, a backend, a code path of the CPU, or a scene's file.

    Raises:
        UsageError: nothing of that name.
    """
    if text in ("ess", "ert", "precision", "photo"):
        return CompareSettings(text)
    if text in BACKENDS and text != "auto":
        return CompareSettings("backend", backend=text)
    try:
        paths = [path.name for path in available_cpu_paths()]
    except BackendError:
        paths = []
    if text in paths:
        return CompareSettings("path", path=text)
    if text.endswith(".knf") and Path(text).is_file():
        return CompareSettings("scene", scene=Path(text))
    known = ", ".join(("ess", "ert", "precision", "photo", "cuda", "cpu", "reference", *paths))
    raise UsageError(f"--compare: expected {known}, or the file of another scene, got {text}")


def other_shot(shot: Shot, settings: CompareSettings, scene: Scene | None, scale: HeatScale | None) -> Shot | None:
    """What the other side shows for the camera of ``shot``; None: nothing can be rendered for it.

    Args:
        shot: the window's own.
        settings: what is compared.
        scene: the other scene, once it has been read.
        scale: of the false colours that the window's picture was fitted to.
    """
    options = shot.options
    if scale is not None and shot.heat_scale == "fitted":
        shot = replace(shot, heat_scale=scale)
    if settings.against == "ess":
        return replace(shot, options=replace(options, ess=not options.ess))
    if settings.against == "ert":
        return replace(shot, options=replace(options, ert=not options.ert))
    if settings.against == "precision":
        other = "auto" if options.precision == "float32" else "float32"
        return replace(shot, options=replace(options, precision=other))
    if settings.against == "path":
        return replace(shot, backend=replace(shot.backend, name="cpu", device=None, cpu_path=settings.path))
    if settings.against == "backend":
        path = shot.backend.cpu_path if settings.backend == "cpu" else "auto"
        return replace(shot, backend=replace(shot.backend, name=settings.backend, device=None, cpu_path=path))
    if settings.against == "scene":
        return None if scene is None else replace(shot, scene=scene)
    return None


def side_names(shot: Shot, settings: CompareSettings, devices: tuple[str, str], photo: str) -> tuple[str, str]:
    """What the two sides are called.

    Args:
        shot: the window's own.
        settings: what is compared.
        devices: what made the two pictures, as renderers say it; "" as long as that is not known.
        photo: name of the photo.
    """
    options = shot.options
    if settings.against in ("ess", "ert"):
        word, on = settings.against.upper(), options.ess if settings.against == "ess" else options.ert
        return f"{word} {'on' if on else 'off'}", f"{word} {'off' if on else 'on'}"
    if settings.against == "photo":
        return "Rendered", f"Photo {photo}"
    if settings.against == "scene":
        return "This scene", settings.scene.stem if settings.scene is not None else "no scene"
    unknown = {
        "precision": ("float32", "Automatic") if options.precision == "float32" else ("Automatic", "float32"),
        "path": (shot.backend.cpu_path, settings.path),
        "backend": (shot.backend.name, settings.backend),
    }.get(settings.against, ("A", "B"))
    first, second = (device.partition(",")[0] or name for device, name in zip(devices, unknown, strict=True))
    return first, second
