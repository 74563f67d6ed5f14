"""kilonerf-train --field octree, and the other commands on what it makes."""

import functools
import json

import pytest

pytest.importorskip("torch", reason="training needs torch")
from kilonerf.commands import evaluate, info, render
from kilonerf.commands import train as train_command
from kilonerf.model_io import OctreeScene, load_scene
from kilonerf.trainer.ops.native import extension

pytestmark = pytest.mark.slow

SMALL = (
    *("--field", "octree", "--grid.resolution", 16, "--grid.steps", 12, 12, 12, 12, "--grid.rays", 256),
    *("--occupancy.threshold", 1, "--octree.first-level", 3, "--octree.depth", 4, "--octree.steps", 8),
    *("--octree.rays", 128, "--preview-every", 0),
)
needs_extension = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, train_command.main)


@needs_extension
def test_photos_become_a_field_that_all_commands_open(call, call_command, photos, tmp_path) -> None:
    output = tmp_path / "balls.knf"
    assert call(photos, "-o", output, *SMALL, "--bits", 3, "--stage", "octree")[0] == 0
    assert not output.exists()
    code, printed, said = call(photos, "-o", output, *SMALL, "--bits", 3)
    assert code == 0, said
    assert f"{output}: " in printed
    scene = load_scene(output)
    assert isinstance(scene, OctreeScene)
    assert [(own.coding, own.bits) for own in scene.features] == [("codes", 3)] * 2
    assert scene.provenance["field_steps"] == 8
    assert scene.training_poses is not None
    kept = {path.stem for path in (tmp_path / "balls.training").glob("*.safetensors")}
    assert kept == {"teacher", "octree", "field"}
    written = output.read_bytes()
    assert call(photos, "-o", output, *SMALL, "--bits", 3)[0] == 0  # everything is there already
    assert output.read_bytes() == written

    code, printed, _ = call_command(info.main, output, "--json")
    assert code == 0
    facts = json.loads(printed)
    assert (facts["kind"], facts["depth"], facts["code_bits"]) == ("octree", 4, [3, 3])
    code, printed, _ = call_command(evaluate.main, output, photos, "--split", "train", "--views", 1, "--json")
    assert code == 0
    assert json.loads(printed)["backend"] == "cpu"
    words = (output, "--turntable", 1, "-o", tmp_path / "turn_%02d.png", "--size", "24x20")
    assert call_command(render.main, *words)[0] == 0
    code, _, said = call_command(render.main, *words, "--backend", "cuda")
    assert code == 2
    assert "expected a scene of tiny networks, got an octree field; cpu renders it" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--field", "octree", "--stage", "distillation"),
            "--stage: expected teacher, octree, field for --field octree",
        ),
        (("--restart-from", "field"), "--restart-from: expected teacher, occupancy, distillation, fine-tuning"),
        (("--bits", 4), "--bits: expected --field octree, whose features have codes, got networks"),
        (("--field", "octree", "--levels", 2), "--levels: expected 1 for an octree field, got 2"),
        (("--field", "octree", "--export-original", "x"), "--export-original: expected --field networks"),
    ],
)
def test_what_does_not_go_together_is_one_line(call, photos, tmp_path, words, message) -> None:
    code, _, said = call(photos, "-o", tmp_path / "a.knf", *words)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "a.training").exists()


@needs_extension
def test_a_field_is_no_teacher(call, call_command, photos, tmp_path) -> None:
    output = tmp_path / "balls.knf"
    assert call(photos, "-o", output, *SMALL)[0] == 0
    code, _, said = call(photos, "-o", tmp_path / "other.knf", "--teacher", output)
    assert code == 2
    assert f"{output}: kind: expected 'kilonerf', which has tiny networks, got 'octree'" in said
