"""Whether a decoder reads the whole of an audio file.

libsndfile reads a file that is cut short as a shorter one, and stops where it sees an end, whatever follows:
another recording (two files joined), or samples that a header of 32 bits cannot count.
"""

import os
from pathlib import Path
from typing import BinaryIO

from distill.audio.corpus.chunks import samples_of
from distill.audio.corpus.mpeg import mpeg_problem
from distill.audio.corpus.ogg import ogg_problem

_FLAC = b"fLaC\0\0\0\x22"
"""The beginning of a FLAC file: its mark, and the header of its first block, of 34 bytes."""

_BLOCK = 2**20


def incompleteness(path: Path, container: str, coding: str, decoded: int) -> str:
    """Return why a file was not decoded as a whole, worded to follow its name, or an empty string.

    Args:
        path: the file.
        container: libsndfile's name of its format, such as `"WAV"`.
        coding: libsndfile's name of its samples' format, such as `"PCM_16"`.
        decoded: the number of samples per channel that were decoded.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if container == "OGG":
            return ogg_problem(file)
        if container == "FLAC":
            return _flac_problem(file)
        end = os.fstat(file.fileno()).st_size
        if container == "MP3":
            return mpeg_problem(file, 0, end, decoded)
        samples = samples_of(file)
        if samples is None or samples.problem:
            return samples.problem if samples else ""
        if coding.startswith("MPEG"):
            return mpeg_problem(file, samples.start, min(end, samples.start + samples.size), decoded)
        return ""


def _flac_problem(file: BinaryIO) -> str:
    """Look for the beginning of another file, since a FLAC file does not say where it ends."""
    place, end = 4, os.fstat(file.fileno()).st_size
    while place < end:
        file.seek(place)
        block = file.read(_BLOCK)
        found = block.find(_FLAC)
        if found >= 0:
            return f"holds more than one recording: {end - place - found:,} bytes of another follow"
        place += max(len(block) - len(_FLAC) + 1, 1)
    return ""
