"""Taking .knf files apart and putting them together, by the format's own rules."""

import json
import struct

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kilonerf.kernels.native.folding import folded_layers
from kilonerf.model_io import KiloNeRFScene
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


def small_file(scene: KiloNeRFScene, chunks: int = 3, share: float = 0.1) -> bytes:
    """A file of a scene, its networks dealt out among chunks."""
    return compressed_file(scene, rounded(scene, share), np.arange(scene.num_networks) % chunks)
