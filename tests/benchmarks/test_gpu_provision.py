"""The program on a bare machine: a kit of wheels, an interpreter without packages."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu import provision
from benchmarks.gpu.provision import PYTHON, ProvisionError, provide

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKED = "import kilonerf.kernels, kilonerf.model_io.camera, moderngl_twin; print(kilonerf.kernels.BACKENDS)"


def wheel(folder: Path, name: str, **files: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    kit = tmp_path / "gpu_kit"
    (kit / "wheels").mkdir(parents=True)
    (kit / "python").write_text(f"{PYTHON}\n")
    wheel(kit / "wheels", "moderngl_twin", **{"moderngl_twin.py": ""})
    wheel(kit / "wheels", "numpy", **{"numpy.py": "raise ImportError('this is not the numpy that was here')"})
    wheel(kit / "wheels", "kilonerf_view", **{"kilonerf/kernels/_cpu.so": "x", "kilonerf/kernels/backends.py": "old"})
    return kit


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the program were not installed."""
    monkeypatch.setattr(provision, "_installed", lambda site: False)


@pytest.mark.usefixtures("_bare")
def test_what_is_missing_is_unpacked_and_the_program_is_this_tree(kit: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    found = provide(REPOSITORY, kit, site)
    assert found["unpacked"] == ["moderngl-twin"]  # there is a numpy
    assert found["extension"] == "from gpu_kit"
    assert (site / "kilonerf" / "kernels" / "_cpu.so").read_text() == "x"
    assert (site / "kilonerf" / "kernels" / "backends.py").resolve() == REPOSITORY / "kernels" / "backends.py"
    assert not (REPOSITORY / "kernels" / "_cpu.so").exists()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, env=environment, check=True)
    assert "cuda" in done.stdout
    provide(REPOSITORY, kit, site)  # again, in the next command


@pytest.mark.usefixtures("_bare")
def test_a_kit_for_another_python_is_refused_in_one_line(kit: Path, tmp_path: Path) -> None:
    (kit / "python").write_text("3.7\n")
    with pytest.raises(ProvisionError) as caught:
        provide(REPOSITORY, kit, tmp_path / "site")
    assert str(caught.value) == (
        f"gpu_kit is for Python 3.7, this is {PYTHON}: scripts/prepare_gpu_check.sh --python {PYTHON}"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_bare")
def test_without_a_kit_the_extension_is_built_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in provision.PACKAGES:
        (tmp_path / "tree" / package).mkdir(parents=True)
    find = provision.importlib.util.find_spec
    monkeypatch.setattr(provision.importlib.util, "find_spec", lambda name: None if name == "nanobind" else find(name))
    found = provide(tmp_path / "tree", tmp_path / "no kit", tmp_path / "site")
    assert found["extension"] == "none: no wheel of it, and nanobind to build it is missing"
    monkeypatch.undo()
    monkeypatch.setattr(provision, "_installed", lambda site: False)
    found = provide(tmp_path / "tree", tmp_path / "no kit", tmp_path / "site")  # that tree cannot be built
    assert found["extension"].startswith("none: ")


def test_where_the_program_is_installed_there_is_nothing_to_do(kit: Path, tmp_path: Path) -> None:
    pytest.importorskip("kilonerf.kernels._cpu")
    (kit / "python").write_text("3.7\n")
    assert provide(REPOSITORY, kit, tmp_path / "site")["program"] == "installed"
    assert not (tmp_path / "site").exists()


def test_the_check_starts_without_any_package(tmp_path: Path) -> None:
    """``-S``: no site-packages, so only Python's own modules can be imported."""
    program = "import benchmarks.gpu.check, sys; print(sorted({'numpy', 'kilonerf'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
