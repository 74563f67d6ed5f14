"""Makes the program importable on a bare machine without a network: from this tree and from the kit that came with it.

``scripts/prepare_gpu_check.sh`` makes the kit (``gpu_kit/``): wheels, the version of Python that they are for, the
commit. Nothing is installed: wheels are unpacked beside links to this tree's packages, in a folder under ``build/``,
and only those whose distribution this Python lacks. Where the program is installed there is nothing to do.
"""

import importlib.machinery
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
KIT = REPOSITORY / "gpu_kit"
SITE = REPOSITORY / "build" / "gpu_site"
PACKAGES = ("commands", "kernels", "model_io", "trainer", "viewer")
OWN = "kilonerf-view"
BUILD_SECONDS = 90.0
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class ProvisionError(Exception):
    """The kit cannot be used; the text says why."""


def search_path() -> Path:
    """Where the sections find what was unpacked; each version of Python has its own."""
    return SITE / f"python{PYTHON}"


def provide(repository: Path = REPOSITORY, kit: Path = KIT, site: Path | None = None) -> dict[str, Any]:
    """Unpack and link what is missing.

    Args:
        repository: this tree.
        kit: what was prepared; it need not be there.
        site: the folder to fill; None: :func:`search_path`.

    Returns:
        The distributions that were unpacked, and where the program and its extension come from.

    Raises:
        ProvisionError: the kit is for another version of Python.
    """
    site = search_path() if site is None else site
    if _installed(site):
        return {"program": "installed", "extension": "installed", "unpacked": []}
    present = {_normal(name) for found in importlib.metadata.distributions() if (name := found.metadata["Name"])}
    unpacked = _unpack(kit, site, present)
    link_program(repository, site)
    return {"program": "this tree", "extension": _extension(repository, kit, site), "unpacked": unpacked}


def link_program(repository: Path, site: Path) -> None:
    """``kilonerf`` in ``site`` as links into the tree, so that later changes of the tree are seen."""
    home = site / "kilonerf"
    for package in PACKAGES:
        folder = home / package
        folder.mkdir(parents=True, exist_ok=True)  # a real one: the extension lies in it, and not in the tree
        for entry in (repository / package).iterdir():
            link = folder / entry.name
            if entry.suffix != ".so" and entry.name != "__pycache__" and not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(entry)


def _unpack(kit: Path, site: Path, present: set[str]) -> list[str]:
    """Those wheels of the kit whose distribution is missing; returns their names."""
    wheels = sorted((kit / "wheels").glob("*.whl"))
    if not wheels:
        return []
    wanted = (kit / "python").read_text().strip()
    if wanted != PYTHON:
        raise ProvisionError(
            f"{kit.name} is for Python {wanted}, this is {PYTHON}: scripts/prepare_gpu_check.sh --python {PYTHON}"
        )
    unpacked = []
    for wheel in wheels:
        name = _normal(wheel.name.partition("-")[0])
        if name not in present and name != OWN:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            unpacked.append(name)
    return unpacked


def _extension(repository: Path, kit: Path, site: Path) -> str:
    """Put the C++ extension where the links are: from the kit's wheel, else built here; returns what was done."""
    folder = site / "kilonerf" / "kernels"
    if any((folder / f"_cpu{suffix}").exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES):
        return "unpacked before"
    for wheel in (kit / "wheels").glob("kilonerf_view-*.whl"):
        return f"from {kit.name}" if _take_extension(wheel, folder) else f"none: {wheel.name} has none"
    missing = [name for name in ("scikit_build_core", "nanobind") if importlib.util.find_spec(name) is None]
    if missing:
        return f"none: no wheel of it, and {' and '.join(missing)} to build it is missing"
    wheels = site / "built"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    try:
        done = subprocess.run(
            [*command, "-w", str(wheels), str(repository)],
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"none: building it took more than {BUILD_SECONDS:.0f} s"
    for wheel in wheels.glob("kilonerf_view-*.whl"):
        return "built here" if _take_extension(wheel, folder) else f"none: {wheel.name} has none"
    return f"none: {(done.stderr.strip().splitlines() or ['pip said nothing'])[-1]}"


def _take_extension(wheel: Path, folder: Path) -> bool:
    """Whether there was one."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(r"kilonerf/kernels/_cpu[^/]*\.(so|pyd)", name)]
        for name in names:
            (folder / Path(name).name).write_bytes(archive.read(name))
    return bool(names)


def _installed(site: Path) -> bool:
    """Whether the program can be imported, its extension too, other than from ``site``."""
    try:
        spec = importlib.util.find_spec("kilonerf.kernels._cpu")
    except ImportError:
        return False
    return spec is not None and spec.origin is not None and not Path(spec.origin).is_relative_to(site)


def _normal(name: str) -> str:
    """A distribution's name as PEP 503 compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()
