"""The documented Python API: ``from kilonerf.trainer import train``."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import kilonerf.trainer
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.model_io import KiloNeRFScene, OutputError, UsageError, load_scene, save_scene
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.ops.networks import TinyNetworks
from kilonerf.trainer.pipeline.store import make_folder
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings
from support.analytic_scene import write_photos

SHORT = replace(
    kilonerf.trainer.PRESETS["tiny"],
    grid=GridSettings(resolution=16, steps=(12, 12, 12, 12), rays=256),
    occupancy=OccupancySettings(cells=4, factor=8, threshold=1.0),
    distillation=DistillationSettings(steps=6, points=32),
    fine_tuning=FineTuningSettings(steps=6, rays=128),
)


@pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
def test_photos_become_a_scene_and_the_folder_resumes_it(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "balls", views=12, size=32)
    folder = tmp_path / "runs" / "balls"
    scene = kilonerf.trainer.train(photos, SHORT, folder=folder)
    assert isinstance(scene, KiloNeRFScene)
    assert scene.dtype == np.float16
    save_scene(scene, tmp_path / "balls.knf")
    assert scene.start_camera is not None
    frame = create_renderer(load_scene(tmp_path / "balls.knf")).render(
        scene.start_camera.resized(20, 15), RenderOptions.as_trained(scene)
    )
    assert frame.statistics.samples > 0
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert TinyNetworks.from_layers(scene.layers).frequencies == scene.provenance["frequencies"] < 10
    again = kilonerf.trainer.train(photos, SHORT, folder=folder)  # nothing is left to do
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")} == before
    assert isinstance(again, KiloNeRFScene)
    for name, layer in scene.layers.items():
        np.testing.assert_array_equal(again.layers[name], layer)


def test_cells_of_more_voxels_have_more_frequencies() -> None:
    def of(factor: int) -> int:
        return TrainingSettings(occupancy=OccupancySettings(factor=factor)).position_frequencies

    assert [of(factor) for factor in (1, 8, 12, 16, 32, 64, 4096)] == [2, 5, 6, 6, 7, 8, 10]
    assert TrainingSettings.preset("paper").position_frequencies == 10
    assert replace(SHORT, frequencies=3).position_frequencies == 3


def test_bad_settings_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--units: expected 1 to 32, got 33"):
        kilonerf.trainer.train(tmp_path / "missing", replace(SHORT, units=33), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, kilonerf.trainer; print('torch' in sys.modules, kilonerf.trainer.__all__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 1)[0] == "False"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kilonerf.trainer.nothing  # type: ignore[attr-defined]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/run: cannot write"):
        make_folder(tmp_path / "file" / "run")
