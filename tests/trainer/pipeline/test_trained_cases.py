"""The cases from public reports that are about what comes out of training, where they are (shared/cases)."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.metrics import psnr
from kilonerf.model_io import load_dataset
from kilonerf.model_io.datasets import load_image
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline.train import train
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings

pytestmark = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")
SMALL = TrainingSettings(  # as the cases' own README says
    grid=GridSettings(resolution=32, steps=(200, 200, 200, 200), rays=1024),
    occupancy=OccupancySettings(cells=4, factor=8),
    distillation=DistillationSettings(steps=200, points=64),
    fine_tuning=FineTuningSettings(steps=400, rays=1024),
)


@pytest.fixture(scope="module")
def cases() -> Path:
    """The folder of the cases (KILONERF_CASES, or shared/cases beside the checkout)."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "cases"
    folder = Path(os.environ.get("KILONERF_CASES", beside))
    if not folder.is_dir():
        pytest.skip("needs the cases from public reports: set KILONERF_CASES to their folder")
    return folder


def quality(data: Path, folder: Path, split: str = "test", names: tuple[str, ...] = ()) -> float:
    """PSNR of a scene trained from it, over a split."""
    scene = train(data, SMALL, folder=folder)
    renderer, options = create_renderer(scene), RenderOptions.as_trained(scene)
    values = []
    for view in load_dataset(data, split).views:
        if names and view.name not in names:
            continue
        camera = relative_to(scene_origin(scene), view.camera)
        seen = renderer.render(camera, options).rgb.clip(0, 1)
        values.append(psnr(seen, load_image(view, options.background)))
    return float(np.mean(values))


@pytest.fixture(scope="module")
def as_it_is(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    return quality(cases / "01-units-times-ten/as_it_is", tmp_path_factory.mktemp("as_it_is"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "01-units-times-ten/times_10",
        "01-units-times-ten/times_100",
        "02-utm-coordinates/data",
    ],
)
def test_units_and_far_coordinates_give_the_same_scene(cases: Path, as_it_is: float, tmp_path: Path, name: str) -> None:
    assert as_it_is > 24
    assert abs(quality(cases / name, tmp_path) - as_it_is) < 0.2


@pytest.mark.slow
def test_what_masks_hide_spoils_nothing(cases: Path, tmp_path: Path) -> None:
    data = cases / "23-masks/data"
    whole = ("p_002", "p_004", "p_006")  # of these the masks hide nothing; where they were not used, 33 dB became 17
    assert quality(data, tmp_path, "train", whole) > 31


@pytest.mark.slow
def test_dark_photos_of_little_contrast_are_learnt_before_their_own_background(cases: Path, tmp_path: Path) -> None:
    assert quality(cases / "08-grey-16-bit/data", tmp_path) > 24
