"""Results of the CPU benchmark as Markdown: each table stands between two markers of docs/performance.md.

A marker is ``<!-- performance: NAME -->``, the end is ``<!-- performance: end -->``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kilonerf.model_io import KiloNeRFError

Document = Mapping[str, Any]
Section = Mapping[str, Any]
BAR_RATIO, BAR_SPEEDUP, BAR_TWO_THREADS = 1.6, 30_000.0, 1.8
BAR_STAGE, BAR_PSNR, BAR_MEMORY = 0.10, 40.0, 64 * 2**20  # share, dB, bytes beside the scene's own
BAR_MS = {
    "amx": 22.0,
    **dict.fromkeys(("avx512-vnni-int8", "avx512-vnni", "avx512"), 80.0),
    **dict.fromkeys(("avx-vnni-int8", "avx-vnni", "avx2-int8", "avx2-int16", "avx2"), 130.0),
}
SMALL_STAGES = ("setup", "rays", "composite", "idle")


class DocumentError(KiloNeRFError):
    """The page cannot take the tables."""


def update_page(page: str, documents: Sequence[Document]) -> str:
    """The page with every table between its markers regenerated.

    Raises:
        DocumentError: a marker without an end, or of a name that no table has.
    """

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        if name not in TABLES:
            raise DocumentError(f"marker {name!r}: expected one of {', '.join(TABLES)}")
        parts = [machine_part(name, document) for document in documents]
        return f"<!-- performance: {name} -->\n" + "\n".join(parts) + "<!-- performance: end -->"

    if page.count("<!-- performance: end -->") * 2 != page.count("<!-- performance: "):
        raise DocumentError("a marker <!-- performance: NAME --> has no <!-- performance: end -->, or the reverse")
    return re.sub(r"<!-- performance: (.+?) -->\n.*?<!-- performance: end -->", filled, page, flags=re.DOTALL)


def machine_part(name: str, document: Document) -> str:
    """One machine's table under its name; where its section did not run, why."""
    machine = document["machine"]
    title = f"**{machine['cpu']}, {machine['cores']} cores**"
    section_name, table = TABLES[name]
    if section_name is None:
        return f"{title}\n\n{table(document)}\n"
    section = document["sections"].get(section_name)
    if section is None:
        return f"{title}: not measured\n"
    if section["status"] != "done":
        return f"{title}: not measured ({section['reason']})\n"
    return f"{title}, commit {short(section['commit'])}\n\n{table(section)}\n"


def file_name(machine: Mapping[str, Any]) -> str:
    """The name of a machine's results and picture, without ending."""
    model = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    return f"performance-{model}-{machine['cores']}-cores"


def picture(document: Document) -> str:
    """The machine's picture."""
    return f"![Results as bars and curves](images/{file_name(document['machine'])}.svg)\n"


def short(commit: str) -> str:
    """A commit in 10 digits, and whether files were changed since; a version as it is."""
    return re.sub(r"^([0-9a-f]{10})[0-9a-f]{30}", r"\1", commit)


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, rule, *rows))


def networks(section: Section) -> str:
    """The networks alone beside the peak."""
    rows = [
        [
            f"{path['name']} ({path['precision']})" if number == 0 else "",
            str(run["threads"]),
            f"{run['samples_per_s'] / 1e6:.1f}",
            f"{run['samples_per_s'] * path['multiply_adds'] / 1e9:.1f}",
            f"{run['peak_per_s'] / 1e9:.1f}",
            f"{100 * run['share']:.0f} %",
            path["kind"] if number == 0 else "",
        ]
        for path in section["paths"]
        for number, run in enumerate(path["threads"])
    ]
    headings = ["path", "threads", "M samples/s", "G multiply-adds/s", "machine's peak", "share", "kind of peak"]
    return markdown(headings, rows)


def frames(section: Section) -> str:
    """Frames by stages beside the networks alone."""
    stages = list(section["paths"][0]["stages_ms"])
    rows = [
        [
            path["name"],
            f"**{path['ms']:.1f}**",
            f"{path['ms_min']:.1f}",
            *(f"{path['stages_ms'][stage]:.1f}" for stage in stages),
            f"{path['networks_alone_ms']:.1f}",
            f"{path['ratio']:.2f}",
            "float32" if path["psnr_to_baseline"] is None else f"{path['psnr_to_baseline']:.1f} dB",
        ]
        for path in section["paths"]
    ]
    headings = ["path", "frame, ms", "best", *stages, "networks alone", "frame / networks alone", "against float32"]
    return markdown(headings, rows)


def speedup(section: Section) -> str:
    """NeRF and the four modes."""
    nerf = section["nerf"]
    pixels = section["size"] ** 2
    evaluations = f"{pixels * nerf['evaluations_per_pixel'] / 1e6:.1f} M"
    how = f"NeRF, {nerf['dtype']} in chunks of {nerf['chunk']}"
    rows = [[how, "", "", evaluations, f"{nerf['ms']:,.0f}", "1"]]
    for mode in section["modes"]:
        switches = ["on" if mode[name] else "off" for name in ("ess", "ert")]
        work = [f"{mode['evaluations'] / 1e6:.2f} M", f"{mode['ms']:.1f}", f"{mode['speedup']:,.0f}"]
        device = section["device"] if mode["precision"] == "auto" else "in float32"
        rows.append([f"KiloNeRF, {device}", *switches, *work])
    return markdown(["", "ESS", "ERT", "evaluations a frame", "ms", "speed-up"], rows)


def threads(section: Section) -> str:
    """Frames by number of threads."""
    rows = [
        [str(run["threads"]), f"{run['ms']:.1f}", f"{run['speedup']:.2f}", f"{run['stages_ms']['idle']:.2f}"]
        for run in section["counts"]
    ]
    return markdown(["threads", "ms", "times one thread's speed", "of it idle, ms"], rows)


def _scaling_table(group: str, first: str, label: Callable[[Section], str]) -> Callable[[Section], str]:
    def table(section: Section) -> str:
        rows = [
            [label(run), f"{run['evaluations'] / 1e6:.3f} M", f"{run['ms']:.1f}", f"{run['ns_per_evaluation']:.0f}"]
            for run in section[group]
        ]
        return markdown([first, "evaluations", "ms", "ns an evaluation"], rows)

    return table


def memory(section: Section) -> str:
    """Memory while rendering."""
    names = ("scene_bytes", "used_bytes", "resting_bytes")
    row = [f"{section[name] / 2**20:.1f}" for name in names]
    bar = (section["scene_bytes"] + BAR_MEMORY) / 2**20
    headings = ["the scene's file, MiB", "at the peak", "between frames", "bar"]
    return markdown(headings, [[*row, f"{bar:.1f}"]])


def profile(section: Section) -> str:
    """The processor's time by function."""
    rows = [[f"`{entry['name']}`" if "::" in entry["name"] else entry["name"], f"{100 * entry['share']:.1f} %"]
            for entry in section["functions"] if entry["share"] >= 0.001]  # fmt: skip
    return markdown(["function", "share of the samples"], rows)


def bars(document: Document) -> str:
    """What was asked for and what was measured."""
    rows = [
        [what, bar, measured, "yes" if met else "**no**"]
        for section, describe in _BARS.items()
        if document["sections"].get(section, {}).get("status") == "done"
        for what, bar, measured, met in describe(document["sections"][section])
    ]
    return markdown(["", "bar", "measured", "met"], rows)


Bar = tuple[str, str, str, bool]


def _frame_bars(section: Section) -> list[Bar]:
    best = section["paths"][0]
    size = f"{section['size']}x{section['size']}"
    found = []
    for path in section["paths"]:
        if path["name"] in BAR_MS:
            bar = BAR_MS[path["name"]]
            what = f"{path['name']}: frame of {size} on {section['threads']} threads"
            found.append((what, f"{bar:.0f} ms", f"{path['ms']:.1f} ms", path["ms"] <= bar))
        if path["psnr_to_baseline"] is not None:
            measured = path["psnr_to_baseline"]
            found.append(
                (f"{path['name']}: against float32", f"{BAR_PSNR:.0f} dB", f"{measured:.1f} dB", measured >= BAR_PSNR)
            )
    ratio = best["ratio"]
    found.append(
        (f"{best['name']}: frame / networks alone", f"at most {BAR_RATIO}", f"{ratio:.2f}", ratio <= BAR_RATIO)
    )
    name = max(SMALL_STAGES, key=lambda stage: best["stages_ms"][stage])
    share = best["stages_ms"][name] / sum(best["stages_ms"].values())
    what = f"{best['name']}: largest stage outside networks and march ({name})"
    found.append((what, f"at most {100 * BAR_STAGE:.0f} %", f"{100 * share:.1f} %", share <= BAR_STAGE))
    return found


def _thread_bars(section: Section) -> list[Bar]:
    two = [run["speedup"] for run in section["counts"] if run["threads"] == 2]
    what, bar = "two threads over one", f"at least {BAR_TWO_THREADS}"
    return [(what, bar, f"{value:.2f}", value >= BAR_TWO_THREADS) for value in two]


def _scaling_bars(section: Section) -> list[Bar]:
    """Time may grow no faster than evaluations from the smallest frame to the largest, with 5 % for noise."""
    found = []
    for group, what in (("sizes", "resolution"), ("samples", "samples on a ray")):
        runs = sorted(section[group], key=lambda run: run["evaluations"])
        growth = runs[-1]["ns_per_evaluation"] / runs[0]["ns_per_evaluation"]
        bar = "time grows no faster than evaluations"
        measured = f"{growth:.2f} of the time an evaluation, smallest to largest"
        found.append((f"scaling with {what}", bar, measured, growth <= 1.05))
    return found


def _speedup_bars(section: Section) -> list[Bar]:
    value = section["modes"][0]["speedup"]
    return [("speed-up over NeRF", f"{BAR_SPEEDUP:,.0f}", f"{value:,.0f}", value >= BAR_SPEEDUP)]


def _memory_bars(section: Section) -> list[Bar]:
    bar = section["scene_bytes"] + BAR_MEMORY
    measured = f"{section['used_bytes'] / 2**20:.1f} MiB"
    return [("memory while rendering", f"{bar / 2**20:.1f} MiB", measured, section["used_bytes"] <= bar)]


_BARS: Mapping[str, Callable[[Section], list[Bar]]] = {
    "frames": _frame_bars,
    "speedup": _speedup_bars,
    "threads": _thread_bars,
    "scaling": _scaling_bars,
    "memory": _memory_bars,
}

TABLES: Mapping[str, tuple[str | None, Callable[[Any], str]]] = {
    "bars": (None, bars),
    "picture": (None, picture),
    "networks": ("networks", networks),
    "frames": ("frames", frames),
    "speedup": ("speedup", speedup),
    "threads": ("threads", threads),
    "resolution": ("scaling", _scaling_table("sizes", "picture", lambda run: f"{run['size']}x{run['size']}")),
    "samples": ("scaling", _scaling_table("samples", "samples on a ray", lambda run: str(run["per_ray"]))),
    "grids": (
        "scaling",
        _scaling_table("grids", "grid", lambda run: f"{run['cells']}^3, {run['networks']} networks"),
    ),
    "memory": ("memory", memory),
    "profile": ("profile", profile),
}
"""For each marker its section (None: all of them) and its table."""
