"""Makes the photos of assets/garden.knf: a walk around the chair of assets/chair.knf, which stands in a garden.

Everything but the chair is a formula: paving, meadow, wall, trees, hills and a sky. The result is a data set in
nerfstudio's layout, of 90 photos to train with and 10 to test.

    python scripts/make_garden_capture.py garden
    kilonerf-train garden -o large.knf --preset tiny --levels 3 --occupancy.cells 12
    kilonerf-compress large.knf -o assets/garden.knf --size 5MB --photos garden --steps 0
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.frame import OPAQUE
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import Camera, load_scene

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, FOV_Y = 480, 360, math.radians(58)
PHOTOS, TEST_EVERY = 100, 10
OVERSAMPLING = 2  # along each axis
NEAR = 0.5  # closer to the chair than its own photos were
FLOOR = -1.012  # where the chair's feet are

Array = NDArray[np.float64]
SUN = np.array([0.55, -0.35, 0.76]) / np.linalg.norm([0.55, -0.35, 0.76])
PAVING, WALL, HILLS = 2.3, 6.5, 40.0  # radii
WALL_HEIGHT = 0.75
# Middle (x, y), height of the crown's middle over the floor, and the crown's radius.
TREES = (
    (8.5, 2.0, 2.6, 1.7),
    (3.0, 9.0, 3.0, 2.0),
    (-7.5, 6.0, 2.4, 1.6),
    (-9.0, -4.0, 3.1, 2.1),
    (1.5, -9.5, 2.6, 1.8),
)
LANDMARKS = (
    (3.6, 1.6, 0.42, (0.80, 0.30, 0.22)),
    (-3.2, 2.4, 0.36, (0.90, 0.72, 0.25)),
    (-1.4, -3.9, 0.5, (0.36, 0.46, 0.72)),
)


def noise(points: Array, seed: int) -> Array:
    """Smooth noise in [0, 1] on a lattice of unit cells, at points [N, D]."""
    cell = np.floor(points).astype(np.int64)
    part = points - cell
    part = part * part * (3 - 2 * part)
    total = np.zeros(len(points))
    for corner in np.ndindex(*(2,) * points.shape[1]):
        mixed = np.full(len(points), seed * 0x9E3779B1, np.uint64)
        for axis, offset in enumerate(corner):
            mixed = (mixed ^ (cell[:, axis] + offset).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        weight = np.prod([part[:, axis] if offset else 1 - part[:, axis] for axis, offset in enumerate(corner)], axis=0)
        total += weight * (mixed >> np.uint64(40)).astype(np.float64) / 2**24
    return total


def mixed(low: tuple[float, float, float], high: tuple[float, float, float], amount: Array) -> Array:
    """Colours between two, [N, 3]."""
    return np.asarray(low) + (np.asarray(high) - np.asarray(low)) * amount[:, None]


def floor_color(points: Array) -> Array:
    """Of the floor at [N, 2]: slabs around the chair, then grass; shaded by what stands on it."""
    radius = np.linalg.norm(points, axis=1)
    grass = mixed((0.25, 0.40, 0.13), (0.47, 0.60, 0.24), 0.6 * noise(points * 1.7, 1) + 0.4 * noise(points * 6, 2))
    slab = points / 0.46
    slab[:, 0] += 0.5 * (np.floor(slab[:, 1]) % 2)
    edge = np.minimum(slab - np.floor(slab), np.ceil(slab) - slab).min(axis=1)
    stone = mixed(
        (0.56, 0.50, 0.44), (0.77, 0.72, 0.65), 0.7 * noise(np.floor(slab) * 7.3, 3) + 0.3 * noise(points * 9, 4)
    )
    stone = np.where((edge < 0.045)[:, None], np.array([0.38, 0.35, 0.30]), stone)
    rim = (radius > PAVING - 0.14) & (radius < PAVING)
    stone = np.where(rim[:, None], np.array([0.62, 0.42, 0.34]), stone)
    color = np.where((radius < PAVING)[:, None], stone, grass)
    shade = 1 - 0.45 * np.exp(-((radius / 0.75) ** 4))
    for x, y, height, size in TREES:
        under = np.array([x, y]) - SUN[:2] / SUN[2] * height
        shade *= 1 - 0.4 * np.exp(-((np.linalg.norm(points - under, axis=1) / size) ** 6))
    for x, y, size, _ in LANDMARKS:
        under = np.array([x, y]) - SUN[:2] / SUN[2] * size * 0.7
        shade *= 1 - 0.4 * np.exp(-((np.linalg.norm(points - under, axis=1) / size) ** 4))
    return color * shade[:, None]


def sky_color(directions: Array) -> Array:
    """Along unit directions [N, 3]."""
    up = np.clip(directions[:, 2], 0, 1)
    color = mixed((0.80, 0.88, 0.95), (0.36, 0.58, 0.88), up**0.6)
    plane = directions[:, :2] / np.maximum(up, 0.05)[:, None]
    cloud = np.clip(0.55 * noise(plane * 0.7 + 5, 5) + 0.3 * noise(plane * 1.6, 6) - 0.42, 0, 1) * 2.4
    color += (1 - color) * (np.clip(cloud, 0, 0.8) * np.clip(up * 5, 0, 1))[:, None]
    glow = np.clip(directions @ SUN, 0, 1) ** 24
    return np.clip(color + glow[:, None] * np.array([0.25, 0.2, 0.1]), 0, 1)


def surroundings(origin: Array, directions: Array) -> tuple[Array, Array]:
    """Colours [N, 3] of all but the chair, and how far along the directions [N, 3] they are, [N]."""
    unit = directions / np.linalg.norm(directions, axis=1)[:, None]
    color, nearest = sky_color(unit), np.full(len(directions), np.inf)

    def put(where: NDArray[np.bool_], distance: Array, paint: Array) -> None:
        closer = where & (distance > 1e-6) & (distance < nearest)
        nearest[closer], color[closer] = distance[closer], paint[closer]

    def round_wall(radius: float) -> Array:  # the inner side of an upright cylinder
        a = (directions[:, :2] ** 2).sum(1)
        b = directions[:, :2] @ origin[:2]
        return (-b + np.sqrt(np.maximum(b * b - a * (origin[:2] @ origin[:2] - radius**2), 0))) / np.maximum(a, 1e-12)

    away = round_wall(HILLS)
    at = origin + away[:, None] * directions
    angle = np.arctan2(at[:, 1], at[:, 0])
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    top = FLOOR + 2.0 + 5.5 * noise(along * 2.2 + 9, 7) + 1.2 * noise(along * 9, 8)
    paint = mixed(
        (0.36, 0.47, 0.42),
        (0.55, 0.64, 0.58),
        0.5 * noise(along * 60, 9) + 0.5 * noise(np.stack([angle * 40, at[:, 2] * 2.5], 1), 12),
    )
    put(at[:, 2] < top, away, paint)

    down = np.where(directions[:, 2] < -1e-9, (FLOOR - origin[2]) / np.minimum(directions[:, 2], -1e-9), -1.0)
    at = (origin + down[:, None] * directions)[:, :2]
    put(np.linalg.norm(at, axis=1) < HILLS, down, floor_color(np.where(down[:, None] > 0, at, 0.0)))

    away = round_wall(WALL)
    at = origin + away[:, None] * directions
    brick = np.stack([np.arctan2(at[:, 1], at[:, 0]) * WALL / 0.55, (at[:, 2] - FLOOR) / 0.19], 1)
    brick[:, 0] += 0.5 * (np.floor(brick[:, 1]) % 2)
    edge = np.minimum(brick - np.floor(brick), np.ceil(brick) - brick) * (0.55, 0.19)
    paint = mixed((0.55, 0.47, 0.40), (0.76, 0.70, 0.62), noise(np.floor(brick) * 5.1, 10))
    paint = np.where((edge.min(axis=1) < 0.014)[:, None], np.array([0.42, 0.38, 0.33]), paint)
    gate = np.abs(np.arctan2(at[:, 1], at[:, 0]) - 0.9) > 0.16
    put((at[:, 2] > FLOOR) & (at[:, 2] < FLOOR + WALL_HEIGHT) & gate, away, paint)

    def ball(middle: Array, size: float) -> tuple[NDArray[np.bool_], Array, Array]:
        a, offset = (directions**2).sum(1), origin - middle
        b = directions @ offset
        inside = b * b - a * (offset @ offset - size**2)
        distance = (-b - np.sqrt(np.maximum(inside, 0))) / a
        return inside > 0, distance, (offset + distance[:, None] * directions) / size

    for number, (x, y, height, size) in enumerate(TREES):
        hit, distance, normal = ball(np.array([x, y, FLOOR + height]), size)
        leaves = 0.55 * noise(normal * 6, 20 + number) + 0.45 * noise(normal * 15, 30 + number)
        light = 0.55 + 0.45 * np.clip(normal @ SUN, 0, 1)
        put(hit, distance, mixed((0.12, 0.26, 0.08), (0.42, 0.60, 0.22), leaves) * light[:, None])
        trunk = origin[:2] - (x, y)
        a, b = (directions[:, :2] ** 2).sum(1), directions[:, :2] @ trunk
        inside = b * b - a * (trunk @ trunk - (0.12 * size) ** 2)
        distance = (-b - np.sqrt(np.maximum(inside, 0))) / np.maximum(a, 1e-12)
        rise = origin[2] + distance * directions[:, 2]
        upright = (inside > 0) & (rise > FLOOR) & (rise < FLOOR + height)
        put(upright, distance, np.tile((0.36, 0.26, 0.18), (len(directions), 1)))
    for x, y, size, tint in LANDMARKS:
        hit, distance, normal = ball(np.array([x, y, FLOOR + size * 0.9]), size)
        light = 0.5 + 0.5 * np.clip(normal @ SUN, 0, 1)
        stripes = np.where(np.sin(normal[:, 2] * 12) > 0, 1.0, 0.82)
        put(hit, distance, np.asarray(tint) * (light * stripes)[:, None])
    return color, nearest


def cameras() -> list[Camera]:
    """Where somebody with a phone would stand: two rounds, and a few steps away."""
    chance = np.random.default_rng(4)
    found = []
    for number in range(PHOTOS):
        angle = 2 * math.pi * (number * 2.02 / PHOTOS) + chance.normal(0, 0.02)
        radius = (2.6, 3.5)[number * 2 // PHOTOS] + chance.normal(0, 0.15)
        height = (0.25, 0.75)[number * 2 // PHOTOS] + chance.normal(0, 0.1)
        eye = (radius * math.cos(angle), radius * math.sin(angle), height)
        found.append(Camera.look_at(eye, chance.normal((0, 0, -0.1), (0.15, 0.15, 0.1)), WIDTH, HEIGHT, fov_y=FOV_Y))
    return found


def main() -> None:
    """Write photos and transforms.json."""
    folder = Path(sys.argv[1])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    scene = load_scene(ROOT / "assets" / "chair.knf")
    renderer, options = (
        create_renderer(scene, "auto"),
        RenderOptions.as_trained(scene, near=NEAR, background=(0.0, 0.0, 0.0)),
    )
    frames, names = [], []
    walk = cameras()
    for number, camera in enumerate(walk):
        large = camera.resized(WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
        frame = renderer.render(large, options)
        directions = ray_directions(large).reshape(-1, 3).astype(np.float64)
        color, depth = surroundings(large.position, directions)
        alpha = frame.alpha.reshape(-1, 1).astype(np.float64)
        before = (frame.depth.reshape(-1) < depth) | (alpha[:, 0] < OPAQUE)  # faint edges have no depth to trust
        alpha *= before[:, None]
        chair = frame.rgb.reshape(-1, 3)  # before black
        picture = np.clip(chair * before[:, None] + (1 - alpha) * color, 0, 1)
        picture = picture.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean((1, 3))
        name = f"images/{number:03d}.png"
        Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(folder / name)
        names.append(name)
        frames.append({"file_path": name, "transform_matrix": camera.matrix.tolist()})
        print(f"\r{number + 1} of {PHOTOS} photos", end="", flush=True)
    print()
    lens = walk[0]
    test = names[TEST_EVERY // 2 :: TEST_EVERY]
    document = {
        "camera_model": "OPENCV",
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        "train_filenames": [name for name in names if name not in test],
        "test_filenames": test,
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
