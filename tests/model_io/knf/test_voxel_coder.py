"""Coded occupancy: the native coder and its twin write the same bytes, and read what was written, nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.model_io import SceneError
from kilonerf.model_io.knf.voxel_coder import (
    decode_voxels,
    decode_voxels_in_python,
    encode_voxels,
    encode_voxels_in_python,
)
from support.scenes import random_scene

DECODERS = (decode_voxels, decode_voxels_in_python)


def grids(seed: int, resolution: tuple[int, ...], factor: tuple[int, ...], share: float, levels: int = 1) -> tuple:
    """Occupancy and which cells have a network, of several levels."""
    random = np.random.default_rng(seed)
    cells = random.random((levels, *resolution)) < 0.6
    occupancy = random.random((levels, *np.multiply(resolution, factor))) < share
    return occupancy & np.kron(cells, np.ones((1, *factor), np.bool_)), cells


CASES = {
    "odd sizes": grids(0, (3, 2, 5), (3, 7, 1), 0.5),
    "levels": grids(1, (2, 3, 2), (4, 4, 4), 0.3, levels=3),
    "nearly empty": grids(2, (2, 2, 2), (8, 8, 8), 0.001),
    "full": grids(3, (3, 3, 3), (4, 4, 4), 1.1),
    "one voxel": (np.ones((1, 1, 1, 1), np.bool_), np.ones((1, 1, 1, 1), np.bool_)),
    "no cell": (np.zeros((2, 4, 4, 4), np.bool_), np.zeros((2, 2, 2, 2), np.bool_)),
}


@pytest.mark.parametrize("name", CASES)
def test_both_twins_write_the_same_and_read_it(name: str) -> None:
    occupancy, cells = CASES[name]
    data = encode_voxels(occupancy, cells)
    assert encode_voxels_in_python(occupancy, cells) == data
    for decode in DECODERS:
        assert np.array_equal(decode(data, occupancy.shape[1:], cells), occupancy)


def test_a_carry_goes_through_many_bytes() -> None:
    # Some of many random grids have bytes 255 before a carry: with one of them wrong, the twins would differ.
    for seed in range(40):
        occupancy, cells = grids(seed, (2, 2, 2), (4, 4, 4), 0.5)
        assert encode_voxels(occupancy, cells) == encode_voxels_in_python(occupancy, cells)


def test_a_surface_takes_far_less_than_a_bit_for_each_voxel() -> None:
    place = np.stack(np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij"))
    shell = np.abs(np.linalg.norm(place, axis=0) - 24) < 1.5
    data = encode_voxels(shell[None], np.ones((1, 4, 4, 4), np.bool_))
    assert len(data) < shell.size / 8 / 12
    assert np.array_equal(decode_voxels(data, shell.shape, np.ones((1, 4, 4, 4), np.bool_))[0], shell)


@pytest.mark.parametrize("decode", DECODERS)
def test_bytes_that_end_elsewhere_are_refused(decode) -> None:
    occupancy, cells = CASES["levels"]
    data = encode_voxels(occupancy, cells)
    for wrong in (data[:-1], data + b"\0", data[:3], b"", data[1:]):
        with pytest.raises(SceneError, match=f"grids: expected {len(wrong)} bytes of voxels that end where"):
            decode(wrong, occupancy.shape[1:], cells)


@given(place=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_changed_byte_is_the_same_for_both_twins(place: int, value: int) -> None:
    occupancy, cells = CASES["odd sizes"]
    damaged = bytearray(encode_voxels(occupancy, cells))
    damaged[place % len(damaged)] ^= value
    found = []
    for decode in DECODERS:
        try:
            found.append(decode(bytes(damaged), occupancy.shape[1:], cells).tobytes())
        except SceneError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_a_scene_of_the_tests_is_written_and_read() -> None:
    scene = random_scene(resolution=(3, 2, 4), factor=(4, 3, 5), dropped=0.4)
    data = encode_voxels(scene.occupancy[None], (scene.network_index >= 0)[None])
    assert np.array_equal(
        decode_voxels(data, scene.occupancy.shape, scene.network_index[None] >= 0)[0], scene.occupancy
    )
