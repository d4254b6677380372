"""Completeness of audio files that consist of chunks: WAV, RF64, AIFF, 8SVX, Wave64, CAF, and of AU files.

libsndfile reads a file that is cut short as a shorter one, and ignores what follows the samples. Here the
sizes in the file's headers are compared with its length.
"""

import os
import struct
from typing import BinaryIO

from attrs import frozen

from distill.audio.corpus.padding import zeros_from
from distill.audio.corpus.tags import INAUDIBLE, tag_at

_STREAMED = 2**31 - 2**16
"""Sizes from here on stand for unknown ones in files that were written to a pipe, as is 0."""

_MOST_CHUNKS = 10_000


@frozen
class Extent:
    """The position and size of the samples in a file, in bytes. A complete file has no `problem`."""

    start: int
    size: int
    problem: str = ""


@frozen
class _Layout:
    """The layout of chunks: an identifier, then a size in the struct format `size`, then the content.

    Chunks begin at multiples of `alignment`. `inclusive` sizes include the header. `samples` identifies the
    chunk of the samples, and `wide` says whether sizes have 64 bits.
    """

    first: int
    identifier: int
    size: str
    samples: bytes
    alignment: int = 2
    inclusive: bool = False
    wide: bool = False

    @property
    def header(self) -> int:
        return self.identifier + struct.calcsize(self.size)


_LAYOUTS = {
    **{(kind, b"WAVE"): _Layout(12, 4, "<I", b"data") for kind in (b"RIFF", b"RF64", b"BW64")},
    (b"RIFX", b"WAVE"): _Layout(12, 4, ">I", b"data"),
    **{(b"FORM", kind): _Layout(12, 4, ">I", b"SSND") for kind in (b"AIFF", b"AIFC")},
    **{(b"FORM", kind): _Layout(12, 4, ">I", b"BODY") for kind in (b"8SVX", b"16SV")},
}
_W64_SAMPLES = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_START = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def samples_of(file: BinaryIO) -> Extent | None:
    """Return the extent of the samples in a file, or None if its format does not have chunks.

    The extent has a problem if the file is shorter than its headers say, or if bytes follow that belong to no
    part of it.
    """
    file.seek(0)
    start = file.read(40)
    if start[:4] in {b".snd", b"dns."}:
        return _au(file, start)
    layout = _layout(start)
    return None if layout is None else _walk(file, layout, _rf64_size(start))


def unknown_size(file: BinaryIO) -> tuple[int, str, int] | None:
    """Return where an unknown size of the samples stands, its struct format, and what the size is.

    None if the size is known, or if libsndfile takes it for what it is. A size of 0 is right where chunks
    follow.
    """
    file.seek(0)
    start = file.read(40)
    layout, end = _layout(start), _length(file)
    if layout is None:
        return None
    place = layout.first
    for _ in range(_MOST_CHUNKS):
        identifier, size = _chunk(file, layout, place)
        content = place + layout.header
        if size is None or identifier == layout.samples:
            break
        place = _aligned(content + max(size, 0), layout)
    else:
        return None
    if size is None or size > 0 or content >= end or (size < 0 and not layout.wide):
        return None
    if not size and (layout.wide or not _left_over(file, content, end, layout)):
        return None
    rest = end - content
    return place + layout.identifier, layout.size, rest if layout.wide else min(rest, 2**32 - 1)


def _layout(start: bytes) -> _Layout | None:
    kind = start[:4], start[8:12]
    if start.startswith(b"caff"):
        return _Layout(8, 4, ">q", b"data", alignment=1, wide=True)
    if start.startswith(_W64_START):
        return _Layout(40, 16, "<q", _W64_SAMPLES, alignment=8, inclusive=True, wide=True)
    return _LAYOUTS.get(kind)


def _rf64_size(start: bytes) -> int | None:
    """Return the size of the samples that the `ds64` chunk of an RF64 file has."""
    if start[:4] not in {b"RF64", b"BW64"} or start[12:16] != b"ds64" or len(start) < 36:
        return None
    (size,) = struct.unpack_from("<Q", start, 28)
    return int(size)


def _au(file: BinaryIO, start: bytes) -> Extent | None:
    if len(start) < 24:
        return None
    offset, size = struct.unpack_from(">II" if start[:4] == b".snd" else "<II", start, 4)
    end = _length(file)
    if size >= _STREAMED or not size:
        return Extent(offset, end - offset)
    return Extent(offset, size, _cut(size, end - offset) or _left_over(file, offset + size, end, None))


def _walk(file: BinaryIO, layout: _Layout, rf64_size: int | None) -> Extent | None:
    end, place = _length(file), layout.first
    for _ in range(_MOST_CHUNKS):
        identifier, size = _chunk(file, layout, place)
        if size is None:
            return None
        content = place + layout.header
        if identifier == layout.samples:
            if rf64_size is not None and size == 2**32 - 1:
                size, known = rf64_size, True
            else:
                known = size > 0 if layout.wide else 0 < size < _STREAMED
            if not known:
                return Extent(content, end - content)
            following = content + size  # a tag may begin there, with or without the byte that aligns chunks
            if not tag_at(file, following, end):
                following = _aligned(following, layout)
            problem = _cut(size, end - content) or _left_over(file, following, end, layout)
            return Extent(content, size, problem)
        place = _aligned(content + max(size, 0), layout)
    return None


def _chunk(file: BinaryIO, layout: _Layout, place: int) -> tuple[bytes, int | None]:
    """Return the identifier of a chunk and the size of its content, None if there is no chunk."""
    file.seek(place)
    header = file.read(layout.header)
    if len(header) < layout.header:
        return b"", None
    (size,) = struct.unpack_from(layout.size, header, layout.identifier)
    return header[: layout.identifier], size - layout.header if layout.inclusive else size


def _cut(wanted: int, there: int) -> str:
    if wanted <= there:
        return ""
    return f"is cut short: {there:,} of the {wanted:,} bytes of its samples are there"


def _left_over(file: BinaryIO, place: int, end: int, layout: _Layout | None) -> str:
    """Return a problem if bytes from `place` on are neither chunks without samples nor padding."""
    for _ in range(_MOST_CHUNKS):
        # What a header of 32 bits cannot count may be zeros, too.
        if end - place <= INAUDIBLE or (end < 2**32 and zeros_from(file, place, end) == place):
            return ""
        if tag := tag_at(file, place, end):
            place += tag
            continue
        identifier, size = _chunk(file, layout, place) if layout is not None else (b"", None)
        content = place + (layout.header if layout is not None else 0)
        if layout is None or size is None or not _is_harmless(identifier, layout):
            break
        if not 0 <= size <= end - content:
            break
        place = _aligned(content + size, layout)
    if end >= 2**32 and layout is not None and not layout.wide:
        return f"is larger than 4 GB, which its header cannot hold: {end - place:,} bytes would not be read"
    return f"holds {end - place:,} bytes after its samples, which would not be read"


def _is_harmless(identifier: bytes, layout: _Layout) -> bool:
    """Return whether a chunk after the samples may be ignored: not if a further recording begins with it."""
    if layout.identifier > 4:  # a GUID
        return identifier not in {layout.samples, _W64_START}
    printable = all(32 <= byte < 127 for byte in identifier)
    recording = identifier in {layout.samples, b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff"}
    return printable and not recording


def _aligned(place: int, layout: _Layout) -> int:
    return -(-place // layout.alignment) * layout.alignment


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
