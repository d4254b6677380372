"""Completeness of Ogg files (Vorbis, Opus, FLAC), which consist of pages (RFC 3533)."""

import os
import struct
from typing import BinaryIO

from attrs import frozen

from distill.audio.corpus.tags import INAUDIBLE

_HEADER = 27
_FIRST, _LAST = 2, 4
_PADDING = 2**16


@frozen
class _Page:
    """A page: its size in bytes, its stream and number, and whether it begins or ends the stream."""

    size: int
    stream: int
    number: int
    first: bool
    last: bool


def ogg_problem(file: BinaryIO) -> str:
    """Return why an Ogg file is incomplete, or holds more than a decoder reads; or an empty string."""
    end, place = file.seek(0, os.SEEK_END), 0
    latest: dict[int, _Page] = {}
    begun, problem = False, ""
    while not problem and (page := _page(file, place)) is not None:
        expected = latest[page.stream].number + 1 if page.stream in latest else page.number
        if page.first and begun:
            problem = f"holds more than one recording: {end - place:,} bytes of another follow"
        elif place + page.size > end:
            problem = "is cut short: its last page is incomplete"
        elif page.number > expected:
            problem = f"is damaged: {page.number - expected:,} of its pages are missing"
        begun = begun or not page.first
        latest[page.stream] = page
        place += page.size
    problem = problem or _rest_problem(file, place, end)
    if not problem and begun and not all(page.last for page in latest.values()):
        problem = "is cut short: its stream does not end"
    return problem


def pages_end(file: BinaryIO, start: int) -> int:
    """Return where the last of the pages ends that follow each other from `start` on."""
    place = start
    while (page := _page(file, place)) is not None:
        place += page.size
    return place


def _page(file: BinaryIO, place: int) -> _Page | None:
    """Return the page at `place`, or None if there is none."""
    file.seek(place)
    header = file.read(_HEADER + 255)
    if header[:4] != b"OggS" or len(header) < _HEADER or len(header) < _HEADER + header[26]:
        return None
    stream, number = struct.unpack_from("<II", header, 14)
    size = _HEADER + header[26] + sum(header[_HEADER : _HEADER + header[26]])
    return _Page(size, stream, number, first=bool(header[5] & _FIRST), last=bool(header[5] & _LAST))


def _rest_problem(file: BinaryIO, place: int, end: int) -> str:
    """Return the problem of bytes from `place` on that are no page."""
    file.seek(place)
    rest = file.read(_PADDING + 1)
    if rest.startswith(b"OggS"):
        return "is cut short: its last page is incomplete"
    if len(rest) > INAUDIBLE and (len(rest) > _PADDING or rest.strip(b"\0")):
        return f"is damaged: {end - place:,} bytes are not part of its stream"
    return ""
