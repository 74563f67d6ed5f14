"""The cases from public reports, where they are: each is read as its case.md expects, or refused by one line.

Whether a scene trained from them is as good is not tested here. The kinds of fault are tested on their own elsewhere.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kilonerf.model_io import CheckpointError, DatasetError, SceneError, load_dataset, load_scene
from kilonerf.model_io.datasets import available_splits, load_for_training, load_mask, load_pixels

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cases() -> Path:
    """The folder of the cases (KILONERF_CASES, or shared/cases beside the checkout)."""
    folder = Path(os.environ.get("KILONERF_CASES", REPOSITORY.parent / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip("needs the cases from public reports: set KILONERF_CASES to their folder")
    return folder


@pytest.fixture(scope="module")
def scene_maker(cases: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("scene_maker", cases / "scene_maker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


READ = {  # what is said in the notes, and the number of views for training
    "01-units-times-ten/as_it_is": ([], 8),
    "03-poses-with-scale/uniform": (["poses have axes of lengths 0.35 to 0.35"], 8),
    "03-poses-with-scale/cross_products": (["poses have axes of lengths 0.661 to 1"], 8),
    "06-windows-paths/data": ([], 8),
    "07-names-differ-in-case/upper_case": ([], 8),
    "07-names-differ-in-case/unicode_form": ([], 8),
    "09-empty-test-list/empty": ([], 8),
    "09-empty-test-list/absent": ([], 8),
    "10-test-split-without-photos/addon_nerf": (["no previews while training"], 10),
    "10-test-split-without-photos/addon_ngp": (["no previews while training"], 10),
    "10-test-split-without-photos/none_there": (["no previews while training"], 10),
    "10-test-split-without-photos/one_missing": (["1 of 5 poses has no photo: left out: ./test/r_2"], 10),
    "14-space-in-colmap-names/text": ([], 8),
    "14-space-in-colmap-names/binary": ([], 8),
    "16-file-or-folder/data": ([], 8),
    "20-stray-files/data": ([], 8),
    "22-backup-json/data": ([], 8),
    "23-masks/data": (["8 photos have a mask"], 8),
    "25-byte-order-mark/data": ([], 8),
    "30-downscaled-photos/only_images_2": (["those of images_2 are taken"], 8),
    "31-no-extensions/data": ([], 8),
    "34-one-alpha-channel/all_rgb": ([], 8),
    "34-one-alpha-channel/one_opaque_alpha": ([], 8),
}


@pytest.mark.parametrize("name", READ)
def test_balls_are_where_the_cameras_see_them(name, cases, scene_maker):
    if "colmap" in name or "30-" in name:
        pytest.importorskip("pycolmap", reason="needs pycolmap")
    said, count = READ[name]
    train, other = load_for_training(cases / name)
    assert len(train.views) == count
    notes = [*train.notes, *(other.notes if other else ())]
    assert len(notes) >= len(said)
    for text in said:
        assert any(text in note for note in notes)
    assert said or not notes
    views = [*train.views, *(other.views if other else ())]
    good, seen = scene_maker.check(views, tell=False)
    assert good == seen > 30


def test_missing_photos_are_left_out(cases):
    train, other = load_for_training(cases / "24-missing-photos/data")
    assert other is not None
    assert len(train.views) + len(other.views) == 8
    assert train.notes == (
        "transforms.json: 2 of 10 poses have no photo: left out: images/frame_00003.png, images/frame_00004.png",
    )


REFUSED = {
    "13-panorama-lens/latlong": "transforms.json: latlong: expected a pinhole",
    "13-panorama-lens/equirectangular": "transforms.json: equirectangular: expected a pinhole",
    "13-panorama-lens/nerfstudio_equirectangular": "transforms.json: camera_model: expected one of OPENCV",
    "17-left-handed-world/data": "expected right-handed poses, got mirrored ones",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(name, cases):
    with pytest.raises(DatasetError) as caught:
        load_for_training(cases / name)
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_smaller_photos_are_refused_with_both_sizes(cases):
    pytest.importorskip("pycolmap", reason="needs pycolmap")
    with pytest.raises(DatasetError) as caught:
        load_for_training(cases / "30-downscaled-photos/smaller")
    assert all("expected 48x36 as the model says, got 24x18" in fault for fault in caught.value.faults)


def test_grey_of_16_bits(cases):
    for view in load_dataset(cases / "08-grey-16-bit/data", "train").views:
        pixels = load_pixels(view)
        assert (pixels >= 16).all()
        assert (pixels <= 78).all()
        assert pixels.std() > 1


def test_masks_hide_the_post(cases):
    hidden = 0
    for view in load_dataset(cases / "23-masks/data", "train").views:
        mask = load_mask(view)
        assert mask is not None
        assert mask.shape == load_pixels(view).shape[:2]
        hidden += int(not mask.all())
    assert hidden >= 3


def test_eval_of_data_without_a_test_split_names_those_that_there_are(cases):
    for name in ("empty", "absent"):
        assert available_splits(cases / "09-empty-test-list" / name) == ("train", "val")
        with pytest.raises(DatasetError, match=r"of splits it has train, val \(--split\)"):
            load_dataset(cases / "09-empty-test-list" / name, "test")


def test_a_file_is_its_folder(cases):
    folder = cases / "16-file-or-folder/data"
    for split in ("train", "test"):
        assert load_dataset(folder / "transforms.json", split) == load_dataset(folder, split)


def test_one_opaque_alpha_changes_no_pixel(cases):
    first, second = (
        load_dataset(cases / f"34-one-alpha-channel/{name}", "train") for name in ("all_rgb", "one_opaque_alpha")
    )
    for one, other in zip(first.views, second.views, strict=True):
        assert np.array_equal(load_pixels(one), load_pixels(other))


BROKEN = {"pointer": "a Git LFS pointer", "page": "a web page"}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_downloads_are_named(name, cases):
    folder = cases / "19-lfs-pointer-or-web-page"
    with pytest.raises(SceneError, match=BROKEN[name]):
        load_scene(folder / f"{name}.knf")
    with pytest.raises(DatasetError, match="a Git LFS pointer"):
        load_for_training(folder / "photos")
    pytest.importorskip("torch", reason="needs torch")
    from kilonerf.model_io.original.restricted_pickle import read_torch_file

    with pytest.raises(CheckpointError, match=BROKEN[name]) as caught:
        read_torch_file(folder / f"{name}.pth")
    assert "weights_only" not in str(caught.value)


REAL = {
    "fox": ("nerfstudio", 43, 7, 1),
    "cup": ("colmap", 67, 10, 0),
    "fern": ("llff", 17, 3, 1),
    "lego": ("blender", 100, 25, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_load(name, shared_data):
    if not (shared_data / name).is_dir():
        pytest.skip(f"needs {name} among the reference data")
    if name == "cup":
        pytest.importorskip("pycolmap", reason="needs pycolmap")
    kind, train_views, test_views, notes = REAL[name]
    train, test = load_for_training(shared_data / name)
    assert test is not None
    assert (train.kind, len(train.views), len(test.views)) == (kind, train_views, test_views)
    assert len({*train.notes, *test.notes}) == notes
