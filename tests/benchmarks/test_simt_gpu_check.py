"""benchmarks/gpu/check.py without a GPU: what it says then, and its measurements run on the SIMT host."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import measurements as gpu_measurements
from benchmarks.gpu.sections import all_sections
from kilonerf.kernels.cuda.cupy_device import CupyDevice
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
    assert names[:5] == ["environment", "smoke", "memcheck", "racecheck", "tests"]
    for size in ("800x800", "1920x1080"):
        assert {f"bench {size} float16", f"bench {size} float32"} <= set(names)
        assert {f"sorted baseline {size}", f"interop {size}"} <= set(names)
    rest = {"training tests", "training times", "networks alone", "fp16 matrix product"}
    assert rest | {"agreement with reference", "agreement with cpu"} <= set(names)
    assert all(0 < section.limit <= 180 for section in all_sections().values())


def test_simt_gpu_check_measures_networks_and_products(scene) -> None:
    device = SimtDevice(80)
    rate = gpu_measurements.network_rate(device, scene, points=700, repeats=1)
    assert rate["points"] == 512
    assert all(rate[precision]["ms_median"] > 0 for precision in ("float16", "float32"))
    assert [launch for launch in device.launches if launch[0] == "query"] == [("query", 2)] * 8
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
