"""kilonerf-info --machine; what it says of scenes is tested in tests/commands/test_commands.py."""

import functools
import json
import sys

import pytest

from kilonerf.commands import info as info_command
from kilonerf.kernels import BackendChoice, create_renderer
from kilonerf.kernels.cpu.paths import CpuPath, available_cpu_paths
from kilonerf.kernels.cpu.renderer import usable_cores
from kilonerf.kernels.measure.machine import Backends
from kilonerf.model_io import BackendError


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, info_command.main)


@pytest.fixture
def no_cupy(monkeypatch):
    """As on a machine where CuPy is not installed."""
    monkeypatch.setattr("kilonerf.kernels.cuda.cupy_device.importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)


@pytest.mark.usefixtures("no_cupy")
def test_the_machine_as_json_lists_the_paths_and_the_one_that_is_taken(call, toy_scene):
    code, printed, complaints = call("--machine", "--json")
    assert (code, complaints) == (0, "")
    machine = json.loads(printed)["machine"]
    assert machine["cpu"]
    assert machine["cores"] == usable_cores()
    paths = available_cpu_paths()
    assert machine["cpu_paths"] == [{"name": path.name, "precision": path.precision} for path in paths]
    assert machine["taken"] == f"cpu, {paths[0].name}"
    named = create_renderer(toy_scene, BackendChoice("cpu", cpu_path=paths[0].name))
    # A scene for which 8 bits are too coarse has 16 on the same instruction set.
    assert create_renderer(toy_scene, "cpu").device.split()[0] == named.device.split()[0]
    assert (machine["cpu_obstacle"], machine["cuda_device"]) == (None, None)
    assert "CuPy is not installed" in machine["cuda_obstacle"]


@pytest.mark.usefixtures("no_cupy")
def test_the_machine_for_people(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, printed, complaints = call("--machine")
    assert (code, complaints) == (0, "")
    for words in ("usable cores", "baseline (float32)", "CuPy is not installed", "cpu, "):
        assert words in printed


def test_a_scene_and_the_machine_together(call, scene_file):
    code, printed, _ = call(scene_file, "--machine", "--json")
    assert code == 0
    facts = json.loads(printed)
    assert facts["networks"] > 0
    assert facts["machine"]["cpu_paths"]
    assert "machine" not in json.loads(call(scene_file, "--json")[1])


def test_without_a_scene_or_a_machine_there_is_nothing_to_say(call):
    code, printed, complaints = call()
    assert (code, printed) == (2, "")
    assert complaints == "kilonerf-info: error: expected a SCENE or --machine (see kilonerf-info --help)\n"


def test_what_is_taken():
    paths = (CpuPath("avx2", "float32"), CpuPath("baseline", "float32"))
    assert Backends(paths, None, None, "no driver").taken == "cpu, avx2"
    assert Backends(paths, None, "a GPU", None).taken == "cuda"
    assert Backends((), "no extension", None, "no driver").taken is None


@pytest.mark.usefixtures("no_cupy")
def test_a_missing_extension_is_an_obstacle_and_not_an_error(call, monkeypatch):
    def missing():
        raise BackendError("backend 'cpu': the native extension does not load")

    monkeypatch.setattr("kilonerf.kernels.measure.machine.available_cpu_paths", missing)
    machine = json.loads(call("--machine", "--json")[1])["machine"]
    assert (machine["cpu_paths"], machine["taken"]) == ([], None)
    assert "does not load" in machine["cpu_obstacle"]
    assert "nothing: no backend can run" in call("--machine")[1]
