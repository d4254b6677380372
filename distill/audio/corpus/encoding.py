"""Encoding of a recording as FLAC, in pieces that fit into shards.

Shapes: `N` samples per channel, `C` channels.
"""

import io

import numpy as np
import soundfile
from attrs import evolve, frozen

from distill.audio.corpus.decoding import Block, UnusableError, decode
from distill.audio.corpus.scanning import Candidate

_PIECE_SECONDS = 30
_MOST_CHANNELS = 8  # the limit of FLAC


@frozen
class Piece:
    """A recording, or a part of one, whose `name` then contains the second at which it begins."""

    name: str
    samples: int
    channels: int
    flac: bytes


@frozen
class Encoded:
    """The pieces of a recording and the digest of its samples."""

    digest: str
    pieces: tuple[Piece, ...]


def encode(candidate: Candidate, sample_rate: int) -> Encoded:
    """Encode a recording at `sample_rate` Hz. Longer than a minute, it is cut into pieces of 30 to 60 s.

    Raises:
        UnusableError: the recording cannot be decoded, or has more channels than FLAC supports.
    """
    least = _PIECE_SECONDS * sample_rate
    pieces: list[Piece] = []
    rest: list[Block] = []

    def cut(samples: Block) -> None:
        length, channels = samples.shape
        name = f"{candidate.name}@{len(pieces) * _PIECE_SECONDS}s"
        pieces.append(Piece(name, length, channels, _flac(samples, sample_rate)))

    def take(block: Block) -> None:
        if block.shape[1] > _MOST_CHANNELS:
            raise UnusableError(
                f"has {block.shape[1]} channels, and a FLAC file has at most {_MOST_CHANNELS}"
            )
        rest.append(block)
        if sum(map(len, rest)) >= 2 * least:
            whole = np.concatenate(rest)
            while len(whole) >= 2 * least:
                cut(whole[:least])
                whole = whole[least:]
            rest[:] = [whole]

    decoded = decode(candidate.path, sample_rate, take)
    cut(np.concatenate(rest))
    if len(pieces) == 1:
        pieces = [evolve(pieces[0], name=candidate.name)]
    return Encoded(decoded.digest, tuple(pieces))


def _flac(samples: Block, sample_rate: int) -> bytes:
    """Encode samples `[N, C]` as FLAC of 24 bits."""
    file = io.BytesIO()
    scaled = samples / max(1.0, np.abs(samples).max())
    soundfile.write(file, scaled, sample_rate, format="FLAC", subtype="PCM_24")
    return file.getvalue()
