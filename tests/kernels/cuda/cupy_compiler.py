"""Compiles kernels as the program does through a real CuPy, on a machine without a driver.

A program of its own, so that no other test finds a CuPy: ``python cupy_compiler.py FOLDER NVRTC HEADERS`` with CuPy in
FOLDER, the library to use, and CUDA's headers of its version. Reads a JSON list of [source, kernel, architecture,
what is defined] and writes what became of each: the options that NVRTC was given, whether a cubin came out, or
the error. And what became of a stream.
"""

import ctypes
import json
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

warnings.simplefilter("error")
sys.path.insert(0, sys.argv[1])
ctypes.CDLL(sys.argv[2], ctypes.RTLD_GLOBAL)  # CuPy takes the one that is loaded
os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # neither reads nor leaves anything

import cupy  # noqa: E402 # pyright: ignore[reportMissingImports]
from cupy.cuda import compiler, function  # noqa: E402 # pyright: ignore[reportMissingImports]
from cupy_backends.cuda.libs import nvrtc  # noqa: E402 # pyright: ignore[reportMissingImports]

from kilonerf.kernels.cuda import cupy_device  # noqa: E402
from kilonerf.kernels.cuda.cupy_device import CupyDevice  # noqa: E402

seen = threading.local()


class Module:
    """What CuPy loads a cubin into, which takes a driver."""

    def load(self, cubin: bytes) -> None:
        seen.cubin = cubin

    def _set_mapping(self, mapping: object) -> None:
        pass


def remember(compile: Any) -> Any:
    def compile_and_remember(self: object, options: tuple[str, ...] = (), log_stream: object = None) -> object:
        seen.options = options
        return compile(self, options, log_stream)

    return compile_and_remember


cupy_device.toolkit_headers = lambda: [Path(sys.argv[3])]
function.Module = Module
# It remembers its answer for the current device, which only a driver knows.
compiler._get_arch_for_options_for_nvrtc = compiler._get_arch_for_options_for_nvrtc.__wrapped__
compiler._NVRTCProgram.compile = remember(compiler._NVRTCProgram.compile)


class RawModule:
    """cupy.RawModule, but for the architecture that the thread has chosen and without loading."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        compiler._compile_module_with_cache(code, options, arch=seen.architecture)

    def get_function(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(kernel=SimpleNamespace(ptr=0))


driver = SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=lambda *arguments: 1)
device = object.__new__(CupyDevice)
device._cupy = SimpleNamespace(RawModule=RawModule, cuda=SimpleNamespace(driver=driver, compiler=compiler))


def compiled(asked: tuple[str, str, int, list[str]]) -> dict[str, Any]:
    source, name, architecture, defines = asked
    seen.architecture = str(architecture)
    try:
        device.kernel(source, name, dict.fromkeys(defines))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"options": list(seen.options), "cubin": seen.cubin[:4] == b"\x7fELF" and name.encode() in seen.cubin}


def stream() -> dict[str, Any]:
    from kilonerf.trainer.ops.cuda import StreamAddress

    try:
        return {"pointer": cupy.cuda.Stream.from_external(StreamAddress(0x1234)).ptr}
    except Exception as error:  # a warning is one too
        return {"error": f"{type(error).__name__}: {error}"}


with ThreadPoolExecutor(os.cpu_count()) as pool:
    kernels = list(pool.map(compiled, json.load(sys.stdin)))
print(json.dumps({"cupy": cupy.__version__, "nvrtc": nvrtc.getVersion(), "kernels": kernels, "stream": stream()}))
