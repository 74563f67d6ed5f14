"""The window's trainings and imports with the real commands, without a window."""

import time

import pytest

pytest.importorskip("torch", reason="both read and train with torch")
from kilonerf.model_io import load_kilonerf_scene
from kilonerf.trainer.ops.native import extension
from kilonerf.viewer.making.importing import ImportPlan, ImportRun
from kilonerf.viewer.making.training import TrainingPlan, TrainingRun
from support.analytic_scene import write_photos
from support.original_files import Files

pytestmark = pytest.mark.slow

PATIENCE = 300.0  # seconds: only a hang takes so long
SMALL = (
    *("--grid.resolution", 16, "--grid.steps", 12, 12, 12, 12, "--grid.rays", 256, "--occupancy.cells", 4),
    *("--occupancy.factor", 8, "--occupancy.threshold", 1, "--distillation.steps", 6, "--distillation.points", 32),
    *("--fine-tuning.rays", 128, "--preview-every", 0),
)


def follow(run, until=lambda run: False):
    end = time.monotonic() + PATIENCE
    while run.running and not until(run):
        assert time.monotonic() < end
        run.poll()
        time.sleep(0.01)


@pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
def test_photos_are_trained_stopped_and_resumed(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "balls", views=12, size=32)
    plan = TrainingPlan(photos, tmp_path / "scene.knf", "tiny")
    arguments, more = plan.arguments, [str(word) for word in SMALL]
    steps = ["--fine-tuning.steps", "100000"]
    monkeypatch.setattr(TrainingPlan, "arguments", property(lambda _: [*arguments, *more, *steps]))
    run = TrainingRun(plan, plan.start())
    follow(run, lambda run: run.stage == "fine-tuning" and run.snapshots > 1)
    assert run.running, run.child.error
    assert run.psnr is not None or run.step == 0
    assert plan.running == run.child.pid
    assert load_kilonerf_scene(run.snapshot).num_networks > 0
    run.child.stop()
    follow(run)
    assert run.child.state == "stopped", run.child.error
    assert plan.has_progress
    assert plan.running is None
    steps[1] = "12"
    other = TrainingRun(plan, plan.start())
    follow(other)
    assert other.child.state == "failed"  # other settings are another training
    assert "--restart-from starts over" in other.child.error
    more += ["--restart-from", "fine-tuning"]
    again = TrainingRun(plan, plan.start())
    follow(again)
    assert again.child.state == "finished", again.child.error
    assert load_kilonerf_scene(plan.output).provenance["fine_tuning_steps"] == 12


def test_a_checkpoint_is_imported(tmp_path):
    files = Files(tmp_path)
    plan = ImportPlan.of(files.checkpoint)
    assert (plan.occupancy, plan.box) == (str(files.occupancy), str(files.bbox))
    run = ImportRun(plan)
    follow(run)
    assert run.child.state == "finished", run.child.error
    assert run.stage == "writing the scene"
    assert load_kilonerf_scene(plan.scene).num_networks == files.load().num_networks
    run.close()
    files.bbox.write_text("nothing")
    run = ImportRun(plan)
    follow(run)
    assert run.child.state == "failed"
    assert str(files.bbox) in run.child.error
    assert "\n" not in run.child.error
    run.close()
