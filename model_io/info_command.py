"""``kilonerf-info``: what a ``.knf`` file holds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from .architecture import PARAMETERS_PER_NETWORK
from .command_line import run_command
from .knf import KIND, VERSION, load_scene
from .scene import Scene

PROGRAM = "kilonerf-info"


@dataclass(frozen=True)
class InfoOptions:
    """Say what a .knf scene holds: sizes, grids, networks, sampling, where it comes from."""

    scene: Positional[Path]
    """The .knf file."""
    json: bool = False
    """Print one JSON object in place of a table."""


def main() -> None:
    """Entry point of ``kilonerf-info``."""
    run_command(PROGRAM, InfoOptions, run)


def run(options: InfoOptions) -> None:
    """Print what the file holds.

    Raises:
        SceneError: the file cannot be read.
    """
    scene = load_scene(options.scene)
    facts = describe(scene) | {"file": str(options.scene), "file_bytes": options.scene.stat().st_size}
    if options.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        _print_table(scene, facts)


def describe(scene: Scene) -> dict[str, Any]:
    """Facts about a scene, JSON values only."""
    camera = scene.start_camera
    voxels = int(np.count_nonzero(scene.occupancy))
    return {
        "kind": KIND,
        "version": VERSION,
        "aabb": [scene.aabb_min.tolist(), scene.aabb_max.tolist()],
        "network_resolution": list(scene.resolution),
        "cell_size": scene.cell_size.tolist(),
        "occupancy_resolution": list(scene.occupancy.shape),
        "occupied_voxels": voxels,
        "occupied_share": voxels / scene.occupancy.size,
        "networks": scene.num_networks,
        "networks_dropped": scene.network_index.size - int(np.count_nonzero(scene.network_index >= 0)),
        "parameters": scene.num_networks * PARAMETERS_PER_NETWORK,
        "dtype": str(scene.dtype),
        "near": float(scene.near),
        "far": float(scene.far),
        "num_samples": int(scene.num_samples),
        "step": float(scene.step),
        "background": [float(value) for value in scene.background],
        "start_camera": None
        if camera is None
        else {
            "position": camera.position.tolist(),
            "width": camera.width,
            "height": camera.height,
            "fov_y_degrees": float(np.degrees(camera.fov_y)),
        },
        "training_poses": 0 if scene.training_poses is None else len(scene.training_poses),
        "preview_bytes": 0 if scene.preview is None else len(scene.preview),
        "provenance": dict(scene.provenance),
    }


def _print_table(scene: Scene, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(facts["file"]), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in _rows(scene, facts):
        table.add_row(Text(name), Text(text))  # Text: what a file says is never taken as markup
    Console(highlight=False).print(table)


def _rows(scene: Scene, facts: dict[str, Any]) -> list[tuple[str, str]]:
    def times(sizes: list[int]) -> str:
        return " x ".join(map(str, sizes))

    def numbers(values: list[float]) -> str:
        return ", ".join(f"{value:.4g}" for value in values)

    camera = facts["start_camera"]
    rows = [
        ("file", f"{facts['file_bytes'] / 1e6:.2f} MB, {facts['kind']} version {facts['version']}"),
        ("box", f"({numbers(facts['aabb'][0])}) to ({numbers(facts['aabb'][1])})"),
        ("network grid", f"{times(facts['network_resolution'])}, cells of {numbers(facts['cell_size'])}"),
        ("networks", f"{facts['networks']} kept, {facts['networks_dropped']} dropped (empty cells)"),
        ("parameters", f"{facts['parameters']:,} in {facts['dtype']}"),
        ("occupancy grid", f"{times(facts['occupancy_resolution'])}, {times(list(scene.occupancy_factor))} per cell"),
        ("occupied", f"{facts['occupied_voxels']:,} voxels, {100 * facts['occupied_share']:.2f} %"),
        (
            "sampling",
            f"{facts['num_samples']} samples from {facts['near']:.4g} to {facts['far']:.4g}, step {facts['step']:.4g}",
        ),
        ("background", numbers(facts["background"])),
        (
            "start camera",
            "none"
            if camera is None
            else f"at ({numbers(camera['position'])}), {camera['width']} x {camera['height']}, "
            f"{camera['fov_y_degrees']:.1f} degrees high",
        ),
        ("training poses", str(facts["training_poses"])),
        ("preview", f"{facts['preview_bytes']} bytes" if facts["preview_bytes"] else "none"),
    ]
    return rows + [(key.replace("_", " "), _said(value)) for key, value in facts["provenance"].items()]


def _said(value: object) -> str:
    """A JSON value as a person would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return json.dumps(value)
