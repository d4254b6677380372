"""Whether a decoder reads the whole of an audio file.

libsndfile reads a file that is cut short as a shorter one, and stops where it sees an end, whatever follows:
another recording (two files joined), or samples that a header of 32 bits cannot count.
"""

import os
from typing import BinaryIO

from attrs import frozen

from distill.audio.corpus.chunks import samples_of
from distill.audio.corpus.flac import flac_problem
from distill.audio.corpus.mpeg import mpeg_problem
from distill.audio.corpus.ogg import ogg_problem


@frozen
class Completeness:
    """Why a file was not decoded as a whole, and a note if it is used all the same, or empty strings.

    Both are worded to follow the name of the file.
    """

    problem: str = ""
    note: str = ""


def completeness(file: BinaryIO, container: str, coding: str, decoded: int) -> Completeness:
    """Return whether a file was decoded as a whole.

    Args:
        file: the file, as libsndfile has read it.
        container: libsndfile's name of its format, such as `"WAV"`.
        coding: libsndfile's name of its samples' format, such as `"PCM_16"`.
        decoded: the number of samples per channel that were decoded.

    Raises:
        OSError: the file cannot be read.
    """
    if container == "OGG":
        return Completeness(ogg_problem(file))
    if container == "FLAC":
        return Completeness(flac_problem(file))
    end = file.seek(0, os.SEEK_END)
    if container == "MP3":
        return Completeness(*mpeg_problem(file, 0, end, decoded))
    samples = samples_of(file)
    if samples is None or samples.problem:
        return Completeness(samples.problem if samples else "")
    if coding.startswith("MPEG"):
        return Completeness(
            *mpeg_problem(file, samples.start, min(end, samples.start + samples.size), decoded)
        )
    return Completeness()
