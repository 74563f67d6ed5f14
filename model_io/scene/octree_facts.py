"""Facts about an octree field, and what its bytes are spent on."""

from typing import Any

import numpy as np

from .octree_scene import FEATURES, OctreeScene, decoder_shapes


def octree_facts(scene: OctreeScene) -> dict[str, Any]:
    """Facts, JSON values only."""
    feature_bytes = [own.num_bytes() for own in scene.features]
    decoder = sum(int(np.prod(shape)) for shape in decoder_shapes().values())
    numbers = [own.table.size + (0 if own.coefficients is None else own.coefficients.size) for own in scene.features]
    occupancy = scene.cells.occupancy
    voxels = len(scene.octree.keys[-1])
    return {
        "aabb": [scene.box_min.tolist(), scene.box_max.tolist()],
        "first_level": scene.first_level,
        "depth": scene.depth,
        "voxels_by_level": [len(keys) for keys in scene.octree.keys[scene.first_level :]],
        "corners_by_level": list(scene.num_corners),
        "features": FEATURES,
        "codings": [own.coding for own in scene.features],
        "code_bits": [own.bits if own.coding in ("codes", "hash") else None for own in scene.features],
        "feature_bytes_by_level": feature_bytes,
        "octree_bytes": scene.octree.num_bytes,
        "decoder_bytes": decoder * scene.dtype.itemsize,
        "parameters": decoder + sum(numbers),
        "dtype": str(scene.dtype),
        "occupancy_resolution": list(occupancy.shape),
        "occupied_voxels": voxels,
        "occupied_share": voxels / occupancy.size,
    }


def octree_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What :func:`octree_facts` says, as names and texts for people."""

    def list_of(values: list[int]) -> str:
        return ", ".join(f"{value:,}" for value in values)

    coded = [
        coding if bits is None else f"{coding} of {bits} bit{'s' if bits > 1 else ''}"
        for coding, bits in zip(facts["codings"], facts["code_bits"], strict=True)
    ]
    sizes = facts["feature_bytes_by_level"]
    return [
        ("levels", f"{facts['first_level']} to {facts['depth']} have features, {facts['features']} at a corner"),
        ("voxels", list_of(facts["voxels_by_level"])),
        ("corners", list_of(facts["corners_by_level"])),
        ("coding", coded[0] if len(set(coded)) == 1 else ", ".join(coded)),
        ("feature bytes", f"{sum(sizes):,} ({list_of(sizes)})"),
        ("octree bytes", f"{facts['octree_bytes']:,}"),
        ("decoder bytes", f"{facts['decoder_bytes']:,} in {facts['dtype']}"),
    ]
