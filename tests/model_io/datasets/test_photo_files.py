"""Photos are found by their names, however these are written."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import DatasetError, load_dataset
from kilonerf.model_io.datasets import load_pixels
from kilonerf.model_io.datasets.photo_files import PhotoFolders, list_photos, view_names
from support.photo_sets import FLIP, SPOTS, projected, ring, save, spot_places, spots_photo, write_nerfstudio

CAMERAS = ring(4)
COMPOSED = "k\N{LATIN SMALL LETTER U WITH DIAERESIS}che"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def write(folder: Path, said: str, there: str) -> Path:
    """A nerfstudio set that names its photos ``said`` % number where they lie at ``there`` % number."""
    write_nerfstudio(folder, CAMERAS, train_filenames=[said % number for number in range(4)])
    document = json.loads((folder / "transforms.json").read_text())
    for number, frame in enumerate(document["frames"]):
        frame["file_path"] = said % number
        places = projected(CAMERAS[number], SPOTS)
        save(folder / (there % number), spots_photo(places, 120, 90))
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


SPELLINGS = {
    "as written": ("images/f_%d.png", "images/f_%d.png"),
    "without an extension": ("images/f_%d", "images/f_%d.bmp"),
    "with a dot in the name": ("images/f.v2_%d", "images/f.v2_%d.png"),
    "another extension": ("images/f_%d.JPG", "images/f_%d.png"),
    "another case": ("Images/F_%d.png", "images/f_%d.PNG"),
    "composed and decomposed": (f"images/{COMPOSED}_%d.png", f"images/{DECOMPOSED}_%d.png"),
    "backslashes": (".\\images\\f_%d.png", "images/f_%d.png"),
    "spaces": ("my photos/f %d .png", "my photos/f %d .png"),
    "in images": ("f_%d.png", "images/f_%d.png"),
    "another computer's path": ("/home/someone/captures/fox/images/f_%d.png", "images/f_%d.png"),
    "another computer's Windows path": ("C:\\Users\\me\\fox\\pictures\\f_%d.png", "images/f_%d.png"),
    "a folder up": ("../fox/images/f_%d.png", "images/f_%d.png"),
    "an address": ("file:///data/fox/images/f_%d.png", "images/f_%d.png"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_photo_is_found_and_is_the_right_one(kind, tmp_path):
    dataset = load_dataset(write(tmp_path, *SPELLINGS[kind]), "train", strict=True, photos=True)
    assert len(dataset.views) == 4
    assert dataset.notes == ()
    for view, camera in zip(dataset.views, CAMERAS, strict=True):
        np.testing.assert_allclose(spot_places(load_pixels(view)), projected(camera, SPOTS), atol=1.5)


def test_an_absolute_path_of_this_computer_is_that_file(tmp_path):
    write(tmp_path / "set", "images/f_%d.png", "images/f_%d.png")
    elsewhere = str(tmp_path / "elsewhere" / "f_%d.png")
    write(tmp_path / "set", elsewhere, elsewhere)
    dataset = load_dataset(tmp_path / "set", "train", photos=True)
    assert dataset.views[2].image_path == tmp_path / "elsewhere" / "f_2.png"


def test_names_that_differ_in_case_only_are_two_photos(tmp_path):
    save(tmp_path / "ab.png", np.zeros((2, 2, 3), np.uint8))
    save(tmp_path / "AB.png", np.zeros((2, 2, 3), np.uint8))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    assert PhotoFolders(tmp_path).find(["AB.png", "ab.png"]).paths == [tmp_path / "AB.png", tmp_path / "ab.png"]
    assert PhotoFolders(tmp_path).find(["Ab.png"]).paths == [None]  # nobody says which


def test_a_shortened_path_is_not_taken_for_two_photos(tmp_path):
    """left/0001 and right/0001 are not both 0001."""
    save(tmp_path / "images/0001.png", np.zeros((2, 2, 3), np.uint8))
    assert not any(PhotoFolders(tmp_path).find(["/data/left/0001.png", "/data/right/0001.png"]).paths)


def test_one_that_is_missing_is_not_taken_from_elsewhere(tmp_path):
    save(tmp_path / "left/0001.png", np.zeros((2, 2, 3), np.uint8))
    save(tmp_path / "0002.png", np.zeros((2, 2, 3), np.uint8))
    found = PhotoFolders(tmp_path).find(["left/0001.png", "right/0002.png"])
    assert found.paths == [tmp_path / "left/0001.png", None]


@pytest.mark.parametrize(
    "names", [["a\0b.png"], ["x" * 5000], ["/" * 3000 + "a"], ["../../../../../../.."], [""], ["."]]
)
def test_names_that_cannot_be_paths_are_not_found(names, tmp_path):
    assert PhotoFolders(tmp_path).find(names).paths == [None]


def test_photos_of_half_the_size_are_taken_where_there_are_no_others(tmp_path):
    write(tmp_path, "images/f_%d.png", "images_2/f_%d.png")
    for number in range(4):
        save(tmp_path / f"images_2/f_{number}.png", spots_photo(projected(CAMERAS[number], SPOTS) / 2, 60, 45, 1.5))
    dataset = load_dataset(tmp_path, "train", strict=True)
    assert dataset.notes == (
        "transforms.json: no photos of full size: those of images_2 are taken, and the lens is divided by 2",
    )
    for view, camera in zip(dataset.views, CAMERAS, strict=True):
        assert (view.camera.width, view.camera.height, view.camera.fx) == (60, 45, camera.fx / 2)
        np.testing.assert_allclose(spot_places(load_pixels(view)), projected(view.camera, SPOTS), atol=0.1)
    save(tmp_path / "images_2/f_1.png", np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"f_1.png: expected 60x45, a photo of 120x90 divided by 2, got 60x40"):
        load_dataset(tmp_path, "train")


def test_poses_without_a_photo_are_left_out_and_said(tmp_path):
    write(tmp_path, "images/f_%d.png", "images/f_%d.png")
    (tmp_path / "images/f_2.png").unlink()
    dataset = load_dataset(tmp_path, "train")
    assert [view.name for view in dataset.views] == ["f_0", "f_1", "f_3"]
    assert dataset.notes == ("transforms.json: 1 of 4 poses has no photo: left out: images/f_2.png",)
    with pytest.raises(DatasetError, match=r"expected a photo for every pose, got none for images/f_2.png"):
        load_dataset(tmp_path, "train", strict=True)


def test_every_8th_is_counted_among_those_that_have_a_photo(tmp_path):
    write_nerfstudio(tmp_path, ring(20))
    for number in range(2, 20):
        save(tmp_path / f"images/f_{number:02d}.png", np.zeros((90, 120, 3), np.uint8))
    assert [view.name for view in load_dataset(tmp_path, "test").views] == ["f_02", "f_10", "f_18"]


def test_no_photo_at_all_is_one_line_with_folder_name_and_what_is_there(tmp_path):
    write(tmp_path, "images/f_%d.png", "images/f_%d.png")
    for number in range(4):
        (tmp_path / f"images/f_{number}.png").rename(tmp_path / f"images/frame-{number}.png")
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path, "train", photos=True)
    assert str(caught.value) == (
        f"{tmp_path / 'transforms.json'}: expected photos for 4 poses, got none: searched {tmp_path}, "
        f"{tmp_path / 'images'} for 'images/f_0.png'; the nearest of 4 photos there is 'frame-0.png'"
    )
    assert len(load_dataset(tmp_path, "train").views) == 4  # bare poses, for rendering
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".HEIC"))
    with pytest.raises(DatasetError, match=r"there are files as frame-0.HEIC, which are not read: convert them"):
        load_dataset(tmp_path, "train", photos=True)


def test_what_is_no_photo_is_passed_over(tmp_path):
    for name in (
        "a.png",
        "b.jpg",
        "._a.png",
        "a_depth.png",
        "a_normal.png",
        "r_0_depth_0001.png",
        "dynamic_mask_a.png",
    ):
        save(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    for name in (".DS_Store", "Thumbs.db", "a.png:Zone.Identifier", "a.png.bak", "notes.txt"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in list_photos(tmp_path)] == ["a.png", "b.jpg"]


def test_sidecars_of_an_nsvf_folder_are_no_photos_without_a_pose(tmp_path):
    (tmp_path / "pose").mkdir()
    (tmp_path / "intrinsics.txt").write_text("100 60 45 0\n")
    np.savetxt(tmp_path / "pose/0_0.txt", CAMERAS[0].matrix @ FLIP)
    for name in ("0_0.png", "0_0_depth.png", "._0_0.png"):
        save(tmp_path / "rgb" / name, np.zeros((90, 120, 3), np.uint8))
    (tmp_path / "rgb/0_0.png:Zone.Identifier").write_text("[ZoneTransfer]")
    assert len(load_dataset(tmp_path, "train", strict=True).views) == 1


def test_views_have_distinct_names():
    assert view_names(["a/r_0.png", "./a/r_1"]) == ["r_0", "r_1"]
    assert view_names(["left/1.jpg", "right\\1.jpg", "2.jpg"]) == ["left/1", "right/1", "2"]
    assert view_names(["1.jpg", "1.jpg", "1.png"]) == ["1", "1#2", "1#3"]
