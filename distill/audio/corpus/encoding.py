"""Encoding of a recording as FLAC, in pieces that fit into shards.

Shapes: `N` samples per channel, `C` channels.
"""

import io

import numpy as np
import soundfile
from attrs import evolve, frozen

from distill.audio.corpus.decoding import Block, UnusableError, decode
from distill.audio.corpus.levels import Remark, remark_on
from distill.audio.corpus.scanning import Candidate

_PIECE_SECONDS = 30
_QUIET = -8
"""The exponent of a peak of 48 dB below full scale: at lower levels, 24 bits leave fewer than 16."""

_MOST_CHANNELS = 8  # the limit of FLAC


@frozen
class Piece:
    """A recording, or a part of one, whose `name` then contains the second at which it begins.

    The samples in `flac` are to be multiplied by `2 ** exponent`.
    """

    name: str
    samples: int
    channels: int
    flac: bytes
    exponent: int


@frozen
class Encoded:
    """The pieces of a recording, the digest of its samples, and a remark on it, if there is one."""

    digest: str
    pieces: tuple[Piece, ...]
    remark: Remark | None = None


def encode(candidate: Candidate, sample_rate: int, *, full_scale: float = 1.0) -> Encoded:
    """Encode a recording at `sample_rate` Hz. Longer than a minute, it is cut into pieces of 30 to 60 s.

    In a file of floats, `full_scale` is the value of full scale.

    Raises:
        UnusableError: the recording cannot be decoded, or has more channels than FLAC supports.
    """
    least = _PIECE_SECONDS * sample_rate
    pieces: list[Piece] = []
    rest: list[Block] = []

    def cut(samples: Block) -> None:
        length, channels = samples.shape
        name = f"{candidate.name}@{len(pieces) * _PIECE_SECONDS}s"
        exponent = _exponent(samples)
        flac = _flac(np.ldexp(samples, -exponent), sample_rate)
        pieces.append(Piece(name, length, channels, flac, exponent))

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

    decoded = decode(candidate.path, sample_rate, take, full_scale=full_scale)
    cut(np.concatenate(rest))
    if len(pieces) == 1:
        pieces = [evolve(pieces[0], name=candidate.name)]
    level, seconds = (decoded.lowest, decoded.highest), decoded.samples / sample_rate
    return Encoded(decoded.digest, tuple(pieces), remark_on(candidate.name, *level, seconds, decoded.note))


def _exponent(samples: Block) -> int:
    """Return the power of two by which samples are divided so that the integers of a FLAC file hold them.

    It is 0 for the usual levels. Division by a power of two is exact, so that the reader restores the level.
    """
    peak = np.abs(samples).max(initial=0)
    exponent = int(np.frexp(peak)[1])
    return exponent if peak > 1 or exponent <= _QUIET else 0


def _flac(samples: Block, sample_rate: int) -> bytes:
    """Encode samples `[N, C]`, within full scale, as FLAC of 24 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_24")
    return file.getvalue()
