"""Audio files: read whole, resampled, written so that nothing is clipped in silence.

Shapes: `C` channels, `N` samples. Waveforms have 1 as full scale.
"""

import io
import math
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from distill.audio.corpus.decoding import UnusableError, decode_whole
from distill.errors import CorpusError, TrainingError
from distill.storage.checkpoints import write_atomically


@frozen(kw_only=True)
class Written:
    """A file that was written: 24-bit PCM, or 32-bit float where its `peak` would have been clipped.

    `attenuation` is how far it was turned down to come within full scale, in dB.
    """

    path: Path
    peak: float
    attenuation: float = 0.0

    @property
    def exceeds_full_scale(self) -> bool:
        """Whether the peak is above 1, so that the file holds floats and may clip when played."""
        return self.peak > 1


def write_audio(path: Path, waveform: Tensor, sample_rate: int, *, limit: bool = False) -> Written:
    """Write a waveform `[C, N]` as WAV, atomically.

    With `limit`, a peak above 1 is brought to 1 by one gain for the whole sound. That changes its level and
    nothing else: spectrum, envelope and the balance of the channels stay. A limiter would keep the level,
    but sounds that exceed full scale do so at their attacks, which it would flatten, and clipping would
    add harmonics to them.

    Raises:
        RunError: it cannot be written.
        TrainingError: it holds samples that are not finite.
    """
    samples = waveform.detach().float().cpu()
    if not samples.isfinite().all():
        remedy = "The model that made it has diverged; train again with a lower learning rate."
        raise TrainingError("the sound is not finite, and was not written", culprit=str(path), remedy=remedy)
    peak, attenuation = float(samples.abs().max()) if samples.numel() else 0.0, 0.0
    if limit and peak > 1:
        samples, peak, attenuation = samples / peak, 1.0, 20 * math.log10(peak)
    written = Written(path=path, peak=peak, attenuation=attenuation)
    subtype = "FLOAT" if written.exceeds_full_scale else "PCM_24"
    # Through memory, since soundfile does not say what went wrong with a disk.
    file = io.BytesIO()
    soundfile.write(file, samples.T.numpy(), sample_rate, subtype, format="WAV")
    write_atomically(path, file.getbuffer())
    return written


def read_audio(path: Path) -> tuple[Tensor, int]:
    """Read a file of any format libsndfile knows: the waveform `[C, N]` and its sample rate.

    Raises:
        CorpusError: there is no such file, or it has no samples that can be used.
    """
    if not path.is_file():
        raise CorpusError("there is no such file", culprit=str(path), remedy="Check the path.")
    try:
        samples, sample_rate = decode_whole(path)
    except UnusableError as error:
        remedy = "Export it again, as WAV, AIFF, FLAC, Ogg or MP3."
        raise CorpusError(str(error), culprit=str(path), remedy=remedy) from error
    return torch.from_numpy(np.ascontiguousarray(samples.T)), sample_rate


def resample(waveform: Tensor, from_rate: int, to_rate: int, length: int | None = None) -> Tensor:
    """Bring a waveform `[C, N]` to another sample rate: `[C, length]`, float32 on the CPU.

    `length` is by default that of the same duration, `ceil(N * to_rate / from_rate)`. A missing end is
    silence, so that `resample(resample(x, a, b), b, a, N)` has the length of `x`.
    """
    length = -(-waveform.shape[-1] * to_rate // from_rate) if length is None else length
    samples = waveform.detach().float().cpu().T.numpy()
    if from_rate != to_rate:
        samples = soxr.resample(samples, from_rate, to_rate)
    resampled = torch.from_numpy(samples.T)
    return F.pad(resampled, (0, length - resampled.shape[-1])).contiguous()  # crops, too
