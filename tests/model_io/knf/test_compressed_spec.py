"""A compressed file read by the words of docs/knf.md alone, one number after the other."""

import json
import lzma
import struct
from pathlib import Path

import numpy as np

from kilonerf.model_io import load_kilonerf_scene
from kilonerf.model_io.knf.quantized import from_layers
from support.knf_files import split

FILE = Path(__file__).parent / "compressed.knf"
"""Two networks in two chunks; written once. What reads it today must read it later, too."""
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

    data = unpacked(model)
    positions, means, mean_steps = data[:5156], struct.unpack("5156b", data[5156:10312]), data[10312:10317]
    first = struct.unpack("<64h", data[10317:10445])
    number = struct.unpack("<64H", data[10445:10573])
    frequencies = [f + 1 for f in struct.unpack(f"<{sum(number)}H", data[10573:])]
    tables, begin = {}, 0
    for which, count in enumerate(number):
        tables[which] = first[which], frequencies[begin : begin + count]
        begin += count

    numbers = from_layers({name: layer for name, layer in scene.layers.items() if "feature" not in name})
    for network, chunk in enumerate(chunks):
        (length,) = struct.unpack("<I", chunk[:4])
        side = unpacked(chunk[4 : 4 + length])
        steps, scales, lengths = side[:5], struct.unpack("5b", side[5:10]), struct.unpack("<2H", side[10:])
        words = list(struct.unpack(f"<{sum(lengths)}H", chunk[4 + length :]))
        classes = [min(63, max(0, p + scales[g] + 24)) for p, g in zip(positions, GROUP, strict=True)]
        symbols = lane(words[: lengths[0]], classes[:2578], tables) + lane(words[lengths[0] :], classes[2578:], tables)
        for p, (symbol, group) in enumerate(zip(symbols, GROUP, strict=True)):
            value = step(steps[group]) * np.float32(symbol)
            if steps[group]:
                value += step(mean_steps[group]) * np.float32(means[p])
            assert numbers[network, p] == value
    assert np.array_equal(scene.layers["feature_linear.weight"][1], np.eye(32))
    assert not scene.layers["feature_linear.bias"].any()
