"""Measures that are closer to hearing than a distance over all bins: tones, texture, mel bands.

`docs/metrics.md` has their ranges, and says when each is misleading.

Shapes: `N` samples of one signal, `F` bins, `T` frames, `P` peaks. Full scale is 1.
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
    """Return the fraction, 0..1, of the original's tonal peaks that the reconstruction `[N]` keeps.

    A tonal peak is a bin of the original's STFT (n_fft 4096, hop 1024, Hann window) that is not below its two
    neighbours, more than 15 dB above the median of the 81 bins around it, and less than 50 dB below the
    loudest bin of the whole signal. It is kept if, in the reconstruction, the loudest of the same bin and its
    two neighbours is within 6 dB. The result is None if the original has fewer than 20 such peaks.
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
    """Return the powers `[T, 80]` of a signal `[N]` in 80 mel bands, in dB relative to a full-scale sine.

    The powers are computed as in `mel_distance` (n_fft 2048), but with a floor of -80 dB.
    """
    power = mel_powers(signal, sample_rate)
    return 10 * (power / (_MEL_RESOLUTIONS[0][0] / 4) ** 2).clamp(min=1e-8).log10()


def mel_powers(signal: Tensor, sample_rate: int, n_fft: int = 2048, bands: int = 80) -> Tensor:
    """Return the powers `[T, bands]` of a signal `[N]` in mel bands, with a hop of a quarter of `n_fft`."""
    return _magnitude(signal, n_fft, n_fft // 4).square() @ mel_filterbank(sample_rate, n_fft, bands).mT


def texture(signal: Tensor) -> float | None:
    """Return the roughness of the spectrum of a signal `[N]`, in dB, or None if the signal is silent.

    Roughness is the standard deviation of the magnitude in dB minus its running mean over 9 bins (fewer at
    the ends of the spectrum), over the cells within 60 dB of the loudest (n_fft 2048, hop 512, Hann window).
    1e-4 of the largest magnitude is added to all magnitudes, so that digital silence has a finite level.
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

    The distance is the mean absolute difference in dB of the powers in mel bands, averaged over two
    resolutions: 80 bands with n_fft 2048 and 20 bands with n_fft 512, both with a hop of n_fft / 4 and a Hann
    window. The powers of both signals have a floor 80 dB below the original's loudest band or, if the
    original is silent, below a full-scale sine. The bands are triangles of height 1, evenly spaced from 20 Hz
    to half the sample rate on the mel scale of O'Shaughnessy (1987). Bands too narrow to contain a bin are
    left out.
    """
    distances = []
    for n_fft, bands in _MEL_RESOLUTIONS:
        powers = [mel_powers(signal, sample_rate, n_fft, bands) for signal in (reconstruction, original)]
        peak = (n_fft / 4) ** 2 if is_silent(original) else float(powers[1].amax())
        first, second = (10 * power.clamp(min=1e-8 * peak).log10() for power in powers)
        distances.append(float((first - second).abs().mean()))
    return sum(distances) / len(distances)


@lru_cache(maxsize=8)
def mel_filterbank(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Return the weights `[bands, F]` of at most `bands` triangular mel bands over the bins of an FFT.

    The mel scale is `1127 * ln(1 + frequency / 700)`. Bands that contain no bin are left out.
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
    # Medians of 81 values are expensive: they are computed for candidates only, in parts to save memory.
    parts = zip(frames.split(_PEAKS_AT_ONCE), bins.split(_PEAKS_AT_ONCE), strict=True)
    medians = torch.cat([around[part].median(dim=-1).values for part in parts])
    prominent = levels[frames, bins] > medians + _PROMINENCE
    return frames[prominent], bins[prominent]


def _magnitude(signal: Tensor, n_fft: int, hop: int) -> Tensor:
    """Return the float64 STFT magnitude `[T, F]` of a signal `[N]`; frames are centred, ends zero-padded."""
    padded = F.pad(signal.double(), (n_fft // 2, n_fft // 2))
    window = torch.hann_window(n_fft, dtype=torch.float64)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum.abs().mT.contiguous()
