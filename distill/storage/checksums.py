"""Checksums of state files, so that a single changed byte is found.

The SHA-256 of a whole file, its header included, is part of the file's own metadata, and is computed with
zeros in its place. A file and its checksum are thus written at once, and no interruption can separate them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

CHECKSUM = "distill_sha256"
"""The name of the checksum in a file's metadata."""

_METADATA = b'"__metadata__":{'
_BEFORE = f'"{CHECKSUM}":"'.encode()
_BLANK = b"0" * 64
_LENGTH_BYTES = 8
_ALIGNMENT = 8
_BLOCK = 1 << 20


def sealed(content: bytes, more: Mapping[str, str] | None = None) -> list[bytes | memoryview]:
    """Return the content of a safetensors file that has metadata, with its checksum and `more` added to them.

    It is returned in parts, without a copy of the tensors. safetensors itself writes several entries of the
    metadata in a random order: with `more`, equal states have equal files.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    header, tensors = content[_LENGTH_BYTES:start], memoryview(content)[start:]
    before, metadata, after = header.rstrip(b" ").partition(_METADATA)
    added = "".join(
        f"{json.dumps(name)}:{json.dumps(value)}," for name, value in (more or {}).items()
    ).encode()
    padding = b" " * (-len(before + metadata + _BEFORE + _BLANK + b'",' + added + after) % _ALIGNMENT)

    def with_checksum(checksum: bytes) -> list[bytes | memoryview]:
        new = b"".join((before, metadata, _BEFORE, checksum, b'",', added, after, padding))
        return [len(new).to_bytes(_LENGTH_BYTES, "little"), new, tensors]

    hashed = hashlib.sha256()
    for part in with_checksum(_BLANK):
        hashed.update(part)
    return with_checksum(hashed.hexdigest().encode())


def is_whole(path: Path) -> bool | None:
    """Return whether a safetensors file has the checksum that it was saved with, or None without one.

    Files of Distill 0.2.0 and files in the package have none.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            return None
        header = file.read(length)
        start = header.find(_BEFORE)
        if start < 0:
            return None
        start += len(_BEFORE)
        end = start + len(_BLANK)
        hashed = hashlib.sha256(length.to_bytes(_LENGTH_BYTES, "little"))
        hashed.update(header[:start] + _BLANK + header[end:])
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest().encode() == header[start:end]
