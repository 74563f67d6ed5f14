"""Scenes of servers on disk: blocks of each file, as they came.

An entry is a file with the bytes at their places and, beside it, a JSON file that says which blocks are there, each
with its checksum. That file is written, under another name first, once a block's bytes are: what was interrupted at
any moment is never taken for more than it is.
"""

import hashlib
import json
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..files.atomic import write_text
from ..files.json_values import is_array, is_object
from ..files.lock import FileLock, lock_holder

Block = tuple[int, int, int]  # first byte, bytes, CRC-32


class CacheEntry:
    """What is kept of one version of one file. To keep is a convenience: a disk that fails is passed over.

    Attributes:
        size: of the whole file.
        validator: which version it is.
    """

    def __init__(self, cache: "SceneCache", key: str, url: str, validator: str, size: int) -> None:
        self._cache, self._key, self._url = cache, key, url
        self.validator, self.size = validator, size
        self._lock = cache.lock(key)
        self._file: int | None = None
        self._blocks: dict[int, Block] = {}
        if self._lock is None:
            return  # another program keeps it
        with suppress(OSError):
            self._file = os.open(cache.path(key, "bytes"), os.O_RDWR | os.O_CREAT, 0o666)
            self._blocks = {block[0]: block for block in _blocks(_read(cache.path(key, "json")), size)}
            os.utime(cache.path(key, "json"))  # used last

    @property
    def whole(self) -> bool:
        """Whether every byte is there."""
        at = 0
        while at in self._blocks:
            at += self._blocks[at][1]
        return at == self.size

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from ``begin`` on that are there, without a gap, and that are as they were kept; "": none."""
        found = bytearray()
        while begin < end:
            block = next((b for b in self._blocks.values() if b[0] <= begin < b[0] + b[1]), None)
            if block is None or self._file is None:
                break
            data = b""
            with suppress(OSError):
                data = os.pread(self._file, block[1], block[0])
            if len(data) != block[1] or zlib.crc32(data) != block[2]:
                self.drop(block[0], block[0] + block[1])
                break
            found += data[begin - block[0] : end - block[0]]
            begin = min(end, block[0] + block[1])
        return bytes(found)

    def next_block(self, at: int) -> int:
        """Where the first block behind ``at`` begins; the file's size: there is none."""
        return min((begin for begin in self._blocks if begin > at), default=self.size)

    def keep(self, begin: int, data: bytes) -> None:
        """Keep these bytes, if there is space and none of them is there yet."""
        end = begin + len(data)
        if self._file is None or not data or end > self.size:
            return
        if any(b[0] < end and begin < b[0] + b[1] for b in self._blocks.values()):
            return
        try:
            if not self._cache.make_room(len(data), self._key):
                return
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], begin + written)
            self._blocks[begin] = (begin, len(data), zlib.crc32(data))
            self._write()
        except (OSError, OutputError):  # a full disk, for one
            self._blocks.pop(begin, None)
            self._file = self._closed()

    def drop(self, begin: int, end: int) -> None:
        """Forget every block that has bytes of this range."""
        self._blocks = {b[0]: b for b in self._blocks.values() if b[0] >= end or b[0] + b[1] <= begin}
        with suppress(OSError, OutputError):
            self._write()

    def close(self) -> None:
        """Let other programs have it."""
        self._file = self._closed()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _closed(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def _write(self) -> None:
        document = {"url": self._url, "validator": self.validator, "size": self.size}
        text = json.dumps(document | {"blocks": sorted(self._blocks.values())})
        write_text(self._cache.path(self._key, "json"), text)


@dataclass(frozen=True)
class _Kept:
    """An entry as others see it: when it was used last, its key, bytes on disk, what its JSON file says."""

    used: float
    key: str
    bytes: int
    document: dict[str, Any]


class SceneCache:
    """All entries.

    Args:
        folder: where they are; made when it is needed.
        budget: bytes that are kept at most. What was used longest ago goes first.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder, self._budget = folder, budget

    def path(self, key: str, suffix: str) -> Path:
        """A file of an entry."""
        return self._folder / f"{key}.{suffix}"

    def lock(self, key: str) -> FileLock | None:
        """Hold an entry; None: another program does, or the folder cannot be written."""
        with suppress(OSError, OutputError):
            self._folder.mkdir(parents=True, exist_ok=True)
            return FileLock.take(self.path(key, "lock"))
        return None

    def newest(self, url: str) -> tuple[str, int] | None:
        """Validator and size of the version of a file that was used last, if one is kept."""
        kept = [entry for entry in self._entries() if entry.document["url"] == url]
        if not kept:
            return None
        document = max(kept, key=lambda entry: entry.used).document
        return document["validator"], document["size"]

    def entry(self, url: str, validator: str, size: int) -> CacheEntry:
        """That of one version of a file; those of other versions are removed."""
        key = hashlib.sha256(f"{url}\n{validator}\n{size}".encode()).hexdigest()[:32]
        for other in self._entries():
            if other.key != key and other.document["url"] == url:
                self._remove(other.key)
        return CacheEntry(self, key, url, validator, size)

    def forget(self, url: str) -> None:
        """Remove what is kept of a file, unless a program uses it."""
        for entry in self._entries():
            if entry.document["url"] == url:
                self._remove(entry.key)

    def make_room(self, count: int, keep: str) -> bool:
        """Remove entries until ``count`` more bytes fit, but never ``keep``; whether they do."""
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        total = count + sum(entry.bytes for entry in entries)
        for entry in entries:
            if total <= self._budget:
                break
            if entry.key != keep and self._remove(entry.key):
                total -= entry.bytes
        return total <= self._budget

    def clear(self) -> tuple[int, int]:
        """Remove everything that no program uses at the moment: how many files, how many bytes they had."""
        removed = [entry for entry in self._entries() if self._remove(entry.key)]
        return len(removed), sum(entry.bytes for entry in removed)

    def _entries(self) -> list["_Kept"]:
        found: list[_Kept] = []
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.suffix == ".bytes":
                    json_path = path.with_suffix(".json")
                    with suppress(OSError):
                        facts = path.stat()
                        used = json_path.stat().st_mtime if json_path.exists() else 0.0  # 0: nothing speaks of it
                        size = min(facts.st_size, 512 * facts.st_blocks)  # there may be holes
                        found.append(_Kept(used, path.stem, size, _read(json_path)))
        return found

    def _remove(self, key: str) -> bool:
        if lock_holder(self.path(key, "lock")) is not None:
            return False
        with suppress(OSError):
            self.path(key, "json").unlink(missing_ok=True)  # first: bytes that nothing speaks of are no entry
            self.path(key, "bytes").unlink(missing_ok=True)
            self.path(key, "lock").unlink(missing_ok=True)
            return True
        return False


def _read(path: Path) -> dict[str, Any]:
    """What an entry's JSON file says; one that cannot be read says that nothing is there."""
    document: Any = None
    with suppress(OSError, ValueError, RecursionError):
        document = json.loads(path.read_text("utf-8"))
    good = is_object(document) and isinstance(document.get("url"), str) and isinstance(document.get("validator"), str)
    if not good or not isinstance(document.get("size"), int):
        return {"url": "", "validator": "", "size": 0, "blocks": []}
    return document


def _blocks(document: dict[str, Any], size: int) -> list[Block]:
    found: list[Block] = []
    blocks = document.get("blocks")
    for block in blocks if is_array(blocks) else ():
        if is_array(block) and len(block) == 3 and all(isinstance(number, int) for number in block):
            begin, count, checksum = block
            if begin >= 0 and 0 < count <= size - begin:
                found.append((begin, count, checksum))
    return found
