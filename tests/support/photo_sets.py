"""Tiny data sets of one object, written in every form: spots of light at known places, or a solid ellipsoid."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilonerf.model_io import Camera

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL's axes to OpenCV's
SPOTS = np.array([[0.3, -0.2, 0.1], [-0.5, 0.4, 0.3], [0.1, 0.6, -0.4]])  # red, green, blue
# COLMAP's numbers of its camera models
COLMAP_MODELS = {
    "SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6, "FOV": 7, "SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9, "THIN_PRISM_FISHEYE": 10,
}  # fmt: skip


def ring(count: int, width: int = 120, height: int = 90, distance: float = 4.0) -> list[Camera]:
    """Cameras around the origin at several heights, z up."""
    turns = np.arange(count) * 2.4
    heights = np.linspace(-0.9, 0.9, count)
    return [
        Camera.look_at(
            distance * np.array([np.cos(a) * np.sqrt(1 - h * h), np.sin(a) * np.sqrt(1 - h * h), h]),
            (0, 0, 0),
            width,
            height,
            fov_y=0.6,
        )
        for a, h in zip(turns, heights, strict=True)
    ]


def projected(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixel coordinates [P, 2] of points in a pinhole picture."""
    x, y, z = (np.linalg.inv(camera.matrix) @ np.c_[points, np.ones(len(points))].T)[:3]
    return np.stack([camera.cx - camera.fx * x / z, camera.cy + camera.fy * y / z], axis=1)


def spots_photo(places: NDArray[np.float64], width: int, height: int, spread: float = 2.0) -> NDArray[np.uint8]:
    """A black picture with one spot of light in each colour at the given pixel coordinates [3, 2]."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    spots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2)) for x, y in places]
    return np.rint(255 * np.stack(spots, axis=-1)).astype(np.uint8)


def spot_places(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the spots of a picture are, by their centres of mass, [3, 2]."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    light = picture[..., :3].astype(np.float64)
    return np.stack([(light * x[..., None]).sum((0, 1)) / light.sum((0, 1)) for x in (columns, rows)], axis=1)


def ellipsoid_photo(camera: Camera, centre: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A red ellipsoid on nothing, RGBA."""
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    directions = np.stack([x, -y, -np.ones_like(x)], axis=-1) @ camera.matrix[:3, :3].T / radii
    origin = (camera.position - centre) / radii
    b, c = directions @ origin, origin @ origin - 1
    hit = b * b > c * (directions * directions).sum(-1)
    return np.where(hit[..., None], np.array([200, 40, 20, 255], np.uint8), np.uint8(0))


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_blender(folder: Path, cameras: Sequence[Camera], photo: Callable[[Camera], NDArray[np.uint8]]) -> Path:
    """``transforms_train.json`` and its photos; the loader's half pixel is taken off, so that pictures are exact."""
    frames = []
    for number, camera in enumerate(cameras):
        shifted = Camera.from_matrix(
            camera.matrix, camera.width, camera.height, fx=camera.fx, cx=camera.cx + 0.5, cy=camera.cy + 0.5
        )
        save(folder / "train" / f"r_{number}.png", photo(shifted))
        frames.append({"file_path": f"./train/r_{number}", "transform_matrix": camera.matrix.tolist()})
    angle = 2 * float(np.arctan(0.5 * cameras[0].width / cameras[0].fx))
    (folder / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    return folder


def write_nerfstudio(folder: Path, cameras: Sequence[Camera], *, suffix: str = ".png", **fields: object) -> Path:
    """``transforms.json`` with shared intrinsics; ``fields`` are added, or taken out where None."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = cameras[0]
    document: dict[str, object] = {
        "w": camera.width, "h": camera.height,
        "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy,
        "aabb_scale": 16, "applied_transform": np.eye(4)[:3].tolist(),
        "frames": [
            {"file_path": f"images/f_{number:02d}{suffix}", "transform_matrix": camera.matrix.tolist()}
            for number, camera in enumerate(cameras)
        ],
    }  # fmt: skip
    document = {key: value for key, value in (document | fields).items() if value is not None}
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """w, x, y, z of a rotation matrix: the eigenvector of its largest eigenvalue (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    return np.linalg.eigh(matrix)[1][:, -1]


def write_colmap(
    folder: Path,
    cameras: Sequence[Camera],
    *,
    model: str = "PINHOLE",
    parameters: Sequence[float] | None = None,
    points: NDArray[np.float64] | None = None,
    binary: bool = True,
) -> Path:
    """``sparse/0`` with one lens for all cameras and points that every camera sees; no photos."""
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    camera = cameras[0]
    if parameters is None:
        parameters = (camera.fx, camera.fy, camera.cx, camera.cy)
    points = SPOTS if points is None else points
    poses = []
    for other in cameras:
        world_to_camera: NDArray[np.float64] = np.linalg.inv(other.matrix @ FLIP).astype(np.float64)
        poses.append((quaternion(world_to_camera[:3, :3]), world_to_camera[:3, 3]))
    seen = [projected(other, points) for other in cameras]
    write = _write_binary if binary else _write_text
    write(sparse, model, (camera.width, camera.height), parameters, poses, points, seen)
    return folder


def _write_binary(sparse: Path, model, size, parameters, poses, points, seen) -> None:
    data = struct.pack("<QiiQQ", 1, 1, COLMAP_MODELS[model], *size) + struct.pack(f"<{len(parameters)}d", *parameters)
    (sparse / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(poses))
    for number, ((q, t), places) in enumerate(zip(poses, seen, strict=True)):
        data += struct.pack("<i7di", number + 1, *q, *t, 1) + f"f_{number:02d}.png".encode() + b"\0"
        data += struct.pack("<Q", len(places))
        for index, (x, y) in enumerate(places):
            data += struct.pack("<ddq", x, y, index + 1)
    (sparse / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for index, point in enumerate(points):
        data += struct.pack("<Q3d3Bd", index + 1, *point, 9, 9, 9, 0.1) + struct.pack("<Q", len(poses))
        for number in range(len(poses)):
            data += struct.pack("<ii", number + 1, index)
    (sparse / "points3D.bin").write_bytes(data)


def _write_text(sparse: Path, model, size, parameters, poses, points, seen) -> None:
    numbers = " ".join(map(repr, map(float, parameters)))
    (sparse / "cameras.txt").write_text(f"# comment\n1 {model} {size[0]} {size[1]} {numbers}\n")
    lines = []
    for number, ((q, t), places) in enumerate(zip(poses, seen, strict=True)):
        lines.append(" ".join([str(number + 1), *map(repr, map(float, [*q, *t])), "1", f"f_{number:02d}.png"]))
        lines.append(" ".join(f"{float(x)!r} {float(y)!r} {index + 1}" for index, (x, y) in enumerate(places)))
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    lines = []
    for index, point in enumerate(points):
        track = " ".join(f"{number + 1} {index}" for number in range(len(poses)))
        lines.append(f"{index + 1} " + " ".join(map(repr, map(float, point))) + f" 9 9 9 0.1 {track}")
    (sparse / "points3D.txt").write_text("\n".join(lines) + "\n")
