"""Damaged data sets are read right or refused by one line: never another error, never more memory than a GiB.

KILONERF_DAMAGED_FOLDERS says how many are tried; 2,000 take some minutes.
"""

import json
import os
import resource
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilonerf.model_io import DatasetError
from kilonerf.model_io.datasets import load_for_training, load_pixels
from kilonerf.model_io.datasets.summary import dataset_rows, describe_dataset
from support.photo_sets import ellipsoid_photo, ring, write_blender, write_colmap, write_nerfstudio

FOLDERS = int(os.environ.get("KILONERF_DAMAGED_FOLDERS", "160"))
PARTS = 8
GIB = 2**30
Damage = Callable[[bytes, np.random.Generator], bytes]


def photo(camera):
    return ellipsoid_photo(camera, np.zeros(3), np.array([0.5, 0.4, 0.6]))


def write_photos(folder: Path, names: list[str]) -> None:
    for name, camera in zip(names, ring(len(names), 24, 18), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(camera)).convert("RGB").save(folder / name)


def blender(folder: Path) -> None:
    write_blender(folder, ring(5, 24, 18), photo)


def nerfstudio(folder: Path) -> None:
    write_nerfstudio(folder, ring(9, 24, 18))
    names = [frame["file_path"] for frame in json.loads((folder / "transforms.json").read_text())["frames"]]
    write_photos(folder, names)


def nsvf(folder: Path) -> None:
    names = [f"rgb/{split}_{number:04d}.png" for split in (0, 2) for number in range(3)]
    write_photos(folder, names)
    (folder / "pose").mkdir()
    for name, camera in zip(names, ring(6, 24, 18), strict=True):
        np.savetxt(folder / "pose" / f"{Path(name).stem}.txt", camera.matrix @ np.diag([1, -1, -1, 1]))
    (folder / "intrinsics.txt").write_text("30 12 9 0\n0 0 0\n0\n1\n18 24\n")
    (folder / "bbox.txt").write_text("-1 -1 -1 1 1 1 0.1\n")


def llff(folder: Path) -> None:
    write_photos(folder, [f"images/{number}.png" for number in range(9)])
    rows = [
        np.concatenate([np.c_[camera.matrix[:3, [1, 0, 2, 3]] * [-1, 1, 1, 1], [18, 24, 30]].ravel(), [2, 6]])
        for camera in ring(9, 24, 18)
    ]
    np.save(folder / "poses_bounds.npy", np.array(rows))


def colmap(folder: Path, *, binary: bool) -> None:
    write_colmap(folder, ring(9, 24, 18), binary=binary)
    write_photos(folder, [f"images/f_{number:02d}.png" for number in range(9)])


def colmap_binary(folder: Path) -> None:
    colmap(folder, binary=True)


def colmap_text(folder: Path) -> None:
    colmap(folder, binary=False)


def cut(data: bytes, random: np.random.Generator) -> bytes:
    return data[: int(random.integers(0, len(data) + 1))]


def flip(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9)) if changed else 0):
        changed[int(random.integers(len(changed)))] = int(random.integers(256))
    return bytes(changed)


def swap(data: bytes, random: np.random.Generator) -> bytes:
    a, b = sorted(int(place) for place in random.integers(0, len(data) + 1, 2))
    return data[b:] + data[a:b] + data[:a]


def huge(data: bytes, random: np.random.Generator) -> bytes:
    """A number becomes a huge one: digits of a text, or eight bytes."""
    if data and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in data[:200]):
        digits = [place for place, byte in enumerate(data) if byte in b"123456789"]
        values = (b"99999999999999999999", b"1e308", b"-1e300", b"nan", b"null", b'"x"', b"[]", b"1e999", b"-1", b"0")
        place = digits[int(random.integers(len(digits)))] if digits else 0
        return data[:place] + values[int(random.integers(len(values)))] + data[place + 1 :]
    values = (b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8, b"\0\0\0\0\0\0\xf0\x7f", struct.pack("<d", 1e300))
    place = int(random.integers(0, max(1, min(len(data), 400))))
    return data[:place] + values[int(random.integers(len(values)))] + data[place + 8 :]


def rubbish(data: bytes, random: np.random.Generator) -> bytes:
    return random.bytes(int(random.integers(0, 300)))


KINDS = (blender, nerfstudio, nsvf, llff, colmap_binary, colmap_text)
DAMAGES: tuple[Damage, ...] = (cut, flip, swap, huge, huge, rubbish)


def damage(folder: Path, random: np.random.Generator) -> str:
    """Damage one or two files, the small ones that say most rather than photos; says what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix != ".png"]
    said = []
    for _ in range(int(random.integers(1, 3))):
        among = tables if random.random() < 0.75 else files
        path = among[int(random.integers(len(among)))]
        way = DAMAGES[int(random.integers(len(DAMAGES)))]
        path.write_bytes(way(path.read_bytes(), random))
        said.append(f"{way.__name__} {path.relative_to(folder)}")
    return ", ".join(said)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for kind in KINDS:
        kind(folder / kind.__name__)
    return folder


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_the_undamaged_ones_are_read(whole: Path, kind: str) -> None:
    if kind.startswith("colmap"):
        pytest.importorskip("pycolmap", reason="needs pycolmap")
    dataset, _ = load_for_training(whole / kind)
    assert len(dataset.views) >= 3


def refusal_of(folder: Path) -> str | None:
    """Read it all; the line that refuses it, or None."""
    try:
        dataset, _ = load_for_training(folder)
        for view in dataset.views:
            assert np.isfinite(view.camera.matrix).all()
            load_pixels(view)
    except DatasetError as error:
        return str(error)
    return None


def described(folder: Path) -> str | None:
    """Describe it as kilonerf-info does; the line that refuses it, or None."""
    try:
        dataset_rows(describe_dataset(folder))
    except DatasetError as error:
        return str(error)
    return None


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_folders_are_read_or_refused_by_one_line(whole: Path, tmp_path: Path, part: int) -> None:
    before = memory()
    for number in range(part, FOLDERS, PARTS):
        random = np.random.default_rng([12, number])
        kind = KINDS[int(random.integers(len(KINDS)))].__name__
        folder = tmp_path / str(number)
        shutil.copytree(whole / kind, folder)
        said = f"folder {number}, {kind}: {damage(folder, random)}"
        try:
            refusal = refusal_of(folder)
            dataset_refusal = described(folder)
        except Exception as error:
            raise AssertionError(f"{said}: {error!r}") from error
        for line in (refusal, dataset_refusal):
            assert line is None or 0 < len(line) < 2000, said
        shutil.rmtree(folder)
        assert memory() - before < GIB, said
