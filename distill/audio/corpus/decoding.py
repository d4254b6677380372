"""Decoding of a recording to float32: in blocks at the corpus's sample rate, or whole at its own.

Shapes: `N` samples per channel, `C` channels.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from attrs import frozen
from numpy.typing import NDArray

Block = NDArray[np.float32]

_BLOCK_SAMPLES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a streamed FLAC
LOWEST_RATE = 1000  # Hz; a lower rate comes from a broken header, and resampling would fill the disk


class UnusableError(Exception):
    """A recording that cannot be used; the message is the reason."""


@frozen
class Decoded:
    """The result of decoding: channels, `samples` per channel, and a digest of the samples."""

    channels: int
    samples: int
    digest: str


def decode(path: Path, sample_rate: int, write: Callable[[Block], object]) -> Decoded:
    """Decode `path` at `sample_rate` Hz and call `write` with each block `[N, C]`.

    The digest is computed before resampling, so that it does not depend on `sample_rate`.

    Raises:
        UnusableError: the file is not audio or is damaged, or it holds no samples, non-finite samples or only
            silence. Blocks may have been written before.
    """
    samples, silent, digest = 0, True, hashlib.blake2b(digest_size=16)
    with _open(path) as sound:
        channels = sound.channels
        blocks = _read(sound, digest.update)
        if sound.samplerate != sample_rate:
            blocks = _resample(blocks, channels, sound.samplerate, sample_rate)
        for block in blocks:
            # Checked after resampling, which keeps non-finite samples and may itself overflow.
            _require_finite(block)
            samples += len(block)
            silent = silent and not block.any()
            write(block)
    if not samples:
        raise UnusableError(f"is shorter than one sample at {sample_rate} Hz")
    if silent:
        raise UnusableError("is silent throughout")
    return Decoded(channels, samples, digest.hexdigest())


def decode_whole(path: Path) -> tuple[Block, int]:
    """Decode `path`, which may be silent; return the samples `[N, C]` and the sample rate in Hz.

    Raises:
        UnusableError: the file is not audio or is damaged, or it holds no samples or non-finite samples.
    """
    with _open(path) as sound:
        samples = np.concatenate([*_read(sound)])
        _require_finite(samples)
        return samples, sound.samplerate


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile carries no types
    """A sound file that is read without seeking.

    `SoundFile` seeks after every block, which fails at the end of streamed and of damaged files.
    """

    def seekable(self) -> bool:
        return False


def _open(path: Path) -> _Stream:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UnusableError("is empty")
        sound = _Stream(path)
    except OSError as error:
        raise UnusableError(f"cannot be read: {error.strerror}") from error
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a `.raw` has no header
        raise UnusableError("is not audio that libsndfile reads") from error
    # libsndfile reads a .au or .snd file without a header as raw samples.
    if sound.format == "RAW":
        raise UnusableError("is not audio that libsndfile reads")
    if sound.samplerate < LOWEST_RATE:
        raise UnusableError(f"has a sample rate of {sound.samplerate} Hz")
    return sound


def _read(sound: _Stream, see: Callable[[memoryview], object] = lambda _: None) -> Iterator[Block]:
    samples = 0
    try:
        while len(block := sound.read(_BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)):
            samples += len(block)
            see(block.data)
            yield block
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        raise UnusableError(f"is damaged: {reason}") from error
    # For an MP3 without a table of contents, libsndfile estimates the length.
    if samples < sound.frames < _UNKNOWN_FRAMES and sound.format != "MP3":
        raise UnusableError(f"is damaged: {samples} of its {sound.frames} samples can be decoded")
    if not samples:
        raise UnusableError("holds no samples")


def _require_finite(samples: Block) -> None:
    if not np.isfinite(samples).all():
        raise UnusableError("contains NaN or infinite samples")


def _resample(blocks: Iterator[Block], channels: int, source_rate: int, sample_rate: int) -> Iterator[Block]:
    stream = soxr.ResampleStream(source_rate, sample_rate, channels, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
