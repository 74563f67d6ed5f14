"""The CPU benchmark's tables and page: hand-made results in, Markdown out."""

import copy
import json
from pathlib import Path

import pytest

from benchmarks.performance.plot import draw
from benchmarks.performance.tables import TABLES, DocumentError, bars, file_name, short, update_page

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = {"setup": 0.1, "rays": 2.0, "march": 4.0, "networks": 20.0, "composite": 1.5, "idle": 0.4}
FRAME = {"ms": 28.0, "ms_min": 27.0, "ms_max": 40.0, "stages_ms": STAGES, "evaluations": 5e5, "samples": 5e5}
ABOUT = {"status": "done", "commit": "0123456789" * 4 + "-dirty"}


def path(name: str, precision: str, **changes):
    alone = {"samples_per_s": 25e6, "networks_alone_ms": 20.0, "ratio": 1.4, "psnr_to_baseline": 75.25}
    return {"name": name, "precision": precision, **FRAME, **alone, **changes}


def modes():
    switches = [(True, True, "auto"), (True, False, "auto"), (False, True, "auto"), (False, False, "auto")]
    switches.append((True, True, "float32"))
    return [
        {"ess": ess, "ert": ert, "precision": precision, **FRAME, "ms": 28.0 * 2**k, "speedup": 50_000.0 / 2**k}
        for k, (ess, ert, precision) in enumerate(switches)
    ]


def runs(name: str, values, growth: float = 1.0):
    return [
        {name: value, "networks": 7, **FRAME, "evaluations": 1e5 * 4**k, "ns_per_evaluation": 50.0 * growth**k}
        for k, value in enumerate(values)
    ]


@pytest.fixture
def document():
    run = {"threads": 2, "samples_per_s": 25e6, "peak_per_s": 160e9, "share": 0.655}
    return {
        "machine": {"cpu": "A Fast CPU(R)", "cores": 2, "flags": ["avx2"], "os": "", "python": ""},
        "sections": {
            "networks": {
                **ABOUT,
                "paths": [
                    {
                        "name": "avx2-int16",
                        "precision": "int16",
                        "kind": "int16-madd256",
                        "multiply_adds": 4192,
                        "threads": [{**run, "threads": 1}, run],
                    }
                ],
            },
            "frames": {
                **ABOUT,
                "size": 800,
                "threads": 2,
                "paths": [path("avx2-int16", "int16"), path("baseline", "float32", psnr_to_baseline=None)],
            },
            "speedup": {
                **ABOUT,
                "size": 800,
                "device": "AVX2 int16, 2 threads",
                "nerf": {"dtype": "float32", "chunk": 4096, "evaluations_per_pixel": 256, "ms": 1.4e6},
                "modes": modes(),
            },
            "threads": {
                **ABOUT,
                "counts": [
                    {"threads": 1, **FRAME, "ms": 56.0, "speedup": 1.0},
                    {"threads": 2, **FRAME, "speedup": 2.0},
                ],
            },
            "scaling": {
                **ABOUT,
                "sizes": runs("size", (400, 800)),
                "samples": runs("per_ray", (96, 384)),
                "grids": runs("cells", (4, 8)),
            },
            "memory": {
                **ABOUT,
                "scene_bytes": 8 * 2**20,
                "used_bytes": 50 * 2**20,
                "resting_bytes": 40 * 2**20,
            },
            "profile": {"status": "skipped", "commit": "", "reason": "perf is not installed"},
        },
    }


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]


def page(*names: str) -> str:
    return "".join(f"before {n}\n<!-- performance: {n} -->\nold\n<!-- performance: end -->\nafter\n" for n in names)


def test_every_marker_has_its_table_and_only_that_changes(document):
    text = update_page(page(*TABLES), [document])
    assert "old" not in text
    assert text.count("**A Fast CPU(R), 2 cores**") == len(TABLES)
    for name in TABLES:
        assert f"before {name}\n<!-- performance: {name} -->\n" in text
    assert text.count("<!-- performance: end -->\nafter\n") == len(TABLES)
    assert "**A Fast CPU(R), 2 cores**: not measured (perf is not installed)" in text
    assert "commit 0123456789-dirty" in text
    assert update_page(text, [document]) == text


def test_each_machine_has_its_part_and_a_missing_section_is_said(document):
    other = copy.deepcopy(document)
    other["machine"]["cpu"] = "B"
    del other["sections"]["memory"]
    text = update_page(page("memory"), [document, other])
    assert text.index("A Fast CPU") < text.index("**B, 2 cores**: not measured\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (page("opal"), "marker 'opal': expected one of bars"),
        ("<!-- performance: bars -->\n", "no <!-- performance: end -->"),
        ("<!-- performance: end -->\n", "no <!-- performance: end -->"),
    ],
)
def test_wrong_markers_are_refused(document, text, says):
    with pytest.raises(DocumentError, match=says):
        update_page(text, [document])


def test_the_numbers_stand_in_their_columns(document):
    sections = document["sections"]
    table = {name: rows(make(sections[section])) for name, (section, make) in TABLES.items() if section in sections
             and sections[section]["status"] == "done"}  # fmt: skip
    assert table["networks"][2] == ["avx2-int16 (int16)", "1", "25.0", "104.8", "160.0", "66 %", "int16-madd256"]
    assert table["networks"][3][:2] == ["", "2"]
    stages = ["0.1", "2.0", "4.0", "20.0", "1.5", "0.4"]
    assert table["frames"][0][3:9] == list(STAGES)
    assert table["frames"][2] == ["avx2-int16", "**28.0**", "27.0", *stages, "20.0", "1.40", "75.2 dB"]
    assert table["frames"][3][-1] == "float32"
    assert table["speedup"][2] == ["NeRF, float32 in chunks of 4096", "", "", "163.8 M", "1,400,000", "1"]
    assert table["speedup"][3] == ["KiloNeRF, AVX2 int16, 2 threads", "on", "on", "0.50 M", "28.0", "50,000"]
    assert table["speedup"][7][:3] == ["KiloNeRF, in float32", "on", "on"]
    assert table["threads"][3] == ["2", "28.0", "2.00", "0.40"]
    assert table["resolution"][2] == ["400x400", "0.100 M", "28.0", "50"]
    assert table["samples"][3][0] == "384"
    assert table["grids"][2][0] == "4^3, 7 networks"
    assert table["memory"][2] == ["8.0", "50.0", "40.0", "72.0"]
    for found in table.values():
        assert len({len(row) for row in found}) == 1


def test_bars_that_are_met_and_bars_that_are_not(document):
    met = rows(bars(document))[2:]
    assert [row[3] for row in met] == ["yes"] * len(met)
    assert len(met) == 9
    sections = document["sections"]
    sections["frames"]["paths"][0] = path(
        *("avx2-int16", "int16"), ms=130.1, ratio=1.61, psnr_to_baseline=39.9, stages_ms={**STAGES, "rays": 3.2}
    )
    sections["speedup"]["modes"][0]["speedup"] = 29_999.0
    sections["threads"]["counts"][1]["speedup"] = 1.79
    sections["scaling"]["sizes"] = runs("size", (400, 800), growth=1.06)
    sections["scaling"]["samples"] = runs("per_ray", (96, 384), growth=1.06)
    sections["memory"]["used_bytes"] = 72 * 2**20 + 1
    missed = rows(bars(document))[2:]
    assert [row[3] for row in missed] == ["**no**"] * len(met)


def test_names_and_commits_are_short(document):
    assert file_name(document["machine"]) == "performance-a-fast-cpu-r-2-cores"
    assert short("ab" * 20) == "ab" * 5
    assert short("version 0.1.0") == "version 0.1.0"


@pytest.mark.slow
def test_the_picture_is_the_same_each_time_and_does_without_a_section(document, tmp_path):
    pytest.importorskip("matplotlib")
    draw(document, tmp_path / "a.svg")
    draw(document, tmp_path / "b.svg")
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in drawn
    document["sections"]["speedup"] = {"status": "skipped", "commit": "", "reason": "torch is not installed"}
    del document["sections"]["frames"]
    draw(document, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_bytes() != drawn


def test_nothing_in_the_page_is_typed_by_hand():
    results = REPOSITORY / "benchmarks" / "results"
    documents = [json.loads(file.read_text()) for file in sorted(results.glob("performance-*.json"))]
    text = (REPOSITORY / "docs" / "performance.md").read_text()
    assert documents
    assert update_page(text, documents) == text
    for document in documents:
        assert (REPOSITORY / "docs" / "images" / f"{file_name(document['machine'])}.svg").is_file()
