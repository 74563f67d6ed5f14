"""``kilonerf-eval``: how near a scene's pictures are to the photos of a data set."""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kilonerf.kernels import Renderer, RenderOptions
from kilonerf.kernels.measure.evaluation import ViewResult, evaluate, mean_result
from kilonerf.kernels.measure.metrics import lpips_available, ssim_available
from kilonerf.kernels.measure.poses import evenly_chosen
from kilonerf.model_io import BackendError, Scene, UsageError
from kilonerf.model_io.datasets import View, load_dataset, load_image
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.model_io.streaming.address import Location

from .command_line import print_notes, read_scene, run_command
from .render_switches import RenderSwitches, Switches

PROGRAM = "kilonerf-eval"


@dataclass
class EvalCommand:
    """Render the views of a data set and compare them with its photos: PSNR, SSIM, and LPIPS where installed.

    Rendered pictures are clipped to [0, 1] and compared as float; photos are laid over the scene's background.
    Samples are taken as trained unless --flying is given, and networks are in float32 unless --precision says
    otherwise, so that every machine finds the same.
    """

    # The scene, a .knf file or the URL of one.
    scene: Annotated[tyro.conf.Positional[Location], tyro.conf.arg(metavar="SCENE|URL")]
    # The data set: the folder of a Blender (NeRF-Synthetic), NSVF, nerfstudio, COLMAP or LLFF one, or a
    # transforms_*.json.
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")]
    # Split of the data set's folder: train, val or test.
    split: str = "test"
    # Refuse a data set of which anything would be left out, as poses without a photo.
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    # A number of views, evenly chosen, or the names of views; all if left out.
    views: Annotated[tuple[str, ...], tyro.conf.arg(metavar="N|NAME [NAME ...]")] = ()
    # Make photos smaller by this factor first. Left out: as the scene's training did.
    downscale: int | None = None
    # Also fit colours to each photo's left half and measure its right half. Left out: where exposures were learnt.
    fit_colors: bool | None = None
    # Compute LPIPS (VGG), where the package lpips is installed.
    lpips: bool = True
    # Print JSON for programs.
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    switches: Switches = field(default_factory=lambda: RenderSwitches(precision="float32"))


def main() -> None:
    """Entry point of ``kilonerf-eval``."""
    run_command(PROGRAM, EvalCommand, run)


def run(command: EvalCommand) -> None:
    """Evaluate and print.

    Raises:
        KiloNeRFError: bad input.
    """
    if command.downscale is not None and command.downscale < 1:
        raise UsageError(f"--downscale: expected 1 or more, got {command.downscale}")
    scene = read_scene(command.scene)
    downscale = command.downscale or trained_downscale(scene)
    options = command.switches.options(scene, as_trained=True)
    dataset = load_dataset(command.dataset, command.split, strict=command.strict, photos=True)
    print_notes(PROGRAM, dataset)
    origin = scene_origin(scene)
    placed = [dataclasses.replace(view, camera=relative_to(origin, view.camera)) for view in dataset.views]
    views = choose_views(placed, command.views)
    load_image(views[0], options.background)  # a data set without photos is found before anything is rendered
    renderer = command.switches.renderer(scene)
    evaluation = evaluate(
        renderer,
        views,
        options,
        downscale=downscale,
        with_lpips=command.lpips and lpips_available(),
        with_fitted_colors=learnt_exposures(scene) if command.fit_colors is None else command.fit_colors,
    )
    steps = track(
        evaluation,
        description=f"{command.scene.name}, {renderer.device}",
        total=len(views),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    try:
        results = list(steps)
    except OSError as error:  # LPIPS fetches its network's weights when it is used for the first time
        raise BackendError(f"lpips: cannot get its weights ({error}); --no-lpips leaves it out") from error
    notes = missing_metrics(command.lpips)
    if results[0].fitted_psnr is not None:
        notes.append("colors fitted: PSNR in dB of the right halves, colors fitted on the left halves")
    if downscale > 1:
        notes.append(
            f"photos were made smaller by {downscale}" + (", as for training" if not command.downscale else "")
        )
    if command.json:
        print(json.dumps(as_json(command, renderer, options, downscale, results, notes), indent=2, allow_nan=False))
    else:
        print_table(command, renderer, results, notes)


def trained_downscale(scene: Scene) -> int:
    """By how much smaller the photos were than their files when the scene learnt them; 1 where it does not say."""
    said = scene.provenance.get("downscale")
    return said if isinstance(said, int) and said >= 1 else 1


def learnt_exposures(scene: Scene) -> bool:
    """Whether its training learnt how the photos' exposures differ."""
    photos = scene.provenance.get("photos")
    return isinstance(photos, dict) and "gains" in photos


def choose_views(views: Sequence[View], wanted: Sequence[str]) -> list[View]:
    """A number of views, evenly chosen, or those with the given names; all if nothing is wanted.

    Raises:
        UsageError: there is no view of that name, or the number is 0.
    """
    if not wanted:
        return list(views)
    by_name = {view.name: view for view in views}
    if len(wanted) == 1 and wanted[0].isdecimal() and wanted[0] not in by_name:
        if int(wanted[0]) < 1:
            raise UsageError("--views: expected at least 1, got 0")
        return evenly_chosen(views, int(wanted[0]))
    for name in wanted:
        if name not in by_name:
            raise UsageError(f"--views: expected names such as {views[0].name}, got {name!r}")
    return [by_name[name] for name in wanted]


def missing_metrics(lpips_wanted: bool) -> list[str]:
    """One line for each metric that cannot be computed here."""
    notes = []
    if not ssim_available():
        notes.append("SSIM is missing: it needs scikit-image")
    if lpips_wanted and not lpips_available():
        notes.append("LPIPS is missing: it needs the package lpips")
    return notes


def as_json(
    command: EvalCommand,
    renderer: Renderer,
    options: RenderOptions,
    downscale: int,
    results: Sequence[ViewResult],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What ``--json`` prints; an infinite PSNR is null."""

    def numbers(result: ViewResult) -> dict[str, Any]:
        fields = dataclasses.asdict(result)
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in fields.items()}

    mean = numbers(mean_result(results))
    del mean["name"]
    return {
        "scene": str(command.scene),
        "dataset": str(command.dataset),
        "split": command.split,
        "downscale": downscale,
        "backend": renderer.backend,
        "device": renderer.device,
        "options": dataclasses.asdict(options),
        "mean": mean,
        "views": [numbers(result) for result in results],
        "notes": list(notes),
    }


def print_table(command: EvalCommand, renderer: Renderer, results: Sequence[ViewResult], notes: Sequence[str]) -> None:
    """The results for people, on standard output."""
    mean = mean_result(results)
    switches = f"ESS {_on(command.switches.ess)}, ERT {_on(command.switches.ert)}"
    table = Table(
        title=f"{command.scene.name} on {command.dataset}: {renderer.backend} ({renderer.device}), {switches}"
    )
    table.add_column("view")
    headings = {"ssim": "SSIM", "lpips": "LPIPS", "fitted_psnr": "colors fitted"}
    optional = [name for name in headings if getattr(mean, name) is not None]
    for heading in ("PSNR dB", *(headings[name] for name in optional), "samples", "per pixel", "ms"):
        table.add_column(heading, justify="right")
    for result in (*results, mean):
        if result is mean:
            table.add_section()
        metrics = [f"{getattr(result, name):.{2 if 'psnr' in name else 4}f}" for name in optional]
        work = (f"{result.samples:,.0f}", f"{result.samples_per_pixel:.3f}", f"{result.ms:.1f}")
        table.add_row(result.name, f"{result.psnr:.2f}", *metrics, *work)
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _on(switch: bool) -> str:
    return "on" if switch else "off"
