"""Tags that programs put before or after the sound in a file of any format: ID3, APE and Lyrics3."""

import os
from typing import BinaryIO

__all__ = ["INAUDIBLE", "tag_at", "untagged"]

INAUDIBLE = 32
"""As many bytes that are no part of a sound are none that is heard: a line feed, a part of a footer."""

_LONGEST_LYRICS = 2**16
_ID3V1, _APE, _FOOTER = 128, 32, 10


def tag_at(file: BinaryIO, place: int, end: int) -> int:
    """Return the size of the tag at `place` in a file up to `end`, 0 if there is none."""
    start = _read(file, place, min(32, end - place))
    if start.startswith(b"ID3") and len(start) >= _FOOTER:
        return _FOOTER + _synchsafe(start[6:10]) + (_FOOTER if start[5] & 16 else 0)
    if start.startswith(b"APETAGEX") and len(start) == _APE:
        header = _APE if start[23] & 0x80 else 0
        return int.from_bytes(start[12:16], "little") + header if start[23] & 0x20 else _APE
    if start.startswith(b"LYRICSBEGIN"):
        rest = _read(file, place, min(_LONGEST_LYRICS, end - place))
        stop = max(rest.find(b"LYRICS200"), rest.find(b"LYRICSEND"))
        return stop + 9 if stop > 0 else 0
    sizes = {b"TAG+": 227, b"TAG": _ID3V1, b"3DI": _FOOTER}
    return next((size for mark, size in sizes.items() if start.startswith(mark)), 0)


def untagged(file: BinaryIO) -> tuple[int, int]:
    """Return where a file begins and ends without the tags before and after it."""
    start, end = 0, file.seek(0, os.SEEK_END)
    while size := tag_at(file, start, end):
        start += size
    while start < end and (size := _tag_before(file, end)):
        end = max(start, end - size)
    return start, end


def _tag_before(file: BinaryIO, end: int) -> int:
    """Return the size of the tag that ends at `end`, 0 if there is none."""
    last = _read(file, max(0, end - _ID3V1), min(end, _ID3V1))
    if last.startswith(b"TAG") and len(last) == _ID3V1:
        return _ID3V1
    footer = last[-_APE:]
    if footer.startswith(b"APETAGEX") and not footer[23] & 0x20:
        return int.from_bytes(footer[12:16], "little") + (_APE if footer[23] & 0x80 else 0)
    if last[-_FOOTER:].startswith(b"3DI"):
        return 2 * _FOOTER + _synchsafe(last[-4:])
    if last.endswith(b"LYRICS200") and last[-15:-9].isdigit():
        return int(last[-15:-9]) + 15
    # An ID3v2 tag without a footer is not found from its end, but is small, and ends where the file does.
    block = _read(file, max(0, end - _LONGEST_LYRICS), min(end, _LONGEST_LYRICS))
    at = block.rfind(b"ID3")
    size = len(block) - at
    return size if at >= 0 and tag_at(file, end - size, end) == size else 0


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(max(0, size))


def _synchsafe(four: bytes) -> int:
    """Return a number of which each byte holds seven bits."""
    return sum(byte << shift for byte, shift in zip(four, (21, 14, 7, 0), strict=True))
