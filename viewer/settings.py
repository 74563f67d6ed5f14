"""What the user has chosen: the panels write it, the program reads it. Nothing here knows about windows."""

from dataclasses import dataclass, field, replace
from typing import Literal

from kilonerf.kernels import BackendChoice, Crop, RenderOptions
from kilonerf.kernels.options import RGB, PrecisionChoice
from kilonerf.model_io import Scene

from .compare.choice import CompareSettings
from .drawing.overlays import OverlayOptions
from .rendering.heat_maps import HeatMap, HeatScale
from .theme import BACKDROPS, ThemeName

Sampling = Literal["flying", "as trained"]
VideoFormat = Literal["mp4", "av1", "webm", "png"]

VIDEO_SIZES: tuple[tuple[int, int], ...] = ((640, 360), (800, 800), (1280, 720), (1920, 1080), (2560, 1440))
SCREENSHOT_SIZES: tuple[tuple[int, int], ...] = ((1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (2048, 2048))
VIDEO_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0)
BLUR_SAMPLES = 16
"""What blur begins with."""
LARGEST_VIDEO_SIDE = 7680


@dataclass
class VideoSettings:
    """How a recorded flight is rendered.

    Attributes:
        width: pixels; even, as video encoders want it.
        height: pixels; even.
        fps: pictures per second; 29.97 is 30000/1001.
        format: "mp4" (H.264), "av1" (in an mp4), "webm" (VP9), or "png": numbered files in a folder.
        as_seen: with the overlays and the heat map that are shown when the flight ends.
        samples: pictures that are averaged into one.
        shutter: degrees of the shutter: motion blur.
        lens_blur: diameter of the lens as a share of ``focus``: depth of field.
        focus: distance that is sharp, world units.
        panorama: 360 degrees in the equirectangular projection; width by height is 2 to 1 then.
    """

    width: int = 1280
    height: int = 720
    fps: float = 30.0
    format: VideoFormat = "mp4"
    as_seen: bool = False
    samples: int = 1
    shutter: float = 0.0
    lens_blur: float = 0.0
    focus: float = 1.0
    panorama: bool = False

    @property
    def aspect(self) -> float:
        """Width by height."""
        return self.size[0] / self.size[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the pictures."""
        return (self.width, self.width // 4 * 2) if self.panorama else (self.width, self.height)

    @property
    def suffix(self) -> str:
        """The ending of the files' names."""
        return {"mp4": ".mp4", "av1": ".mp4", "webm": ".webm", "png": ".png"}[self.format]

    def set_size(self, width: int, height: int) -> None:
        """Take a size, made even and brought into range."""
        self.width, self.height = (max(16, min(LARGEST_VIDEO_SIDE, 2 * round(side / 2))) for side in (width, height))


@dataclass
class ScreenshotSettings:
    """How a screenshot is made.

    Attributes:
        size: width and height in pixels; None: as in the window.
        samples: pictures that are averaged into one; None: as many as at rest in the window.
        transparent: without the background, and without overlays.
    """

    size: tuple[int, int] | None = None
    samples: int | None = None
    transparent: bool = False

    @property
    def as_shown(self) -> bool:
        """Whether the window's picture will do, if it has as many samples."""
        return self.size is None and not self.transparent


@dataclass
class CropSettings:
    """The box outside which nothing of the scene is rendered.

    Attributes:
        on: whether it holds.
        box: None: none has been chosen for this scene.
        handles: whether it is drawn, and can be changed with the mouse, while it holds.
    """

    on: bool = False
    box: Crop | None = None
    handles: bool = True


@dataclass
class ViewerSettings:
    """The state of every switch.

    Attributes:
        backend: what renders.
        precision: of the networks, as in :class:`~kilonerf.kernels.RenderOptions`.
        sampling: "flying" (no near or far end) or "as trained" (the scene's near, far and step).
        ess: empty-space skipping.
        ert: early ray termination.
        ert_threshold: transmittance below which a ray ends.
        background: RGB behind the scene; None: the scene's own.
        crop: the part of the scene that is rendered.
        backdrop: whether the window shows grey behind objects where no ``background`` is chosen.
        theme: the window's colors; None: as in the last run.
        heat_map: false colours in place of the scene's.
        heat_scale: from which value to which they go.
        automatic_resolution: size by target frame rate, refined at rest; else ``fixed_scale`` always.
        target_fps: pictures per second while the camera moves.
        fixed_scale: linear scale of every picture when not automatic.
        rest_samples: samples of each pixel that a view at rest ends with.
        interop: whether pictures of a CUDA device go to the window without the host, where that works.
        reprojection: whether the newest picture follows the camera until the next one is there.
        overlays: what is drawn over the picture.
        video: how recorded flights are rendered.
        screenshot: how screenshots are made.
        compare: what the picture is compared with.
        frame_guide: whether the video's frame is drawn over the picture, also when nothing is recorded.
        show_cube: whether the view cube is shown.
        show_panel: whether the side panel is shown.
        show_help: whether the list of keys is shown.
    """

    backend: BackendChoice = field(default_factory=BackendChoice)
    precision: PrecisionChoice = "auto"
    sampling: Sampling = "flying"
    ess: bool = True
    ert: bool = True
    ert_threshold: float = 0.01
    background: RGB | None = None
    crop: CropSettings = field(default_factory=CropSettings)
    backdrop: bool = True
    theme: ThemeName | None = None
    heat_map: HeatMap = "off"
    heat_scale: HeatScale = "fitted"
    automatic_resolution: bool = True
    target_fps: float = 20.0
    fixed_scale: float = 0.5
    rest_samples: int = 16
    interop: bool = True
    reprojection: bool = True
    overlays: OverlayOptions = field(default_factory=OverlayOptions)
    video: VideoSettings = field(default_factory=VideoSettings)
    screenshot: ScreenshotSettings = field(default_factory=ScreenshotSettings)
    compare: CompareSettings = field(default_factory=CompareSettings)
    frame_guide: bool = False
    show_cube: bool = True
    show_panel: bool = True
    show_help: bool = False

    def render_options(self, scene: Scene) -> RenderOptions:
        """The options for one frame of ``scene``."""
        base = RenderOptions.as_trained(scene) if self.sampling == "as trained" else RenderOptions()
        return replace(
            base.in_front_of(scene, self.background),
            ess=self.ess,
            ert=self.ert,
            ert_threshold=self.ert_threshold,
            precision=self.precision,
            crop=self.crop.box if self.crop.on else None,
        )

    def window_options(self, scene: Scene) -> RenderOptions:
        """The same for the window's picture; files never have its backdrop, which is for objects only."""
        options = self.render_options(scene)
        if self.background is not None or not self.backdrop or len(scene.levels) > 1:
            return options
        return options.before(BACKDROPS[self.theme or "dark"])
