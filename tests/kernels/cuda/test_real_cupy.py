"""What a real CuPy accepts: it can be imported without a driver. Skips where it is not installed."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.nvrtc_compiler import all_variants, program_sources
from kilonerf.kernels.cuda.cupy_device import toolkit_headers
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, OPTIONS
from kilonerf.trainer.ops.cuda import StreamAddress


@pytest.fixture(scope="module")
def cupy() -> Any:
    return pytest.importorskip("cupy", reason="needs CuPy: pip install 'kilonerf-view[cuda]'")


@pytest.fixture(scope="module")
def nvrtc(cupy: Any) -> tuple[int, int]:
    from cupy_backends.cuda.libs import nvrtc  # pyright: ignore[reportMissingImports]

    try:
        return nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"CuPy finds no NVRTC: {' '.join(str(error).split())[:200]}")


def test_torchs_stream_is_taken_without_a_warning(cupy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cupy.cuda.Stream.from_external(StreamAddress(0x1234)).ptr == 0x1234


VARIANTS = [variant for variant in all_variants(program_sources()) if variant.architecture in (75, 80, 90, 120)]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.source.stem}-{v.architecture}-{v.tensor_cores}")
@pytest.mark.usefixtures("nvrtc")
def test_cupys_compiler_takes_every_kernel(cupy: Any, variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options that CuPy adds of its own (precompiled headers, the default execution space)."""
    from cupy.cuda import compiler  # pyright: ignore[reportMissingImports]

    # What CuPy would choose; it asks the driver for the current device first, only to remember the answer.
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin"))
    headers = [f"-I{folder}" for folder in [*INCLUDE_FOLDERS, *toolkit_headers()]]
    options = [*OPTIONS, *headers, *(["-DKNF_TENSOR_CORES"] if variant.tensor_cores else [])]
    source = Path(variant.source).read_text()
    binary, _ = compiler.compile_using_nvrtc(source, tuple(options), str(variant.architecture))
    assert binary.startswith(b"\x7fELF")
