"""How pictures are made: backend, precision, sampling, ESS, early termination, resolution, background, heat maps."""

from dataclasses import replace

from imgui_bundle import imgui

from kilonerf.kernels import BACKENDS, Output
from kilonerf.kernels.options import PrecisionChoice
from kilonerf.model_io import Scene

from ..rendering.accumulation import SAMPLE_COUNTS
from ..rendering.heat_maps import COUNTS, NEEDED, HeatMap, Range
from ..settings import ViewerSettings
from . import widgets

BACKEND_NAMES = {
    "auto": "Automatic",
    "cuda": "CUDA (NVIDIA)",
    "cpu": "CPU (C++)",
    "reference": "Reference (NumPy, slow)",
}
PRECISION_NAMES: dict[PrecisionChoice, str] = {
    "auto": "Automatic",
    "float32": "float32",
    "float16": "16 bits",
    "int8": "8 bits",
}
HEAT_MAP_NAMES: dict[HeatMap, str] = {
    "off": "Picture",
    "depth": "Depth",
    "alpha": "Opacity",
    "normals": "Normals",
    "samples": "Samples per ray",
    "networks": "First network",
    "lookups": "Voxels looked up",
}
SAMPLING_NAMES = {"flying": "Flying", "as trained": "As trained"}


class RenderPanel:
    """The switches of :class:`~kilonerf.kernels.RenderOptions`, and the choice of resolution.

    Attributes:
        shown_range: the values at the ends of the scale of the false colours that are shown.
    """

    def __init__(self, settings: ViewerSettings) -> None:
        self._settings = settings
        self.shown_range: Range | None = None

    def draw(self, scene: Scene | None, outputs: frozenset[Output]) -> None:
        """Draw the section; ``outputs`` are those of what renders."""
        if not widgets.section("Rendering"):
            return
        self._heat_map(outputs)
        self._backend()
        self._switches()
        self._background(scene)
        if widgets.subsection("Advanced", "Rendering"):
            self._precision()
            self._sampling()
            self._threshold()
            self._resolution()

    def _backend(self) -> None:
        settings = self._settings
        names = [BACKEND_NAMES.get(backend, backend) for backend in BACKENDS]
        current = BACKEND_NAMES.get(settings.backend.name, settings.backend.name)
        name = widgets.choice(
            "Backend",
            current,
            names,
            "What makes the pictures. The reference is exact and takes seconds to minutes; the window stays usable.",
        )
        settings.backend = replace(settings.backend, name=BACKENDS[names.index(name)])

    def _sampling(self) -> None:
        settings = self._settings
        sampling = widgets.choice(
            "Sampling",
            SAMPLING_NAMES[settings.sampling],
            list(SAMPLING_NAMES.values()),
            "Flying: same step as trained, but no near or far end, so nothing is cut off. "
            "As trained: the scene's near, far and step.",
        )
        settings.sampling = "as trained" if sampling == SAMPLING_NAMES["as trained"] else "flying"

    def _precision(self) -> None:
        settings = self._settings
        if settings.backend.name == "reference":
            widgets.label("Precision", "The reference has one precision only.")
            imgui.align_text_to_frame_padding()
            imgui.text_disabled("float32")
            return
        name = widgets.choice(
            "Precision",
            PRECISION_NAMES[settings.precision],
            list(PRECISION_NAMES.values()),
            "Numbers that the networks multiply. 16 bits: tensor cores on a GPU, integers or bfloat16 on a CPU, "
            "faster and hard to tell from float32. 8 bits: on a CPU, faster still. Automatic: the fastest that make "
            "good pictures of this scene.",
        )
        settings.precision = next(choice for choice, shown in PRECISION_NAMES.items() if shown == name)

    def _heat_map(self, outputs: frozenset[Output]) -> None:
        settings = self._settings
        can: list[HeatMap] = [heat_map for heat_map in HEAT_MAP_NAMES if outputs >= NEEDED[heat_map]]
        if settings.heat_map not in can:
            can.append(settings.heat_map)  # until the renderer has refused it
        name = widgets.choice(
            "Show",
            HEAT_MAP_NAMES[settings.heat_map],
            [HEAT_MAP_NAMES[heat_map] for heat_map in can],
            "The scene's colors; or, in false colors, depth, opacity and normals of what is seen, the samples that "
            "each ray takes, the network that it meets first, the occupancy voxels that are looked up for it (CPU "
            "only). The mouse shows the value under it.",
        )
        settings.heat_map = next(choice for choice, shown in HEAT_MAP_NAMES.items() if shown == name)
        imgui.begin_disabled(settings.heat_map not in ("depth", *COUNTS))
        fitted = widgets.switch(
            "Fit the scale to the picture",
            settings.heat_scale == "fitted",
            "Off: the scale stays as it is, so that pictures can be compared, with and without ESS, say.",
        )
        imgui.end_disabled()
        if fitted != (settings.heat_scale == "fitted"):
            settings.heat_scale = "fitted" if fitted else self.shown_range or "fixed"

    def _switches(self) -> None:
        settings = self._settings
        settings.ess = widgets.switch(
            "ESS",
            settings.ess,
            "Empty-space skipping: evaluate networks only where the occupancy grid says that something may be.",
        )
        imgui.same_line(widgets.LABEL_SHARE * imgui.get_window_width())
        settings.ert = widgets.switch(
            "ERT", settings.ert, "Early ray termination: end a ray once almost no light comes through any more."
        )

    def _threshold(self) -> None:
        settings = self._settings
        imgui.begin_disabled(not settings.ert)
        settings.ert_threshold = widgets.slider(
            "ERT threshold",
            settings.ert_threshold,
            1e-4,
            0.5,
            "%.4f",
            "A ray ends where its transmittance falls below this. The paper uses 0.01.",
            logarithmic=True,
        )
        imgui.end_disabled()

    def _resolution(self) -> None:
        settings = self._settings
        settings.automatic_resolution = widgets.switch(
            "Automatic resolution",
            settings.automatic_resolution,
            "Smaller pictures while the camera moves, to reach the frame rate below; full size when it rests.",
        )
        if settings.automatic_resolution:
            settings.target_fps = widgets.slider(
                "Target fps", settings.target_fps, 2.0, 60.0, "%.0f", "Pictures per second while the camera moves."
            )
        else:
            percent = widgets.slider(
                "Scale", 100.0 * settings.fixed_scale, 6.25, 100.0, "%.0f %%", "Width and height of every picture."
            )
            if percent != 100.0 * settings.fixed_scale:
                settings.fixed_scale = percent / 100.0

        samples = widgets.choice(
            "Samples at rest",
            str(settings.rest_samples),
            [str(count) for count in sorted({*SAMPLE_COUNTS, settings.rest_samples})],
            "Pictures, each offset by a part of a pixel, that are averaged while the camera rests: edges become "
            "smooth. 1: none. False colors are never averaged.",
        )
        settings.rest_samples = int(samples)
        settings.reprojection = widgets.switch(
            "Reprojection",
            settings.reprojection,
            "While the camera moves, each picture follows it by its depth until the next one is there. "
            "Off: the window shows each picture as it was made.",
        )

    def _background(self, scene: Scene | None) -> None:
        settings = self._settings
        own = scene.background if scene is not None else (1.0, 1.0, 1.0)
        tooltip = (
            "The color behind the scene. Until one is chosen here, the window is grey behind objects (section Window), "
            "and screenshots and videos have the scene's own color."
        )
        widgets.label("Background", tooltip)
        shown = settings.background or own
        imgui.set_next_item_width(imgui.get_content_region_avail().x - 4.2 * imgui.get_font_size())
        changed, values = imgui.color_edit3("##background", list(shown), imgui.ColorEditFlags_.display_hex.value)
        widgets.tip("Click the square for a picker, or type a hexadecimal colour.")
        if changed:
            red, green, blue = (max(0.0, min(1.0, value)) for value in list(values)[:3])
            settings.background = (red, green, blue)
        imgui.same_line()
        imgui.begin_disabled(settings.background is None)
        if imgui.button("Own", imgui.ImVec2(-imgui.FLT_MIN, 0.0)):
            settings.background = None
        imgui.end_disabled()
        widgets.tip("Back to the scene's own background.")
