"""The machine that this process runs on, the backends that it can render with, and the program's commit."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kilonerf.model_io import BackendError

from ..cpu.paths import CpuPath, available_cpu_paths
from ..cpu.renderer import usable_cores

CHECKOUT = Path(__file__).resolve().parents[2]
INSTRUCTION_SETS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"),
    *("asimd", "sve"),
)


@dataclass(frozen=True)
class Machine:
    """The machine that this process runs on.

    Attributes:
        cpu: model of the processor.
        cores: cores that this process may use.
        flags: those of ``INSTRUCTION_SETS`` that the processor has.
        os: operating system and its release.
        python: version of Python.
    """

    cpu: str
    cores: int
    flags: tuple[str, ...]
    os: str
    python: str


@dataclass(frozen=True)
class Backends:
    """What this machine can render with.

    Attributes:
        cpu_paths: code paths of the CPU backend that can run here, best first.
        cpu_obstacle: why there are none, in one line.
        cuda_device: name of the first CUDA device.
        cuda_obstacle: what is in the way of one, in one line.
    """

    cpu_paths: tuple[CpuPath, ...]
    cpu_obstacle: str | None
    cuda_device: str | None
    cuda_obstacle: str | None

    @property
    def taken(self) -> str | None:
        """What the backend "auto" takes: "cuda", "cpu" with its code path, or nothing."""
        if self.cuda_device is not None:
            return "cuda"
        return f"cpu, {self.cpu_paths[0].name}" if self.cpu_paths else None


def available_backends() -> Backends:
    """Try what there is; CuPy is imported if it is installed."""
    paths: tuple[CpuPath, ...] = ()
    cpu_obstacle = cuda_device = cuda_obstacle = None
    try:
        paths = available_cpu_paths()
    except BackendError as error:
        cpu_obstacle = str(error)
    try:
        from ..cuda.cupy_device import CupyDevice

        cuda_device = CupyDevice().name
    except BackendError as error:
        cuda_obstacle = str(error)
    return Backends(paths, cpu_obstacle, cuda_device, cuda_obstacle)


def this_machine() -> Machine:
    """Look at the machine; what it does not tell is left empty."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        cpuinfo = ""
    cpu, flags = parse_cpuinfo(cpuinfo)
    return Machine(
        cpu=cpu or platform.processor() or platform.machine(),
        cores=usable_cores(),
        flags=flags,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """The processor's model and its instruction sets from the text of Linux's /proc/cpuinfo (x86 or Arm)."""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    listed = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    has = set(listed[1].split()) if listed else set[str]()
    return model[1].strip() if model else "", tuple(name for name in INSTRUCTION_SETS if name in has)


def program_commit(checkout: Path = CHECKOUT) -> str:
    """The git commit of the checkout that this program runs from, else the installed package's version.

    ``-dirty`` behind the commit: tracked files were changed since.
    """
    git = shutil.which("git")
    # An installed package may lie inside somebody else's repository: only a checkout of this program counts.
    if git and (checkout / ".git").exists() and (checkout / "pyproject.toml").is_file():
        command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed command
        if described.returncode == 0 and described.stdout.strip():
            return described.stdout.strip()
    try:
        return f"version {metadata.version('kilonerf-view')}"
    except metadata.PackageNotFoundError:
        return "unknown"
