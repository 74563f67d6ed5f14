"""What a measurement was made on: the machine, and the program's commit."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kilonerf.kernels.cpu_renderer import usable_cores

CHECKOUT = Path(__file__).resolve().parents[1]
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve")


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
    has = set(listed[1].split()) if listed else set()
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
