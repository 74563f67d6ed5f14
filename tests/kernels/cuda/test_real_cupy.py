"""What a real CuPy accepts: it can be imported, and compiles, without a driver.

``make test-all`` puts one into ``build/cupy``, where no other test finds it: were a CuPy installed, the program would
try a GPU first everywhere. Skips where there is none.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.nvrtc_compiler import KERNEL, Variant, all_variants, compiler_options, program_sources
from kilonerf.kernels.cuda.device import KERNELS

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[3]
CUPY = REPOSITORY / "build" / "cupy"
WORKER = Path(__file__).with_name("cupy_compiler.py")
CUDA_12, CUDA_13 = 12, 13
ARCHITECTURES = {CUDA_12: (90,), CUDA_13: (75, 90, 120)}  # test_nvrtc compiles for all with CUDA 12
VARIANTS = [
    (cuda, variant)
    for cuda, architectures in ARCHITECTURES.items()
    for variant in all_variants(program_sources())
    if variant.architecture in architectures
]


def library_and_headers(cuda: int) -> tuple[Path, Path]:
    """NVRTC and headers, of the wheels in build/cupy or of those that the tests have anyway."""
    places = [CUPY, *map(Path, sys.path)]
    inside = {CUDA_12: ("cuda_nvrtc", "cuda_runtime"), CUDA_13: ("cu13", "cu13")}[cuda]
    for place in places:
        for library in (place / "nvidia" / inside[0] / "lib").glob(f"libnvrtc.so.{cuda}"):
            for headers in (other / "nvidia" / inside[1] / "include" for other in places):
                if (headers / "cuda_fp16.h").is_file():
                    return library, headers
    pytest.skip(f"needs NVRTC {cuda} and its headers")


@pytest.fixture(scope="module")
def answers() -> dict[int, dict[str, Any]]:
    """What CuPy made of all variants, by CUDA's version."""
    if not (CUPY / "cupy").is_dir():
        pytest.skip("needs CuPy in build/cupy: make test-all puts it there")
    found = {}
    for cuda in ARCHITECTURES:
        variants = [variant for version, variant in VARIANTS if version == cuda]
        asked = [
            (
                str(variant.source.relative_to(KERNELS)),
                re.findall(KERNEL, variant.source.read_text())[0],
                variant.architecture,
                list(variant.defines),
            )
            for variant in variants
        ]
        command = [sys.executable, str(WORKER), str(CUPY), *map(str, library_and_headers(cuda))]
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        found[cuda] = {**told, "kernels": dict(zip(map(str, variants), told["kernels"], strict=True))}
    return found


@pytest.mark.parametrize("cuda", list(ARCHITECTURES))
def test_torchs_stream_is_taken_without_a_warning(answers: dict[int, dict[str, Any]], cuda: int) -> None:
    assert int(answers[cuda]["cupy"].partition(".")[0]) >= 14
    assert answers[cuda]["nvrtc"][0] == cuda
    assert answers[cuda]["stream"] == {"pointer": 0x1234}


@pytest.mark.parametrize(("cuda", "variant"), VARIANTS, ids=str)
def test_cupy_compiles_every_kernel(answers: dict[int, dict[str, Any]], cuda: int, variant: Variant) -> None:
    """Through CupyDevice.kernel; and test_nvrtc.py, which knows no CuPy, compiles with the very same options."""
    told = answers[cuda]["kernels"][str(variant)]
    assert "error" not in told, told["error"]
    assert told["cubin"]

    def without_paths(options: list[str]) -> list[str]:
        return sorted(option for option in options if not option.startswith(("-I", "-DKNF_SOURCES=")))

    assert without_paths(told["options"]) == without_paths(compiler_options(variant))
