"""Measures that follow hearing closer than a distance over all bins: tones, texture, mel bands.

`docs/metrics.md` has the ranges, and says when each misleads.

Shapes: `N` samples of one signal, `F` bins, `T` frames, `P` peaks. Waveforms have 1 as full scale.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.spectral.metrics import is_silent

_FEWEST_PEAKS = 20
_PEAK_RANGE = 50.0
_PROMINENCE = 15.0
_NEIGHBOURS = 40
_TOLERANCE = 6.0
_PEAKS_AT_ONCE = 2**15

_SMOOTHED_BINS = 9
_TEXTURE_RANGE = 60.0

_MEL_RESOLUTIONS = (2048, 80), (512, 20)
_LOWEST_FREQUENCY = 20.0


def tones_kept(reconstruction: Tensor, original: Tensor) -> float | None:
    """Return the share, 0..1, of the original's tonal peaks that the reconstruction `[N]` has too.

    A tonal peak is a bin of the original's STFT (n_fft 4096, hop 1024, Hann) that is not below its two
    neighbours, more than 15 dB above the median of the 81 bins around it, and less than 50 dB below the
    loudest bin of the whole signal. It is kept if the loudest of the same bin and its two neighbours is
    within 6 dB in the reconstruction. None if the original has fewer than 20 such peaks.
    """
    magnitudes = [_magnitude(signal, 4096, 1024) for signal in (original, reconstruction)]
    floor = magnitudes[0].amax() * 1e-6
    if floor == 0:
        return None
    levels, others = (20 * torch.maximum(magnitude, floor).log10() for magnitude in magnitudes)
    frames, bins = _tonal_peaks(levels)
    if len(bins) < _FEWEST_PEAKS:
        return None
    loudest_near = F.max_pool1d(others, 3, stride=1, padding=1)
    difference = (loudest_near - levels)[frames, bins].abs()
    return float((difference < _TOLERANCE).double().mean())


def tonal_peaks(signal: Tensor) -> int:
    """Return the number of tonal peaks of a signal `[N]`, as `tones_kept` defines them."""
    magnitude = _magnitude(signal, 4096, 1024)
    floor = magnitude.amax() * 1e-6
    if floor == 0:
        return 0
    return len(_tonal_peaks(20 * torch.maximum(magnitude, floor).log10())[1])


def log_mel(signal: Tensor, sample_rate: int) -> Tensor:
    """Return the powers of a signal `[N]` in 80 mel bands, in dB, 0 being a full-scale sine: `[T, 80]`.

    As `mel_distance` has them (n_fft 2048), but floored 80 dB below a full-scale sine.
    """
    n_fft, bands = _MEL_RESOLUTIONS[0]
    power = _magnitude(signal, n_fft, n_fft // 4).square() @ mel_filterbank(sample_rate, n_fft, bands).mT
    return 10 * (power / (n_fft / 4) ** 2).clamp(min=1e-8).log10()


def texture(signal: Tensor) -> float | None:
    """Return how rough the spectrum of a signal `[N]` is, in dB; None if the signal is silent.

    The standard deviation of the magnitude in dB less its running mean over 9 bins (fewer at either end
    of the spectrum), over the cells within 60 dB of the loudest (n_fft 2048, hop 512, Hann). A
    ten-thousandth of the loudest magnitude is added to each, so that digital silence has a level.
    """
    if is_silent(signal):
        return None
    magnitude = _magnitude(signal, 2048, 512)
    levels = 20 * (magnitude + 1e-4 * magnitude.amax()).log10()
    smooth = F.avg_pool1d(
        levels, _SMOOTHED_BINS, stride=1, padding=_SMOOTHED_BINS // 2, count_include_pad=False
    )
    heard = levels > levels.amax() - _TEXTURE_RANGE
    return float((levels - smooth)[heard].std(correction=0))


def mel_distance(reconstruction: Tensor, original: Tensor, sample_rate: int) -> float:
    """Return the distance of two signals `[N]` in mel bands, in dB.

    The mean of the absolute difference in dB of the powers in 80 bands (n_fft 2048) and in 20 bands
    (n_fft 512), hop a quarter, Hann; the mean of both. Both signals' powers are floored 80 dB below the
    original's loudest band or, if the original is silent, below that of a full-scale sine. The bands
    are triangles of height 1, evenly spaced from 20 Hz to half the sample rate on the mel scale of
    O'Shaughnessy (1987); those too narrow to hold a bin are left out.
    """
    distances = []
    for n_fft, bands in _MEL_RESOLUTIONS:
        filterbank = mel_filterbank(sample_rate, n_fft, bands)
        powers = [
            _magnitude(signal, n_fft, n_fft // 4).square() @ filterbank.mT
            for signal in (reconstruction, original)
        ]
        peak = (n_fft / 4) ** 2 if is_silent(original) else float(powers[1].amax())
        first, second = (10 * power.clamp(min=1e-8 * peak).log10() for power in powers)
        distances.append(float((first - second).abs().mean()))
    return sum(distances) / len(distances)


@lru_cache(maxsize=8)
def mel_filterbank(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Return the weights of at most `bands` triangular mel bands over the bins of an FFT, `[bands, F]`.

    The mel scale is `1127 * ln(1 + frequency / 700)`; bands without any bin are left out.
    """
    frequencies = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    ends = torch.tensor([_LOWEST_FREQUENCY, sample_rate / 2], dtype=torch.float64)
    low, high = (1127 * (1 + ends / 700).log()).tolist()
    corners = 700 * ((torch.linspace(low, high, bands + 2, dtype=torch.float64) / 1127).exp() - 1)
    left, centre, right = (corners[start : start + bands, None] for start in range(3))
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    weights = torch.minimum(rising, falling).clamp(min=0)
    return weights[weights.any(dim=1)]


def _tonal_peaks(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the frames and the bins, `[P]` each, of the tonal peaks among levels in dB `[T, F]`."""
    inner = levels[:, 1:-1]
    highest = (inner >= levels[:, :-2]) & (inner >= levels[:, 2:]) & (inner > levels.amax() - _PEAK_RANGE)
    frames, bins = highest.nonzero(as_tuple=True)
    bins = bins + 1
    padded = F.pad(levels[None], (_NEIGHBOURS, _NEIGHBOURS), mode="replicate")[0]
    around = padded.unfold(-1, 2 * _NEIGHBOURS + 1, 1)
    # Medians are taken where they are needed only, and not of all at once: each looks at 81 numbers.
    parts = zip(frames.split(_PEAKS_AT_ONCE), bins.split(_PEAKS_AT_ONCE), strict=True)
    medians = torch.cat([around[part].median(dim=-1).values for part in parts])
    prominent = levels[frames, bins] > medians + _PROMINENCE
    return frames[prominent], bins[prominent]


def _magnitude(signal: Tensor, n_fft: int, hop: int) -> Tensor:
    """Return the STFT magnitude `[T, F]` of a signal `[N]` in float64, frames centred, ends silent."""
    padded = F.pad(signal.double(), (n_fft // 2, n_fft // 2))
    window = torch.hann_window(n_fft, dtype=torch.float64)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum.abs().mT.contiguous()
