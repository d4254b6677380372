"""Coherence and correlation of the channels of a recording: measuring them, and mixing channels to them.

Shapes: `C` channels, `N` samples, `F` = n_fft // 2 + 1 bins, `T` frames. Covariances are uncentred second
moments, since a sound has no mean. Matrices are float64 or complex128, waveforms float32.
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.spectral.transforms import synthesize

_SMOOTHED_BINS = 9
"""The number of bins over which coherence is averaged (odd). In a short sound, the coherence of a single bin
is high by chance."""

_FRAMES_AT_A_TIME = 256

_SILENCE = 1e-20
"""The power of a bin, summed over frames, below which its coherence is set to 0."""

_DETERMINED = 1e-6
"""A channel with less than this share of its power to itself, -60 dB, is determined by those before it. Less
may be the rounding of coherences in single precision."""

_GAINS = 2.0**-5, 2.0**2
"""Bounds of the mixing matrix's eigenvalues, -30 to 12 dB: a component that a sound lacks cannot be
amplified into it, nor may one vanish."""

_LEAST = 1e-6
"""Energies this far below those of the channels (-60 dB) are treated as rounding errors, left unchanged."""


def mono_coherence(bins: int) -> Tensor:
    """Return the coherence `[1, 1, F]` of one channel, which is 1.

    It takes the memory of a single number, since corpora have tens of thousands of recordings.
    """
    return torch.ones(1, dtype=torch.complex64).expand(1, 1, bins)


def coherence_of(waveform: Tensor, n_fft: int) -> Tensor:
    """Return the complex coherence `[C, C, F]`, complex64, of the channels of a waveform `[C, N]`.

    The coherence is the cross-spectrum of the whole waveform, averaged over 9 neighbouring bins and divided
    by the geometric mean of the two power spectra. Its magnitude is 1 where one channel is the other with a
    gain and a delay, and 0 where the channels are uncorrelated. A silent channel has a coherence of 1 with
    itself and 0 with the others.
    """
    if len(waveform) == 1:
        return mono_coherence(n_fft // 2 + 1)
    cross = torch.zeros(len(waveform), len(waveform), n_fft // 2 + 1, dtype=torch.complex128)
    for spectrum in _stft_in_parts(waveform, n_fft):
        for row, column in itertools.combinations_with_replacement(range(len(waveform)), 2):
            # Several times faster than `torch.einsum`, which multiplies tiny matrices of each bin.
            cross[row, column] += (spectrum[row] * spectrum[column].conj()).sum(-1)
    for row, column in itertools.combinations(range(len(waveform)), 2):
        cross[column, row] = cross[row, column].conj()
    flat = torch.view_as_real(cross).movedim(2, 3).flatten(0, 2)
    smooth = F.avg_pool1d(flat, _SMOOTHED_BINS, 1, _SMOOTHED_BINS // 2, count_include_pad=False)
    cross = torch.view_as_complex(smooth.unflatten(0, (*cross.shape[:2], 2)).movedim(2, 3).contiguous())
    power = cross.diagonal().real.mT  # [C, F]
    scale = torch.where(power > _SILENCE, power.clamp(min=_SILENCE).rsqrt(), 0)
    coherence = cross * scale[:, None] * scale
    coherence.diagonal().fill_(1)
    return coherence.to(torch.complex64)


def coherent(noise: Tensor, coherence: Tensor, n_fft: int) -> Tensor:
    """Mix uncorrelated white noise `[C, N]` so that it has the coherence `[C, C, F]`.

    The mixing matrix at each bin is the Cholesky factor of the coherence. Channel 0 is unchanged, each
    further channel is mixed from itself and the channels before it, and all channels remain white.
    """
    mixing = _factor(coherence.movedim(2, 0).to(torch.complex128)).to(torch.complex64)
    spectra, waveforms = _stft(noise, n_fft), [noise[:1]]
    half, samples = n_fft // 2, noise.shape[-1]
    for row in range(1, len(noise)):
        mixed = mixing[:, row, 0, None] * spectra[0]
        for column in range(1, row + 1):
            mixed.addcmul_(mixing[:, row, column, None], spectra[column])
        waveforms.append(synthesize(mixed[None], n_fft, n_fft // 4)[:, half : half + samples])
    return torch.cat(waveforms)


def covariance_from(coherence: Tensor, power: Tensor) -> Tensor:
    """Return the covariance `[C, C]`, up to a factor, of channels with this coherence and power `[C, F]`."""
    amplitude = power.double().sqrt()
    return torch.einsum("abf,af,bf->ab", coherence.real.double(), amplitude, amplitude)


def with_correlation(waveform: Tensor, covariance: Tensor) -> Tensor:
    """Mix the channels of a waveform `[C, N]` so that they have the correlations of `covariance`.

    Each channel keeps its energy, except that a channel without energy in `covariance` becomes silent. The
    mixture is the one nearest to the original channels (the optimal transport between two normal
    distributions; Olkin & Pukelsheim, 1982), with gains limited to 12 dB. If either input is not finite, the
    waveform is returned unchanged.
    """
    wide = waveform.double()
    own = wide @ wide.T
    if not (own.isfinite().all() and covariance.isfinite().all()):
        return waveform
    level = own.diagonal().sqrt()
    heard = (level > 0) & (covariance.diagonal() > 0)
    have, wanted = (_correlation(matrix, heard) for matrix in (own, covariance.double()))
    mixing = _transport(have, wanted)
    mixing = mixing / (mixing @ have @ mixing.T).diagonal().sqrt()[:, None]
    gain, inverse_gain = (torch.where(heard, each, 0.0) for each in (level, 1 / level))
    return (gain[:, None] * mixing * inverse_gain).float() @ waveform


def _stft_in_parts(waveform: Tensor, n_fft: int) -> Iterator[Tensor]:
    """Yield the frames of the complex STFT in double precision, a few at a time: `[C, F, T]`."""
    hop, frames = n_fft // 4, waveform.shape[-1] // (n_fft // 4) + 1
    window = torch.hann_window(n_fft, dtype=torch.float64)
    padded = F.pad(waveform, (n_fft // 2, n_fft // 2))
    for start in range(0, frames, _FRAMES_AT_A_TIME):
        stop = min(start + _FRAMES_AT_A_TIME, frames)
        part = padded[:, start * hop : (stop - 1) * hop + n_fft].double()
        yield torch.stft(part, n_fft, hop, window=window, center=False, return_complex=True)


def _stft(waveform: Tensor, n_fft: int) -> Tensor:
    """Return the complex STFT `[C, F, T]`, both ends padded with zeros."""
    window = torch.hann_window(n_fft, dtype=waveform.dtype)
    return torch.stft(waveform, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)


def _factor(coherence: Tensor) -> Tensor:
    """Return lower triangular matrices `[F, C, C]` whose product with their adjoints is `coherence`.

    This is the Cholesky decomposition of positive semidefinite matrices: a channel that the channels before
    it determine, as where there are fewer sources than channels, adds nothing of its own to those after it.
    """
    rest, triangular = coherence.clone(), torch.zeros_like(coherence)
    for channel in range(coherence.shape[1]):
        own = rest[:, channel, channel].real
        scale = torch.where(own > _DETERMINED, own.clamp(min=_DETERMINED).rsqrt(), 0)
        column = rest[:, channel:, channel] * scale[:, None]
        triangular[:, channel:, channel] = column
        rest[:, channel:, channel:] -= column[:, :, None] * column[:, None].conj()
    return triangular


def _correlation(covariance: Tensor, heard: Tensor) -> Tensor:
    """Return the correlation matrix; channels outside the mask `heard` are uncorrelated with all others."""
    level = torch.where(heard, covariance.diagonal().sqrt(), 1.0)
    correlation = covariance / level / level[:, None]
    return torch.where(heard & heard[:, None], correlation, 0.0).fill_diagonal_(1.0)


def _transport(have: Tensor, wanted: Tensor) -> Tensor:
    """Return the symmetric matrix that maps one correlation matrix to another, clamped to `_GAINS`."""
    rounding = _LEAST * torch.eye(len(have)).double()
    root, inverse = (_power(have + rounding, exponent) for exponent in (0.5, -0.5))
    sizes, directions = torch.linalg.eigh(inverse @ _power(root @ (wanted + rounding) @ root, 0.5) @ inverse)
    return directions * sizes.clamp(*_GAINS) @ directions.T


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a positive definite matrix. Eigenvalues below 0 by rounding are allowed."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=1e-15) ** exponent @ vectors.T
