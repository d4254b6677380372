"""Zeros at the end of a file, as programs that write whole sectors and recovered disks leave them."""

from typing import BinaryIO

_BLOCK = 2**16


def zeros_from(file: BinaryIO, start: int, end: int) -> int:
    """Return where the zeros begin that a file ends with, from `start` to `end`."""
    while start < end:
        size = min(_BLOCK, end - start)
        file.seek(end - size)
        kept = len(file.read(size).rstrip(b"\0"))
        if kept:
            return end - size + kept
        end -= size
    return start
