"""benchmarks/gpu/check.py without a GPU: what it says then, and its measurements run on the SIMT host."""

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.gpu import check
from benchmarks.gpu import measurements as gpu_measurements
from benchmarks.gpu.check import begin_document, chosen, save
from benchmarks.gpu.octree_field import made_up_field
from benchmarks.gpu.sections import (
    FIRST,
    PARTS,
    Context,
    agreement,
    all_sections,
    kernel_resources,
    octree_frames,
    outcome,
    smoke,
)
from benchmarks.gpu.table import MOST_LINES
from kilonerf.kernels import Frame, RenderOptions
from kilonerf.kernels.cuda.cupy_device import CupyDevice
from kilonerf.kernels.cuda.frame_setup import FrameSetup
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.model_io import BackendError, Camera, Scene
from simt.simt_baseline import SimtBaselineDevice
from simt.simt_device import SimtDevice
from support.scenes import random_scene, views

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return random_scene()


@pytest.fixture(scope="module")
def camera(scene: Scene) -> Camera:
    return views(scene)["outside"].resized(18, 14)


def has_gpu() -> bool:
    try:
        CupyDevice()
    except BackendError:
        return False
    return True


def test_simt_gpu_check_says_in_one_line_that_there_is_no_gpu(tmp_path) -> None:
    if has_gpu():
        pytest.skip("there is a GPU")
    output = tmp_path / "result.json"
    done = subprocess.run(
        [REPOSITORY / "benchmarks" / "gpu_check.sh", "--output", output],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu_check: backend 'cuda': ")
    assert done.stderr.count("\n") == 1
    assert not output.exists()


def test_simt_gpu_check_has_every_section_the_telling_ones_first() -> None:
    names = list(all_sections())
    assert names[:5] == ["set-up", "environment", "smoke", "kernel resources", "memcheck"]
    assert names[5:8] == ["racecheck", "synccheck", "tests"]
    for size in ("800x800", "1920x1080"):
        assert {f"bench {size} float16", f"bench {size} float32"} <= set(names)
        assert {f"sorted baseline {size}", f"interop {size}"} <= set(names)
        assert {f"fused {size} float16", f"fused {size} float32"} <= set(names)
    rest = {"training tests", "training networks", "training step", "networks alone", "fp16 matrix product"}
    rest |= {
        "profile render",
        "profile query",
        "octree field float16",
        "octree field float32",
        "octree field's agreement",
    }
    assert rest | {"agreement with reference", "agreement with cpu"} <= set(names)
    assert all(0 < section.limit <= 180 for section in all_sections().values())


def options_of(**more: Any) -> Namespace:
    return Namespace(**{"only": None, "part": None, "again": False, **more})


def test_simt_gpu_check_has_three_parts_whose_sections_come_in_order() -> None:
    names = {part: chosen(options_of(part=part), {}) for part in PARTS}
    assert names["tests"][0] == "smoke"
    assert names["tests"][-2:] == ["agreement with reference", "agreement with cpu"]
    assert names["times"][0] == "networks alone"
    assert names["profile"] == ["profile render", "profile query", "training networks", "training step"]
    everything = chosen(options_of(), {})
    assert everything == [name for part in PARTS for name in names[part]]
    assert "launches of render" not in everything  # Nsight Compute starts it
    assert max(map(len, names.values())) + len(FIRST) <= MOST_LINES - 10  # a line each, and failing tests


def test_simt_gpu_check_asks_again_only_for_what_is_not_done() -> None:
    before = {"smoke": {"status": "done"}, "tests": {"status": "failed"}, "memcheck": {"status": "skipped"}}
    names = chosen(options_of(part="profile", again=True), before)
    assert names == [*chosen(options_of(part="profile"), {}), "memcheck", "tests"]


def test_simt_gpu_check_continues_only_the_results_of_this_program_on_this_device(tmp_path: Path) -> None:
    output, device = tmp_path / "results" / "gpu.json", {"name": "H200"}
    document = begin_document(output, "abc", device)
    document["sections"]["smoke"] = {"status": "done"}
    save(document, output)
    assert begin_document(output, "abc", device)["sections"] == {"smoke": {"status": "done"}}
    assert begin_document(output, "abd", device)["sections"] == {}
    assert begin_document(output, "abc", {"name": "H100"})["sections"] == {}
    output.write_text('{"commit": "ab')
    assert begin_document(output, "abc", device)["sections"] == {}


def test_simt_gpu_check_goes_on_where_results_cannot_be_written(tmp_path: Path, capsys) -> None:
    save({"sections": {}}, tmp_path / "no such folder" / "gpu.json")
    assert capsys.readouterr().err.startswith("gpu_check: results not written: ")


def test_simt_gpu_check_takes_the_commit_of_the_kit_where_git_tells_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(check, "REPOSITORY", tmp_path)
    monkeypatch.setattr(check, "KIT", tmp_path / "gpu_kit")
    assert check.program_commit() == "unknown"
    (tmp_path / "gpu_kit").mkdir()
    (tmp_path / "gpu_kit" / "commit").write_text("0123abc\n")
    assert check.program_commit() == "0123abc"
    (tmp_path / ".git").write_text("gitdir: /not/on/this/machine")
    assert check.program_commit() == "0123abc"


class Diary:
    """A device and a log of what happens on it, in order."""

    def __init__(self, events: list[str]) -> None:
        self._device, self.events = SimtDevice(80), events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def mark(self) -> float:
        self.events.append("mark")
        return self._device.mark()

    def kernel(self, *arguments: Any) -> Any:
        kernel = self._device.kernel(*arguments)
        return SimpleNamespace(
            blocks_per_multiprocessor=kernel.blocks_per_multiprocessor,
            launch=lambda *launch: (self.events.append("launch"), kernel.launch(*launch)),
        )


def test_simt_gpu_check_times_the_kernel_alone(scene, camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lies between the marks but the launch, and the device has work before the first of them."""
    events: list[str] = []
    aim = FrameSetup.aim
    monkeypatch.setattr(FrameSetup, "aim", lambda *arguments: (events.append("set-up"), aim(*arguments))[1])
    found = gpu_measurements.fused_frames(
        cast(Any, Diary(events)), scene, [camera], RenderOptions.as_trained(scene), repeats=4
    )
    assert " ".join(events).count("launch launch launch" + " mark launch mark" * 4) == 1
    assert found["ms_max"] >= found["ms_median"] >= found["ms_min"] > 0
    assert found["on_device_ms"] > 0
    assert found["to_host_ms"] > 0
    assert found["host_us"]["launch"] > 0
    assert found["sm_mhz"] is None


def test_simt_gpu_check_counts_what_the_model_is_about(scene, camera) -> None:
    found = gpu_measurements.frame_counts(SimtDevice(80), scene, camera, RenderOptions.as_trained(scene))
    assert found["samples"] <= found["evaluations"] <= 16 * found["batches"]
    assert 0 < found["visits"] <= found["votes"]
    assert set(found) >= {"tiles", "rounds", "passes", "groups", "cells"}


def test_simt_gpu_check_notices_that_the_device_waited_for_the_host() -> None:
    device = SimpleNamespace(mark=lambda: 0.0, milliseconds=lambda begin, end: 1e-9)
    assert gpu_measurements.kernel_times(cast(Any, device), lambda: None, 3)[2] is False
    device.milliseconds = lambda begin, end: 1e9
    assert gpu_measurements.kernel_times(cast(Any, device), lambda: None, 3)[2] is True


def test_simt_gpu_check_warms_up_and_reads_the_clock_under_load(tmp_path: Path, monkeypatch) -> None:
    smi, wait = tmp_path / "nvidia-smi", f"until [ -e {tmp_path / 'busy'} ]; do :; done"
    smi.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "asked"}\n{wait}\necho 1980\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    began = time.perf_counter()
    clock = gpu_measurements.warm_up(SimtDevice(80), (tmp_path / "busy").touch, 0.05)
    assert clock == 1980
    assert time.perf_counter() - began >= 0.05
    assert "--query-gpu=clocks.sm --format=csv,noheader,nounits" in (tmp_path / "asked").read_text()
    smi.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert gpu_measurements.warm_up(SimtDevice(80), lambda: None, 0.01) is None


@pytest.mark.slow
def test_simt_gpu_check_tells_what_the_driver_says_of_a_kernel() -> None:
    function = SimpleNamespace(num_regs=127, shared_size_bytes=35744, local_size_bytes=0, max_threads_per_block=256)
    kernel = SimpleNamespace(_function=function, blocks_per_multiprocessor=lambda threads: 512 // threads)
    assert gpu_measurements.resources(cast(Any, kernel)) == {
        "registers": 127,
        "shared_bytes": 35744,
        "local_bytes": 0,
        "threads": 256,
        "blocks": 2,
    }
    names = list(gpu_measurements.all_resources(SimtDevice(80)))
    assert {"render float16", "render float32", "query float16", "adam", "forward", "backward"} <= set(names)
    assert {f"{name} {kind} octree" for name in ("render", "query") for kind in ("float16", "float32")} <= set(names)
    found = {"render float16": {"registers": 128, "local_bytes": 8, "blocks": 2}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "device", lambda self: SimtDevice(80))
        patch.setattr(gpu_measurements, "all_resources", lambda device: found)
        result = outcome(lambda: kernel_resources(Context(Path("scene.knf"), None)))
        assert (result["status"], result["reason"]) == ("failed", "local memory (spills or stack): render float16")
        found["render float16"]["local_bytes"] = 0
        result = outcome(lambda: kernel_resources(Context(Path("scene.knf"), None)))
        assert result["headlines"] == ["registers x blocks: render float16 128 x 2"]


@pytest.mark.slow
def test_simt_gpu_check_fails_on_a_picture_that_is_wrong(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "device", lambda self: SimtDevice(80))
    monkeypatch.setattr(Context, "scene", lambda self: scene)
    context = Context(Path("scene.knf"), None)
    assert outcome(lambda: smoke(context))["status"] == "done"
    render = CudaRenderer.render

    def broken(self: CudaRenderer, *arguments: Any, **more: Any) -> Frame:
        frame = render(self, *arguments, **more)
        frame.rgb[3, 4] = np.nan
        return frame

    monkeypatch.setattr(CudaRenderer, "render", broken)
    result = outcome(lambda: smoke(context))
    assert result["status"] == "failed"
    assert result["reason"] == "float16 0.0 dB, float32 0.0 dB to reference, 17x15: expected at least 35 dB"


@pytest.mark.slow
def test_simt_gpu_check_measures_an_octree_field(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    field, timed = made_up_field(scene, 4), partial(gpu_measurements.fused_frames, repeats=1)
    kept = field.cells.occupancy.sum()
    assert 0.2 < kept / scene.cells.occupancy.sum() <= 1
    monkeypatch.setattr(Context, "device", lambda self: SimtDevice(80))
    monkeypatch.setattr(Context, "octree_field", lambda self: field)
    monkeypatch.setattr(gpu_measurements, "WARM_UP", 0.0)
    monkeypatch.setattr(gpu_measurements, "fused_frames", timed)
    context = Context(Path("scene.knf"), None)
    found = outcome(lambda: octree_frames((18, 14), "float16", context))
    assert found["status"] == "done"
    assert found["ms_median"] > 0
    assert found["counts"]["evaluations"] >= found["counts"]["samples"] > 100
    agreed = outcome(lambda: agreement("reference", (17, 15), context, octree=True))
    assert agreed["status"] == "done"
    assert agreed["float32"]["psnr"] > 80
    assert agreed["float16"]["psnr"] > 40


def test_simt_gpu_check_measures_networks_and_products(scene) -> None:
    device = SimtDevice(80)
    rate = gpu_measurements.network_rate(device, scene, points=700, repeats=1)
    assert rate["points"] == 512
    assert all(rate[precision]["ms_median"] > 0 for precision in ("float16", "float32", "float16, fp16 sums"))
    three_ways = [("query", 2)] * 12
    assert [launch for launch in device.launches if launch[0] == "query"] == three_ways
    product = gpu_measurements.matrix_rate(device, np, size=32, repeats=2)
    assert product["teraflops"] >= 0
    assert gpu_measurements.precisions(SimtDevice(70)) == ["float32"]


def test_simt_gpu_check_measures_both_pipelines_and_agreement(scene, camera) -> None:
    device = SimtDevice(80)
    both = gpu_measurements.side_by_side(device, SimtBaselineDevice(), scene, [camera], repeats=1)
    assert both["sorted"]["evaluations"] > 0
    assert both["fused float32"]["psnr_to_sorted"] > 60
    assert both["fused float16"]["psnr_to_sorted"] > 35
    assert both["fused float16"]["times_faster"] > 0
    truth = gpu_measurements.agreement(device, scene, camera, "reference")
    assert truth["float32"]["psnr"] > 80
    assert truth["float16"]["psnr"] > 40
    assert json.loads(json.dumps([both, truth]))  # plain numbers
