"""The end of FLAC files, which do not say where it is (RFC 9639)."""

import os
from typing import BinaryIO

_BEGINNING = b"fLaC\0\0\0\x22"
"""The beginning of a FLAC file: its mark, and the header of its first block, of 34 bytes."""

_BLOCK = 2**20


def flac_problem(file: BinaryIO) -> str:
    """Return a problem if another FLAC file follows, which a decoder would not read; or an empty string."""
    place, end = 4, file.seek(0, os.SEEK_END)
    while place < end:
        file.seek(place)
        block = file.read(_BLOCK)
        found = block.find(_BEGINNING)
        if found >= 0:
            return f"holds more than one recording: {end - place - found:,} bytes of another follow"
        place += max(len(block) - len(_BEGINNING) + 1, 1)
    return ""
