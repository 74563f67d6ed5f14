"""A compressed file read by the words of docs/knf.md alone, one number after the other."""

import json
import lzma
import math
import struct
from pathlib import Path

import numpy as np

from kilonerf.model_io import KiloNeRFScene, load_kilonerf_scene, load_partial_scene
from kilonerf.model_io.knf.quantized import from_layers
from support.knf_files import split

FILE = Path(__file__).parent / "compressed.knf"
"""Version 3, two networks in two chunks; written once. What reads it today must read it later, too."""
NEWER = Path(__file__).parent / "compressed_4.knf"
"""Version 4, with coarse networks of 2 x 2 x 2 cells; likewise."""
SIZES = (2048, 1056, 33, 1920, 99)
GROUP = [group for group, size in enumerate(SIZES) for _ in range(size)]


def unpacked(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22, "lc": 0, "lp": 0, "pb": 0}]
    return lzma.decompress(data, format=lzma.FORMAT_RAW, filters=filters)


def step(code: int) -> np.float32:
    quarters = [np.float32(1), np.float32(2**0.25), np.float32(2**0.5), np.float32(2**0.75)]
    return np.float32(0) if code == 0 else np.ldexp(quarters[(code - 128) % 4], (code - 128) // 4)


def lane(words: list[int], classes: list[int], tables: dict[int, tuple[int, list[int]]]) -> list[int]:
    state, words, found = words[0] + 65536 * words[1], words[2:], []
    for number in classes:
        first, frequencies = tables[number]
        slot, before, symbol = state % 2**14, 0, 0
        while not before <= slot < before + frequencies[symbol]:
            before += frequencies[symbol]
            symbol += 1
        state = frequencies[symbol] * (state // 2**14) + slot - before
        if state < 2**16:
            state = state * 2**16 + words.pop(0)
        found.append(first + symbol)
    assert state == 2**16
    assert words == []
    return found


def test_a_file_is_read_by_the_specification() -> None:
    header, body = split(FILE.read_bytes())
    document = json.loads(header["__metadata__"]["knf"])
    assert [entry["tensor"] for entry in document["chunks"]] == ["grids", "model", "networks.0", "networks.1"]
    grids, model, *chunks = (body[slice(*header[entry["tensor"]]["data_offsets"])] for entry in document["chunks"])
    scene = load_kilonerf_scene(FILE)

    data = unpacked(grids)
    rx, ry, rz = document["network_resolution"]
    fx, fy, fz = (o // r for o, r in zip(document["occupancy_resolution"], (rx, ry, rz), strict=True))
    cells = [(x, y, z) for x in range(rx) for y in range(ry) for z in range(rz)]
    at = len(cells)
    numbered = sorted((chunk, place) for place, chunk in enumerate(data[:at]) if chunk)
    assert [chunk for chunk, _ in numbered] == [1, 2]
    for place, (cell, chunk) in enumerate(zip(cells, data, strict=False)):
        block = scene.occupancy[tuple(slice(c * f, (c + 1) * f) for c, f in zip(cell, (fx, fy, fz), strict=True))]
        if chunk == 0:
            assert scene.network_index[cell] == -1
            assert not block.any()
            continue
        assert scene.network_index[cell] == numbered.index((chunk, place))
        size = -(-fx * fy * fz // 8)
        bits = [data[at + i // 8] >> (7 - i % 8) & 1 for i in range(fx * fy * fz)]
        assert block.reshape(-1).tolist() == [bool(bit) for bit in bits]
        at += size
    assert at == len(data)

    numbers = from_layers({name: layer for name, layer in scene.layers.items() if "feature" not in name})
    for network, chunk in enumerate(chunks):
        assert np.array_equal(numbers[network], networks(model, chunk, 1)[0])
    assert np.array_equal(scene.layers["feature_linear.weight"][1], np.eye(32))
    assert not scene.layers["feature_linear.bias"].any()


def networks(model: bytes, chunk: bytes, count: int) -> np.ndarray:
    """The numbers of a chunk's networks, [count, 5156]."""
    data = unpacked(model)
    positions, means, mean_steps = data[:5156], struct.unpack("5156b", data[5156:10312]), data[10312:10317]
    first = struct.unpack("<64h", data[10317:10445])
    number = struct.unpack("<64H", data[10445:10573])
    frequencies = [f + 1 for f in struct.unpack(f"<{sum(number)}H", data[10573:])]
    tables, begin = {}, 0
    for which, size in enumerate(number):
        tables[which] = first[which], frequencies[begin : begin + size]
        begin += size

    (length,) = struct.unpack("<I", chunk[:4])
    side = unpacked(chunk[4 : 4 + length])
    lengths = struct.unpack(f"<{2 * count}H", side[10 * count :])
    words = list(struct.unpack(f"<{sum(lengths)}H", chunk[4 + length :]))
    found = np.zeros((count, 5156), np.float32)
    for n in range(count):
        steps = side[n : 5 * count : count]
        scales = [struct.unpack("b", side[at : at + 1])[0] for at in range(5 * count + n, 10 * count, count)]
        classes = [min(63, max(0, p + scales[g] + 24)) for p, g in zip(positions, GROUP, strict=True)]
        symbols = []
        for half in range(2):
            own, words = words[: lengths[2 * n + half]], words[lengths[2 * n + half] :]
            symbols += lane(own, classes[half * 2578 : (half + 1) * 2578], tables)
        for p, (symbol, group) in enumerate(zip(symbols, GROUP, strict=True)):
            value = step(steps[group]) * np.float32(symbol)
            if steps[group]:
                value += step(mean_steps[group]) * np.float32(means[p])
            found[n, p] = value
    assert words == []
    return found


NEIGHBOURS = (
    "-1 0 0, 0 -1 0, 0 0 -1, -1 -1 0, -1 0 -1, -1 0 1, -1 1 0, 0 -1 -1, 0 -1 1, "
    "-1 -1 -1, -1 -1 1, -1 1 -1, -1 1 1, -2 0 0, 0 -2 0, 0 0 -2"
)


def voxels(data: bytes, cells: np.ndarray, size: list[int]) -> np.ndarray:
    """Of one level, [ox, oy, oz]; cells [rx, ry, rz] have a network or not."""
    steps = [tuple(map(int, text.split())) for text in NEIGHBOURS.split(",")]
    occupied: set[tuple[int, ...]] = set()
    probability, seen = dict.fromkeys(range(65536), 32768), dict.fromkeys(range(65536), 0)
    code, r, at = int.from_bytes(data[:4], "big"), 2**32 - 1, 4
    for voxel in np.ndindex(*size):
        if not cells[tuple(v * c // s for v, c, s in zip(voxel, cells.shape, size, strict=True))]:
            continue
        around = [tuple(v + d for v, d in zip(voxel, by, strict=True)) in occupied for by in steps]
        context = sum(2**bit for bit, there in enumerate(around) if there)
        p = probability[context]
        bound = r // 65536 * p
        if code < bound:
            occupied.add(voxel)
            r, target = bound, 65536
        else:
            code, r, target = code - bound, r - bound, 0
        while r < 2**24:
            code, r, at = code * 256 + data[at], r * 256, at + 1
        rate = 131072 // (2 * seen[context] + 3)
        probability[context] = min(65504, max(32, p + (target - p) * rate // 65536))
        seen[context] = min(255, seen[context] + 1)
    assert (code, at) == (0, len(data))
    found = np.zeros(size, np.bool_)
    for voxel in occupied:
        found[voxel] = True
    return found


def test_a_file_of_version_4_is_read_by_the_specification(tmp_path: Path) -> None:
    header, body = split(NEWER.read_bytes())
    document = json.loads(header["__metadata__"]["knf"])
    assert (document["version"], document["coarse_side"]) == (4, 2)
    assert [entry["tensor"] for entry in document["chunks"]] == ["grids", "coarse", "model", "networks.0", "networks.1"]
    parts = {entry["tensor"]: body[slice(*header[entry["tensor"]]["data_offsets"])] for entry in document["chunks"]}
    scene = load_kilonerf_scene(NEWER)

    (length,) = struct.unpack("<I", parts["grids"][:4])
    resolution = document["network_resolution"]
    chunk_of = np.frombuffer(unpacked(parts["grids"][4 : 4 + length]), np.uint8).reshape(resolution)
    occupancy = voxels(parts["grids"][4 + length :], chunk_of > 0, document["occupancy_resolution"])
    assert np.array_equal(scene.occupancy, occupancy)
    cells = sorted((chunk, *cell) for cell, chunk in np.ndenumerate(chunk_of) if chunk)
    for network, (_, *cell) in enumerate(cells):
        assert scene.network_index[tuple(cell)] == network
    assert int((scene.network_index >= 0).sum()) == len(cells)

    numbers = from_layers({name: layer for name, layer in scene.layers.items() if "feature" not in name})
    counts = [int((chunk_of == chunk).sum()) for chunk in (1, 2)]
    own = np.concatenate([networks(parts["model"], parts[f"networks.{i}"], counts[i]) for i in range(2)])
    assert np.array_equal(numbers, own)

    # Cut short behind the coarse networks, every cell has one that is made of these.
    (length,) = struct.unpack("<I", parts["coarse"][:4])
    covered = sorted({tuple(c // 2 for c in cell) for _, *cell in cells})
    coarse = networks(parts["coarse"][4 : 4 + length], parts["coarse"][4 + length :], len(covered))
    (tmp_path / "cut.knf").write_bytes(NEWER.read_bytes()[: -sum(len(parts[f"networks.{i}"]) for i in range(2))])
    part = load_partial_scene(tmp_path / "cut.knf").scene
    assert isinstance(part, KiloNeRFScene)
    made = from_layers({name: layer for name, layer in part.layers.items() if "feature" not in name})
    for network, (_, *cell) in enumerate(cells):
        from_one = coarse[covered.index(tuple(c // 2 for c in cell))].astype(np.float64)
        weight, bias = from_one[:2016].reshape(63, 32), from_one[2016:2048].copy()
        expected = np.zeros((63, 32))
        for axis in range(3):
            shift, row = 2 * (cell[axis] % 2) - 1, 21 * axis
            expected[row] = weight[row]
            bias += shift * weight[row]
            for k in range(10):
                c, s = weight[row + 1 + k], weight[row + 11 + k]
                phase = 2**k * shift
                expected[row + 1 + k] = c * math.cos(phase) + s * math.sin(phase)
                expected[row + 11 + k] = s * math.cos(phase) - c * math.sin(phase)
        wanted = np.concatenate([expected.reshape(-1), bias, from_one[2048:]])
        assert np.abs(made[network] - wanted).max() < 2e-7 * np.abs(wanted).max()
