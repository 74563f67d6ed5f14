"""Facts about a scene, for programs and for people: what ``kilonerf-info`` prints."""

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.json_values import is_array
from ..knf.format import KIND, version_of
from ..knf.octree import OCTREE_KIND, OCTREE_VERSION
from ..knf.quantized import NUM_WEIGHTS
from ..knf.safetensors_reader import TensorIndex, parse_json, read_tensor_file
from .architecture import PARAMETERS_PER_NETWORK
from .octree_facts import octree_facts, octree_rows
from .octree_scene import OctreeScene
from .scene import KiloNeRFScene, Scene
from .sky import sky_colors


def describe(scene: Scene) -> dict[str, Any]:
    """Facts about a scene, JSON values only."""
    if isinstance(scene, OctreeScene):
        return {"kind": OCTREE_KIND, "version": OCTREE_VERSION} | octree_facts(scene) | _shared_facts(scene)
    assert isinstance(scene, KiloNeRFScene)  # noqa: S101 - there are two kinds
    voxels_by_level = [int(np.count_nonzero(cells.occupancy)) for cells in scene.levels]
    voxels = sum(voxels_by_level)
    return {
        "kind": KIND,
        "version": version_of(scene),
        "aabb": [scene.box_min.tolist(), scene.box_max.tolist()],
        "levels": len(scene.levels),
        "network_resolution": list(scene.resolution),
        "cell_size": scene.cell_size.tolist(),
        "occupancy_resolution": list(scene.occupancy.shape),
        "occupied_voxels": voxels,
        "occupied_share": voxels / (len(scene.levels) * scene.occupancy.size),
        "networks": scene.num_networks,
        "networks_by_level": [len(cells.leaves) for cells in scene.levels],
        "occupied_voxels_by_level": voxels_by_level,
        "networks_dropped": sum(cells.network_index.size - len(cells.leaves) for cells in scene.levels),
        "parameters": scene.num_networks * PARAMETERS_PER_NETWORK,
        "dtype": str(scene.dtype),
        **_shared_facts(scene),
    }


def _shared_facts(scene: Scene) -> dict[str, Any]:
    """What scenes of all kinds have."""
    camera = scene.start_camera
    return {
        "near": float(scene.near),
        "far": float(scene.far),
        "num_samples": int(scene.num_samples),
        "step": float(scene.step),
        "background": [float(value) for value in scene.background],
        "sky": scene.sky is not None,
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


def file_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`describe` cannot know: facts about the file of a scene that was loaded, JSON values only."""
    return index_facts(os.fspath(path), read_tensor_file(path).index)


def index_facts(name: str, index: TensorIndex) -> dict[str, Any]:
    """As :func:`file_facts`, of a file that need not be on this machine; ``name`` is its path or URL."""
    document = parse_json(index.metadata["knf"], "knf")
    sizes = {span.name: span.end - span.begin for span in index.spans}
    networks = [size for name, size in sizes.items() if name.startswith("networks.")]
    compressed = {
        "grids_bytes": sizes.get("grids"),
        "model_bytes": sizes.get("model"),
        "networks_bytes": sum(networks),
        "chunks": len(networks),
        "coarse_bytes": sizes.get("coarse", 0) if "coarse_side" in document else 0,
        "coarse_side": document.get("coarse_side"),
    }
    return {
        "file": name,
        "file_bytes": index.end,
        "version": document["version"],
        "compressed": compressed if "chunks" in document and document["kind"] == KIND else None,
    }


def fact_rows(scene: Scene, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What :func:`describe` and :func:`file_facts` say, as names and texts for people."""

    def times(sizes: list[int]) -> str:
        return " x ".join(map(str, sizes))

    def numbers(values: list[float]) -> str:
        return ", ".join(f"{value:.4g}" for value in values)

    camera = facts["start_camera"]
    if isinstance(scene, OctreeScene):
        own = octree_rows(facts)
    else:
        own = [
            ("network grid", f"{times(facts['network_resolution'])}, cells of {numbers(facts['cell_size'])}"),
            *_level_rows(facts),
            *_compressed_rows(facts),
            ("networks", f"{facts['networks']} kept, {facts['networks_dropped']} dropped (empty cells)"),
            ("parameters", f"{facts['parameters']:,} in {facts['dtype']}"),
            (
                "occupancy grid",
                f"{times(facts['occupancy_resolution'])}, {times(list(scene.occupancy_factor))} per cell",
            ),
        ]
    rows = [
        ("file", f"{facts['file_bytes'] / 1e6:.2f} MB, {facts['kind']} version {facts['version']}"),
        ("box", f"({numbers(facts['aabb'][0])}) to ({numbers(facts['aabb'][1])})"),
        *own,
        ("occupied", f"{facts['occupied_voxels']:,} voxels, {100 * facts['occupied_share']:.2f} %"),
        (
            "sampling",
            f"{facts['num_samples']} samples from {facts['near']:.4g} to {facts['far']:.4g}, step {facts['step']:.4g}",
        ),
        ("background", numbers(facts["background"])),
        *([("sky", _sky(scene.sky))] if scene.sky is not None else []),
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


def _level_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What is in each of several levels, the innermost first."""
    if facts["levels"] == 1:
        return []
    networks, voxels = (
        ", ".join(f"{count:,}" for count in facts[name]) for name in ("networks_by_level", "occupied_voxels_by_level")
    )
    return [
        ("levels", f"{facts['levels']} nested boxes, each twice as large"),
        ("networks by level", f"{networks} (the innermost first)"),
        ("occupied by level", f"{voxels} voxels"),
    ]


def _compressed_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    compressed = facts.get("compressed")
    if not compressed or not facts["networks"]:
        return []
    bits = 8 * compressed["networks_bytes"] / (NUM_WEIGHTS * facts["networks"])
    networks = f"networks {compressed['networks_bytes'] / 1e3:.1f} kB in {compressed['chunks']} chunks"
    others = f"grids {compressed['grids_bytes'] / 1e3:.1f} kB, model {compressed['model_bytes'] / 1e3:.1f} kB"
    if compressed["coarse_bytes"]:
        side = compressed["coarse_side"]
        others += f", coarse networks {compressed['coarse_bytes'] / 1e3:.1f} kB, each of {side} x {side} x {side} cells"
    return [("compressed", f"{networks}, {bits:.2f} bits a weight; {others}")]


def _sky(sky: NDArray[np.float32]) -> str:
    colors = sky_colors(sky, np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0]], np.float32))
    above, one_side, other_side = (", ".join(f"{value:.2f}" for value in color) for color in colors)
    return f"spherical harmonics; ({above}) above, ({one_side}) and ({other_side}) towards +x and -x"


def _said(value: Any) -> str:
    """A JSON value as a person would write it."""
    if isinstance(value, str):
        return value
    if is_array(value):
        return ", ".join(map(_said, value))
    return json.dumps(value)
