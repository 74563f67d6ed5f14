"""Numbers and pictures that the original KiloNeRF code wrote itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions, create_renderer, query
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import Camera, Scene, import_checkpoint

pytest.importorskip("torch", reason="reading original checkpoints needs torch")

BACKENDS = ("reference", "cpu")


@pytest.fixture(scope="module")
def toy(shared_data: Path) -> Path:
    return shared_data / "kilonerf_toy"


@pytest.fixture(scope="module")
def oracle(toy: Path) -> dict[str, np.ndarray]:
    return dict(np.load(toy / "oracle.npz"))


@pytest.fixture(scope="module")
def toy_import(toy: Path) -> Scene:
    paper = toy / "logs" / "paper"
    return import_checkpoint(
        paper / "finetune_boosted" / "Synthetic_NeRF_Toy" / "checkpoint_0000001.pth",
        occupancy=paper / "pretrain_occupancy" / "Synthetic_NeRF_Toy" / "occupancy.pth",
        bbox=toy / "data_Toy" / "bbox.txt",
        resolution=(2, 3, 4),
        near=2.0,
        far=6.0,
        num_samples=48,
        dtype="float32",
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_networks_give_the_original_values(toy_import: Scene, oracle: dict[str, np.ndarray], backend: str) -> None:
    rgb, density = query(toy_import, oracle["points"], oracle["dirs"], backend=backend)
    raw = oracle["raw_occupied"].astype(np.float64)
    counts = oracle["inside"] & (raw != 0).any(1)  # the original leaves points that do not count at zero
    assert counts.sum() > 50
    expected_rgb = 1 / (1 + np.exp(-raw[:, :3]))
    expected_density = np.maximum(raw[:, 3], 0)
    assert np.abs(rgb - expected_rgb)[counts].max() < 2e-3
    assert (np.abs(density - expected_density) <= 1e-2 * (1 + expected_density))[counts].all()
    assert not density[~counts].any()
    assert not rgb[~counts].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_pictures_are_the_originals(toy_import: Scene, oracle: dict[str, np.ndarray], backend: str) -> None:
    renderer = create_renderer(toy_import, backend)
    width, height, fx, fy, cx, cy = oracle["intrinsics_WHfxfycxcy"].tolist()
    for view, pose in enumerate(oracle["poses"]):
        # The original counts pixels from 0 without the half.
        camera = Camera.from_matrix(pose, int(width), int(height), fx=fx, fy=fy, cx=cx + 0.5, cy=cy + 0.5)
        # In float32, as the original: bfloat16, where a machine has it, has 8 bits.
        plain = renderer.render(camera, RenderOptions.as_trained(toy_import, ert=False, precision="float32")).rgb
        difference = np.abs(plain - oracle["img_fast_noert"][view])
        assert (difference.max(-1) < 2e-3).mean() >= 0.99
        assert difference.mean() < 1e-4
        assert np.ptp(plain) > 0.2  # there is something to see
        # The original ends a ray between passes of 8 samples, we after the very sample.
        ended = renderer.render(camera, RenderOptions.as_trained(toy_import, precision="float32")).rgb
        assert np.abs(ended - oracle["img_fast_ert"][view]).max() < 1.2e-2


@pytest.mark.parametrize("backend", BACKENDS)
def test_chair_picture_of_an_independent_renderer(shared_data: Path, backend: str) -> None:
    folder = shared_data / "chair_kilonerf"
    scene = import_checkpoint(
        folder / "finetune" / "checkpoint_final.pth",
        occupancy=folder / "occupancy.pth",
        bbox=folder / "bbox.txt",
        dtype="float32",
    )
    expected = dict(np.load(folder / "reference_100x100_r_60.npz"))
    transforms = json.loads((folder / "transforms_test.json").read_text())
    frame = next(frame for frame in transforms["frames"] if frame["file_path"].endswith("r_60"))
    focal = 50 / np.tan(0.5 * transforms["camera_angle_x"])
    camera = Camera.from_matrix(frame["transform_matrix"], 100, 100, fx=focal, cx=50.5, cy=50.5)
    assert np.abs(ray_directions(camera).reshape(-1, 3) - expected["dirs"]).max() < 1e-5
    result = create_renderer(scene, backend).render(
        camera, RenderOptions.as_trained(scene, ert=False, precision="float32")
    )
    assert np.abs(result.rgb.reshape(-1, 3) - expected["rgb"]).mean() < 1e-5
    # Its rays differ in the last bit, so that a sample in a thousand may fall into another voxel.
    assert (np.abs(result.rgb.reshape(-1, 3) - expected["rgb"]).max(-1) < 1e-3).mean() > 0.995
    assert result.statistics.samples == pytest.approx(expected["active_per_ray"].sum(), rel=1e-3)
    assert np.abs(result.alpha.ravel() - expected["acc"]).mean() < 1e-5
