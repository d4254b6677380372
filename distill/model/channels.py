"""The channels of a recording: how much they have in common at each frequency, and mixing to it.

Shapes: `C` channels, `N` samples, `F` = n_fft // 2 + 1 bins, `T` frames. Covariances are second moments, not
centred, since a sound has no mean. Matrices are float64 or complex128, waveforms float32.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_SMOOTHED_BINS = 9
"""Bins over which coherence is averaged: one bin of a short sound coheres by chance. Odd."""

_SILENCE = 1e-20
"""The power of a bin, summed over frames, below which a channel has nothing that could cohere."""

_ONE_SOURCE = 1e-10
"""Sources this far below, in energy, are rounding: channels that are equal get equal noise."""

_GAINS = 2.0**-5, 2.0**2
"""What is not in a sound cannot be brought out, nor may all of it go: -30 to 12 dB."""

_LEAST = 1e-6
"""What is this far below the channels, in energy, is not told from rounding, and left as it is: -60 dB."""


def coherence_of(waveform: Tensor, n_fft: int) -> Tensor:
    """Return the complex coherence `[C, C, F]`, complex64, of the channels of a waveform `[C, N]`.

    The cross-spectrum over the whole waveform, averaged over 9 neighbouring bins, over the geometric mean of
    the two power spectra: its magnitude is 1 where one channel is the other with a gain and a delay, and 0
    where they have nothing in common. A channel that is silent coheres with itself alone.
    """
    spectrum = _stft(waveform.double(), n_fft)
    cross = torch.einsum("aft,bft->abf", spectrum, spectrum.conj())
    flat = torch.view_as_real(cross).movedim(2, 3).flatten(0, 2)
    smooth = F.avg_pool1d(flat, _SMOOTHED_BINS, 1, _SMOOTHED_BINS // 2, count_include_pad=False)
    cross = torch.view_as_complex(smooth.unflatten(0, (*cross.shape[:2], 2)).movedim(2, 3).contiguous())
    power = cross.diagonal().real.mT  # [C, F]
    scale = torch.where(power > _SILENCE, power.clamp(min=_SILENCE).rsqrt(), 0)
    coherence = cross * scale[:, None] * scale
    coherence.diagonal().fill_(1)
    return coherence.to(torch.complex64)


def coherent(noise: Tensor, coherence: Tensor, n_fft: int) -> Tensor:
    """Return uncorrelated white noise `[C, N]` mixed so that it has a coherence `[C, C, F]`.

    Channel 0 is kept as it is, and each channel takes of those before it what it has in common with them
    (the Cholesky factor of the coherence at each bin), so that all of them are white.
    """
    mixing = _factor(coherence.movedim(2, 0).to(torch.complex128)).to(torch.complex64)
    mixed = torch.einsum("fab,bft->aft", mixing, _stft(noise, n_fft))
    window = torch.hann_window(n_fft)
    waveform = torch.istft(mixed, n_fft, n_fft // 4, window=window, length=noise.shape[-1])
    return torch.cat([noise[:1], waveform[1:]])


def covariance_from(coherence: Tensor, power: Tensor) -> Tensor:
    """Return the covariance `[C, C]`, up to a factor, of channels with a coherence and powers `[C, F]`."""
    amplitude = power.double().sqrt()
    return torch.einsum("abf,af,bf->ab", coherence.real.double(), amplitude, amplitude)


def with_correlation(waveform: Tensor, covariance: Tensor) -> Tensor:
    """Return a waveform `[C, N]` mixed so that its channels correlate as `covariance` has it.

    Each channel keeps its energy, but for those without any in `covariance`: they become silence. Of all
    mixtures with these correlations it is the nearest to what the channels were (the optimal transport
    between two normal distributions; Olkin & Pukelsheim, 1982), unless that would turn something up by
    more than 12 dB. What is not finite is returned as it is.
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


def _stft(waveform: Tensor, n_fft: int) -> Tensor:
    """Return the complex STFT `[C, F, T]`, ends followed by silence."""
    window = torch.hann_window(n_fft, dtype=waveform.dtype)
    return torch.stft(waveform, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)


def _factor(coherence: Tensor) -> Tensor:
    """Return lower triangular matrices `[F, C, C]` whose product with their adjoints is `coherence`.

    By an orthogonal triangularisation of a square root: a Cholesky factorisation refuses matrices that
    are singular, as those of channels with one source are.
    """
    energies, directions = torch.linalg.eigh(coherence)
    energies = torch.where(energies > _ONE_SOURCE * energies[:, -1:], energies, 0)
    triangular = torch.linalg.qr((directions * energies.sqrt()[:, None]).mH).R.mH
    diagonal = triangular.diagonal(dim1=1, dim2=2)
    turn = torch.where(diagonal.abs() > 0, diagonal.conj() / diagonal.abs(), 1)
    return triangular * turn[:, None]


def _correlation(covariance: Tensor, heard: Tensor) -> Tensor:
    """Return the correlation matrix, in which channels that are not heard correlate with no other."""
    level = torch.where(heard, covariance.diagonal().sqrt(), 1.0)
    correlation = covariance / level / level[:, None]
    return torch.where(heard & heard[:, None], correlation, 0.0).fill_diagonal_(1.0)


def _transport(have: Tensor, wanted: Tensor) -> Tensor:
    """Return the symmetric matrix that brings one correlation matrix to another, within `_GAINS`."""
    rounding = _LEAST * torch.eye(len(have)).double()
    root, inverse = (_power(have + rounding, exponent) for exponent in (0.5, -0.5))
    sizes, directions = torch.linalg.eigh(inverse @ _power(root @ (wanted + rounding) @ root, 0.5) @ inverse)
    return directions * sizes.clamp(*_GAINS) @ directions.T


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a positive definite matrix, whose eigenvalues may be rounded below 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=1e-15) ** exponent @ vectors.T
