"""Taking .knf files apart and putting them together, by the format's own rules."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import KiloNeRFScene, SceneError, load_kilonerf_scene
from kilonerf.model_io.knf.coarse import CoarseCells
from kilonerf.model_io.knf.compressed import CoarseNetworks
from kilonerf.model_io.knf.format import compressed_file
from kilonerf.model_io.knf.quantized import (
    NUM_WEIGHTS,
    SIZES,
    QuantizedNetworks,
    from_layers,
    parts,
    step_code,
    step_size,
)

from .scenes import random_scene

PNG = b"\x89PNG\r\n\x1a\n-made-up"
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def split(data: bytes) -> tuple[dict, bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def rounded(scene: KiloNeRFScene, share: float = 0.1) -> QuantizedNetworks:
    """A scene's networks in steps of a share of the standard deviation of each network's layer."""
    numbers = from_layers(folded_layers(scene.layers))
    deviations = np.stack([part.std(axis=1) for part in parts(numbers)], axis=1)
    codes = step_code(share * np.maximum(deviations, 1e-3))
    symbols = np.rint(numbers / np.repeat(step_size(codes), SIZES, axis=1)).clip(-1023, 1023).astype(np.int16)
    return QuantizedNetworks(symbols, codes, np.zeros(NUM_WEIGHTS, np.int8), np.ones(len(SIZES), np.uint8))


def coarse_networks(scene: KiloNeRFScene, side: int, seed: int = 5) -> CoarseNetworks:
    """Random coarse networks of a scene."""
    index = np.stack([level.network_index for level in scene.levels])
    count = len(CoarseCells.of(index, side, scene.num_networks))
    return CoarseNetworks(side, rounded(random_scene((count, 1, 1), seed=seed, dropped=0.0)))


def small_file(scene: KiloNeRFScene, chunks: int = 3, share: float = 0.1, coarse_side: int = 0) -> bytes:
    """A file of a scene, its networks dealt out among chunks, with or without a coarse level of detail."""
    coarse = coarse_networks(scene, coarse_side) if coarse_side else None
    return compressed_file(scene, rounded(scene, share), np.arange(scene.num_networks) % chunks, coarse)


def changed(data: bytes, *, tensors: dict[str, bytes] | None = None, honest: bool = True, **document: Any) -> bytes:
    """The file with other contents, whose checksums are right if it is ``honest``."""
    header, body = split(data)
    said = json.loads(header["__metadata__"]["knf"]) | document
    parts = {name: body[slice(*entry["data_offsets"])] for name, entry in header.items() if name != "__metadata__"}
    parts |= tensors or {}
    at = 0
    for name, part in parts.items():
        if name in (tensors or {}):
            header[name]["shape"] = [len(part)]
        header[name]["data_offsets"] = [at, at + len(part)]
        at += len(part)
    if honest and isinstance(said["chunks"], list):
        for entry in said["chunks"]:
            if isinstance(entry, dict) and entry.get("tensor") in parts:
                entry["crc32"] = zlib.crc32(parts[entry["tensor"]])
    header["__metadata__"]["knf"] = json.dumps(said)
    return join(header, b"".join(parts.values()))


def refused(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SceneError, match=message) as caught:
        load_kilonerf_scene(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400
