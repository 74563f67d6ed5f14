"""What a GPU check runs on: device, driver, clocks."""

import importlib
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

from kilonerf.kernels.cuda.cupy_device import CupyDevice

NVIDIA_SMI = (
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)
SMI_SECONDS = 20.0


def describe(device: CupyDevice) -> dict[str, Any]:
    """Device, driver and clocks; what cannot be found out is left out."""
    runtime = importlib.import_module("cupy").cuda.runtime
    found: dict[str, Any] = {
        "name": device.name,
        "compute_capability": device.architecture / 10,
        "multiprocessors": device.multiprocessors,
        "driver_supports_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
        "cupy": importlib.import_module("cupy").__version__,
    }
    command = _query(device.index, ",".join(NVIDIA_SMI))
    if command:
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return found
        found.update(zip(NVIDIA_SMI, (value.strip() for value in told.split(",")), strict=False))
    return found


def clock_under(work: Callable[[], object], index: int) -> int | None:
    """The clock of the device's multiprocessors in MHz while it does ``work`` again and again; None: not to be had."""
    command = _query(index, "clocks.sm", "csv,noheader,nounits")
    if command is None:
        return None
    end = time.perf_counter() + SMI_SECONDS
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as smi:
        while smi.poll() is None and time.perf_counter() < end:
            work()
        smi.kill()
        told = smi.stdout.read().strip() if smi.stdout else ""
    return int(told) if told.isdigit() else None


def _query(index: int, fields: str, form: str = "csv,noheader") -> list[str] | None:
    """nvidia-smi's command; it numbers devices by their place on the bus, and CUDA may not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        which = str(importlib.import_module("cupy").cuda.runtime.deviceGetPCIBusId(index))
    except Exception:  # no CuPy, or one that cannot tell
        which = str(index)
    return [program, "-i", which, f"--query-gpu={fields}", f"--format={form}"]
