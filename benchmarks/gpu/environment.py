"""What a GPU check runs on: device, driver, clocks, tools."""

import importlib
import os
import shutil
import subprocess
from pathlib import Path
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
    smi = shutil.which("nvidia-smi")
    if smi:
        command = [smi, f"--query-gpu={','.join(NVIDIA_SMI)}", "--format=csv,noheader", "-i", str(device.index)]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return found
        found.update(zip(NVIDIA_SMI, (value.strip() for value in told.split(",")), strict=False))
    return found


def find_sanitizer() -> str | None:
    """compute-sanitizer of the path, or of a toolkit in its usual places."""
    toolkits = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda", "/opt/cuda"]
    places = [Path(toolkit) / folder for toolkit in toolkits if toolkit for folder in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or next(
        (str(place / "compute-sanitizer") for place in places if (place / "compute-sanitizer").is_file()), None
    )
