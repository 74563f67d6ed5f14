"""What this program will do with a data set, for a user who asks before training."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError
from .lens import Lens
from .load import available_splits, load_dataset, photos_without_poses
from .pictures import picture_size
from .views import Dataset, PathLike, View


def describe_dataset(path: PathLike) -> dict[str, Any]:
    """Facts of a data set, all of JSON's types: kind, splits, sizes, lenses, unit, box, depths, what is left out.

    Only headers of photos are read. A split that cannot be read is described by its faults, where another one can.

    Raises:
        DatasetError: no split can be read.
    """
    unplaced = photos_without_poses(path)
    if unplaced:
        sizes = Counter(_size(*picture_size(photo)) for photo in unplaced)
        return {"dataset": str(path), "kind": "photos without poses", "photos": len(unplaced), "sizes": dict(sizes)}
    datasets: dict[str, Dataset] = {}
    faults: dict[str, list[str]] = {}
    last = DatasetError(f"{path}: expected a data set, got none")
    for split in available_splits(path) or ("",):
        try:
            datasets[split or "all"] = load_dataset(path, split or "test")
        except DatasetError as error:
            faults[split or "all"] = list(error.faults) or [str(error)]
            last = error
    if not datasets:
        raise last
    any_split = next(iter(datasets.values()))
    views = [view for dataset in datasets.values() for view in dataset.views]
    positions = np.array([view.camera.position for view in views])
    middle = np.median(positions, axis=0)
    return {
        "dataset": str(path),
        "kind": any_split.kind,
        "splits": {
            split: {
                "views": len(dataset.views),
                "photos": sum(view.image_path is not None for view in dataset.views),
                "masks": sum(view.mask is not None for view in dataset.views),
            }
            for split, dataset in datasets.items()
        },
        "sizes": dict(Counter(_size(view.camera.width, view.camera.height) for view in views)),
        "lenses": _lenses(views),
        "cameras_centre": middle.tolist(),
        "cameras_spread": float(np.linalg.norm(positions - middle, axis=1).max()),
        "near": any_split.near,
        "far": any_split.far,
        "box": any_split.bounding_box,
        "region": any_split.region,
        "points": None if any_split.points is None else len(any_split.points),
        "background": any_split.background,
        "photo_bytes": sum(3 * view.camera.width * view.camera.height for view in views if view.image_path is not None),
        "notes": list(dict.fromkeys(note for dataset in datasets.values() for note in dataset.notes)),
        "faults": faults,
    }


def dataset_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts of :func:`describe_dataset` as rows of a table."""
    counted = list(facts["sizes"].items())
    sizes = ", ".join(f"{count} of {size}" for size, count in counted[:_LISTED])
    sizes += f" and {len(counted) - _LISTED} other sizes" if len(counted) > _LISTED else ""
    if "splits" not in facts:
        rows = [("kind", f"{facts['photos']} photos without poses: kilonerf-train finds them by COLMAP")]
        return [*rows, ("photos", sizes)]
    rows = [("kind", _KINDS[facts["kind"]])]
    for split, counts in facts["splits"].items():
        photos = "" if counts["photos"] == counts["views"] else f", {counts['photos'] or 'none'} with a photo"
        masks = f", {counts['masks']} with a mask" if counts["masks"] else ""
        rows.append((f"{split} split", f"{counts['views']} views{photos}{masks}"))
    rows += [("pictures", sizes), ("lenses", "; ".join(map(_lens_text, facts["lenses"])))]
    rows.append(("photos in memory", f"{facts['photo_bytes'] / 2**20:.0f} MiB"))
    centre = ", ".join(f"{value:.4g}" for value in facts["cameras_centre"])
    rows.append(("cameras", f"within {facts['cameras_spread']:.4g} of ({centre}), in the data set's unit"))
    if facts["near"] is not None:
        rows.append(("near and far", f"{facts['near']:.4g} and {facts['far']:.4g}, from the data set"))
    for key, name in (("box", "box"), ("region", "region")):
        if facts[key] is not None:
            lower, upper = (" ".join(f"{value:.4g}" for value in corner) for corner in facts[key])
            rows.append((name, f"{lower} to {upper}, from the data set"))
    if facts["points"] is not None:
        rows.append(("sparse points", f"{facts['points']} that three views or more have seen"))
    rows += [("note", note) for note in facts["notes"]]
    return [*rows, *((f"{split} split", fault) for split, faults in facts["faults"].items() for fault in faults)]


_LISTED = 4  # sizes of pictures
_KINDS = {
    "blender": "Blender (NeRF-Synthetic)",
    "nsvf": "NSVF",
    "nerfstudio": "nerfstudio or instant-ngp",
    "colmap": "COLMAP",
    "llff": "LLFF",
}


def is_dataset(path: Path) -> bool:
    """Whether a path is that of a data set rather than of a scene: a folder or a JSON file."""
    return path.is_dir() or path.suffix.lower() == ".json"


def _size(width: int, height: int) -> str:
    return f"{width}x{height}"


def _lenses(views: list[View]) -> list[dict[str, Any]]:
    """Pinholes, distorted and fisheye lenses; of each kind the views, and how many degrees they are wide."""
    kinds: dict[str, list[float]] = {}
    for view in views:
        lens: Lens | None = view.lens
        kinds.setdefault("pinhole" if lens is None else "fisheye" if lens.fisheye else "distorted", []).append(
            _angle(view)
        )
    return [
        {"kind": kind, "views": len(angles), "narrowest": min(angles), "widest": max(angles)}
        for kind, angles in kinds.items()
    ]


def _lens_text(lens: dict[str, Any]) -> str:
    angles = dict.fromkeys(f"{lens[key]:.0f}" for key in ("narrowest", "widest"))
    straightened = "" if lens["kind"] == "pinhole" else ", straightened"
    return f"{lens['kind']} in {lens['views']} views, {' to '.join(angles)} degrees wide{straightened}"


def _angle(view: View) -> float:
    camera = view.camera
    left, right = camera.cx / camera.fx, (camera.width - camera.cx) / camera.fx
    return float(np.degrees(np.arctan(left) + np.arctan(right)))
