"""What people have under a file's name when a download went wrong: named as what it is, whatever the extension."""

import json
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import CameraPath, KiloNeRFError, load_dataset, load_scene
from kilonerf.model_io.files.downloads import HEAD, broken_content
from support.photo_sets import ring, save, write_nerfstudio

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\r\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
BROKEN = {
    "pointer": (POINTER, "a Git LFS pointer in place of the file: run 'git lfs pull'"),
    "page": (PAGE, "a web page in place of the file"),
    "empty": (b"", "an empty file"),
    "zeros": (bytes(4096), "begins with zeros only"),
    "error": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "a web server's error message"),
}


def load_checkpoint(folder: Path, content: bytes) -> None:
    pytest.importorskip("torch")
    from kilonerf.model_io.original.restricted_pickle import read_torch_file

    (folder / "a.pth").write_bytes(content)
    read_torch_file(folder / "a.pth")


def load_photo(folder: Path, content: bytes) -> None:
    cameras = ring(2)
    write_nerfstudio(folder, cameras)
    save(folder / "images/f_01.png", np.zeros((90, 120, 3), np.uint8))
    (folder / "images/f_00.png").write_bytes(content)
    load_dataset(folder, "test")


def load_transforms(folder: Path, content: bytes) -> None:
    (folder / "transforms.json").write_bytes(content)
    load_dataset(folder)


def load_model(folder: Path, content: bytes) -> None:
    pytest.importorskip("pycolmap")
    from support.photo_sets import write_colmap

    write_colmap(folder, ring(3))
    (folder / "sparse/0/images.bin").write_bytes(content)
    load_dataset(folder)


def load_knf(folder: Path, content: bytes) -> None:
    (folder / "a.knf").write_bytes(content)
    load_scene(folder / "a.knf")


def load_path(folder: Path, content: bytes) -> None:
    (folder / "a.json").write_bytes(content)
    CameraPath.load(folder / "a.json")


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("load", [load_checkpoint, load_photo, load_transforms, load_model, load_knf, load_path])
def test_the_line_says_what_it_is(load, kind, tmp_path):
    content, said = BROKEN[kind]
    if load in (load_transforms, load_path) and kind == "empty":
        said = "expected JSON"
    with pytest.raises(KiloNeRFError) as caught:
        load(tmp_path, content)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert "weights_only" not in text


def test_good_files_are_not_suspected():
    assert broken_content(json.dumps({"html": "<html>"}).encode()) is None
    assert broken_content(bytes(8)) is None  # COLMAP's points3D.bin without points
    assert broken_content(b"\x89PNG" + bytes(HEAD)) is None
