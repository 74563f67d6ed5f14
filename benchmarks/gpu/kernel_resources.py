"""Prints what each kernel needs of each architecture, as the table in docs/cuda.md: ``python kernel_resources.py``.

Compiles with NVRTC; no GPU is needed.
"""

import sys
from collections.abc import Sequence

from .nvrtc_compiler import Compiled, all_variants, compile_variant, program_sources, why_unavailable


def table(results: Sequence[Compiled]) -> str:
    """A Markdown table: a row for each kernel and kind of operands; architectures that need the same share one."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        sm = result.variant.architecture
        operands = "fp16" if result.variant.tensor_cores else "float32"
        operands += ", fp16 sums" if result.variant.half_sums else ""
        for kernel in result.kernels:
            registers = f"{kernel.registers} ({kernel.register_limit(sm)})"
            needs = (registers, str(kernel.spill_bytes), f"{kernel.shared_bytes:,}", str(kernel.resident_blocks(sm)))
            kind = ", nested" if result.variant.nested else ", octree" if result.variant.octree else ""
            name = f"{kernel.name}{kind}"
            rows.setdefault((name, operands, *needs), []).append(str(sm))
    lines = [
        "| kernel | operands | sm | registers (limit) | bytes spilled | bytes of shared memory | resident blocks |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, operands, *needs), architectures in rows.items():
        lines.append(f"| {' | '.join((name, operands, ', '.join(architectures), *needs))} |")
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
