"""Scenes of which not everything is there: a file that was cut short, or one that is still being fetched."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import SceneError
from ..scene.base import Scene
from ..scene.octree_scene import OctreeScene, decoder_shapes
from ..scene.scene import KiloNeRFScene
from .compressed import chunk_checksums
from .format import compressed_reader, compressed_scene, is_compressed, is_octree, read_document, scene_of
from .octree import octree_checksums, octree_levels, octree_scene
from .safetensors_reader import TensorIndex, TensorSpan, read_tensor_file


@dataclass(frozen=True)
class ScenePart:
    """What there is of a scene: a scene itself.

    Attributes:
        scene: without networks, or levels, that are not there.
        there: how many it has.
        total: how many the whole scene has.
        unit: of what: "networks", or "levels" of an octree field.
        coarse: whether what is not there is seen all the same, in the coarse level of detail.
    """

    scene: Scene
    there: int
    total: int
    unit: str
    coarse: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.there == self.total

    def __str__(self) -> str:
        there = f"{self.there:,} of {self.total:,} {self.unit}"
        return f"{there} (the others coarse)" if self.coarse else there


class GrowingScene:
    """Puts a scene together from its tensors as they come.

    Args:
        index: of the file.

    Raises:
        SceneError: it is not that of a scene.

    Attributes:
        index: of the file.
        spans: the tensors that are of use, those first that make a first scene.
    """

    def __init__(self, index: TensorIndex) -> None:
        self.index = index
        self._document = read_document(index.metadata)
        self._tensors: dict[str, NDArray[Any]] = {}
        self._levels: list[list[str]] = []
        self._reader = None
        self._checksums: dict[str, object] = {}
        first: list[str] = []
        if is_octree(self._document):
            self._levels = octree_levels(self._document)
            self._checksums = octree_checksums(self._document)
            first = [*_decoder_tensors(), *(name for level in self._levels for name in level)]
        elif is_compressed(self._document):
            self._reader = compressed_reader(self._document)
            self._checksums = chunk_checksums(self._document)
            first = list(self._checksums)
            first.insert(1, "sky")  # a few bytes that are seen all around
        by_name = {span.name: span for span in index.spans if span.dtype is not None}
        ordered = [by_name.pop(name) for name in dict.fromkeys(first) if name in by_name]
        self.spans: tuple[TensorSpan, ...] = (*ordered, *by_name.values())

    @property
    def whole(self) -> bool:
        """Whether every tensor is there."""
        return len(self._tensors) == len(self.spans)

    def sound(self, span: TensorSpan, data: bytes | bytearray | memoryview) -> bool:
        """Whether these are the tensor's bytes, as far as the file has a checksum of it."""
        return span.name not in self._checksums or self._checksums[span.name] == zlib.crc32(data)

    def add(self, name: str, tensor: NDArray[Any]) -> None:
        """Take one of the tensors that ``spans`` names."""
        self._tensors[name] = tensor

    def part(self) -> ScenePart | None:
        """What there is; None: not yet enough for a scene.

        Raises:
            SceneError: field, expected, got.
        """
        if self._levels:
            return self._octree_part()
        if self._reader is not None:
            content = self._reader.decode_part(self._tensors)
            if content is None and self.whole:  # a tensor is missing in the file itself
                content = self._reader.decode(self._tensors)
            if content is None:
                return None
            scene = compressed_scene(self._document, self._tensors, content)
            return ScenePart(scene, *self._reader.num_networks, "networks", self._reader.coarse)
        if not self.whole:
            return None
        scene = scene_of(self._document, self._tensors)
        assert isinstance(scene, KiloNeRFScene)  # noqa: S101 - octree fields are above
        return ScenePart(scene, scene.num_networks, scene.num_networks, "networks")

    def _octree_part(self) -> ScenePart | None:
        there = 0
        if all(name in self._tensors for name in _decoder_tensors()):
            while there < len(self._levels) and all(name in self._tensors for name in self._levels[there]):
                there += 1
        if self.whole:
            there = len(self._levels)  # or it is said what is missing
        if there == 0:
            return None
        scene: OctreeScene = octree_scene(
            {**self._document, "codings": self._document["codings"][:there]}, self._tensors
        )
        return ScenePart(scene, there, len(self._levels), "levels")


def load_partial_scene(path: str | os.PathLike[str], *, mapped: bool = True) -> ScenePart:
    """Read a ``.knf`` file that may be cut short: what is whole of it is a scene.

    Only compressed scenes and octree fields can be cut short (docs/knf.md); of others the whole file is needed.

    Args:
        path: the file.
        mapped: as for :func:`~kilonerf.model_io.load_scene`.

    Raises:
        SceneError: the file is missing, breaks a rule of docs/knf.md, or has too little for a scene.
    """
    try:
        file = read_tensor_file(path, mapped=mapped, partial=True)
        growing = GrowingScene(file.index)
        for span in growing.spans:
            if span.name in file.tensors:
                growing.add(span.name, file.tensors[span.name])
        part = growing.part()
        if part is None:
            size = Path(path).stat().st_size
            raise SceneError(f"cut short: expected {file.index.end} bytes, got {size}, too few for a part of the scene")
    except SceneError as error:
        raise SceneError(f"{os.fspath(path)}: {error}") from error
    return part


def _decoder_tensors() -> list[str]:
    return [f"decoder.{name}" for name in decoder_shapes()]
