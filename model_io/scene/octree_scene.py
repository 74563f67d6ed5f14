"""Octree fields: features at the corners of an octree's voxels, learned codes of them, and one small decoder.

Variable Bitrate Neural Fields (Takikawa et al., SIGGRAPH 2022). In a voxel of the deepest level, each feature level
is interpolated trilinearly between the eight corners of the voxel around a point; the decoder turns their sum, and the
direction, into colour and density. Outside of these voxels there is nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .architecture import DIRECTION_CHANNELS
from .base import Scene
from .cells import Cells
from .checks import check_array, check_shared, check_voxels, fail
from .octree import MAX_DEPTH, Octree

FEATURES = 16  # of a corner
DECODER_HIDDEN = 128
DECODER_SHAPES: Mapping[str, tuple[int, int]] = {
    "hidden": (FEATURES + DIRECTION_CHANNELS, DECODER_HIDDEN),  # rows: features, encoded direction; ReLU
    "output": (DECODER_HIDDEN, 4),  # colour: sigmoid; density, per world unit: ReLU
}
"""Layers of the decoder: (inputs, outputs)."""

Coding = Literal["plain", "codes", "hash", "low-rank"]
CODINGS: tuple[Coding, ...] = ("plain", "codes", "hash", "low-rank")
MAX_CODE_BITS = 8
MAX_HASH_BITS = 16
CELL_VOXELS = 16  # along a cell's side, where there are as many


@dataclass(frozen=True, eq=False)
class LevelFeatures:
    """The features at the C corners of one level, in the order of ``Octree.corners``.

    Attributes:
        coding: how they are stored.
            plain: ``table`` is [C, 16], the features themselves.
            codes: ``table`` is [2^b, 16], a codebook, and ``codes`` uint8 [C] the row of each corner; b is 1 to 8.
            hash: ``table`` is [2^b, 16]; rows are by :func:`hashed_codes`, so no codes are stored; b is 1 to 16.
            low-rank: ``table`` is [r, 16], and ``coefficients`` [C, r] of its rows; r is 1 to 15.
        table: float16 or float32.
        codes: of coding "codes", else None.
        coefficients: of coding "low-rank", else None; dtype as ``table``.
    """

    coding: Coding
    table: NDArray[np.floating]
    codes: NDArray[np.uint8] | None = None
    coefficients: NDArray[np.floating] | None = None

    @property
    def bits(self) -> int:
        """b: 2^b rows are in the codebook (of codings "codes" and "hash")."""
        return (len(self.table) - 1).bit_length()

    def values(self, level: int, corners: int) -> NDArray[np.float32]:
        """The features of all corners of ``level``, float32 [C, 16]."""
        table = np.asarray(self.table, np.float32)
        if self.coding == "plain":
            return table
        if self.coefficients is not None:
            return np.asarray(self.coefficients, np.float32) @ table
        return table[hashed_codes(level, corners, self.bits) if self.codes is None else self.codes]

    def num_bytes(self) -> int:
        """Bytes that they take in a file."""
        codes = 0 if self.codes is None else -(-len(self.codes) * self.bits // 8)
        return self.table.nbytes + codes + (0 if self.coefficients is None else self.coefficients.nbytes)


def hashed_codes(level: int, corners: int, bits: int) -> NDArray[np.int64]:
    """Random codes of a level's corners, int64 [C]: the upper bits of SplitMix64's numbers (Steele et al. 2014)."""
    x = np.arange(corners, dtype=np.uint64) + np.uint64(level << 32) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(64 - bits)).astype(np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class OctreeScene(Scene):
    """An octree field.

    Attributes:
        octree: which voxels there are.
        features: of levels ``depth - len(features) + 1`` to ``depth``, the coarsest first.
        decoder: for each name of ``DECODER_SHAPES``, ``name + ".weight"`` [in, out] and ``name + ".bias"`` [out];
            all float16 or all float32.
    """

    octree: Octree
    features: tuple[LevelFeatures, ...]
    decoder: Mapping[str, NDArray[np.floating]]

    def __post_init__(self) -> None:
        check_octree_scene(self)

    def _find_cells(self) -> Cells:
        """Cells of 16 voxels along each side; those that hold a voxel of the octree are numbered in C order."""
        factor = min(CELL_VOXELS, 1 << self.octree.depth)
        occupancy = self.octree.occupancy
        cells = (len(occupancy) // factor, factor) * 3
        held = occupancy.reshape(cells).any(axis=(1, 3, 5))
        index = np.where(held, np.cumsum(held.reshape(-1)).reshape(held.shape) - 1, -1)
        return Cells(self.box, occupancy, index.astype(np.int32))

    def field_arrays(self) -> list[NDArray[Any]]:
        """The decoder, and what is stored of the features."""
        stored = [array for own in self.features for array in (own.table, own.codes, own.coefficients)]
        return [*(self.decoder[name] for name in decoder_shapes()), *(array for array in stored if array is not None)]

    @property
    def depth(self) -> int:
        """The deepest level."""
        return self.octree.depth

    @property
    def first_level(self) -> int:
        """The coarsest level that has features."""
        return self.depth - len(self.features) + 1

    @cached_property
    def num_corners(self) -> tuple[int, ...]:
        """Corners of each feature level, the coarsest first."""
        return tuple(self.octree.num_corners(level) for level in range(self.first_level, self.depth + 1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32: how decoder and features are stored."""
        return self.decoder["output.bias"].dtype

    def upto(self, level: int) -> "OctreeScene":
        """This scene without the feature levels, and voxels, that are deeper than ``level``.

        Raises:
            SceneError: it has no features at that level.
        """
        if not self.first_level <= level <= self.depth:
            fail("level of detail", f"{self.first_level} to {self.depth}", level)
        kept = level - self.first_level + 1
        return replace(self, octree=self.octree.upto(level), features=self.features[:kept])


def decoder_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of ``OctreeScene.decoder``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in DECODER_SHAPES.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (inputs, outputs), (outputs,)
    return shapes


def check_octree_scene(scene: OctreeScene) -> None:
    """Check every rule of :class:`OctreeScene`.

    Raises:
        SceneError: field, expected, got.
    """
    check_shared(scene)
    if scene.outer:
        fail("outer", "no further levels around an octree", f"{len(scene.outer)}")
    if not 1 <= scene.depth <= MAX_DEPTH:
        fail("octree", f"1 to {MAX_DEPTH} levels below the box", scene.depth)
    check_voxels(scene)
    if not 1 <= len(scene.features) <= scene.depth:
        fail("features", f"1 to {scene.depth} levels of an octree as deep", len(scene.features))
    if set(scene.decoder) != set(decoder_shapes()):
        fail("decoder", ", ".join(decoder_shapes()), ", ".join(scene.decoder))
    dtype = scene.decoder["output.bias"].dtype
    if dtype not in (np.dtype(np.float16), np.dtype(np.float32)):
        fail("decoder.output.bias", "dtype float16 or float32", dtype)
    for name, shape in decoder_shapes().items():
        _check_numbers(f"decoder.{name}", scene.decoder[name], dtype, shape)
    for number, (own, corners) in enumerate(zip(scene.features, scene.num_corners, strict=True)):
        _check_features(f"features.{scene.first_level + number}", own, corners, dtype)


def _check_features(field: str, own: LevelFeatures, corners: int, dtype: np.dtype[Any]) -> None:
    if own.coding not in CODINGS:
        fail(f"{field}.coding", ", ".join(CODINGS), repr(own.coding))
    rows = {"plain": corners, "low-rank": min(len(own.table), FEATURES - 1)}.get(own.coding)
    if rows is None:
        most = MAX_CODE_BITS if own.coding == "codes" else MAX_HASH_BITS
        rows = 1 << min(max(own.bits, 1), most)
    _check_numbers(f"{field}.table", own.table, dtype, (max(rows, 1), FEATURES))
    if (own.codes is not None) != (own.coding == "codes"):
        fail(f"{field}.codes", "codes with a codebook, and only then", own.coding)
    if own.codes is not None:
        check_array(f"{field}.codes", own.codes, np.uint8, 1)
        if own.codes.shape != (corners,):
            fail(f"{field}.codes", f"one for each of {corners} corners", len(own.codes))
        if corners and int(own.codes.max()) >= len(own.table):
            fail(f"{field}.codes", f"codes below {len(own.table)}", int(own.codes.max()))
    if (own.coefficients is not None) != (own.coding == "low-rank"):
        fail(f"{field}.coefficients", "coefficients of a low rank, and only then", own.coding)
    if own.coefficients is not None:
        _check_numbers(f"{field}.coefficients", own.coefficients, dtype, (corners, len(own.table)))


def _check_numbers(field: str, array: NDArray[np.floating], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    check_array(field, array, dtype, len(shape))
    if array.shape != shape:
        fail(field, f"shape {list(shape)}", f"shape {list(array.shape)}")
    if not np.isfinite(array).all():
        fail(field, "finite numbers", f"{int(np.count_nonzero(~np.isfinite(array)))} that are not")
