"""Compiles CUDA sources with NVRTC for any architecture, with no GPU at hand, and reads what they need of one."""

import functools
import hashlib
import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kilonerf.kernels.cuda.cupy_device import toolkit_headers
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, KERNELS, OPTIONS, sources_digest

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "build" / "nvrtc"
ARCHITECTURES = (75, 80, 86, 89, 90, 120)
GEFORCE = (75, 86, 89, 120)  # fp32 sums take their tensor cores twice as long as fp16 sums
OLDEST = 70  # float32 only: tensor-core products of the shapes used start with sm_75
# sm: (registers, bytes of shared memory, threads) of a multiprocessor; CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability".
MULTIPROCESSOR = {
    70: (65536, 96 * 1024, 2048),
    75: (65536, 64 * 1024, 1024),
    80: (65536, 164 * 1024, 2048),
    86: (65536, 100 * 1024, 1536),
    89: (65536, 100 * 1024, 1536),
    90: (65536, 228 * 1024, 2048),
    120: (65536, 100 * 1024, 1536),
}
STATIC_SHARED_LIMIT = 48 * 1024  # of one block, without asking the driver for more
RESERVED_SHARED = 1024  # of each block, by the system, from sm_80
REGISTER_UNIT = 8  # a thread's registers are given out in steps of this many
KERNEL = r'extern "C" __global__ void __launch_bounds__\([^)]*\)\s*(\w+)\('
LARGEST_REGISTERS = 255  # that an instruction can name


class NvrtcError(RuntimeError):
    """NVRTC refused a source; the text is its log."""


@dataclass(frozen=True)
class Variant:
    """One way to compile a source.

    Attributes:
        source: a ``.cu`` file.
        architecture: 75 for sm_75.
        tensor_cores: whether ``KNF_TENSOR_CORES`` is defined.
        nested: whether ``KNF_NESTED`` is: for scenes of nested boxes.
        half_sums: whether ``KNF_HALF_SUMS`` is: hidden layers are summed in fp16.
        octree: whether ``KNF_OCTREE`` is: for octree fields.
    """

    source: Path
    architecture: int
    tensor_cores: bool
    nested: bool = False
    half_sums: bool = False
    octree: bool = False

    def __str__(self) -> str:
        kind = "tensor" if self.tensor_cores else "float32"
        more = f"{'-nested' if self.nested else ''}{'-half_sums' if self.half_sums else ''}"
        more += "-octree" if self.octree else ""
        return f"{self.source.stem}-sm_{self.architecture}-{kind}{more}"

    @property
    def defines(self) -> dict[str, None]:
        """What is defined for it."""
        wanted = {
            "KNF_TENSOR_CORES": self.tensor_cores,
            "KNF_NESTED": self.nested,
            "KNF_HALF_SUMS": self.half_sums,
            "KNF_OCTREE": self.octree,
        }
        return {name: None for name, there in wanted.items() if there}


@dataclass(frozen=True)
class KernelResources:
    """What one kernel needs, as ptxas says, and what its launch bounds promise.

    Attributes:
        name: of the kernel.
        registers: of a thread.
        spill_bytes: stored and loaded because registers ran out.
        stack_bytes: of a thread.
        shared_bytes: static shared memory of a block.
        threads: the most that a block may have.
        blocks: that a multiprocessor shall hold at least.
    """

    name: str
    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int
    threads: int
    blocks: int

    def register_limit(self, architecture: int) -> int:
        """Registers of a thread at which ``blocks`` blocks still fit."""
        each = MULTIPROCESSOR[architecture][0] // (self.threads * self.blocks)
        return min(each // REGISTER_UNIT * REGISTER_UNIT, LARGEST_REGISTERS)

    def resident_blocks(self, architecture: int) -> int:
        """Blocks that a multiprocessor holds at once."""
        registers, shared, threads = MULTIPROCESSOR[architecture]
        each = -(-self.registers // REGISTER_UNIT) * REGISTER_UNIT * self.threads
        block = max(1, self.shared_bytes + (RESERVED_SHARED if architecture >= 80 else 0))
        return min(registers // each, shared // block, threads // self.threads)


@dataclass(frozen=True)
class Compiled:
    """What NVRTC made of one variant."""

    variant: Variant
    cubin: bytes
    ptx: str
    log: str

    @property
    def kernels(self) -> list[KernelResources]:
        """Every kernel of the source."""
        return parse_resources(self.log, self.ptx)


def why_unavailable() -> str | None:
    """The reason for which nothing can be compiled here; None if it can."""
    missing = [
        f"{name} ({package})"
        for name, package in (
            ("cuda.bindings", "cuda-bindings"),
            ("nvidia.cuda_nvrtc", "nvidia-cuda-nvrtc-cu12"),
            ("nvidia.cuda_runtime", "nvidia-cuda-runtime-cu12"),
        )
        if not _importable(name)
    ]
    return f"compiling CUDA needs {', '.join(missing)}" if missing else None


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def all_variants(sources: Sequence[Path]) -> list[Variant]:
    """Every way in which ``sources`` are compiled for somebody's GPU."""
    plain = [Variant(source, sm, False) for source in sources for sm in (OLDEST, *ARCHITECTURES)]
    tensor = [Variant(source, sm, True) for source in filter(evaluates, sources) for sm in ARCHITECTURES]
    nested = [replace(v, nested=True) for v in plain + tensor if v.source == KERNELS / "render.cu"]
    half_sums = [replace(v, half_sums=True) for v in tensor if v.architecture in GEFORCE]
    octree = [replace(v, octree=True) for v in plain + tensor + half_sums if evaluates(v.source)]
    return plain + tensor + nested + half_sums + octree


def evaluates(source: Path) -> bool:
    """Whether a kernel source evaluates either kind of scene in either precision, as the renderer's do."""
    return '#include "kilonerf/evaluator.cuh"' in source.read_text()


def program_sources() -> list[Path]:
    """The ``.cu`` files of the program."""
    return sorted(KERNELS.rglob("*.cu"))


def compile_variant(variant: Variant) -> Compiled:
    """Compile, or take what an earlier run made of the very same sources.

    Raises:
        NvrtcError: NVRTC refused the source.
    """
    parts = (_nvrtc().nvrtcVersion()[1:], _options(variant), sources_digest(), variant.source.read_bytes())
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    kept = [CACHE / f"{variant}-{key}.{kind}" for kind in ("cubin", "ptx", "log")]
    if not all(path.exists() for path in kept):
        CACHE.mkdir(parents=True, exist_ok=True)
        for path, content in zip(kept, _compile(variant), strict=True):
            temporary = path.with_suffix(f"{path.suffix}.part")
            temporary.write_bytes(content)
            temporary.replace(path)
    cubin, ptx, log = kept
    return Compiled(variant, cubin.read_bytes(), ptx.read_text(), log.read_text())


def compiler_options(variant: Variant) -> list[str]:
    """As the program gives them, and then CuPy 14 (tests/kernels/cuda/test_real_cupy.py compares)."""
    options = [*OPTIONS, *(f"-D{name}" for name in variant.defines)]
    options += [f"-I{folder}" for folder in (*INCLUDE_FOLDERS, *toolkit_headers())]
    return [*options, "-ftz=true", f"-arch=sm_{variant.architecture}", "--device-as-default-execution-space"]


def _options(variant: Variant) -> list[str]:
    """The same, with ptxas' report."""
    return [*compiler_options(variant), "--ptxas-options=-v"]


@functools.cache
def _nvrtc() -> Any:
    return importlib.import_module("cuda.bindings.nvrtc")


def _compile(variant: Variant) -> tuple[bytes, bytes, bytes]:
    """Cubin, PTX and log."""
    nvrtc = _nvrtc()

    def text_of(size_of, content_of) -> bytes:
        content = b" " * size_of(program)[1]
        content_of(program, content)
        return content.rstrip(b"\0")

    options = [option.encode() for option in _options(variant)]
    _, program = nvrtc.nvrtcCreateProgram(variant.source.read_bytes(), str(variant.source).encode(), 0, [], [])
    try:
        (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        log = text_of(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise NvrtcError(f"{variant}: {result.name}: {log.decode()}")
        ptx = text_of(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        cubin = b" " * nvrtc.nvrtcGetCUBINSize(program)[1]
        nvrtc.nvrtcGetCUBIN(program, cubin)
        return cubin, ptx, log
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def parse_resources(log: str, ptx: str) -> list[KernelResources]:
    """Kernels from ptxas' report (``--ptxas-options=-v``) and the launch bounds in the PTX.

    Raises:
        ValueError: the report is not what it used to be.
    """
    kernels = []
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part[: part.index("'")]
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        used = re.search(r"Used (\d+) registers", part)
        bounds = re.search(
            rf"\.entry {re.escape(name)}\(.*?\)\s*\.maxntid (\d+)[^\n]*\n(\.minnctapersm (\d+))?", ptx, re.S
        )
        if frame is None or used is None or bounds is None:
            raise ValueError(f"kernel {name}: expected ptxas' report and launch bounds, got {part!r}")
        shared = re.search(r"(\d+) bytes smem", part)
        kernels.append(
            KernelResources(
                name=name,
                registers=int(used[1]),
                spill_bytes=int(frame[2]) + int(frame[3]),
                stack_bytes=int(frame[1]),
                shared_bytes=int(shared[1]) if shared else 0,
                threads=int(bounds[1]),
                blocks=int(bounds[3] or 1),
            )
        )
    return kernels
