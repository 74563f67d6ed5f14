"""What ``kilonerf-info DATASET`` says about a training that has not begun: frame, box, depths, memory and time."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilonerf.model_io import KiloNeRFError, UsageError
from kilonerf.model_io.datasets import available_splits, load_dataset

from .plan_picture import Box, draw_plan, save_plan

if TYPE_CHECKING:
    from kilonerf.trainer.pipeline.plan import Plan

Rows = list[tuple[str, str]]


def training_plan(path: Path, facts: dict[str, Any]) -> tuple[dict[str, Any], Rows]:
    """Facts and rows about a training with this data set; where it cannot be told, a row that says why."""
    if "splits" not in facts:
        return {}, [("training", "the box, depths and times are known once COLMAP has found the poses")]
    split = "train" if "train" in facts["splits"] else next(iter(facts["splits"]))
    if not facts["splits"][split]["photos"]:
        return {}, [("training", f"no: the {split} split has no photos")]
    try:
        from kilonerf.trainer.pipeline.plan import plan_training
    except ImportError:
        return {}, [("training", "needs torch: pip install 'kilonerf-view[train]'")]
    longer = max(max(map(int, size.split("x"))) for size in facts["sizes"])
    try:
        plan = plan_training(path, split, longer, facts["photo_bytes"])
    except KiloNeRFError as error:
        faults = getattr(error, "faults", ())
        return {}, [("training", f"no: {faults[0] if faults else error}")]
    return {"training": dataclasses.asdict(plan)}, plan_rows(plan)


def plan_rows(plan: "Plan") -> Rows:
    """A plan for people."""
    unit = (
        "as it is: it has the usual size"
        if plan.scale == 1
        else f"while training, all is {plan.scale:.4g} times as large"
    )
    if any(plan.origin):
        unit += f"; far away: the scene is kept relative to {' '.join(f'{value:.12g}' for value in plan.origin)}"
    times = ", ".join(f"{name} {_duration(minutes)}" for name, minutes in plan.minutes.items())
    return [
        ("unit", unit),
        ("box to be trained", str(plan.bounds).removeprefix("box ")),
        ("depths", f"{plan.near:.4g} to {plan.far:.4g}"),
        *([("sky", f"behind {plan.sky:.0%} of the photos' pixels")] if plan.sky else []),
        ("memory for training", f"about {plan.memory / 2**30:.1f} GiB (estimate)"),
        ("time for training", f"{times} (rough estimates where nothing else runs, from a short measurement)"),
    ]


def write_plan_picture(dataset: Path, facts: dict[str, Any], picture: Path) -> None:
    """Draw cameras, sparse points and box of a data set, and save them as PNG.

    Raises:
        DatasetError: the data set cannot be read.
        OutputError: the file cannot be written.
        UsageError: there are no cameras to draw, or the name does not end in .png.
    """
    if picture.suffix.lower() != ".png":
        raise UsageError(f"--picture: expected a name that ends in .png, got {picture}")
    if "splits" not in facts:
        raise UsageError("--picture: expected a data set with poses; kilonerf-train finds those of photos without any")
    datasets = [load_dataset(dataset, split) for split in facts["splits"] if split in available_splits(dataset)]
    datasets = datasets or [load_dataset(dataset)]
    box: Box | None = facts["box"]
    if "training" in facts:
        box = facts["training"]["bounds"]["box_min"], facts["training"]["bounds"]["box_max"]
    cameras = [view.camera for part in datasets for view in part.views]
    save_plan(draw_plan(cameras, box, datasets[0].points, dataset.name), picture)


def _duration(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 3 * 24 * 60 else f"{minutes / 1440:,.0f} days"
