"""Pictures of all kinds become the same 8 bits that a viewer of pictures shows."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import Camera, DatasetError, View, load_dataset
from kilonerf.model_io.datasets import load_mask, load_pixels, pictures
from kilonerf.model_io.datasets.lens import Lens, pinhole_camera
from kilonerf.model_io.datasets.pictures import read_mask, read_pixels
from kilonerf.model_io.datasets.views import Mask
from support.photo_sets import ring, save, write_nerfstudio

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def in_mode(mode: str) -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, ".tif") for mode in ("RGB", "CMYK", "YCbCr", "P", "L", "1")),
        ("RGB", ".png"),
        ("P", ".png"),
        ("1", ".png"),
    ],
)
def test_modes_without_transparency(mode, suffix, tmp_path):
    image = in_mode(mode)
    image.save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_pixels(tmp_path / f"a{suffix}"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_16_bits_is_not_clipped(suffix, tmp_path):
    values = np.array([[0, 128, 129, 20000], [257, 65535, 32896, 5140]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    expected = np.array([[0, 0, 1, 78], [1, 255, 128, 20]])
    assert np.array_equal(read_pixels(tmp_path / f"a{suffix}"), np.repeat(expected[..., None], 3, axis=-1))


def test_floating_point_pictures_are_refused_in_one_line(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=r"a.tif: cannot read this picture: expected 8 or 16 bits a channel"):
        read_pixels(tmp_path / "a.tif")


def test_alpha_counts_only_where_something_is_transparent(tmp_path):
    pixels = np.dstack([RGB, np.full((6, 8), 255, np.uint8)])
    save(tmp_path / "opaque.png", pixels)
    assert np.array_equal(read_pixels(tmp_path / "opaque.png"), RGB)
    pixels[0, 0, 3] = 254
    save(tmp_path / "nearly.png", pixels)
    assert np.array_equal(read_pixels(tmp_path / "nearly.png"), pixels)
    palette = in_mode("P")
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    assert read_pixels(tmp_path / "palette.png").shape[2] == 4
    Image.fromarray(np.dstack([GREY, GREY])).save(tmp_path / "la.png")
    assert read_pixels(tmp_path / "la.png").shape[2] == 4


def with_orientation(path: Path, tag: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(RGB).save(path, exif=exif)
    return path


@pytest.mark.parametrize("tag", [1, 3, 6, 8])
def test_orientation_is_honoured_where_the_camera_says_so_and_said_where_not(tag, tmp_path):
    photo = with_orientation(tmp_path / "a.png", tag)
    assert np.array_equal(read_pixels(photo), RGB)
    assert np.array_equal(read_pixels(photo, (8, 6)), RGB)
    turned = read_pixels(photo, (6, 8))
    assert np.array_equal(turned, {6: np.rot90(RGB, -1), 8: np.rot90(RGB)}.get(tag, RGB))


@pytest.mark.parametrize(("size", "said"), [((8, 6), "not applied"), ((6, 8), "turned upright")])
def test_orientation_is_said(size, said, tmp_path):
    cameras = [Camera.from_matrix(camera.matrix, *size, fx=9) for camera in ring(1)]
    write_nerfstudio(tmp_path, cameras)
    (tmp_path / "images").mkdir()
    with_orientation(tmp_path / "images/f_00.png", 6)
    dataset = load_dataset(tmp_path, "test")
    assert len(dataset.notes) == 1
    assert said in dataset.notes[0]
    assert load_pixels(dataset.views[0]).shape[:2] == size[::-1]


def test_a_photo_above_pillows_limit_is_read_where_there_is_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(pictures, "_ORDINARY", 20)
    save(tmp_path / "a.png", RGB)
    assert np.array_equal(read_pixels(tmp_path / "a.png"), RGB)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(pictures, "_available_memory", lambda: 700)
    with pytest.raises(DatasetError, match=r"a.png: .*expected 0.0 GiB of free memory for its 8x6 pixels, got 0.0 GiB"):
        read_pixels(tmp_path / "a.png")


def test_a_header_that_promises_more_than_the_file_can_hold_is_refused(tmp_path):
    save(tmp_path / "a.png", RGB)
    data = bytearray((tmp_path / "a.png").read_bytes().ljust(1000, b"\0"))
    data[16:24] = struct.pack(">II", 60000, 50000)  # of IHDR, and its checksum
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DatasetError, match=r"its header says 60000x50000 pixels, which are not in its 1000 bytes"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_no_text_of_pillow_slips_through(suffix, tmp_path):
    photo = tmp_path / f"a{suffix}"
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(photo)
    data = photo.read_bytes()
    for content in (data[: len(data) // 2], data[:20], b"no picture"):
        photo.write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            read_pixels(photo)
        reason = str(caught.value).removeprefix(f"{photo}: cannot read this picture: ")
        assert reason in ("it is damaged or ends too early", "expected PNG, JPEG, WebP or TIFF")


def test_masks_say_what_is_learnt(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:7] = 255
    save(tmp_path / "mask.png", mask)
    save(tmp_path / "small.png", mask[::2, ::2])
    camera = ring(1, 8, 6)[0]
    view = View(camera, tmp_path / "a.png", "a", mask=Mask(tmp_path / "mask.png"))
    assert load_mask(view) == pytest.approx(mask > 0)
    view = View(camera, tmp_path / "a.png", "a", mask=Mask(tmp_path / "mask.png", hides_white=True))
    assert load_mask(view) == pytest.approx(mask == 0)
    assert np.array_equal(read_mask(tmp_path / "small.png", (8, 6)), np.repeat(np.repeat(mask[::2, ::2], 2, 0), 2, 1))
    assert load_mask(View(camera, None, "a")) is None
    with pytest.raises(DatasetError, match=r"mask.png: expected a mask of 60x10 as its photo, got 8x6"):
        read_mask(tmp_path / "mask.png", (60, 10))


def test_a_mask_is_straightened_as_its_photo(tmp_path):
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    lens = Lens(200, 150, 160, 150, 104, 70, k1=-0.2)
    columns = np.arange(200)[None, :].repeat(150, 0)
    mask = np.where(columns < 60, 0, 255).astype(np.uint8)
    save(tmp_path / "mask.png", mask)
    save(tmp_path / "a.png", np.repeat(mask[..., None], 3, -1))
    view = View(pinhole_camera(lens, np.eye(4)), tmp_path / "a.png", "a", lens, Mask(tmp_path / "mask.png"))
    learnt, pixels = load_mask(view), load_pixels(view)
    assert learnt is not None
    assert learnt.shape == pixels.shape[:2]
    assert (pixels[learnt] > 200).all()
    assert 0.55 < learnt.mean() < 0.75


@pytest.mark.parametrize("folder", ["masks", "images"])
def test_nerfstudios_and_instant_ngps_masks_are_found(folder, tmp_path):
    cameras = ring(2)
    write_nerfstudio(tmp_path, cameras)
    mask = np.zeros((90, 120), np.uint8)
    for number in range(2):
        save(tmp_path / f"images/f_{number:02d}.png", np.zeros((90, 120, 3), np.uint8))
    if folder == "masks":
        text = (tmp_path / "transforms.json").read_text()
        text = text.replace('"file_path": "images', '"mask_path": "masks/f_00.png", "file_path": "images')
        (tmp_path / "transforms.json").write_text(text)
        with_none = load_dataset(tmp_path, "test")
        assert with_none.views[0].mask is None
        assert "masks are not there" in with_none.notes[0]
        with pytest.raises(DatasetError, match=r"mask_path: expected masks, got none for masks/f_00.png"):
            load_dataset(tmp_path, "test", strict=True)
        save(tmp_path / "masks/f_00.png", mask)
    else:
        save(tmp_path / "images/dynamic_mask_f_00.png", mask)
    dataset = load_dataset(tmp_path, "test", strict=True)
    assert dataset.notes == ("transforms.json: 1 photos have a mask: what it hides is not learnt",)
    learnt = load_mask(dataset.views[0])
    assert learnt is not None
    assert learnt.all() == (folder == "images")
