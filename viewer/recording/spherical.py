"""What tells players that a picture or video shows all directions: GPano in PNG files, Spherical Video V1 in mp4 files.

Sources: Google's "Photo Sphere XMP Metadata" and "Spherical Video RFC" (V1). Both put XML into the file; pixels stay.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import PngImagePlugin

from kilonerf.model_io import OutputError
from kilonerf.model_io.files.atomic import AtomicFile

UUID = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
VIDEO_XML = (
    '<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">'
    "<GSpherical:Spherical>true</GSpherical:Spherical><GSpherical:Stitched>true</GSpherical:Stitched>"
    "<GSpherical:StitchingSoftware>kilonerf-view</GSpherical:StitchingSoftware>"
    "<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType></rdf:SphericalVideo>"
)
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
COPIED = 1 << 20
"""Bytes of a video that are copied at once."""

Box = tuple[bytes, int, int]  # type, where it begins, where it ends


def png_text(width: int, height: int) -> PngImagePlugin.PngInfo:
    """The text chunk of an equirectangular PNG of this size."""
    values = {
        "ProjectionType": "equirectangular",
        "UsePanoramaViewer": "True",
        "CroppedAreaImageWidthPixels": width,
        "CroppedAreaImageHeightPixels": height,
        "FullPanoWidthPixels": width,
        "FullPanoHeightPixels": height,
        "CroppedAreaLeftPixels": 0,
        "CroppedAreaTopPixels": 0,
    }
    attributes = " ".join(f'GPano:{name}="{value}"' for name, value in values.items())
    info = PngImagePlugin.PngInfo()
    info.add_itxt(
        "XML:com.adobe.xmp",
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        f"{attributes}/></rdf:RDF></x:xmpmeta>",
    )
    return info


def mark_spherical(path: Path) -> None:
    """Write into an mp4 file, whose index is before its pictures, that these are equirectangular panoramas.

    Raises:
        OutputError: it is no such file, or cannot be written.
    """
    try:
        with path.open("rb") as file:
            moov = next((box for box in _top_boxes(file, path.stat().st_size) if box[0] == b"moov"), None)
            if moov is None:
                raise OutputError(f"{path}: expected an mp4 file with an index, got none")
            _, begin, end = moov
            file.seek(begin)
            marked = _with_xml(file.read(end - begin), begin)
            with AtomicFile(path) as temporary, temporary.open("wb") as copy:
                file.seek(0)
                copy.write(file.read(begin))
                copy.write(marked)
                file.seek(end)
                while content := file.read(COPIED):
                    copy.write(content)
    except (OSError, struct.error) as error:
        raise OutputError(f"{path}: cannot write: {getattr(error, 'strerror', None) or error}") from error


def _top_boxes(file: BinaryIO, size: int) -> Iterator[Box]:
    begin = 0
    while begin + 8 <= size:
        file.seek(begin)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
        yield kind, begin, begin + length
        begin += max(8, length)


def _with_xml(moov: bytes, at: int) -> bytes:
    """The index with the XML at the end of its first track, and the pictures' places moved by its length."""
    content = bytearray(moov)
    (_, begin, end) = next(box for box in _inside(content, 8, len(content)) if box[0] == b"trak")
    xml = VIDEO_XML.encode()
    box = struct.pack(">I4s", 24 + len(xml), b"uuid") + UUID + xml
    for kind, first, last in _tables(content, 8, len(content)):
        form, size = (">I", 4) if kind == b"stco" else (">Q", 8)
        for place in range(first + 16, last, size):
            (offset,) = struct.unpack_from(form, content, place)
            if offset > at:
                struct.pack_into(form, content, place, offset + len(box))
    struct.pack_into(">I", content, begin, end - begin + len(box))
    struct.pack_into(">I", content, 0, len(content) + len(box))
    return bytes(content[:end] + box + content[end:])


def _tables(content: bytearray, begin: int, end: int) -> Iterator[Box]:
    """The boxes, at any depth, that say where in the file pictures are."""
    for kind, first, last in _inside(content, begin, end):
        if kind in (b"stco", b"co64"):
            yield kind, first, last
        elif kind in CONTAINERS:
            yield from _tables(content, first + 8, last)


def _inside(content: bytearray, begin: int, end: int) -> Iterator[Box]:
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        if not 8 <= size <= end - begin:
            raise OutputError(f"expected an mp4 file's box of 8 to {end - begin} bytes, got {size}")
        yield kind, begin, begin + size
        begin += size
