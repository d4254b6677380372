"""Decoding of a recording to float32: in blocks at the corpus's sample rate, or whole at its own.

Shapes: `N` samples per channel, `C` channels.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from attrs import frozen

from distill.arguments import is_text
from distill.audio.corpus.blocks import Block, UnusableError
from distill.audio.corpus.chunks import samples_of
from distill.audio.corpus.completeness import completeness
from distill.audio.corpus.levels import Level, remark_on
from distill.audio.corpus.presenting import ForwardSoundFile, present

__all__ = [
    "LOWEST_RATE",
    "Block",
    "Decoded",
    "UnusableError",
    "blocks_of",
    "decode",
    "decode_whole",
    "survey",
]

_BLOCK_SAMPLES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a streamed FLAC
_FLOATS = {"FLOAT", "DOUBLE"}
MADE = "Made by Distill"
"""The comment in sound files that Distill writes begins so, so that they do not become part of a corpus."""

LOWEST_RATE = 1000  # Hz; a lower rate comes from a broken header, and resampling would fill the disk


@frozen
class Decoded:
    """The result of decoding.

    Attributes:
        channels: the number of channels.
        samples: the number of samples per channel.
        digest: a digest of the samples in the file.
        lowest, highest: their range, 1 being full scale.
        note: a remark on the file, worded to follow its name, or empty.
    """

    channels: int
    samples: int
    digest: str
    lowest: float
    highest: float
    note: str = ""


def decode(
    path: Path, sample_rate: int, write: Callable[[Block], object], *, full_scale: float = 1.0
) -> Decoded:
    """Decode `path` at `sample_rate` Hz and call `write` with each block `[N, C]`.

    The digest is computed before resampling, so that it does not depend on `sample_rate`. In a file of
    floats, `full_scale` is the value of full scale; it is 1 unless the floats were scaled to integers.

    Raises:
        UnusableError: the file is not audio, is damaged or incomplete, was made by Distill, or holds more
            than would be decoded; or it holds no samples, non-finite or impossible ones, or the same one
            throughout. Blocks may have been written before.
    """
    samples, digest = 0, hashlib.blake2b(digest_size=16)
    level, notes = Level(), list[str]()
    with _open(path) as sound:
        if sound.comment.startswith(MADE):
            raise UnusableError("was made by Distill, and is no recording")
        channels = sound.channels
        blocks = _read(sound, level, see=digest.update, note=notes.append, full_scale=full_scale)
        if sound.samplerate != sample_rate:
            blocks = _resample(blocks, channels, sound.samplerate, sample_rate)
        for block in blocks:
            samples += len(block)
            write(block)
    level.require_usable()
    if not samples:
        raise UnusableError(f"is shorter than one sample at {sample_rate} Hz")
    return Decoded(channels, samples, digest.hexdigest(), level.lowest, level.highest, *notes)


@frozen
class Survey:
    """The sample rate in Hz, the channels, and the samples per channel of a file that can be decoded.

    `remark` describes an unusual level or length, or is empty.
    """

    sample_rate: int
    channels: int
    samples: int
    remark: str = ""


def survey(path: Path) -> Survey:
    """Decode `path` without keeping its samples, which may be silent, to see that it is whole.

    Raises:
        UnusableError: as in `decode`, apart from silence.
    """
    level, notes = Level(), list[str]()
    with _open(path) as sound:
        samples = sum(len(block) for block in _read(sound, level, note=notes.append))
        level.require_possible()
        seconds = samples / sound.samplerate
        remark = remark_on("", level.lowest, level.highest, seconds, "; ".join(notes))
        return Survey(sound.samplerate, sound.channels, samples, remark.text if remark else "")


def blocks_of(path: Path) -> Iterator[Block]:
    """Yield the samples of `path` in blocks `[N, C]` at its own sample rate.

    Raises:
        UnusableError: as in `decode`, apart from silence and impossible levels.
    """
    with _open(path) as sound:
        yield from _read(sound, Level())


def decode_whole(path: Path) -> tuple[Block, int]:
    """Decode `path`, which may be silent; return the samples `[N, C]` and the sample rate in Hz.

    Raises:
        UnusableError: as in `decode`, apart from silence.
    """
    level = Level()
    with _open(path) as sound:
        samples = np.concatenate([*_read(sound, level)])
        level.require_possible()
        return samples, sound.samplerate


class _Stream(ForwardSoundFile):
    """A sound file that is read without seeking, with the file that it was given."""

    def __init__(self, path: Path, presented: BinaryIO) -> None:
        self.presented = presented
        # A plain file is read faster by its name, which soundfile takes only if it is valid text.
        by_name = isinstance(presented, io.BufferedReader) and is_text(path)
        try:
            super().__init__(path if by_name else presented)
        except BaseException:
            presented.close()
            raise

    def close(self) -> None:
        super().close()
        self.presented.close()


def _open(path: Path) -> _Stream:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UnusableError("is empty")
        sound = _Stream(path, present(path))
    except OSError as error:
        raise UnusableError(f"cannot be read: {error.strerror}") from error
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a `.raw` has no header
        raise UnusableError(_unopened(path)) from error
    problem = _unsupported(sound)
    if problem:
        sound.close()
        raise UnusableError(problem)
    return sound


def _unsupported(sound: _Stream) -> str:
    """Return why a file is not read although libsndfile opens it, or an empty string."""
    if sound.format == "RAW":  # so libsndfile reads a .au or .snd file without a header
        return "is not audio that libsndfile reads"
    if sound.format == "SDS":
        return "is a MIDI sample dump, which libsndfile does not check"
    if sound.samplerate < LOWEST_RATE:
        return f"has a sample rate of {sound.samplerate} Hz"
    return ""


def _unopened(path: Path) -> str:
    """Return why libsndfile does not open a file: it may be incomplete, or have something after its end."""
    with suppress(OSError), path.open("rb") as file:
        samples = samples_of(file)
        if samples is not None and samples.problem:
            return samples.problem
    return "is not audio that libsndfile reads"


def _read(
    sound: _Stream,
    level: Level,
    *,
    see: Callable[[memoryview], object] = lambda _: None,
    note: Callable[[str], object] = lambda _: None,
    full_scale: float = 1.0,
) -> Iterator[Block]:
    samples, damage = 0, ""
    scaled = full_scale != 1 and sound.subtype in _FLOATS
    try:
        while len(block := sound.read(_BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)):
            samples += len(block)
            see(block.data)
            if scaled:
                block = block / np.float32(full_scale)
            level.see(block)
            yield block
    except soundfile.LibsndfileError as error:
        damage = f"is damaged: {error.error_string.removeprefix('Error : ').rstrip('.')}"
    try:
        complete = completeness(sound.presented, sound.format, sound.subtype, samples)
    except OSError as error:
        raise UnusableError(f"cannot be read: {error.strerror}") from error
    problem = complete.problem or damage
    # For an MP3 without a table of contents, libsndfile estimates the length.
    if not problem and samples < sound.frames < _UNKNOWN_FRAMES and not sound.subtype.startswith("MPEG"):
        problem = f"is damaged: {samples} of its {sound.frames} samples can be decoded"
    if problem or not samples:
        raise UnusableError(problem or "holds no samples")
    if complete.note:
        note(complete.note)


def _resample(blocks: Iterator[Block], channels: int, source_rate: int, sample_rate: int) -> Iterator[Block]:
    stream = soxr.ResampleStream(source_rate, sample_rate, channels, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
