"""Reading, resampling and writing of audio files, without unnoticed clipping.

Shapes: `C` channels, `N` samples. Full scale is 1.
"""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from distill.arguments import no_file
from distill.audio.corpus.decoding import MADE, UnusableError, decode_whole
from distill.audio.corpus.scanning import AUDIO_SUFFIXES
from distill.audio.limiting import Limited, within_full_scale
from distill.errors import CorpusError, InputError, TrainingError
from distill.storage.files import write_atomically

_NAMING_WAV = {".bwf", ".wave"}
"""The suffixes of WAV files besides its name."""


@frozen(kw_only=True)
class Written:
    """A written file: 24-bit PCM, or 32-bit float if its `peak` would have been clipped.

    `attenuation` is the reduction of the level, in dB, that brought the sound within full scale, and
    `reduction` by how much more its peaks were reduced. `remark` describes an unusual level or length of
    the recording that the sound was made from, or is empty.
    """

    path: Path
    peak: float
    attenuation: float = 0.0
    reduction: float = 0.0
    remark: str = ""

    @property
    def exceeds_full_scale(self) -> bool:
        """Whether the peak is above 1. Then the file holds floats and may clip when played."""
        return self.peak > 1


def require_format(path: Path, *formats: str) -> None:
    """Check that the name of a file does not stand for another audio format than those that are written.

    Names that stand for no audio format are accepted.

    Raises:
        InputError: it does.
    """
    suffix, endings = path.suffix.lower(), [f".{each.lower()}" for each in formats]
    if suffix in (AUDIO_SUFFIXES | {".raw"}) - _NAMING_WAV - {*endings}:
        problem = f"sounds are written as {' or '.join(formats)}, not as {suffix[1:].upper()}"
        remedy = f"Use a name that ends in {' or '.join(endings)}."
        raise InputError(problem, culprit=str(path), remedy=remedy)


def write_audio(
    path: Path,
    waveform: Tensor,
    sample_rate: int,
    *,
    limit: bool = False,
    quietest: float = -math.inf,
    made_with: Mapping[str, object] | None = None,
) -> Written:
    """Write a waveform `[C, N]`, atomically, with a comment that says that Distill made it.

    The format is FLAC if the name of the file ends so, else WAV. `made_with`, plain data, follows in the
    comment as JSON.

    With `limit`, a sound with a peak above 1 is scaled to a peak of 1. This changes only its level: spectrum,
    envelope and channel balance are kept. Sounds usually exceed full scale at their attacks, which a limiter
    would flatten, and to which clipping would add harmonics. So peaks are limited only where the level would
    fall below `quietest`, in dB relative to full scale; see `within_full_scale`.

    Raises:
        RunError: the file cannot be written.
        TrainingError: the waveform contains samples that are not finite.
        InputError: its peak is above 1, without `limit`, in FLAC, which has no floats.
    """
    samples = waveform.detach().float().cpu()
    require_finite(samples, path)
    made = within_full_scale(samples, sample_rate, quietest) if limit else Limited(samples=samples)
    samples = made.samples
    peak = float(samples.abs().max()) if samples.numel() else 0.0
    written = Written(path=path, peak=peak, attenuation=made.attenuation, reduction=made.reduction)
    flac = path.suffix.lower() == ".flac"
    if flac and written.exceeds_full_scale:
        problem = f"has a peak of {peak:.2f}, and FLAC cannot hold more than full scale"
        raise InputError(problem, culprit=str(path), remedy="Write WAV, or limit the level.")
    subtype = "FLOAT" if written.exceeds_full_scale else "PCM_24"
    # Encoded in memory, since soundfile does not report the cause of disk errors.
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", sample_rate, len(samples), subtype, format="FLAC" if flac else "WAV"
    ) as sound:
        sound.comment = MADE if made_with is None else f"{MADE}: {json.dumps(made_with)}"
        sound.write(samples.T.numpy())
    with file.getbuffer() as encoded:
        write_atomically(path, encoded)
    return written


def require_finite(samples: Tensor, path: Path) -> None:
    """Check that samples can be written.

    Raises:
        TrainingError: some are NaN or infinite.
    """
    if not samples.isfinite().all():
        remedy = (
            "Look at the recording that it was made from. If others give no sound either, the model has "
            "diverged: train again with a lower learning rate."
        )
        raise TrainingError("the sound is not finite, and was not written", culprit=str(path), remedy=remedy)


def require_file(path: Path) -> None:
    """Check that there is an ordinary file to read.

    Raises:
        CorpusError: there is none.
    """
    if not path.is_file():
        raise CorpusError(no_file(path), culprit=str(path), remedy="Check the path.")


def unusable(path: Path, error: UnusableError) -> CorpusError:
    """Return the error that a file cannot be decoded."""
    remedy = "Export it again, as WAV, AIFF, FLAC, Ogg or MP3."
    if isinstance(error.__cause__, OSError):  # which tells nothing of its content
        remedy = "Make sure that you may read it, and that its disk is there."
    return CorpusError(str(error), culprit=str(path), remedy=remedy)


def read_audio(path: Path) -> tuple[Tensor, int]:
    """Read a file of any format that libsndfile supports; return the waveform `[C, N]` and its sample rate.

    Raises:
        CorpusError: the file does not exist, or has no usable samples.
    """
    require_file(path)
    try:
        samples, sample_rate = decode_whole(path)
    except UnusableError as error:
        raise unusable(path, error) from error
    return torch.from_numpy(np.ascontiguousarray(samples.T)), sample_rate


def resample(waveform: Tensor, from_rate: int, to_rate: int, length: int | None = None) -> Tensor:
    """Resample a waveform `[C, N]` to another sample rate: `[C, length]`, float32 on the CPU.

    `length` defaults to the same duration, `ceil(N * to_rate / from_rate)`. The result is padded with silence
    or cropped, so that `resample(resample(x, a, b), b, a, N)` has the length of `x`.
    """
    length = -(-waveform.shape[-1] * to_rate // from_rate) if length is None else length
    samples = waveform.detach().float().cpu().T.numpy()
    if from_rate != to_rate:
        samples = soxr.resample(samples, from_rate, to_rate)
    resampled = torch.from_numpy(samples.T)
    return F.pad(resampled, (0, length - resampled.shape[-1])).contiguous()  # crops, too
