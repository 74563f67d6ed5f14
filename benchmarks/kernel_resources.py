"""Prints what each kernel needs of each architecture, as the table in docs/cuda.md: ``python kernel_resources.py``.

Compiles with NVRTC; no GPU is needed.
"""

import sys
from collections.abc import Sequence

from nvrtc_compiler import MULTIPROCESSOR, Compiled, all_variants, compile_variant, program_sources, why_unavailable


def table(results: Sequence[Compiled]) -> str:
    """A Markdown table, a row for each kernel, precision and architecture."""
    lines = [
        "| kernel | operands | sm | registers (limit) | spills | shared memory of a block | blocks at once | warps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        sm = result.variant.architecture
        operands = "fp16" if result.variant.tensor_cores else "float32"
        for kernel in result.kernels:
            blocks = kernel.resident_blocks(sm)
            warps = f"{blocks * kernel.threads // 32} of {MULTIPROCESSOR[sm][2] // 32}"
            registers = f"{kernel.registers} ({kernel.register_limit(sm)})"
            lines.append(
                f"| {kernel.name} | {operands} | {sm} | {registers} | {kernel.spill_bytes} "
                f"| {kernel.shared_bytes:,} B | {blocks} | {warps} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Compile everything and print the table."""
    reason = why_unavailable()
    if reason is not None:
        print(f"kernel_resources: error: {reason}", file=sys.stderr)
        sys.exit(2)
    print(table([compile_variant(variant) for variant in all_variants(program_sources())]))


if __name__ == "__main__":
    main()
