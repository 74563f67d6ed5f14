"""Which code paths of the CPU backend this machine has, and that a named one is taken."""

import re
import sys
from pathlib import Path

import pytest

from kilonerf.kernels import BackendChoice, create_renderer
from kilonerf.kernels.cpu.paths import available_cpu_paths
from kilonerf.kernels.cpu.renderer import CpuRenderer
from kilonerf.model_io import BackendError, Scene

ROWS = Path(__file__).resolve().parents[3] / "kernels" / "cpu" / "march" / "code_paths.def"
TABLE = dict(re.findall(r'^CODE_PATH\(\w+, "([^"]+)", "([^"]+)",', ROWS.read_text(), re.MULTILINE))


def test_every_machine_has_the_baseline_in_float32() -> None:
    paths = {path.name: path.precision for path in available_cpu_paths()}
    assert paths["baseline"] == "float32"
    for name, precision in paths.items():
        kinds = {"int8": "int8", "int16": "int16", "vnni": "int16", "amx": "bfloat16"}
        expected = next((kind for part, kind in kinds.items() if part in name), "float32")
        assert precision == expected


def test_a_named_path_is_taken_and_auto_takes_the_first(toy_scene: Scene) -> None:
    paths = available_cpu_paths()
    for path in paths:
        renderer = create_renderer(toy_scene, BackendChoice("cpu", threads=1, cpu_path=path.name))
        title, threads = renderer.device.split(", ")
        assert title.endswith(path.precision)
        assert TABLE[path.name] == title
        assert threads == "1 thread"
    best = create_renderer(toy_scene, BackendChoice("cpu", threads=1))
    first = next(path for path in paths if path.precision != "int8")  # too coarse for networks that are noise
    assert best.device == f"{TABLE[first.name]}, 1 thread"


def test_every_row_of_the_table_is_in_the_form_that_the_build_reads() -> None:
    rows = [line for line in ROWS.read_text().splitlines() if line.startswith("CODE_PATH")]
    assert len(rows) == len(TABLE) == len({name.replace("-", "_") for name in TABLE})
    assert list(TABLE)[-1] == "baseline"  # what every machine has comes last
    best_first = [name for name in TABLE if name in {path.name for path in available_cpu_paths()}]
    assert best_first == [path.name for path in available_cpu_paths()]


def test_a_named_path_asks_for_the_cpu(toy_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_cuda(scene: Scene, device: int | None) -> None:
        raise AssertionError("CUDA was tried")

    monkeypatch.setattr("kilonerf.kernels.backends._cuda_renderer", no_cuda)
    assert create_renderer(toy_scene, BackendChoice(cpu_path="baseline")).backend == "cpu"


def test_a_missing_extension_is_a_backend_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kilonerf.kernels._cpu", None)
    monkeypatch.delattr("kilonerf.kernels._cpu", raising=False)
    with pytest.raises(BackendError, match="native extension"):
        available_cpu_paths()


def test_the_networks_alone_are_measured(toy_scene: Scene) -> None:
    renderer = CpuRenderer(toy_scene, threads=2)
    assert renderer.network_rate(100, 0.01) > 0
    with pytest.raises(ValueError, match="1 to 4096 samples, got 5000"):
        renderer.network_rate(5000, 0.01)
