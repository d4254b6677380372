"""Reading, resampling and writing of audio files of any length, block by block.

Shapes: `C` channels, `n` samples of a block. Full scale is 1.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from distill.audio.corpus.decoding import MADE, UnusableError, blocks_of, survey
from distill.audio.soundfiles import Written, require_file, require_finite, unusable
from distill.storage.files import naming, replacing

_BLOCK_SAMPLES = 2**16
_UNKNOWN = 2**32 - 1
_COMMENT = MADE.encode() + bytes(2 - len(MADE) % 2)
_LARGEST = 2**32 - 2**16
"""The largest size of a WAV file; larger ones are written as RF64."""


@frozen
class AudioFile:
    """An audio file that can be decoded: its sample rate in Hz, channels, and samples per channel.

    `remark` describes an unusual level or length, or is empty.
    """

    path: Path
    sample_rate: int
    channels: int
    samples: int
    remark: str = ""

    def blocks(self) -> Iterator[Tensor]:
        """Yield the waveform in blocks `[C, n]`.

        Raises:
            CorpusError: the file has changed, and cannot be decoded any more.
        """
        try:
            for block in blocks_of(self.path):
                yield torch.from_numpy(np.ascontiguousarray(block.T))
        except UnusableError as error:
            raise unusable(self.path, error) from error


def open_audio(path: Path) -> AudioFile:
    """Check that a file can be decoded as a whole, by decoding it once.

    Raises:
        CorpusError: the file does not exist, or has no usable samples.
    """
    require_file(path)
    try:
        found = survey(path)
    except UnusableError as error:
        raise unusable(path, error) from error
    return AudioFile(path, found.sample_rate, found.channels, found.samples, found.remark)


def resampled(blocks: Iterable[Tensor], from_rate: int, to_rate: int, length: int) -> Iterator[Tensor]:
    """Resample blocks `[C, n]` to another rate, padded with silence or cropped to `length` samples in all.

    Together, the blocks are what `distill.audio.soundfiles.resample` returns for the whole waveform.
    """
    left, channels = length, 1
    for block in _resampled(blocks, from_rate, to_rate):
        channels = len(block)
        yield block[:, :left]
        left -= min(left, block.shape[-1])
    if left:
        yield torch.zeros(channels, left)


def _resampled(blocks: Iterable[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    if from_rate == to_rate:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(from_rate, to_rate, len(block), dtype="float32")
            rest = np.zeros((0, len(block)), np.float32)
        yield _tensor(stream.resample_chunk(np.ascontiguousarray(block.T.numpy())))
    if stream is not None:
        yield _tensor(stream.resample_chunk(rest, last=True))


def _tensor(samples: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.T))


def write_blocks(path: Path, blocks: Iterable[Tensor], sample_rate: int, channels: int) -> Written:
    """Write a waveform that is given in blocks `[C, n]` as WAV, atomically.

    As with `write_audio`, the file has 24 bits, or floats if its peak is above 1. The peak is known at the
    end; until then, an unnamed temporary file in the same folder holds the floats. A file above 4 GB is an
    RF64.

    Raises:
        RunError: the file cannot be written.
        TrainingError: the waveform contains samples that are not finite.
    """
    peak, samples = 0.0, 0
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent) as floats:
            for block in blocks:
                made = block.detach().float().cpu()
                require_finite(made, path)
                peak = max(peak, float(made.abs().max()) if made.numel() else 0.0)
                samples += made.shape[-1]
                floats.write(made.T.contiguous().numpy().data)
            floats.seek(0)
            with replacing(path) as file:
                _write(file, floats, samples, sample_rate, channels, integers=peak <= 1)
    return Written(path=path, peak=peak)


def _write(
    file: BinaryIO, floats: IO[bytes], samples: int, sample_rate: int, channels: int, *, integers: bool
) -> None:
    """Write the WAV file of interleaved float32 samples, as 24-bit integers or as they are."""
    width = 3 if integers else 4
    file.write(_header(samples, sample_rate, channels, width))
    while part := floats.read(4 * channels * _BLOCK_SAMPLES):
        file.write(_integers(part, channels) if integers else part)
    file.write(bytes(samples * channels * width % 2))


def _integers(floats: bytes, channels: int) -> bytes:
    encoded = io.BytesIO()
    block = np.frombuffer(floats, "<f4").reshape(-1, channels)
    soundfile.write(encoded, block, 8000, "PCM_24", "LITTLE", "RAW")
    return encoded.getvalue()


def _header(samples: int, sample_rate: int, channels: int, width: int) -> bytes:
    """Return the header of a WAV file whose samples are floats if they are 4 bytes wide, else integers."""
    frame = channels * width
    size = samples * frame
    kind = 3 if width == 4 else 1
    form = kind, channels, sample_rate, min(sample_rate * frame, _UNKNOWN), frame, 8 * width
    content = b"fmt " + struct.pack("<IHHIIHH", 16, *form)
    if width == 4:
        content += b"fact" + struct.pack("<II", 4, min(samples, _UNKNOWN))
    content += b"LIST" + struct.pack("<I", 12 + len(_COMMENT)) + b"INFO"
    content += b"ICMT" + struct.pack("<I", len(_COMMENT)) + _COMMENT
    large = size > _LARGEST
    content += b"data" + struct.pack("<I", _UNKNOWN if large else size)
    whole = 4 + len(content) + size + size % 2
    if large:
        sizes = struct.pack("<IQQQI", 28, whole + 36, size, samples, 0)
        return b"RF64" + struct.pack("<I", _UNKNOWN) + b"WAVEds64" + sizes + content
    return b"RIFF" + struct.pack("<I", whole) + b"WAVE" + content
