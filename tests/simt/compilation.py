"""Builds a shared library from a CUDA source and the runtime in ``host/``: g++, no CUDA, no sanitizer library."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOST = Path(__file__).resolve().parent / "host"
RUNTIME_SOURCES = ("scheduler.cpp", "arithmetic.cpp", "memory_check.cpp", "ordering.cpp", "launch.cpp")
COMMON_FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-g1",  # line numbers for messages
    "-gdwarf-4",  # of version 5, addr2line mistakes which file a line is in
    "-ffp-contract=off",  # as nvcc's --fmad=false: the same result on every CPU
    "-fno-strict-aliasing",  # device code looks at half2 through unsigned, which nvcc allows
    "-fno-math-errno",
    "-fno-gnu-unique",  # two libraries with structures of one name and other sizes must not share templates' constants
    "-Wno-unknown-pragmas",  # #pragma unroll
)
PLAIN_FLAGS = ("-O2",)
KEPT_SECONDS = 7 * 24 * 3600  # a library or object that was not used for so long is removed
CHECKED_FLAGS = ("-O1", "-fsanitize=thread,bounds,alignment,null,integer-divide-by-zero")


class CompilationError(RuntimeError):
    """g++ refused a source; the text is what it said."""


def why_unavailable() -> str | None:
    """The reason for which nothing can be compiled here; None if it can."""
    if not sys.platform.startswith("linux"):
        return f"the SIMT host needs Linux (ELF, dl_iterate_phdr), this is {sys.platform}"
    missing = [tool for tool in ("g++", "readelf", "addr2line", "c++filt") if shutil.which(tool) is None]
    return f"the SIMT host needs {', '.join(missing)}" if missing else None


def cache_folder() -> Path:
    """Where libraries are kept between runs, named by the hash of all that goes into them."""
    chosen = os.environ.get("KILONERF_SIMT_CACHE")
    folder = Path(chosen) if chosen else HOST.parents[2] / "build" / "simt"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_tool(command: Sequence[str | Path], text: str | None = None) -> str:
    """Standard output of a program.

    Raises:
        CompilationError: it failed.
    """
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompilationError(f"{command[0]} failed: {done.stderr[-4000:]}")
    return done.stdout


def hash_of(*parts: str) -> str:
    """A name for a file that is made from ``parts``."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def kernel_names(preprocessed: str) -> list[str]:
    """Names of the ``extern "C" __global__`` functions in a source preprocessed with SIMT_LIST_KERNELS."""
    found = re.findall(r'extern\s*"C"[^;{}()]*?__simt_kernel__[^;{}(]*?(\w+)\s*\(', preprocessed)
    return list(dict.fromkeys(found))


def remove_stale(folder: Path) -> None:
    """Remove what no run used for KEPT_SECONDS."""
    oldest = time.time() - KEPT_SECONDS
    for path in folder.iterdir():
        if path.suffix in (".so", ".o") and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def compile_object(source: Path, target: Path, flags: Sequence[str | Path]) -> Path:
    """Compile ``source`` unless ``target`` is there; two processes may do so at once."""
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            run_tool(["g++", *flags, source, "-o", made])
            made.replace(target)
    target.touch()
    return target


def runtime_objects() -> list[Path]:
    """The runtime, compiled once for all modules."""
    texts = [path.read_text() for path in sorted(HOST.iterdir())]
    key = hash_of(*texts, *COMMON_FLAGS)
    flags = [*COMMON_FLAGS, "-O2", "-c"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(compile_object, HOST / name, cache_folder() / f"{Path(name).stem}-{key}.o", flags)
            for name in RUNTIME_SOURCES
        ]
        return [job.result() for job in jobs]


def with_red_zones(assembly: str) -> str:
    """Puts 64 bytes after each ``__shared__`` variable, so that a step over its end does not land in the next one."""
    lines, in_shared = [], False
    for line in assembly.splitlines():
        words = line.split()
        if words and words[0] in (".section", ".text", ".data", ".bss"):
            in_shared = len(words) > 1 and words[1].startswith(".tbss")
        lines.append(line)
        if in_shared and words and words[0] == ".zero":
            lines.append("\t.zero\t64")
    return "\n".join(lines) + "\n"


def compile_kernels(unit: Path, flags: Sequence[str | Path]) -> Path:
    """The object file of a unit of device code, beside it."""
    assembly, made = unit.with_suffix(".s"), unit.with_suffix(".o")
    run_tool(["g++", *flags, "-S", unit, "-o", assembly])
    assembly.write_text(with_red_zones(assembly.read_text()))
    run_tool(["g++", "-c", assembly, "-o", made])
    return made


def build_library(
    source: Path, defines: Mapping[str, str | int | None], include_dirs: Sequence[Path], checked: bool
) -> Path:
    """The shared library of a ``.cu`` file: its kernels, the table of their parameters, the runtime.

    Raises:
        CompilationError: g++ refused it, or it holds no ``extern "C" __global__`` function.
    """
    macros = {"KNF_SIMT_HOST": 800, **defines}
    flags = [
        *COMMON_FLAGS,
        *(CHECKED_FLAGS if checked else PLAIN_FLAGS),
        *(f"-D{name}" if value is None else f"-D{name}={value}" for name, value in macros.items()),
        *(f"-I{folder}" for folder in [HOST, source.parent, *include_dirs]),
    ]
    preprocessed = run_tool(["g++", *flags, "-x", "c++", "-E", "-DSIMT_LIST_KERNELS", source])
    kernels = kernel_names(preprocessed)
    if not kernels:
        raise CompilationError(f'{source}: no extern "C" __global__ function')
    objects = runtime_objects()
    key = hash_of(Path(__file__).read_text(), preprocessed, *flags, *map(str, objects), run_tool(["g++", "--version"]))
    library = cache_folder() / f"{source.stem}-{key}.so"
    if not library.exists():
        table = "".join(f'    simt::Described<{name}>::entry("{name}"),\n' for name in kernels)
        glue = (
            f'#include "simt_host.h"\n#include "{source}"\n#include "launch.h"\n'
            f"extern const simt::Kernel simt_kernels[] = {{\n{table}}};\n"
            f"extern const int simt_kernel_count = {len(kernels)};\n"
        )
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            unit, made = Path(folder) / f"{source.stem}.cpp", Path(folder) / library.name
            unit.write_text(glue)
            # Sanitizer flags only for compiling: the runtime stands in for the sanitizers' libraries.
            run_tool(["g++", "-shared", "-Wl,-Bsymbolic", compile_kernels(unit, flags), *objects, "-o", made])
            made.replace(library)
        remove_stale(cache_folder())
    library.touch()
    return library


def shared_variables(library: Path) -> list[tuple[int, int, str]]:
    """The ``__shared__`` variables, which are the library's TLS symbols: (offset in the segment, bytes, name)."""
    found = []
    for line in run_tool(["readelf", "-sW", library]).splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[3] == "TLS" and fields[6] != "UND" and "simt_tls_guard" not in fields[7]:
            found.append((int(fields[1], 16), int(fields[2], 0), fields[7]))
    found = sorted(set(found))
    names = run_tool(["c++filt"], "\n".join(name for _, _, name in found)).splitlines()
    return [(offset, size, name) for (offset, size, _), name in zip(found, names, strict=True)]


def source_place(library: Path, offset: int) -> str:
    """File, line and function of an address, innermost outside of the runtime's own headers."""
    answer = run_tool(["addr2line", "-e", library, "-f", "-C", "-i", hex(offset)]).splitlines()
    places = list(zip(answer[::2], answer[1::2], strict=False))
    for function, where in places:
        if str(HOST) not in where:
            file, _, line = where.partition(":")
            return f"at {Path(file).name}:{line.split()[0]} in {function.split('(')[0]}"
    return f"at {places[0][1]}" if places else f"at {offset:#x}"
