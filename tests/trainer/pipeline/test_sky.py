"""Photos of a place under the open sky: the sky is found, and views between the photos show it instead of fog."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure import metrics
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import KiloNeRFScene, UsageError, load_kilonerf_scene, save_scene
from kilonerf.model_io.scene.sky import sky_colors
from kilonerf.trainer.data.sky import Sky
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.ops.native import extension
from kilonerf.trainer.pipeline.observers import Observer
from kilonerf.trainer.pipeline.pipeline import Training
from kilonerf.trainer.pipeline.subject import Subject, read_subject
from kilonerf.trainer.settings import OccupancySettings, TrainingSettings
from kilonerf.trainer.stages.distillation import DistillationSettings
from kilonerf.trainer.stages.fine_tuning import FineTuningSettings
from kilonerf.trainer.teachers.grid import GridSettings
from kilonerf.trainer.teachers.scene import SceneTeacher
from support.analytic_scene import open_sky, outdoor_cameras, outdoor_photo, write_outdoors, write_room

Trained = tuple[KiloNeRFScene, list[str]]
Train = Callable[..., Trained]

pytestmark = pytest.mark.skipif(extension is None, reason="needs the native extension: the twins take minutes")

SETTINGS = TrainingSettings(
    grid=GridSettings(resolution=64, steps=(60, 60, 60, 40), rays=1024),
    occupancy=OccupancySettings(cells=4, factor=8),
    distillation=DistillationSettings(steps=200, points=96),
    fine_tuning=FineTuningSettings(steps=150, rays=1024),
)
SHORT = replace(
    SETTINGS,
    grid=replace(SETTINGS.grid, steps=(8, 8, 8, 8), rays=256, least_weights=(0.0, 0.0, 0.0, 0.0)),
    occupancy=replace(SETTINGS.occupancy, threshold=0.1),
    distillation=replace(SETTINGS.distillation, steps=5),
    fine_tuning=replace(SETTINGS.fine_tuning, steps=5, rays=128),
)


@pytest.fixture(scope="module")
def outdoors(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return read_subject(write_outdoors(tmp_path_factory.mktemp("outdoors")))[0]


@pytest.fixture(scope="module")
def trained(outdoors: Subject, tmp_path_factory: pytest.TempPathFactory, train: Train) -> Trained:
    return train(outdoors, tmp_path_factory.mktemp("training"), SETTINGS)


def quality(scene: KiloNeRFScene) -> tuple[float, float]:
    """PSNR on views between the photos, of all pixels; and the mean opacity where they show the sky."""
    renderer, values, fog = create_renderer(scene, "cpu"), [], []
    for camera in outdoor_cameras(5, turn=0.11):
        frame, photo = renderer.render(camera, RenderOptions.as_trained(scene)), outdoor_photo(camera) / 255.0
        values.append(metrics.psnr(frame.rgb.clip(0, 1), photo))
        unit = ray_directions(camera).astype(np.float64)
        unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
        of_sky = np.abs(photo.reshape(-1, 3) - open_sky(unit.reshape(-1, 3)).clip(0, 1)).max(axis=1) < 0.01
        fog.append(frame.alpha.reshape(-1)[of_sky].mean())
    return float(np.mean(values)), float(np.mean(fog))


@pytest.mark.slow
def test_a_sky_is_learnt_where_there_is_one(trained: Trained, tmp_path: Path) -> None:
    scene, said = trained
    assert scene.sky is not None
    assert [line for line in said if "sky" in line] == ["a sky is behind 30% of the photos' pixels"]
    assert 0.25 < scene.provenance["photos"]["sky_share"] < 0.35
    above = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    above /= np.linalg.norm(above, axis=1, keepdims=True)
    above = above[(above[:, 2] > 0.25) & (above[:, 2] < 0.6)]  # where the photos look
    assert np.abs(sky_colors(scene.sky, above) - open_sky(above).clip(0, 1)).mean() < 0.02
    save_scene(scene, tmp_path / "a.knf")
    again = load_kilonerf_scene(tmp_path / "a.knf")
    assert again.sky is not None
    assert np.array_equal(again.sky, scene.sky)


@pytest.mark.slow
def test_views_between_the_photos_are_better_with_it(
    trained: Trained, outdoors: Subject, tmp_path: Path, train: Train
) -> None:
    without, said = train(outdoors, tmp_path / "without", replace(SETTINGS, sky="off"))
    assert without.sky is None
    assert not [line for line in said if "sky" in line]
    (psnr, fog), (psnr_without, fog_without) = quality(trained[0]), quality(without)
    print(psnr, fog, psnr_without, fog_without)
    assert psnr > psnr_without + 0.7
    assert fog < 0.1 < 0.8 < fog_without


@pytest.mark.slow
def test_rooms_have_no_sky_unless_asked(tmp_path: Path, train: Train) -> None:
    subject, _ = read_subject(write_room(tmp_path / "room"))
    scene, said = train(subject, tmp_path / "auto", SHORT)
    assert scene.sky is None
    assert "no sky (--sky on for one all the same): behind 0% of the photos' pixels" in said
    plain, _ = train(subject, tmp_path / "off", replace(SHORT, sky="off"))
    for name, layer in plain.layers.items():
        assert np.array_equal(layer, scene.layers[name]), name
    assert train(subject, tmp_path / "on", replace(SHORT, sky="on"))[0].sky is not None


@pytest.mark.slow
def test_a_background_that_was_asked_for_takes_its_place(outdoors: Subject, tmp_path: Path, train: Train) -> None:
    scene, _ = train(outdoors, tmp_path / "black", replace(SHORT, background=(0.0, 0.0, 0.0)))
    assert scene.sky is None
    bounded = replace(outdoors, bounds=replace(outdoors.bounds, levels=1))
    with pytest.raises(UsageError, match="--sky: expected nested boxes"):
        Training(bounded, replace(SHORT, sky="on"), tmp_path, world=World(), observer=Observer())


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_scene(outdoors: Subject, tmp_path: Path, train: Train) -> None:
    whole, _ = train(outdoors, tmp_path / "whole", SHORT)
    for stop_after in (11, 25, 3):
        with pytest.raises(KeyboardInterrupt):
            train(outdoors, tmp_path / "parts", SHORT, stop_after)
    parts, _ = train(outdoors, tmp_path / "parts", SHORT)
    assert whole.sky is not None
    assert parts.sky is not None
    assert np.array_equal(parts.sky, whole.sky)
    assert parts.provenance["photos"] == whole.provenance["photos"]
    for name, layer in whole.layers.items():
        assert np.array_equal(parts.layers[name], layer), name


@pytest.mark.slow
def test_a_finished_scene_hands_its_sky_on(trained: Trained, outdoors: Subject, tmp_path: Path) -> None:
    from kilonerf.trainer.stages.student import Student

    sky = trained[0].sky
    assert sky is not None
    again = Student.of(trained[0]).to_scene()
    assert again.sky is not None
    assert np.array_equal(again.sky, sky)
    training = Training(
        outdoors,
        replace(SHORT, teacher="a.knf"),
        tmp_path,
        world=World(),
        observer=Observer(),
        teacher=SceneTeacher(trained[0]),
    )
    student = training.run("distillation")
    assert student is not None
    assert student.sky is not None
    assert np.array_equal(student.sky.coefficients, sky)


@pytest.mark.slow
def test_photos_say_whether_there_is_open_space(outdoors: Subject, tmp_path: Path) -> None:
    assert outdoors.photos is not None
    assert Sky.of(outdoors.photos, seed=0).share > 0.25
    room, _ = read_subject(write_room(tmp_path))
    assert room.photos is not None
    assert Sky.of(room.photos, seed=0).share == 0
