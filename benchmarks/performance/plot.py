"""Results of the CPU benchmark as a picture, with matplotlib."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]
STAGES = {
    "setup": "#7f7f7f",
    "rays": "#2ca089",
    "march": "#e0a526",
    "networks": "#8457c4",
    "composite": "#d4604f",
    "idle": "#bdbdbd",
}
SWEEPS = {"sizes": "resolution", "samples": "samples on a ray"}


def draw(document: Document, output: Path) -> None:
    """Write one machine's results as SVG: stages, networks beside the peak, scaling, speed-up over NeRF.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {
        "svg.hashsalt": "kilonerf-view",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
        machine = document["machine"]
        figure.suptitle(f"{machine['cpu']}, {machine['cores']} cores")
        panels = {"frames": _stages, "networks": _networks, "scaling": _scaling, "speedup": _speedup}
        for axis, (name, panel) in zip(axes.flat, panels.items(), strict=True):
            section = document["sections"].get(name, {})
            if section.get("status") == "done":
                panel(axis, section)
            else:
                axis.set_axis_off()
                axis.text(0.5, 0.5, f"{name}: not measured", ha="center", transform=axis.transAxes)
        figure.savefig(output, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _stages(axis: Any, section: Mapping[str, Any]) -> None:
    names = [path["name"] for path in section["paths"]][::-1]
    left = [0.0] * len(names)
    for stage in section["paths"][0]["stages_ms"]:
        widths = [path["stages_ms"][stage] for path in section["paths"]][::-1]
        axis.barh(names, widths, left=left, color=STAGES.get(stage), label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for number, path in enumerate(section["paths"][::-1]):
        axis.text(left[number], number, f" {path['ms']:.1f} ms", va="center")
        alone = path["networks_alone_ms"]
        axis.plot([alone, alone], [number - 0.4, number + 0.4], color="black", linewidth=1.5)
    axis.set_title(f"A frame of {section['size']}x{section['size']}; black: the networks alone")
    axis.set_xlim(right=1.2 * max(left))
    axis.set_xlabel("ms")
    axis.legend(ncols=2, fontsize=8, loc="upper right")  # the best paths are at the top, and short


def _networks(axis: Any, section: Mapping[str, Any]) -> None:
    names = [path["name"] for path in section["paths"]][::-1]
    runs = [path["threads"][-1] for path in section["paths"]][::-1]
    done = [run["share"] * run["peak_per_s"] / 1e9 for run in runs]
    axis.barh(names, [run["peak_per_s"] / 1e9 for run in runs], color="#dddddd", label="the machine's peak")
    axis.barh(names, done, color=STAGES["networks"], height=0.5, label="the networks alone")
    for number, run in enumerate(runs):
        text = f" {run['samples_per_s'] / 1e6:.1f} M samples/s, {100 * run['share']:.0f} %"
        axis.text(run["peak_per_s"] / 1e9, number, text, va="center", fontsize=8)
    axis.set_title(f"Multiply-adds on {runs[0]['threads']} threads")
    axis.set_xlim(right=1.6 * max(run["peak_per_s"] / 1e9 for run in runs))
    axis.set_xlabel("G multiply-adds/s")
    axis.legend(fontsize=8, loc="lower right")


def _scaling(axis: Any, section: Mapping[str, Any]) -> None:
    for group, label in SWEEPS.items():
        runs = sorted(section[group], key=lambda run: run["evaluations"])
        axis.plot([run["evaluations"] for run in runs], [run["ms"] for run in runs], "o-", markersize=4, label=label)
    largest = max(section["sizes"], key=lambda run: run["evaluations"])
    work = [min(run["evaluations"] for run in section["sizes"]), largest["evaluations"]]
    times = [largest["ms"] * value / largest["evaluations"] for value in work]
    axis.plot(work, times, color="grey", linestyle=":", label="in proportion")
    axis.set(xscale="log", yscale="log", xlabel="network evaluations in a frame", ylabel="ms")
    axis.set_title("Time of a frame by its work")
    axis.legend(fontsize=8)


def _speedup(axis: Any, section: Mapping[str, Any]) -> None:
    modes = [mode for mode in section["modes"] if mode["precision"] == "auto"][::-1]
    names = [
        " + ".join(word for word, on in (("ESS", mode["ess"]), ("ERT", mode["ert"])) if on) or "neither"
        for mode in modes
    ]
    values = [mode["speedup"] for mode in modes]
    axis.barh(names, values, color="#3b75af")
    for number, mode in enumerate(modes):
        axis.text(values[number], number, f" {values[number]:,.0f}x, {mode['ms']:.0f} ms", va="center", fontsize=8)
    axis.set(xscale="log", xlabel=f"NeRF's {section['nerf']['ms'] / 1000:,.0f} s over the frame's time")
    axis.set_xlim(left=1000.0, right=12.0 * max(values))
    axis.set_title("Speed-up over NeRF on the same cores")
