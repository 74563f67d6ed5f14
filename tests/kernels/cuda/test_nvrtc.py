"""Every CUDA kernel compiles for every architecture, within the registers and shared memory that it counts on."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from _pytest.mark import ParameterSet

from benchmarks.gpu.kernel_resources import table
from benchmarks.gpu.nvrtc_compiler import (
    REPOSITORY,
    STATIC_SHARED_LIMIT,
    Compiled,
    NvrtcError,
    Variant,
    all_variants,
    compile_variant,
    parse_resources,
    program_sources,
    why_unavailable,
)

BASELINE = REPOSITORY / "benchmarks" / "gpu" / "sorted_baseline.cu"
VARIANTS = all_variants(program_sources()) + [v for v in all_variants([BASELINE]) if not v.tensor_cores]
TRAINING = {"adam", "networks", "rays"}
TENSOR_PRODUCTS = 44  # m16n8k16, of one pass over 16 samples: 16 + 8 + 16 for the layers, 4 for the outputs
OUTPUT_PRODUCTS = 4  # density and colour, always summed in fp32
# Of an octree field for 16 samples, four parts of 4 for the features and 2 for the outputs; for 16 rays, one part at a
# time, 8.
FIELD_PRODUCTS, FIELD_OUTPUT_PRODUCTS = 4 * (4 + 2) + 8, 4 * 2


def is_slow(variant: Variant) -> bool:
    """Compiled by make test-all only: what differs from sm_80 by its own registers, and most of octree fields."""
    return variant.architecture != 80 or (variant.octree and (variant.half_sums or not variant.tensor_cores))


def marked(variants: list[Variant]) -> list[ParameterSet]:
    return [pytest.param(v, id=str(v), marks=[pytest.mark.slow] if is_slow(v) else []) for v in variants]


pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.fixture(scope="module")
def compiled() -> dict[Variant, Compiled | Exception]:
    """All that is not slow, compiled side by side: NVRTC does not hold the interpreter's lock."""
    variants = [variant for variant in VARIANTS if not is_slow(variant)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(variants, pool.map(attempt, variants), strict=True))


def attempt(variant: Variant) -> Compiled | Exception:
    try:
        return compile_variant(variant)
    except NvrtcError as error:
        return error


def result_of(compiled: dict[Variant, Compiled | Exception], variant: Variant) -> Compiled:
    result = compiled[variant] if variant in compiled else attempt(variant)
    if isinstance(result, Exception):
        raise result
    return result


@pytest.mark.parametrize("variant", marked(VARIANTS))
def test_nvrtc_compiles_within_registers_and_shared_memory(compiled, variant: Variant) -> None:
    result = result_of(compiled, variant)
    assert result.cubin.startswith(b"\x7fELF")
    declared = re.findall(
        r'extern "C" __global__ void __launch_bounds__\([^)]*\)\s*(\w+)\(', variant.source.read_text()
    )
    assert declared
    assert sorted(kernel.name for kernel in result.kernels) == sorted(declared)
    for kernel in result.kernels:
        assert kernel.name.encode() in result.cubin
        assert kernel.spill_bytes == 0
        assert kernel.stack_bytes == 0
        assert 0 < kernel.registers <= kernel.register_limit(variant.architecture)
        assert kernel.shared_bytes <= STATIC_SHARED_LIMIT
        assert kernel.resident_blocks(variant.architecture) >= 1


@pytest.mark.parametrize("variant", marked(VARIANTS))
def test_nvrtc_uses_the_instructions_that_the_architecture_has(compiled, variant: Variant) -> None:
    result = result_of(compiled, variant)
    found = re.findall(r"mma\.sync\.aligned\.(m\d+n\d+k\d+)\.row\.col\.(f32|f16)\.f16\.f16\.(f32|f16)", result.ptx)
    shapes = [shape for shape, _, _ in found]
    assert len(shapes) == result.ptx.count("mma.sync")
    parts = 1 if variant.architecture >= 80 else 2
    in_half = sum(sums == results == "f16" for _, results, sums in found)
    products, in_float = (TENSOR_PRODUCTS, OUTPUT_PRODUCTS)
    if variant.octree:
        products, in_float = (FIELD_PRODUCTS, FIELD_OUTPUT_PRODUCTS)
    assert in_half == (parts * (products - in_float) if variant.half_sums else 0)
    if not variant.tensor_cores:
        assert not shapes
    elif variant.architecture >= 80:
        assert shapes == ["m16n8k16"] * products
    else:
        assert shapes == ["m16n8k8"] * (2 * products)
    asynchronous = "cp.async.cg.shared.global" in result.ptx
    assert asynchronous == (variant.architecture >= 80 and "wait_for_copies" in variant.source.read_text())
    assert ("cp.async.wait_group" in result.ptx) == asynchronous
    # Which samples count must not depend on how a compiler joins products and sums: every fma is asked for by name.
    assert not re.search(r"\bmad\.(rn\.)?f32", result.ptx)


def test_nvrtc_compiles_every_source_for_every_architecture() -> None:
    assert {source.stem for source in program_sources()} == {"query", "render"} | TRAINING
    plain = {(v.source.stem, v.architecture) for v in VARIANTS if not v.tensor_cores}
    assert len(plain) == 7 * 6
    assert {v.source.stem for v in VARIANTS if v.tensor_cores} == {"query", "render"}
    octree = {(v.source.stem, v.architecture, v.tensor_cores) for v in VARIANTS if v.octree and not v.half_sums}
    assert len(octree) == 2 * (7 + 6)
    assert {stem for stem, _, _ in octree} == {"query", "render"}
    nested = {(v.source.stem, v.architecture, v.tensor_cores) for v in VARIANTS if v.nested}
    assert len(nested) == 7 + 6
    assert {stem for stem, _, _ in nested} == {"render"}


@pytest.mark.parametrize("variant", marked([v for v in VARIANTS if v.nested]))
def test_nvrtc_nested_boxes_keep_as_many_blocks_resident(compiled, variant: Variant) -> None:
    bounded = replace(variant, nested=False)
    (nested_kernel,), (bounded_kernel,) = result_of(compiled, variant).kernels, result_of(compiled, bounded).kernels
    architecture = variant.architecture
    assert nested_kernel.resident_blocks(architecture) == bounded_kernel.resident_blocks(architecture)
    assert nested_kernel.shared_bytes == bounded_kernel.shared_bytes


def test_nvrtc_finds_spills_and_too_many_registers(tmp_path) -> None:
    source = tmp_path / "greedy.cu"
    source.write_text(
        """
extern "C" __global__ void __launch_bounds__(1024, 1) greedy(const float* from, float* to, int count) {
    __shared__ float all[100];
    float held[200];
#pragma unroll
    for (int i = 0; i < 200; i++) held[i] = from[i * count + threadIdx.x];
    all[threadIdx.x % 100] = held[threadIdx.x % 200];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 200; i++) to[i * count + threadIdx.x] = held[i] * held[199 - i] + all[i % 100];
}
"""
    )
    (kernel,) = compile_variant(Variant(source, 80, False)).kernels
    assert (kernel.name, kernel.threads, kernel.blocks, kernel.shared_bytes) == ("greedy", 1024, 1, 400)
    assert kernel.stack_bytes >= 4 * 200  # indexed by the thread
    assert kernel.register_limit(80) == 64


def test_nvrtc_report_is_parsed() -> None:
    log = (
        "ptxas info    : 24 bytes gmem\n"
        "ptxas info    : Compiling entry function 'first' for 'sm_75'\n"
        "ptxas info    : Function properties for first\n"
        "ptxas         .     40 bytes stack frame, 64 bytes spill stores, 108 bytes spill loads\n"
        "ptxas info    : Used 128 registers, used 1 barriers, 35760 bytes smem, 648 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'second' for 'sm_75'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 9 registers, 360 bytes cmem[0]\n"
    )
    ptx = (
        ".visible .entry first(\n\t.param .u64 first_param_0\n)\n.maxntid 256, 1, 1\n.minnctapersm 2\n{ }\n"
        ".visible .entry second(\n\t.param .u64 second_param_0\n)\n.maxntid 64, 1, 1\n{ }\n"
    )
    first, second = parse_resources(log, ptx)
    assert (first.registers, first.spill_bytes, first.stack_bytes, first.shared_bytes) == (128, 172, 40, 35760)
    assert (first.threads, first.blocks, first.register_limit(75)) == (256, 2, 128)
    assert first.resident_blocks(75) == 1  # two would need 70 KB of the 64 there are
    assert first.resident_blocks(86) == 2
    assert (second.registers, second.shared_bytes, second.threads, second.blocks) == (9, 0, 64, 1)
    with pytest.raises(ValueError, match="kernel first: expected ptxas' report"):
        parse_resources(log.replace("Used", "Took"), ptx)


def test_nvrtc_errors_are_told(tmp_path) -> None:
    source = tmp_path / "broken.cu"
    source.write_text('extern "C" __global__ void broken() { undeclared = 1; }')
    with pytest.raises(NvrtcError, match=r"broken-sm_90-float32: NVRTC_ERROR_COMPILATION: .*undeclared"):
        compile_variant(Variant(source, 90, False))


def test_nvrtc_table_names_every_architecture_of_each_kernel(compiled) -> None:
    results = [result for result in compiled.values() if isinstance(result, Compiled)]
    rows = [[cell.strip() for cell in row.split("|")] for row in table(results).splitlines()[2:]]
    named = sorted((row[1], row[2], sm) for row in rows for sm in row[3].split(", "))
    kinds = {True: "fp16", False: "float32"}
    assert named == sorted(
        (
            f"{kernel.name}{', nested' if result.variant.nested else ', octree' if result.variant.octree else ''}",
            kinds[result.variant.tensor_cores] + (", fp16 sums" if result.variant.half_sums else ""),
            str(result.variant.architecture),
        )
        for result in results
        for kernel in result.kernels
    )
