"""Taking .knf files apart and putting them together, by the format's own rules."""

import json
import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

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
