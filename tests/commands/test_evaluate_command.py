"""kilonerf-eval from its command line to its numbers."""

import dataclasses
import functools
import json
import sys

import numpy as np
import pytest
from PIL import Image

from kilonerf.commands import evaluate as eval_command
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr, ssim
from kilonerf.model_io import Camera, import_checkpoint, load_scene, save_scene
from kilonerf.model_io.datasets import load_dataset

WIDTH, HEIGHT = 40, 30


@pytest.fixture
def call(call_command):
    return functools.partial(call_command, eval_command.main)


@pytest.fixture
def dataset(tmp_path, toy_scene):
    """Three photos: what the reference renders with an error of a known size, transparent where there is nothing."""
    folder = tmp_path / "data"
    (folder / "test").mkdir(parents=True)
    frames = []
    for k in range(3):
        pose = Camera.look_at((2.4, 0.4 * k, 0.7), (0, 0, 0), 8, 8).matrix
        frames.append({"file_path": f"./test/r_{k}", "transform_matrix": pose.tolist()})
        Image.new("RGBA", (WIDTH, HEIGHT)).save(folder / "test" / f"r_{k}.png")
    (folder / "transforms_test.json").write_text(json.dumps({"camera_angle_x": 0.9, "frames": frames}))
    options = RenderOptions.as_trained(toy_scene)
    for k, view in enumerate(load_dataset(folder).views):
        frame = create_renderer(toy_scene, "reference").render(view.camera, options)
        noise = np.random.default_rng(k).normal(0.0, 0.02 * (k + 1), frame.rgb.shape)
        rgb8 = (255 * np.clip(frame.rgb + noise, 0, 1)).astype(np.uint8)
        alpha = np.where(frame.alpha > 0, 255, 0).astype(np.uint8)
        Image.fromarray(np.dstack([rgb8, alpha])).save(folder / "test" / f"r_{k}.png")
    return folder


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_json_has_the_metrics_of_every_view_and_their_means(call, scene_file, dataset, backend):
    code, printed, complaints = call(scene_file, dataset, "--json", "--backend", backend, "--precision", "float32")
    assert (code, complaints) == (0, "")
    result = json.loads(printed)
    assert result["backend"] == backend
    assert [view["name"] for view in result["views"]] == ["r_0", "r_1", "r_2"]
    scene = load_scene(scene_file)
    for view, got in zip(load_dataset(dataset).views, result["views"], strict=True):
        frame = create_renderer(scene, "reference").render(view.camera, RenderOptions.as_trained(scene))
        assert view.image_path is not None
        pixels = np.asarray(Image.open(view.image_path).convert("RGBA"), np.float64) / 255
        photo = np.where(pixels[..., 3:] > 0, pixels[..., :3], 1.0)
        assert got["psnr"] == pytest.approx(psnr(np.clip(frame.rgb, 0, 1), photo), abs=1e-2)
        assert got["ssim"] == pytest.approx(ssim(np.clip(frame.rgb, 0, 1), photo), abs=1e-3)
        assert got["samples"] == pytest.approx(frame.statistics.samples, rel=1e-2)
        assert got["samples_per_pixel"] == pytest.approx(got["samples"] / (WIDTH * HEIGHT))
        assert got["ms"] > 0
    for name in ("psnr", "ssim", "samples", "samples_per_pixel", "ms"):
        assert result["mean"][name] == pytest.approx(np.mean([view[name] for view in result["views"]]))
    assert result["views"][0]["psnr"] > result["views"][2]["psnr"] > 15


def test_the_table_has_a_row_for_each_view_and_the_mean(call, scene_file, dataset, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, printed, _ = call(scene_file, dataset, "--views", "r_2", "r_0")
    assert code == 0
    rows = [line.split("│")[1].strip() for line in printed.splitlines() if line.startswith("│")]
    assert rows == ["r_2", "r_0", "mean"]
    assert "PSNR dB" in printed
    assert "SSIM" in printed


def test_without_scikit_image_psnr_is_still_given(call, scene_file, dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    code, printed, _ = call(scene_file, dataset, "--views", "1", "--json")
    assert code == 0
    result = json.loads(printed)
    assert result["views"][0]["psnr"] > 20
    assert result["mean"]["ssim"] is None
    assert "SSIM is missing: it needs scikit-image" in result["notes"]
    assert "SSIM is missing" in call(scene_file, dataset, "--views", "1")[1]


def test_switches_and_background_reach_the_renderer_and_the_photos(call, scene_file, dataset, fake_renderers):
    arguments = ("--no-ess", "--background", 0, 0, 0, "--threads", 2, "--device", 1, "--json")
    code, printed, _ = call(scene_file, dataset, *arguments)
    assert code == 0
    assert (fake_renderers[0].threads, fake_renderers[0].device_index) == (2, 1)
    assert {(options.ess, options.background) for options in fake_renderers[0].options} == {(False, (0.0, 0.0, 0.0))}
    assert {options.near for options in fake_renderers[0].options} == {2.0}
    on_black = json.loads(printed)["mean"]["psnr"]
    assert json.loads(call(scene_file, dataset, "--json")[1])["mean"]["psnr"] != on_black
    call(scene_file, dataset, "--flying", "--cpu-path", "baseline")
    assert fake_renderers[-1].options[0].near is None
    assert fake_renderers[-1].cpu_path == "baseline"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--split", "val"], "transforms_val.json"),
        (["--split", "all"], "expected one of train, val, test"),
        (["--views", "r_9"], "expected names such as r_0, got 'r_9'"),
        (["--views", "0"], "at least 1"),
        (["--backend", "opal"], "backend 'opal'"),
        (["--as-trained", "--flying"], "expected one of them"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call, scene_file, dataset, arguments, says):
    code, printed, complaints = call(scene_file, dataset, *arguments)
    assert (code, printed, complaints.count("\n")) == (2, "", 1)
    assert says in complaints


def test_a_data_set_without_photos_is_refused_before_rendering(call, scene_file, dataset, fake_renderers):
    for photo in (dataset / "test").iterdir():
        photo.unlink()
    document = json.loads((dataset / "transforms_test.json").read_text()) | {"w": 8, "h": 8}
    (dataset / "transforms_test.json").write_text(json.dumps(document))
    code, _, complaints = call(scene_file, dataset)
    assert (code, complaints.count("\n")) == (2, 1)
    assert "photo" in complaints
    assert fake_renderers == []


def test_the_original_chair_has_its_psnr_and_its_sample_count(call, shared_data, chair_photos, tmp_path):
    pytest.importorskip("torch", reason="importing a checkpoint needs torch")
    folder, path = shared_data / "chair_kilonerf", tmp_path / "chair.knf"
    checkpoint = folder / "finetune" / "checkpoint_final.pth"
    save_scene(import_checkpoint(checkpoint, occupancy=folder / "occupancy.pth", bbox=folder / "bbox.txt"), path)
    code, printed, _ = call(path, chair_photos, "--views", "r_0", "--json")
    assert code == 0
    view = json.loads(printed)["views"][0]
    assert view["psnr"] == pytest.approx(36.67, abs=0.02)  # METRICS.md, 800x800, exact ERT
    assert view["samples"] == pytest.approx(442_035, rel=1e-3)
    code, printed, _ = call(path, chair_photos, "--views", "r_0", "--json", "--precision", "auto")
    assert code == 0
    assert json.loads(printed)["views"][0]["psnr"] == pytest.approx(view["psnr"], abs=0.1)  # some networks in 8 bits


def test_the_shipped_chair_has_its_psnr_and_its_sample_count(call, chair_path, chair_photos):
    code, printed, _ = call(chair_path, chair_photos, "--views", "r_0", "--json")
    assert code == 0
    view = json.loads(printed)["views"][0]
    assert view["psnr"] == pytest.approx(36.95, abs=0.02)  # as trained; assets/README.md
    assert view["samples"] == pytest.approx(295_772, rel=1e-3)


def test_photos_are_made_smaller_as_for_training(call, scene_file, dataset):
    code, printed, _ = call(scene_file, dataset, "--json", "--downscale", 3, "--precision", "float32")
    assert code == 0
    result = json.loads(printed)
    assert result["downscale"] == 3
    scene = load_scene(scene_file)
    view = load_dataset(dataset).views[1]
    assert view.image_path is not None
    camera = view.camera.resized(WIDTH // 3, HEIGHT // 3)  # 13 columns: the 40th is cut off at the right
    camera = dataclasses.replace(camera, cx=view.camera.cx / 3, fx=view.camera.fx / 3)
    frame = create_renderer(scene, "reference").render(camera, RenderOptions.as_trained(scene))
    pixels = np.asarray(Image.open(view.image_path).convert("RGBA"), np.float64)[:, : WIDTH // 3 * 3] / 255
    photo = np.where(pixels[..., 3:] > 0, pixels[..., :3], 1.0).reshape(HEIGHT // 3, 3, WIDTH // 3, 3, 3).mean((1, 3))
    assert result["views"][1]["psnr"] == pytest.approx(psnr(np.clip(frame.rgb, 0, 1), photo), abs=1e-2)
    code, _, complaints = call(scene_file, dataset, "--downscale", 31)
    assert (code, "expected at least 31 pixels each way" in complaints) == (2, True)
    code, _, complaints = call(scene_file, dataset, "--downscale", 0)
    assert (code, "--downscale: expected 1 or more" in complaints) == (2, True)
